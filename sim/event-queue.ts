/**
 * What is going to happen, in order of time; what happens at the same time, in the order it was scheduled. A 4-ary heap
 * on typed arrays: half the depth of a binary one, and four keys lie in one cache line.
 */

/** Something that happens at a moment of virtual time. */
export interface Happening {
  /** Identifies its kind and place in the run's hash: the same in every run of a seed. */
  readonly mark: number
  /** @param at virtual time, ms */
  happen(at: number): void
}

const FIRST_CAPACITY = 1024

export class EventQueue {
  #times = new Float64Array(FIRST_CAPACITY)
  #numbers = new Float64Array(FIRST_CAPACITY)
  #items: Happening[] = []
  #length = 0
  #pushed = 0
  /** When the item that `pop` returned last happens, ms. */
  time = 0

  get length(): number {
    return this.#length
  }

  /** How many have been scheduled in all. */
  get pushed(): number {
    return this.#pushed
  }

  /** When the next one happens; Infinity when nothing is left. */
  get nextTime(): number {
    return this.#length === 0 ? Number.POSITIVE_INFINITY : (this.#times[0] ?? 0)
  }

  push(time: number, item: Happening): void {
    const number = this.#pushed++
    let hole = this.#length++
    if (hole === this.#times.length) this.#grow()
    const times = this.#times
    const numbers = this.#numbers
    const items = this.#items
    while (hole > 0) {
      const parent = (hole - 1) >> 2
      // A later number never overtakes an equal time.
      if ((times[parent] as number) <= time) break
      times[hole] = times[parent] as number
      numbers[hole] = numbers[parent] as number
      items[hole] = items[parent] as Happening
      hole = parent
    }
    times[hole] = time
    numbers[hole] = number
    items[hole] = item
  }

  pop(): Happening | undefined {
    if (this.#length === 0) return undefined
    const times = this.#times
    const numbers = this.#numbers
    const items = this.#items
    const first = items[0] as Happening
    this.time = times[0] as number
    const last = --this.#length
    const time = times[last] as number
    const number = numbers[last] as number
    const item = items[last] as Happening
    items.pop()
    if (last === 0) return first
    let hole = 0
    for (;;) {
      const child = (hole << 2) + 1
      if (child >= last) break
      let least = child
      let leastTime = times[child] as number
      const end = Math.min(child + 4, last)
      for (let c = child + 1; c < end; c++) {
        const t = times[c] as number
        if (t < leastTime || (t === leastTime && (numbers[c] as number) < (numbers[least] as number))) {
          least = c
          leastTime = t
        }
      }
      if (leastTime > time || (leastTime === time && (numbers[least] as number) > number)) break
      times[hole] = leastTime
      numbers[hole] = numbers[least] as number
      items[hole] = items[least] as Happening
      hole = least
    }
    times[hole] = time
    numbers[hole] = number
    items[hole] = item
    return first
  }

  #grow(): void {
    const times = new Float64Array(this.#times.length * 2)
    const numbers = new Float64Array(this.#times.length * 2)
    times.set(this.#times)
    numbers.set(this.#numbers)
    this.#times = times
    this.#numbers = numbers
  }
}
