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
/** So many items are kept in a plain list: many clients have a few calls under way, and a wheel takes 20 KiB. */
const FEW_MAX = 16
/** The `wheelSlot` of an item in that list. */
const IN_LIST = SLOTS
const NOTHING = new Float64Array(0)

export class DeadlineWheel<T extends Timed> {
  /** What waits while there are few; the slots are made when there are more for the first time. */
  readonly #few: T[] = []
  #slots: T[][] = []
  /** For each slot a time before which nothing in it is due. */
  #earliestIn = NOTHING
  /** The slots are in use; until nothing waits. */
  #wheels = false
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
    item.dueAt = dueAt
    if (this.#count === 0) {
      this.#wheels = false
      this.#next = Number.POSITIVE_INFINITY
    }
    if (!this.#wheels && this.#count < FEW_MAX) {
      item.wheelSlot = IN_LIST
      item.wheelPosition = this.#few.push(item) - 1
      this.#count++
      if (dueAt < this.#next) this.#next = dueAt
      return
    }
    if (!this.#wheels) this.#begin(now)
    this.#place(item)
  }

  /** There are more than a few: from now on they wait in slots. */
  #begin(now: number): void {
    this.#wheels = true
    if (this.#slots.length === 0) {
      this.#slots = Array.from({ length: SLOTS }, () => [])
      this.#earliestIn = new Float64Array(SLOTS)
    }
    // Start afresh: what removed items left in the slots' estimates would be taken for a later round.
    this.#earliestIn.fill(Number.POSITIVE_INFINITY)
    this.#cursor = Math.floor(now / SLOT_MS)
    this.#next = Number.POSITIVE_INFINITY
    this.#count = 0
    for (const item of this.#few.splice(0)) this.#place(item)
  }

  clear(item: T): void {
    const number = item.wheelSlot
    if (number < 0) return
    const slot = number === IN_LIST ? this.#few : this.#slots[number]
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
    if (!this.#wheels) {
      this.#expireFew(now, due)
      return
    }
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

  #expireFew(now: number, due: T[]): void {
    this.#next = Number.POSITIVE_INFINITY
    for (let position = this.#few.length - 1; position >= 0; position--) {
      const item = this.#few[position]
      if (item === undefined) continue
      if (item.dueAt <= now) {
        this.clear(item)
        due.push(item)
      } else if (item.dueAt < this.#next) this.#next = item.dueAt
    }
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
