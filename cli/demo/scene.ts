import type { Happening } from '../terminal-view.ts'
import type { Report } from './load-report.ts'

/** How a cluster stands. */
export type Condition = 'starting' | 'up' | 'killed' | 'stopped'

/** One cluster, as the audience sees it. */
export class ClusterOnStage {
  readonly name: string
  readonly slots: number
  condition: Condition = 'starting'
  /** Slots taken by tasks of its own clients, and by its peers' tasks. */
  own = 0
  borrowed = 0
  queue = 0
  /** Tasks of the loaded cluster that ran here: in all, and by tick ({@link DEAD} where it was), the latest last. */
  ran = 0
  readonly ranByTick: number[] = []

  constructor(name: string, slots: number) {
    this.name = name
    this.slots = slots
  }

  get busy(): number {
    return this.own + this.borrowed
  }
}

/** All that is shown: written by the director, read by whoever draws. */
export class Scene {
  readonly clusters: readonly ClusterOnStage[]
  readonly happenings: Happening[] = []
  act = 0
  actsTotal = 0
  /** What goes on now, in a sentence. */
  sentence = ''
  /** What the client of the loaded cluster says. */
  report: Report | undefined
  tasksPerSecond = 0
  readonly #startedAt: number

  constructor(names: readonly string[], slots: number, now: number) {
    this.clusters = names.map((name) => new ClusterOnStage(name, slots))
    this.#startedAt = now
  }

  elapsedMs(now: number): number {
    return now - this.#startedAt
  }

  cluster(name: string): ClusterOnStage {
    const found = this.clusters.find((cluster) => cluster.name === name)
    if (found === undefined) throw new Error(`there is no cluster ${name}`)
    return found
  }

  happen(text: string, now: number, grave = false): void {
    this.happenings.push({ atMs: this.elapsedMs(now), text, grave })
  }

  /** Once every {@link TICK_MS}: where the loaded cluster's tasks have run since. */
  tick(): void {
    for (const cluster of this.clusters) {
      const ran = this.report?.ranIn[cluster.name] ?? 0
      cluster.ranByTick.push(cluster.condition === 'killed' ? DEAD : ran - cluster.ran)
      cluster.ran = ran
    }
  }
}

export const TICK_MS = 500
export const DEAD = -1
