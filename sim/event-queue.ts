/**
 * What is going to happen, in order of time; what happens at the same time, in the order it was scheduled. Two stages, as
 * in a calendar queue (Brown, CACM 1988): what is due soon is in a 4-ary heap so small that it stays in the processor's
 * first cache; what is due later waits unsorted in a ring of buckets, each of which joins the heap when its time has come. A
 * crowded bucket is first spread over a rung of finer ones, as in a ladder queue (Tang, Goh and Thng, TOMACS 2005): when a
 * thousand brokers tell each other something at once, a million things happen within ten milliseconds. All but the items
 * themselves lies in typed arrays, and an item is never moved.
 */

/** Something that happens at a moment of virtual time. */
export interface Happening {
  /** Identifies its kind and place in the run's hash: the same in every run of a seed. */
  readonly mark: number
  /** @param at virtual time, ms */
  happen(at: number): void
}

const FIRST_CAPACITY = 1024

/**
 * When each process's timer goes off, virtual time, ms; Infinity: it is not set. Side by side, since a number that is not whole
 * and belongs to a process would lie in a box of its own, a cache miss away from it.
 */
export class Timers {
  #at = new Float64Array(FIRST_CAPACITY).fill(Number.POSITIVE_INFINITY)

  /** @param number of a process: they are counted from 1 */
  get(number: number): number {
    return this.#at[number] as number
  }

  set(number: number, at: number): void {
    this.#at[number] = at
  }

