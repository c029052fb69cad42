/** One task more, or less. */
interface Change {
  readonly at: number
  readonly by: number
}

/** How many tasks the workers of a cluster had at any time, by what they wrote down. Times are the ledger's, ms. */
export class Occupancy {
  /** In the order of time. */
  readonly #changes: Change[] = []
  /** After all changes. */
  #now = 0
  #knownFrom = Number.NEGATIVE_INFINITY

  /** Entries of several processes come in any order. */
  change(at: number, by: number): void {
    this.#now += by
    if (at < this.#knownFrom) return
    let place = this.#changes.length
    for (; place > 0; place--) {
      const earlier = this.#changes[place - 1]
      if (earlier === undefined || earlier.at <= at) break
    }
    this.#changes.splice(place, 0, { at, by })
  }

  /** @returns the fewest they had at any moment of that time; null when that is not known any more */
  fewest(from: number, until: number): number | null {
    if (from < this.#knownFrom) return null
    let tasks = this.#now
    let fewest = Number.POSITIVE_INFINITY
    // From the latest back, since that is what is asked for.
    for (let n = this.#changes.length - 1; n >= 0; n--) {
      const change = this.#changes[n]
      if (change === undefined || change.at <= from) break
      if (change.at <= until) fewest = Math.min(fewest, tasks)
      tasks -= change.by
    }
    return Math.min(fewest, tasks)
  }

  forget(before: number): void {
    if (before <= this.#knownFrom) return
    this.#knownFrom = before
    const kept = this.#changes.findIndex(({ at }) => at >= before)
    this.#changes.splice(0, kept < 0 ? this.#changes.length : kept)
  }
}
