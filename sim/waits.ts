/** Told of each task's first start: of which cluster it is and in which it starts, when it was submitted and when it starts, ms. */
export type StartSink = (cluster: number, ranIn: number, submittedAt: number, startedAt: number) => void

/** Waits of a run's tasks, from submission by the client to the start of the handler. */
export class Waits {
  #ms = new Float64Array(4096)
  #sorted = true
  #count = 0
  #sum = 0
  #elsewhere = 0
  #starts = 0
  readonly #from: number
  readonly #until: number

  /** Only tasks submitted from `from` to before `until` count, ms. */
  constructor(from: number, until: number) {
    this.#from = from
    this.#until = until
  }

  readonly add: StartSink = (cluster, ranIn, submittedAt, startedAt) => {
    if (startedAt >= this.#from && startedAt < this.#until) this.#starts++
    if (submittedAt < this.#from || submittedAt >= this.#until) return
    if (this.#count === this.#ms.length) {
      const larger = new Float64Array(2 * this.#count)
      larger.set(this.#ms)
      this.#ms = larger
    }
    const ms = startedAt - submittedAt
    this.#ms[this.#count++] = ms
    this.#sum += ms
    if (ranIn !== cluster) this.#elsewhere++
    this.#sorted = false
  }

  get count(): number {
    return this.#count
  }

  /** Tasks a second that started in that time, whenever they were submitted. */
  get startsPerSecond(): number {
    return (1000 * this.#starts) / (this.#until - this.#from)
  }

  get meanMs(): number {
    return this.#count === 0 ? 0 : this.#sum / this.#count
  }

  /** Share of the tasks that started in another cluster. */
  get lentShare(): number {
    return this.#count === 0 ? 0 : this.#elsewhere / this.#count
  }

  /** The wait that a share `q` of the tasks does not exceed, ms. */
  percentileMs(q: number): number {
    if (this.#count === 0) return 0
    if (!this.#sorted) this.#ms.subarray(0, this.#count).sort()
    this.#sorted = true
    return this.#ms[Math.min(this.#count - 1, Math.max(0, Math.ceil(q * this.#count) - 1))] ?? 0
  }
}
