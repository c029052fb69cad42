import type { StartSink } from './waits.ts'

/** One task as it reaches its broker's cluster. */
export interface Job {
  readonly cluster: number
  /** When its client submits it, ms. */
  readonly at: number
  readonly serviceMs: number
}

export interface OmniscientTerms {
  readonly clusters: number
  /** Slots of all workers in each cluster. */
  readonly slots: number
  /** One way within a cluster and between clusters at least, ms. */
  readonly localMs: number
  readonly cloudMs: number
  /** How much longer a way may take, as a share; `random`, uniform in [0, 1), draws it anew for each. */
  readonly jitter: number
  readonly random: () => number
  /**
   * How long a task rather waits at home than travels, as a share of the way there. With 1 each goes where it starts first.
   * With 0 it goes wherever a slot is free in time, and those behind it at home wait less: where a cluster has too much
   * work for long, some must travel, and it does not help if all the others have waited for as long.
   */
  readonly patience: number
}

/** When the slots of one cluster are free, ascending. */
export class FreeTimes {
  readonly #at: Float64Array

  constructor(slots: number) {
    this.#at = new Float64Array(slots)
  }

  /** When the first is free; Infinity in a cluster without slots. */
  get first(): number {
    return this.#at[0] ?? Number.POSITIVE_INFINITY
  }

  /** How many are free at a time. */
  freeAt(time: number): number {
    const at = this.#at
    let low = 0
    let high = at.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((at[middle] ?? 0) <= time) low = middle + 1
      else high = middle
    }
    return low
  }

  /**
   * A task that is there at `from` takes the slot that has been free for the shortest time, or else the first to be free:
   * what is free for longer is left to whoever is there sooner.
   * @returns when it starts, ms
   */
  take(from: number, runMs: number): number {
    const at = this.#at
    let place = Math.max(0, this.freeAt(from) - 1)
    const startsAt = Math.max(from, at[place] ?? Number.POSITIVE_INFINITY)
    const endsAt = startsAt + runMs
    for (; place + 1 < at.length && (at[place + 1] ?? 0) < endsAt; place++) at[place] = at[place + 1] ?? 0
    at[place] = endsAt
    return startsAt
  }
}

/**
 * A scheduler that knows everything at once: one queue for all tasks of all clusters, in the order in which they are
 * submitted; each gets a free slot at home, or else the slot of the whole federation that can start it first, the way
 * there included. It knows when every slot will be free, even before its task ends, and needs no message to learn it. The
 * task itself travels as every task does: `localMs` to its broker, `cloudMs` if it goes to another cluster, `localMs` to
 * the worker.
 *
 * With links of no delay this is one queue for all workers, by the recursion of Kiefer and Wolfowitz (1955).
 */
export function omniscient(jobs: Iterable<Job>, terms: OmniscientTerms, started: StartSink): void {
  const { localMs, cloudMs, jitter, random, patience } = terms
  const way = (ms: number): number => ms * (1 + jitter * random())
  const travelMs = cloudMs * (1 + jitter / 2)
  const clusters = Array.from({ length: terms.clusters }, () => new FreeTimes(terms.slots))
  for (const { cluster, at, serviceMs } of jobs) {
    const home = clusters[cluster]
    if (home === undefined) continue
    const there = at + way(localMs)
    let where = cluster
    let best = home
    const startsHereAt = Math.max(there, home.first)
    if (startsHereAt > there + patience * travelMs) {
      let startsAt = startsHereAt + (1 - patience) * travelMs
      let room = -1
      clusters.forEach((other, index) => {
        if (other === home) return
        const startsThereAt = Math.max(there + travelMs, other.first)
        if (startsThereAt > startsAt) return
        // Of several where it is free, the one with most room: those who live there will miss it least.
        const roomThere = other.freeAt(there + travelMs)
        if (startsThereAt === startsAt && roomThere <= room) return
        best = other
        where = index
        startsAt = startsThereAt
        room = roomThere
      })
    }
    const arrives = there + (best === home ? 0 : way(cloudMs)) + way(localMs)
    started(cluster, where, at, best.take(arrives, serviceMs))
  }
}
