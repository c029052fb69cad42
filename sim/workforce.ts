import type { WorkerNode } from './worker-node.ts'

/** Slots of a cluster's live workers that are free for one service. */
export interface Supply {
  free: number
}

const NONE: readonly Supply[] = []

/**
 * The workers of a cluster that live, and the slots that they really have free: kept up with each start and end of a handler,
 * so that every state a broker publishes can be held against it, however many workers there are.
 */
export class Workforce {
  readonly members = new Set<WorkerNode>()
  readonly #supplies = new Map<string, Supply>()

  join(worker: WorkerNode): void {
    this.members.add(worker)
    worker.supplies = worker.services.map((service) => this.#supply(service))
    changeFree(worker, worker.slots - worker.running)
  }

  /** It has died, or is about to: nothing of it is free, and what ends there from now on changes nothing. */
  leave(worker: WorkerNode): void {
    if (!this.members.delete(worker)) return
    changeFree(worker, worker.running - worker.slots)
    worker.supplies = NONE
  }

  free(service: string): number {
    return this.#supplies.get(service)?.free ?? 0
  }

  #supply(service: string): Supply {
    let supply = this.#supplies.get(service)
    if (supply === undefined) {
      supply = { free: 0 }
      this.#supplies.set(service, supply)
    }
    return supply
  }
}

/** The worker has so many slots more that are free. */
export function changeFree({ supplies }: WorkerNode, by: number): void {
  for (const supply of supplies) supply.free += by
}
