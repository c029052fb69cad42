/** Kept for others to come, at most. */
const KEPT_MAX = 1024

/** What can be another of its kind after it is over. */
export interface Pooled<T> {
  /** The next in the pool; the pool's own. */
  poolNext: T | null
}

/**
 * Objects that are over, to be others of their kind: each would else be hundreds of octets for the garbage collector, and as many
 * to be fetched from memory that was not touched for long. One that is given back rests until the turn has ended: whoever
 * came across it during the turn finds it over, never another's.
 */
export class TurnPool<T extends Pooled<T>> {
  /** Those that may be taken; and those that were given back in this turn. */
  #free: T | null = null
  #resting: T | null = null
  /** The one that was given back first in this turn. */
  #restingLast: T | null = null
  #kept = 0
  readonly #letGo: ((item: T) => void) | null

  /** @param letGo takes from an item what it had to show until its turn ended */
  constructor(letGo: ((item: T) => void) | null = null) {
    this.#letGo = letGo
  }

  take(): T | null {
    const item = this.#free
    if (item === null) return null
    this.#free = item.poolNext
    item.poolNext = null
    this.#kept--
    return item
  }

  giveBack(item: T): void {
    if (this.#kept >= KEPT_MAX) return
    this.#kept++
    item.poolNext = this.#resting
    this.#resting = item
    this.#restingLast ??= item
  }

  /** Nobody who came across one in this turn is still at it. */
  endTurn(): void {
    if (this.#restingLast === null) return
    if (this.#letGo !== null)
      for (let item = this.#resting; item !== null; item = item.poolNext) this.#letGo(item)
    this.#restingLast.poolNext = this.#free
    this.#free = this.#resting
    this.#resting = null
    this.#restingLast = null
  }
}
