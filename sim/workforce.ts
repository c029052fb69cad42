import type { WorkerNode } from './worker-node.ts'

/**
 * The workers of a cluster that live, and the slots that they really have free: kept up with each start and end of a handler,
 * so that every state a broker publishes can be held against it, however many workers there are.
 */
export class Workforce {
  readonly members = new Set<WorkerNode>()
  readonly #free = new Map<string, number>()

  join(worker: WorkerNode): void {
    this.members.add(worker)
    worker.workforce = this
    this.#change(worker, worker.slots - worker.running)
  }

  /** It has died, or is about to: nothing of it is free. */
  leave(worker: WorkerNode): void {
    if (worker.workforce !== this) return
    this.#change(worker, worker.running - worker.slots)
    worker.workforce = null
    this.members.delete(worker)
  }

  /** One of its workers has started a handler. */
  started(worker: WorkerNode): void {
    this.#change(worker, -1)
  }

  ended(worker: WorkerNode): void {
    this.#change(worker, 1)
  }

  free(service: string): number {
    return this.#free.get(service) ?? 0
  }

  #change(worker: WorkerNode, by: number): void {
    for (const service of worker.services) this.#free.set(service, this.free(service) + by)
  }
}
