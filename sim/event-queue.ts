/**
 * What is going to happen, in order of time; what happens at the same time, in the order it was scheduled. What is due soon is
 * in a 4-ary heap so small that it stays in the processor's first cache; what is due later waits unsorted in a ring of buckets
 * (a calendar queue: Brown, CACM 1988), each of which is opened when its time has come.
 *
 * Where nothing that happens in one cluster can be felt in another before a bucket's time is over, what is in it happens one
 * cluster after the other: the same as if all were done in order of time, since none of them can tell, but a cluster's memory
 * is fetched once a bucket and not once an event (the bounded lag of Lubachevsky, CACM 1989, used for the cache and not for
 * many processors). A bucket with something in it that concerns more than one cluster happens strictly in order; if it is
 * crowded, it is spread over a rung of finer ones, as in a ladder queue (Tang, Goh and Thng, TOMACS 2005): when a thousand
 * brokers tell each other something at once, a million things happen within ten milliseconds.
 *
 * All but the items themselves lies in typed arrays, side by side for each bucket, and an item is never moved.
 */

/** Something that happens at a moment of virtual time. */
export interface Happening {
  /** Identifies its kind and place in the run's hash: the same in every run of a seed. */
  readonly mark: number
  /** @param at virtual time, ms */
  happen(at: number): void
}

/** In place of the number of the one cluster that something concerns. */
export const EVERYBODY = -1

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

/** A bucket takes what is due within so long, ms: at most that, or that where clusters cannot be told apart. */
const BUCKET_MS = 4
const UNDIVIDED_BUCKET_MS = 0.25
/** Shorter ones would hold too little to be worth their opening. */
const BUCKET_MIN_MS = 1 / 64
/** A bucket in strict order with more than so many is spread over a rung of its own before any of it joins the heap. */
const SPREAD = 256
/** Parts of a bucket on that rung, a power of two. */
const RUNG = 2048
/** Buckets in the ring; what is due later than that waits in the last one and is looked at again then. */
const BUCKETS = 16_384
/** A bucket's places come in runs of so many. */
const CHUNK = 64
const FIRST_CHUNKS = 64
const NONE = -1
/** In place of an owner: what was here is elsewhere now. */
const MOVED = -2

/** The simulator has told its queue of a longer lookahead than it keeps to: nobody's fault within the run. */
export class LookaheadError extends Error {
  override readonly name = 'LookaheadError'
}

const NOTHING: Happening = { mark: 0, happen: () => {} }

/** A power of two, so that no rounding puts anything out of order. */
function widthOf(lookaheadMs: number): number {
  if (lookaheadMs < BUCKET_MIN_MS) return UNDIVIDED_BUCKET_MS
  return Math.min(BUCKET_MS, 2 ** Math.floor(Math.log2(lookaheadMs)))
}

export class EventQueue {
  readonly #widthMs: number
  readonly #perMs: number
  /** Whether clusters may be told apart. */
  readonly #divides: boolean
  /** For each place: when it is due, and its number in the order of scheduling. */
  #keys = new Float64Array(2 * CHUNK * FIRST_CHUNKS)
  readonly #items: Happening[] = []
  /** For each place the cluster that its item concerns. */
  #owners = new Int32Array(CHUNK * FIRST_CHUNKS)
  /** For each place the next one in its part of the rung. */
  #next = new Int32Array(CHUNK * FIRST_CHUNKS)
  /** For each chunk: how many of its places were given out, and the one before it in its bucket, or the next free one. */
  #given = new Int32Array(FIRST_CHUNKS)
  #before = new Int32Array(FIRST_CHUNKS)
  #chunks = 0
  #freeChunk = NONE
  /** The last chunk of each bucket. */
  readonly #buckets = new Int32Array(BUCKETS).fill(NONE)
  /** Whether there is something in it that concerns more than one cluster. */
  readonly #shared = new Uint8Array(BUCKETS)
  /** The bucket that is open, counted from the beginning of time: all before it have been emptied. */
  #cursor = 0
  /** Keys and places of what is due soon. */
  #heapKeys = new Float64Array(2 * CHUNK * FIRST_CHUNKS)
  #heap = new Int32Array(CHUNK * FIRST_CHUNKS)
  #heaped = 0
  /** What is left of the open bucket, if it is in strict order and had many: by parts, of which those up to this one are in the heap. */
  readonly #rung = new Int32Array(RUNG).fill(NONE)
  #rungLeft = 0
  #rungCursor = 0
  /** What was in the open bucket, if it is not: keys and places by clusters, where each one's end, and whose turn is next. */
  #sortedKeys = new Float64Array(2 * CHUNK)
  #sorted = new Int32Array(CHUNK)
  #ends = new Int32Array(16)
  #turn = 0
  /** Whose turn it is in the open bucket; EVERYBODY: it is in strict order. */
  #owner = EVERYBODY
  #length = 0
  #pushed = 0
  /** Now: when the item that `pop` returned last happens, or later if nothing does until then; ms. */
  time = 0
  readonly timers = new Timers()

