/**
 * A token bucket that bounds how much work failures may repeat (Metastable Failures, OSDI 2022: retries keep an
 * overload alive after its cause is gone). New tasks earn a fraction of a redispatch each; a trickle is earned by time,
 * so that a quiet broker still recovers what it lost.
 */
export class RetryBudget {
  readonly #ratio: number
  readonly #burst: number
  readonly #perMs: number
  #tokens: number
  #at: number

  constructor(ratio: number, burst: number, perSecond: number, now: number) {
    this.#ratio = ratio
    this.#burst = burst
    this.#perMs = perSecond / 1000
    this.#tokens = burst
    this.#at = now
  }

  earn(): void {
    if (this.#tokens < this.#burst) this.#tokens = Math.min(this.#burst, this.#tokens + this.#ratio)
  }

  /** Spends one redispatch if there is one. */
  take(now: number): boolean {
    this.#refill(now)
    if (this.#tokens < 1) return false
    this.#tokens -= 1
    return true
  }

  /** When time alone will have earned the next one: a millisecond from now at least, since a caller that is sent to this
   *  very moment for what rounding left over would never get on. */
  nextAt(now: number): number {
    this.#refill(now)
    if (this.#tokens >= 1) return now
    return this.#perMs > 0 ? now + Math.max(1, (1 - this.#tokens) / this.#perMs) : Number.POSITIVE_INFINITY
  }

  #refill(now: number): void {
    if (now <= this.#at) return
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#at) * this.#perMs)
    this.#at = now
  }
}