  /** A process of this number has come into being. */
  add(number: number): void {
    if (number >= this.#at.length) {
      const longer = new Float64Array(Math.max(2 * this.#at.length, number + 1)).fill(
        Number.POSITIVE_INFINITY,
      )
      longer.set(this.#at)
      this.#at = longer
    }
    this.#at[number] = Number.POSITIVE_INFINITY
  }
}
/** A bucket takes what is due within so long, ms: a power of two, so that no rounding puts anything out of order. */
const BUCKET_MS = 0.25
/** A bucket with more than so many is spread over a rung of its own before any of it joins the heap. */
const SPREAD = 256
/** Parts of a bucket on that rung, a power of two for the same reason. */
const RUNG = 512
/** Buckets in the ring; what is due later than that waits in the last one and is looked at again then. */
const BUCKETS = 16_384
const NONE = -1

const NOTHING: Happening = { mark: 0, happen: () => {} }

export class EventQueue {
  /** For each place: when it is due, and its number in the order of scheduling. */
  #keys = new Float64Array(2 * FIRST_CAPACITY)
  /** For each place the next one in its bucket, or the next free one. */
  #next = new Int32Array(FIRST_CAPACITY)
  readonly #items: Happening[] = []
  /** For each place its item's mark, so that it is read where it is at hand. */
  #marks = new Int32Array(FIRST_CAPACITY)
  #free = NONE
  /** Keys and places of what is due soon. */
  #heapKeys = new Float64Array(2 * FIRST_CAPACITY)
  #heap = new Int32Array(FIRST_CAPACITY)
  #heaped = 0
  readonly #buckets = new Int32Array(BUCKETS).fill(NONE)
  /** All buckets before this one, counted from the beginning of time, have been emptied; and it, unless it is on the rung. */
  #cursor = 0
  /** What is left of the bucket at the cursor, if that had many: by parts, of which those up to this one are in the heap. */
  readonly #rung = new Int32Array(RUNG).fill(NONE)
  #rungLeft = 0
  #rungCursor = 0
  #length = 0
  #pushed = 0
  /** Now: when the item that `pop` returned last happens, or later if nothing does until then; ms. */
  time = 0
  /** The mark of what `pop` returned last. */
  mark = 0
  readonly timers = new Timers()

  get length(): number {
    return this.#length
  }

  /** When the next one happens; Infinity when nothing is left. */
  nextTime(): number {
    if (this.#length === 0) return Number.POSITIVE_INFINITY
    if (this.#heaped === 0) this.#refill()
    return this.#heapKeys[0] as number
  }

  /** @param time from 0; at Infinity it never happens @param mark the item's, from whoever knows of what kind it is */
  push(time: number, item: Happening, mark = item.mark): void {
    if (time === Number.POSITIVE_INFINITY) return
    let place = this.#free
    if (place === NONE) {
      place = this.#items.push(item) - 1
      if (place === this.#next.length) this.#grow()
    } else {
      this.#free = this.#next[place] as number
      this.#items[place] = item
    }
    const number = this.#pushed++
    this.#length++
    this.#marks[place] = mark
    this.#keys[2 * place] = time
    this.#keys[2 * place + 1] = number
    const bucket = Math.floor(time / BUCKET_MS)
    if (bucket > this.#cursor) this.#intoBucket(bucket, place)
    else if (this.#rungLeft === 0 || bucket < this.#cursor || !this.#intoRung(time, place))
      this.#intoHeap(time, number, place)
  }

  pop(): Happening | undefined {
    if (this.#length === 0) return undefined
    if (this.#heaped === 0) this.#refill()
    const place = this.#heap[0] as number
    this.time = this.#heapKeys[0] as number
    this.mark = this.#marks[place] as number
    this.#dropFirst()
    this.#length--
    const item = this.#items[place]
    this.#items[place] = NOTHING
    this.#next[place] = this.#free
    this.#free = place
    return item
  }

  #intoBucket(bucket: number, place: number): void {
    const index = Math.min(bucket, this.#cursor + BUCKETS - 1) & (BUCKETS - 1)
    this.#next[place] = this.#buckets[index] as number
    this.#buckets[index] = place
  }

  /** @returns false when its part of the bucket is in the heap already */
  #intoRung(time: number, place: number): boolean {
    const part = Math.floor((time / BUCKET_MS - this.#cursor) * RUNG)
    if (part <= this.#rungCursor) return false
    this.#next[place] = this.#rung[part] as number
    this.#rung[part] = place
    this.#rungLeft++
    return true
  }

  /** Takes what is due next into the heap; there is something. */
  #refill(): void {
    while (this.#heaped === 0) {
      if (this.#rungLeft > 0) this.#takePart()
      else this.#takeBucket()
    }
  }

  #takeBucket(): void {
    const buckets = this.#buckets
    do this.#cursor++
    while (buckets[this.#cursor & (BUCKETS - 1)] === NONE)
    const index = this.#cursor & (BUCKETS - 1)
    let place = buckets[index] as number
    buckets[index] = NONE
    let count = 0
    for (let p = place; p !== NONE && count <= SPREAD; p = this.#next[p] as number) count++
    this.#rungCursor = -1
    while (place !== NONE) {
      const next = this.#next[place] as number
      const time = this.#keys[2 * place] as number
      const bucket = Math.floor(time / BUCKET_MS)
      if (bucket > this.#cursor) this.#intoBucket(bucket, place)
      else if (count > SPREAD) this.#intoRung(time, place)
      else this.#intoHeap(time, this.#keys[2 * place + 1] as number, place)
      place = next
    }
  }

  #takePart(): void {
    const rung = this.#rung
    do this.#rungCursor++
    while (rung[this.#rungCursor] === NONE)
    let place = rung[this.#rungCursor] as number
    rung[this.#rungCursor] = NONE
    while (place !== NONE) {
      const next = this.#next[place] as number
      this.#rungLeft--
      this.#intoHeap(this.#keys[2 * place] as number, this.#keys[2 * place + 1] as number, place)
      place = next
    }
  }

  #intoHeap(time: number, number: number, place: number): void {
    let hole = this.#heaped++
    if (hole === this.#heap.length) this.#growHeap()
    const keys = this.#heapKeys
    const heap = this.#heap
    while (hole > 0) {
      const parent = (hole - 1) >> 2
      const parentTime = keys[2 * parent] as number
      if (parentTime < time || (parentTime === time && (keys[2 * parent + 1] as number) < number)) break
      keys[2 * hole] = parentTime
      keys[2 * hole + 1] = keys[2 * parent + 1] as number
      heap[hole] = heap[parent] as number
      hole = parent
    }
    keys[2 * hole] = time
    keys[2 * hole + 1] = number
    heap[hole] = place
  }

  #dropFirst(): void {
    const keys = this.#heapKeys
    const heap = this.#heap
    const last = --this.#heaped
    if (last === 0) return
    const time = keys[2 * last] as number
    const number = keys[2 * last + 1] as number
    let hole = 0
    for (;;) {
      const child = (hole << 2) + 1
      if (child >= last) break
      let least = child
      let leastTime = keys[2 * child] as number
      const end = Math.min(child + 4, last)
      for (let c = child + 1; c < end; c++) {
        const t = keys[2 * c] as number
        if (
          t < leastTime ||
          (t === leastTime && (keys[2 * c + 1] as number) < (keys[2 * least + 1] as number))
        ) {
          least = c
          leastTime = t
        }
      }
      const leastNumber = keys[2 * least + 1] as number
      if (leastTime > time || (leastTime === time && leastNumber > number)) break
      keys[2 * hole] = leastTime
      keys[2 * hole + 1] = leastNumber
      heap[hole] = heap[least] as number
      hole = least
    }
    keys[2 * hole] = time
    keys[2 * hole + 1] = number
    heap[hole] = heap[last] as number
  }

  #grow(): void {
    const keys = new Float64Array(this.#keys.length * 2)
    const next = new Int32Array(this.#next.length * 2)
    const marks = new Int32Array(this.#next.length * 2)
    marks.set(this.#marks)
    this.#marks = marks
    keys.set(this.#keys)
    next.set(this.#next)
    this.#keys = keys
    this.#next = next
  }

  #growHeap(): void {
    const keys = new Float64Array(this.#heapKeys.length * 2)
    const heap = new Int32Array(this.#heap.length * 2)
    keys.set(this.#heapKeys)
    heap.set(this.#heap)
    this.#heapKeys = keys
    this.#heap = heap
  }
}
