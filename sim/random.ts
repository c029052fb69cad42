import { xoroshiro128plusFromState } from 'pure-rand/generator/xoroshiro128plus'

const TWO_32 = 0x1_0000_0000

/**
 * One stream of random numbers for one purpose. A run draws every kind of thing from a stream of its own, so that a draw
 * more in one place (a worker killed, say) does not change what happens in another (when tasks arrive).
 */
export class Random {
  readonly #generator: ReturnType<typeof xoroshiro128plusFromState>

  /** @param seed an integer from 0 to 2^53 - 1 @param purpose any text; another text, another stream */
  constructor(seed: number, purpose: string) {
    let hash = 0x811c9dc5
    for (let i = 0; i < purpose.length; i++) {
      hash = Math.imul(hash ^ purpose.charCodeAt(i), 0x01000193)
    }
    let state = (hash ^ seed) | 0
    const high = Math.floor(seed / TWO_32) | 0
    // splitmix32: neighbouring seeds must not give neighbouring states.
    const word = (): number => {
      state = (state + 0x9e3779b9) | 0
      let z = state ^ Math.imul(high, 0x85ebca6b)
      z = Math.imul(z ^ (z >>> 16), 0x21f0aaad)
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
      return z ^ (z >>> 15)
    }
    this.#generator = xoroshiro128plusFromState([word(), word(), word(), word() | 1])
    for (let i = 0; i < 8; i++) this.#generator.next()
  }

  /** An integer from 0 to 2^32 - 1. */
  next32(): number {
    return this.#generator.next() >>> 0
  }

  /** In [0, 1). */
  uniform(): number {
    return (this.#generator.next() >>> 0) / TWO_32
  }

  between(low: number, high: number): number {
    return low + this.uniform() * (high - low)
  }

  /** As likely to double as to halve: for parameters that span orders of magnitude. */
  logBetween(low: number, high: number): number {
    return low * Math.exp(this.uniform() * Math.log(high / low))
  }

  /** An integer from 0 to `count` - 1. */
  below(count: number): number {
    return Math.floor(this.uniform() * count)
  }

  integer(low: number, high: number): number {
    return low + this.below(high - low + 1)
  }

  chance(probability: number): boolean {
    return this.uniform() < probability
  }

  exponential(mean: number): number {
    return -Math.log(1 - this.uniform()) * mean
  }

  /** Of mean 0 and deviation 1 (Box and Muller, 1958). */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.uniform())) * Math.cos(2 * Math.PI * this.uniform())
  }

  /** Heavy-tailed with the given mean; `shape` above 1, the lower the heavier. */
  pareto(mean: number, shape: number): number {
    return ((mean * (shape - 1)) / shape) * (1 - this.uniform()) ** (-1 / shape)
  }

  pick<T>(items: readonly T[]): T | undefined {
    return items[this.below(items.length)]
  }
}
