/**
 * The state of all directions of all connections, side by side in typed arrays: as objects of their own they were a cache
 * miss or two for each message. A connection has two lanes, neighbours, the first of which leads to whoever accepted it.
 */

/** A direction of a connection: an even number towards the one that accepted it, the next one back. */
export type Lane = number

const FIRST_CAPACITY = 1024

export class Lanes {
  /** For each lane, side by side: when its last message arrives, ms; and how many were sent and not read yet. */
  #numbers = new Float64Array(2 * FIRST_CAPACITY)
  #blocked = new Uint8Array(FIRST_CAPACITY)
  #slow = new Float32Array(FIRST_CAPACITY).fill(1)
  /** First lanes of connections that are no more. */
  readonly #free: Lane[] = []
  #made = 0

  /** @returns the first of two */
  take(): Lane {
    const free = this.#free.pop()
    if (free !== undefined) return free
    const first = this.#made
    this.#made += 2
    if (this.#made > this.#blocked.length) this.#grow()
    return first
  }

  /** Gives back both lanes of a connection: whoever takes them finds them as new. */
  giveBack(first: Lane): void {
    for (const lane of [first, first + 1]) {
      this.reset(lane)
      this.#blocked[lane] = 0
      this.#slow[lane] = 1
    }
    this.#free.push(first)
  }

  /** The connection has begun anew. */
  reset(lane: Lane): void {
    this.#numbers[2 * lane] = 0
    this.#numbers[2 * lane + 1] = 0
  }

  /** When its last message arrives: a later one never arrives before it; ms. */
  lastAt(lane: Lane): number {
    return this.#numbers[2 * lane] as number
  }

  arrives(lane: Lane, at: number): void {
    this.#numbers[2 * lane] = at
  }

  /** Sent and not read yet. */
  pending(lane: Lane): number {
    return this.#numbers[2 * lane + 1] as number
  }

  sent(lane: Lane): void {
    this.#numbers[2 * lane + 1] = (this.#numbers[2 * lane + 1] as number) + 1
  }

  read(lane: Lane): void {
    this.#numbers[2 * lane + 1] = (this.#numbers[2 * lane + 1] as number) - 1
  }

  blocked(lane: Lane): boolean {
    return this.#blocked[lane] === 1
  }

  block(lane: Lane, blocked: boolean): void {
    this.#blocked[lane] = blocked ? 1 : 0
  }

  /** How many times slower than usual it is. */
  slow(lane: Lane): number {
    return this.#slow[lane] as number
  }

  slowDown(lane: Lane, factor: number): void {
    this.#slow[lane] = factor
  }

  #grow(): void {
    const length = 2 * this.#blocked.length
    const numbers = new Float64Array(2 * length)
    numbers.set(this.#numbers)
    this.#numbers = numbers
    const blocked = new Uint8Array(length)
    blocked.set(this.#blocked)
    this.#blocked = blocked
    const slow = new Float32Array(length).fill(1)
    slow.set(this.#slow)
    this.#slow = slow
  }
}