  /**
   * @param lookaheadMs what happens in one cluster is felt in another no sooner than after so long; 0: at once, and everything
   * happens strictly in order
   */
  constructor(lookaheadMs = 0) {
    this.#widthMs = widthOf(lookaheadMs)
    this.#perMs = 1 / this.#widthMs
    this.#divides = lookaheadMs >= this.#widthMs
  }

  get length(): number {
    return this.#length
  }

  /** All that was due before has happened, and of what is due later nothing but what is due soon after; ms. */
  get horizon(): number {
    return this.#cursor * this.#widthMs
  }

  /**
   * @param time from 0; at Infinity it never happens @param owner the cluster that it concerns, counted from 0, or EVERYBODY
   * @throws LookaheadError what happens in one cluster is felt in another too soon
   */
  push(time: number, item: Happening, owner = EVERYBODY): void {
    if (time === Number.POSITIVE_INFINITY) return
    const bucket = Math.floor(time * this.#perMs)
    const number = this.#pushed++
    this.#length++
    if (bucket > this.#cursor) {
      this.#putInto(bucket, time, number, item, owner)
      return
    }
    if (owner !== this.#owner && this.#owner !== EVERYBODY) this.#tooSoon(time, owner)
    const place = this.#put(this.#cursor & (BUCKETS - 1), time, number, item, owner)
    if (this.#rungLeft === 0 || bucket < this.#cursor || !this.#intoRung(time, place))
      this.#intoHeap(time, number, place)
  }

  /**
   * The next that happens; undefined when nothing does until then.
   * @param until ms; less than in the call before only if that returned undefined
   */
  pop(until = Number.POSITIVE_INFINITY): Happening | undefined {
    if (this.#heaped === 0 && !this.#refill(until)) return undefined
    const time = this.#heapKeys[0] as number
    if (time > until) return undefined
    const place = this.#heap[0] as number
    this.time = time
    this.#dropFirst()
    this.#length--
    const item = this.#items[place]
    this.#items[place] = NOTHING
    return item
  }

  #tooSoon(time: number, owner: number): never {
    throw new LookaheadError(
      `cluster ${this.#owner} has scheduled something for ${owner === EVERYBODY ? 'everybody' : `cluster ${owner}`} at ${time} ms, which may be over there`,
    )
  }

  /** It waits in its bucket, or in the last one if the ring is too short for that. */
  #putInto(bucket: number, time: number, number: number, item: Happening, owner: number): void {
    const index = Math.min(bucket, this.#cursor + BUCKETS - 1) & (BUCKETS - 1)
    if (owner === EVERYBODY) this.#shared[index] = 1
    this.#put(index, time, number, item, owner)
  }

  /** @returns its place, the next one of the bucket */
  #put(index: number, time: number, number: number, item: Happening, owner: number): number {
    let chunk = this.#buckets[index] as number
    if (chunk === NONE || this.#given[chunk] === CHUNK) chunk = this.#takeChunk(index)
    const place = chunk * CHUNK + (this.#given[chunk] as number)
    this.#given[chunk] = (this.#given[chunk] as number) + 1
    this.#items[place] = item
    this.#owners[place] = owner
    if (owner >= this.#ends.length)
      this.#ends = longer(this.#ends, Math.max(2 * this.#ends.length, owner + 1))
    this.#keys[2 * place] = time
    this.#keys[2 * place + 1] = number
    return place
  }

  #takeChunk(index: number): number {
    let chunk = this.#freeChunk
    if (chunk === NONE) {
      chunk = this.#chunks++
      if (chunk === this.#before.length) this.#grow()
      for (let i = 0; i < CHUNK; i++) this.#items.push(NOTHING)
    } else this.#freeChunk = this.#before[chunk] as number
    this.#given[chunk] = 0
    this.#before[chunk] = this.#buckets[index] as number
    this.#buckets[index] = chunk
    return chunk
  }

  /** @returns false when its part of the bucket is in the heap already */
  #intoRung(time: number, place: number): boolean {
    const part = Math.floor((time * this.#perMs - this.#cursor) * RUNG)
    if (part <= this.#rungCursor) return false
    this.#next[place] = this.#rung[part] as number
    this.#rung[part] = place
    this.#rungLeft++
    return true
  }

  /** Takes what is due next into the heap. @returns false when nothing is due until then */
  #refill(until: number): boolean {
    while (this.#heaped === 0) {
      if (this.#rungLeft > 0) this.#takePart()
      else if (this.#owner !== EVERYBODY) this.#takeTurn()
      else if (this.#length === 0 || !this.#open(until)) return false
    }
    return true
  }

  /** @returns false when there is none to be opened until then */
  #open(until: number): boolean {
    const buckets = this.#buckets
    let bucket = this.#cursor + 1
    while (buckets[bucket & (BUCKETS - 1)] === NONE) bucket++
    if (bucket * this.#widthMs > until) return false
    this.#giveBack(this.#cursor & (BUCKETS - 1))
    this.#cursor = bucket
    const index = bucket & (BUCKETS - 1)
    if (this.#divides && this.#shared[index] === 0 && (bucket + 1) * this.#widthMs <= until)
      this.#divide(index)
    else this.#order(index)
    return true
  }

  /** All that was in a bucket has happened. */
  #giveBack(index: number): void {
    let chunk = this.#buckets[index] as number
    this.#buckets[index] = NONE
    while (chunk !== NONE) {
      const before = this.#before[chunk] as number
      this.#before[chunk] = this.#freeChunk
      this.#freeChunk = chunk
      chunk = before
    }
  }

  /** By clusters: a counting sort, so that what each has lies side by side. */
  #divide(index: number): void {
    const ends = this.#ends.fill(0)
    const first = this.#buckets[index] as number
    let count = 0
    for (let chunk = first; chunk !== NONE; chunk = this.#before[chunk] as number) {
      const end = chunk * CHUNK + (this.#given[chunk] as number)
      for (let place = chunk * CHUNK; place < end; place++) {
        const owner = this.#owners[place] as number
        if (this.#putOff(place, owner)) this.#owners[place] = MOVED
        else {
          ends[owner] = (ends[owner] as number) + 1
          count++
        }
      }
    }
    if (count > this.#sorted.length) {
      this.#sortedKeys = new Float64Array(4 * count)
      this.#sorted = new Int32Array(2 * count)
    }
    // Where each begins: when all is in its place, that will be where it ends.
    let begin = 0
    for (let owner = 0; owner < ends.length; owner++) {
      const own = ends[owner] as number
      ends[owner] = begin
      begin += own
    }
    for (let chunk = first; chunk !== NONE; chunk = this.#before[chunk] as number) {
      const end = chunk * CHUNK + (this.#given[chunk] as number)
      for (let place = chunk * CHUNK; place < end; place++) {
        const owner = this.#owners[place] as number
        if (owner === MOVED) continue
        const slot = ends[owner] as number
        ends[owner] = slot + 1
        this.#sorted[slot] = place
        this.#sortedKeys[2 * slot] = this.#keys[2 * place] as number
        this.#sortedKeys[2 * slot + 1] = this.#keys[2 * place + 1] as number
      }
    }
    this.#turn = 0
    this.#owner = 0
  }

  /** Strictly in order of time. */
  #order(index: number): void {
    this.#shared[index] = 0
    let count = 0
    for (let chunk = this.#buckets[index] as number; chunk !== NONE; chunk = this.#before[chunk] as number)
      count += this.#given[chunk] as number
    this.#rungCursor = -1
    for (let chunk = this.#buckets[index] as number; chunk !== NONE; chunk = this.#before[chunk] as number) {
      const end = chunk * CHUNK + (this.#given[chunk] as number)
      for (let place = chunk * CHUNK; place < end; place++) {
        if (this.#putOff(place, this.#owners[place] as number)) continue
        const time = this.#keys[2 * place] as number
        if (count > SPREAD) this.#intoRung(time, place)
        else this.#intoHeap(time, this.#keys[2 * place + 1] as number, place)
      }
    }
  }

  /** @returns true for what had waited here since the ring was too short for it: it goes where it belongs, or waits again */
  #putOff(place: number, owner: number): boolean {
    const time = this.#keys[2 * place] as number
    const bucket = Math.floor(time * this.#perMs)
    if (bucket === this.#cursor) return false
    const number = this.#keys[2 * place + 1] as number
    this.#putInto(bucket, time, number, this.#items[place] ?? NOTHING, owner)
    this.#items[place] = NOTHING
    return true
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

  /** What the next cluster has in the open bucket joins the heap, or all have had their turn. */
  #takeTurn(): void {
    const ends = this.#ends
    if (this.#turn === ends.length) {
      this.#owner = EVERYBODY
      return
    }
    const turn = this.#turn++
    this.#owner = turn
    const end = ends[turn] as number
    for (let slot = turn === 0 ? 0 : (ends[turn - 1] as number); slot < end; slot++)
      this.#intoHeap(
        this.#sortedKeys[2 * slot] as number,
        this.#sortedKeys[2 * slot + 1] as number,
        this.#sorted[slot] as number,
      )
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
    const chunks = 2 * this.#before.length
    const keys = new Float64Array(2 * CHUNK * chunks)
    keys.set(this.#keys)
    this.#keys = keys
    this.#owners = longer(this.#owners, CHUNK * chunks)
    this.#next = longer(this.#next, CHUNK * chunks)
    this.#given = longer(this.#given, chunks)
    this.#before = longer(this.#before, chunks)
  }

  #growHeap(): void {
    const keys = new Float64Array(this.#heapKeys.length * 2)
    keys.set(this.#heapKeys)
    this.#heapKeys = keys
    this.#heap = longer(this.#heap, this.#heap.length * 2)
  }
}

function longer(numbers: Int32Array<ArrayBuffer>, length: number): Int32Array<ArrayBuffer> {
  const copy = new Int32Array(length)
  copy.set(numbers)
  return copy
}
