import type { Happening } from '../terminal-view.ts'
import type { Cluster } from './cluster.ts'
import type { Judge } from './judge.ts'

/** Between two looks at where tasks ran. */
export const TICK_MS = 1000

/** All that is shown of a run while it goes on: written by the director, read by whoever draws. */
export class Board {
  clusters: readonly Cluster[] = []
  judge: Judge | null = null
  readonly happenings: Happening[] = []
  /** What goes on now, in a sentence. */
  sentence = ''
  /** Links that are not well, in words, by their two ends. */
  readonly links = new Map<string, string>()
  /** By cluster: tasks answered that ran in it, second by second, the latest last. */
  readonly ranByTick: number[][] = []
  #ranBefore: number[] = []
  readonly #startedAt: number

  constructor(now: number) {
    this.#startedAt = now
  }

  elapsedMs(now: number): number {
    return now - this.#startedAt
  }

  happen(text: string, now: number, grave = false): void {
    this.happenings.push({ atMs: this.elapsedMs(now), text, grave })
  }

  /** Once every {@link TICK_MS}. */
  tick(): void {
    for (const { index, name } of this.clusters) {
      const ran = this.judge?.ranIn.get(name) ?? 0
      this.ranByTick[index] ??= []
      this.ranByTick[index]?.push(ran - (this.#ranBefore[index] ?? 0))
      this.#ranBefore[index] = ran
    }
  }
}
