/**
 * The state of all directions of all connections, side by side in one typed array: as objects of their own they were a cache
 * miss or two for each message. A connection has two lanes, neighbours, the first of which leads to whoever accepted it:
 * together they fill one cache line.
 */

/** A direction of a connection: an even number towards the one that accepted it, the next one back. */
export type Lane = number

const FIRST_CAPACITY = 1024

/** Where each of a lane's numbers lies, and how many there are. */
const LAST_AT = 0
const PENDING = 1
const SLOW = 2
const BLOCKED = 3
const WIDTH = 4

export class Lanes {
  #numbers = new Float64Array(WIDTH * FIRST_CAPACITY)
  /** First lanes of connections that are no more. */
  readonly #free: Lane[] = []
  #made = 0

  /** @returns the first of two */
  take(): Lane {
    const free = this.#free.pop()
    if (free !== undefined) return free
    const first = this.#made
    this.#made += 2
    if (WIDTH * this.#made > this.#numbers.length) this.#grow()
    this.#renew(first)
    return first
  }

  /** Gives back both lanes of a connection: whoever takes them finds them as new. */
  giveBack(first: Lane): void {
    this.#renew(first)
    this.#free.push(first)
  }

  #renew(first: Lane): void {
    for (const lane of [first, first + 1]) {
      this.reset(lane)
      this.#numbers[WIDTH * lane + BLOCKED] = 0
      this.#numbers[WIDTH * lane + SLOW] = 1
    }
  }

  /** The connection has begun anew. */
  reset(lane: Lane): void {
    this.#numbers[WIDTH * lane + LAST_AT] = 0
    this.#numbers[WIDTH * lane + PENDING] = 0
  }

  /** When its last message arrives: a later one never arrives before it; ms. */
  lastAt(lane: Lane): number {
    return this.#numbers[WIDTH * lane + LAST_AT] as number
  }

  arrives(lane: Lane, at: number): void {
    this.#numbers[WIDTH * lane + LAST_AT] = at
  }

  /** Sent and not read yet. */
  pending(lane: Lane): number {
    return this.#numbers[WIDTH * lane + PENDING] as number
  }

  sent(lane: Lane): void {
    this.#numbers[WIDTH * lane + PENDING] = (this.#numbers[WIDTH * lane + PENDING] as number) + 1
  }

  read(lane: Lane): void {
    this.#numbers[WIDTH * lane + PENDING] = (this.#numbers[WIDTH * lane + PENDING] as number) - 1
  }

  blocked(lane: Lane): boolean {
    return this.#numbers[WIDTH * lane + BLOCKED] === 1
  }

  block(lane: Lane, blocked: boolean): void {
    this.#numbers[WIDTH * lane + BLOCKED] = blocked ? 1 : 0
  }

  /** How many times slower than usual it is. */
  slow(lane: Lane): number {
    return this.#numbers[WIDTH * lane + SLOW] as number
  }

  slowDown(lane: Lane, factor: number): void {
    this.#numbers[WIDTH * lane + SLOW] = factor
  }

  #grow(): void {
    const longer = new Float64Array(2 * this.#numbers.length)
    longer.set(this.#numbers)
    this.#numbers = longer
  }
}
