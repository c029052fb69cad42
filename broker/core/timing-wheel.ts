/**
 * Deadlines in O(1): a hashed timing wheel (Varghese and Lauck, SOSP 1987, scheme 6) with ticks of one millisecond.
 *
 * A deadline further away than one round stays in its slot and is passed over until its round comes, so a round shorter
 * than most deadlines costs a visit a round, nothing else. A bitmap of occupied slots makes the search for the next one
 * a matter of a few words, which lets a simulator jump over idle time.
 */

/** Something that can wait in a wheel. At most one deadline at a time. */
export abstract class Timed {
  /** Absolute tick (ms, rounded up) at which it is due; meaningful while it waits. */
  dueTick = 0
  wheelSlot = -1
  wheelPrev: Timed | null = null
  wheelNext: Timed | null = null

  get waiting(): boolean {
    return this.wheelSlot >= 0
  }
}

export class TimingWheel {
  readonly #slots: (Timed | null)[]
  readonly #occupied: Uint32Array
  readonly #mask: number
  /** Every tick up to and with this one has been handed out. */
  #tick: number
  #count = 0
  /** The next tick that has an occupied slot, kept as long as it is known: it is asked for far more often than it changes. */
  #nextTick = 0
  #nextKnown = false

  /** @param size slots in a round, a power of two of at least 32 */
  constructor(now: number, size = 4096) {
    this.#slots = new Array<Timed | null>(size).fill(null)
    this.#occupied = new Uint32Array(size >>> 5)
    this.#mask = size - 1
    this.#tick = Math.floor(now)
  }

  get size(): number {
    return this.#count
  }

  /** (Re)sets the deadline of `timed`; one already past is due at the next tick. */
  set(timed: Timed, due: number): void {
    if (timed.wheelSlot >= 0) this.clear(timed)
    const tick = Math.max(Math.ceil(due), this.#tick + 1)
    const slot = tick & this.#mask
    const head = this.#slots[slot] ?? null
    timed.dueTick = tick
    timed.wheelSlot = slot
    timed.wheelPrev = null
    timed.wheelNext = head
    if (head !== null) head.wheelPrev = timed
    else this.#mark(slot)
    this.#slots[slot] = timed
    this.#count++
    if (this.#nextKnown) {
      const first = this.#tick + 1 + ((slot - this.#tick - 1) & this.#mask)
      if (first < this.#nextTick) this.#nextTick = first
    }
  }

  clear(timed: Timed): void {
    const slot = timed.wheelSlot
    if (slot < 0) return
    const { wheelPrev, wheelNext } = timed
    if (wheelNext !== null) wheelNext.wheelPrev = wheelPrev
    if (wheelPrev !== null) wheelPrev.wheelNext = wheelNext
    else {
      this.#slots[slot] = wheelNext
      if (wheelNext === null) {
        this.#unmark(slot)
        if (slot === (this.#nextTick & this.#mask)) this.#nextKnown = false
      }
    }
    timed.wheelSlot = -1
    timed.wheelPrev = null
    timed.wheelNext = null
    this.#count--
  }

  /** Takes out everything due by `now` and appends it to `due`, earliest tick first. */
  advance(now: number, due: Timed[]): void {
    const target = Math.floor(now)
    while (this.#tick < target) {
      const next = this.next()
      if (next > target) {
        this.#tick = target
        return
      }
      this.#tick = next
      this.#nextKnown = false
      let timed = this.#slots[this.#tick & this.#mask] ?? null
      while (timed !== null) {
        const after: Timed | null = timed.wheelNext
        if (timed.dueTick <= this.#tick) {
          this.clear(timed)
          due.push(timed)
        }
        timed = after
      }
    }
  }

  /** When `advance` may next find something, ms; too early when all that waits in that slot is for a later round. */
  next(): number {
    if (this.#count === 0) return Number.POSITIVE_INFINITY
    if (!this.#nextKnown) {
      this.#nextTick = this.#tick + this.#distance()
      this.#nextKnown = true
    }
    return this.#nextTick
  }

  /** Ticks from the current one to the next occupied slot, 1 to size; something must be waiting. */
  #distance(): number {
    const words = this.#occupied.length
    const from = (this.#tick + 1) & this.#mask
    let word = from >>> 5
    let bits = (this.#occupied[word] ?? 0) & (0xffffffff << (from & 31))
    for (let seen = 0; bits === 0 && seen <= words; seen++) {
      word = word + 1 === words ? 0 : word + 1
      bits = this.#occupied[word] ?? 0
    }
    const slot = (word << 5) + (31 - Math.clz32(bits & -bits))
    return ((slot - from) & this.#mask) + 1
  }

  #mark(slot: number): void {
    this.#occupied[slot >>> 5] = (this.#occupied[slot >>> 5] ?? 0) | (1 << (slot & 31))
  }

  #unmark(slot: number): void {
    this.#occupied[slot >>> 5] = (this.#occupied[slot >>> 5] ?? 0) & ~(1 << (slot & 31))
  }
}
