/**
 * Deadlines of many calls in O(1): a hashed timing wheel (Varghese and Lauck, SOSP 1987). Slots are arrays from which
 * the last item fills the gap that a removed one leaves, so that an item needs two numbers and no links.
 *
 * A deadline beyond one round waits in the furthest slot and is placed anew when that slot is due; with rounds of four
 * seconds that is rare.
 */

/** Something that can wait in a wheel, for one deadline at a time. */
export abstract class Timed {
  /** When it is due, ms. */
  dueAt = Number.POSITIVE_INFINITY
  /** Where it waits; the wheel's own. */
  wheelSlot = -1
  wheelPosition = 0
}

const SLOTS = 512
const SLOT_MS = 8

export class DeadlineWheel<T extends Timed> {
  readonly #slots: T[][] = Array.from({ length: SLOTS }, () => [])
  /** For each slot a time before which nothing in it is due. */
  readonly #earliestIn = new Float64Array(SLOTS).fill(Number.POSITIVE_INFINITY)
  /** Number, from the beginning of time, of the slot that is swept next. */
  #cursor = 0
  #count = 0
  #next = Number.POSITIVE_INFINITY

  get size(): number {
    return this.#count
  }

  /** When `expire` may next find something; sometimes early, never late. Infinity when nothing waits. */
  get next(): number {
    return this.#count === 0 ? Number.POSITIVE_INFINITY : this.#next
  }

  /** Sets, or sets anew, when an item is due. */
  set(item: T, dueAt: number, now: number): void {
    if (item.wheelSlot >= 0) this.clear(item)
    if (this.#count === 0) {
      // Start afresh: what removed items left in the slots' estimates would be taken for a later round.
      this.#cursor = Math.floor(now / SLOT_MS)
      this.#next = Number.POSITIVE_INFINITY
      this.#earliestIn.fill(Number.POSITIVE_INFINITY)
    }
    item.dueAt = dueAt
    this.#place(item)
  }

  clear(item: T): void {
    const number = item.wheelSlot
    if (number < 0) return
    const slot = this.#slots[number]
    const last = slot?.pop()
    if (slot !== undefined && last !== undefined && last !== item) {
      slot[item.wheelPosition] = last
      last.wheelPosition = item.wheelPosition
    }
    item.wheelSlot = -1
    this.#count--
  }

  /** Takes out what is due and appends it to `due`. */
  expire(now: number, due: T[]): void {
    if (this.#count === 0 || now < this.#next) return
    const target = Math.floor(now / SLOT_MS)
    const first = this.#cursor
    const last = Math.min(target, first + SLOTS - 1)
    this.#cursor = target
    for (let number = first; number <= last; number++) {
      const index = number % SLOTS
      if ((this.#earliestIn[index] ?? Number.POSITIVE_INFINITY) > now) continue
      this.#earliestIn[index] = Number.POSITIVE_INFINITY
      const items = this.#slots[index] ?? []
      if (items.length === 0) continue
      this.#slots[index] = []
      this.#count -= items.length
      for (const item of items) {
        item.wheelSlot = -1
        if (item.dueAt <= now) due.push(item)
        else this.#place(item)
      }
    }
    this.#next = this.#search()
  }

  #place(item: T): void {
    const wanted = Math.floor(item.dueAt / SLOT_MS)
    const furthest = this.#cursor + SLOTS - 1
    const number = Math.max(this.#cursor, Math.min(wanted, furthest))
    const index = number % SLOTS
    // What had to be put nearer than it is due must be looked at when its slot is, whatever its deadline.
    const lookAt = number < wanted ? number * SLOT_MS : item.dueAt
    const slot = this.#slots[index]
    if (slot === undefined) return
    item.wheelSlot = index
    item.wheelPosition = slot.push(item) - 1
    this.#count++
    if (lookAt < (this.#earliestIn[index] ?? 0)) this.#earliestIn[index] = lookAt
    if (lookAt < this.#next) this.#next = lookAt
  }

  #search(): number {
    for (let number = this.#cursor; number < this.#cursor + SLOTS; number++) {
      const earliest = this.#earliestIn[number % SLOTS] ?? Number.POSITIVE_INFINITY
      if (earliest !== Number.POSITIVE_INFINITY) return earliest
    }
    return Number.POSITIVE_INFINITY
  }
}
