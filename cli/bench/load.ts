import { build, type Histogram } from 'hdr-histogram-js'

export interface LoadTerms {
  /** Closed loop: tasks outstanding at all times. */
  readonly outstanding: number
  /** Open loop: tasks a second, due at even distances whatever becomes of those before; 0: closed loop. */
  readonly rate: number
  /** Time before the window opens, ms. */
  readonly warmupMs: number
  /** Length of the window, ms. */
  readonly measureMs: number
}

/** Whoever carries the tasks away. Answers and failures come back through `answered` and `failed`. */
export interface LoadPort {
  /** Sends a task. `slot` is a small integer, free again once it is answered; with `sequence` it names the task. */
  issue(slot: number, sequence: number): void
  /** All that is due for now has been issued. */
  flush(): void
  /** The window opens, or closes. */
  opened(): void
  closed(): void
}

export interface LoadResult {
  /** Length of the window. */
  readonly seconds: number
  /** Answers within the window. */
  readonly tasks: number
  readonly failed: number
  /** Not answered within {@link DRAIN_MS} of the window's close, or never sent for want of slots. */
  readonly lost: number
  /** Tenths of a microsecond. Closed loop: of what was answered within the window. Open loop: of what was due within it. */
  readonly latency: Histogram
  /** Open loop: how late tasks were sent, tenths of a microsecond. It is part of `latency`. */
  readonly late: Histogram
}

export const UNITS_PER_MS = 10_000
/** Longest latency told apart, in the histogram's units: beyond it there are only "very long" ones. */
const LATENCY_MAX = 2 ** 31 - 1
/** After the window what is outstanding may still be answered for as long. */
const DRAIN_MS = 10_000
/** Tasks under way at once with a rate; what comes on top of it is lost, and says so. */
const SLOTS_MAX = 1 << 20
const TICK_MS = 1

export function newHistogram(): Histogram {
  return build({
    bitBucketSize: 32,
    lowestDiscernibleValue: 1,
    highestTrackableValue: LATENCY_MAX,
    numberOfSignificantValueDigits: 3,
  })
}

export function recordMs(histogram: Histogram, ms: number): void {
  histogram.recordValue(Math.max(1, Math.min(LATENCY_MAX, Math.round(ms * UNITS_PER_MS))))
}

/**
 * One run of load: a closed loop for throughput, or an open loop for latency. In the open loop a task's time counts from
 * when it was due, so that a stall of the system, or of the generator, is charged to every task it held up (no coordinated
 * omission; Gil Tene's term).
 */
export class Load {
  /** Fulfilled when the window is closed and everything was answered or given up. */
  readonly done: Promise<LoadResult>
  readonly #terms: LoadTerms
  readonly #port: LoadPort
  readonly #latency = newHistogram()
  readonly #late = newHistogram()
  /** By slot: when it was due, and the sequence number under way or 0. */
  readonly #due: Float64Array
  readonly #sequences: Uint32Array
  readonly #free: number[] = []
  readonly #startedAt = performance.now()
  #finish: (result: LoadResult) => void = () => {}
  #timer: NodeJS.Timeout | undefined
  #slotsMade = 0
  #outstanding = 0
  #issued = 0
  #sequence: number
  #phase: 'warmup' | 'open' | 'closed' | 'ended' = 'warmup'
  #openAt: number
  #closeAt: number
  #tasks = 0
  #failed = 0
  #lost = 0

  /** @param firstSequence above those of earlier runs, so that late answers to them match nothing */
  constructor(terms: LoadTerms, port: LoadPort, firstSequence = 1) {
    const slots = terms.rate > 0 ? SLOTS_MAX : terms.outstanding
    this.#terms = terms
    this.#port = port
    this.#due = new Float64Array(slots)
    this.#sequences = new Uint32Array(slots)
    this.#sequence = firstSequence
    this.#openAt = this.#startedAt + terms.warmupMs
    this.#closeAt = this.#openAt + terms.measureMs
    this.done = new Promise((resolve) => {
      this.#finish = resolve
    })
    if (terms.rate === 0) {
      for (let n = 0; n < terms.outstanding; n++) this.#issue(performance.now())
      port.flush()
    }
    this.#timer = setTimeout(() => this.#tick(), TICK_MS)
  }

  /** The sequence number that the next run may start from. */
  get nextSequence(): number {
    return this.#sequence
  }

  /** @returns false when nobody waits for it: a wrong answer, or one that was given twice */
  answered(slot: number, sequence: number, now: number): boolean {
    if (sequence === 0 || this.#sequences[slot] !== sequence) return false
    const due = this.#due[slot] ?? 0
    if (this.#phase === 'open') {
      this.#tasks++
      if (this.#terms.rate === 0) recordMs(this.#latency, now - due)
    }
    if (this.#terms.rate > 0 && due >= this.#openAt && due < this.#closeAt) {
      recordMs(this.#latency, now - due)
    }
    this.#settled(slot)
    return true
  }

  failed(slot: number, sequence: number): void {
    if (this.#sequences[slot] !== sequence) return
    this.#failed++
    this.#settled(slot)
  }

  #settled(slot: number): void {
    this.#sequences[slot] = 0
    this.#free.push(slot)
    this.#outstanding--
    if (this.#phase === 'closed') {
      if (this.#outstanding === 0) this.#end()
    } else if (this.#terms.rate === 0) this.#issue(performance.now())
  }

  #issue(due: number): void {
    let slot = this.#free.pop()
    if (slot === undefined) {
      if (this.#slotsMade === this.#sequences.length) {
        this.#lost++
        return
      }
      slot = this.#slotsMade++
    }
    const sequence = this.#sequence
    this.#sequence = sequence === 0xffff_ffff ? 1 : sequence + 1
    this.#due[slot] = due
    this.#sequences[slot] = sequence
    this.#outstanding++
    this.#port.issue(slot, sequence)
  }

  #tick(): void {
    const { rate, measureMs } = this.#terms
    let now = performance.now()
    if (this.#phase === 'warmup' && now >= this.#openAt) {
      // In the open loop it is known beforehand which tasks count, so there the window stays where it is.
      if (rate === 0) {
        this.#openAt = now
        this.#closeAt = now + measureMs
      }
      this.#phase = 'open'
      this.#port.opened()
    }
    if (rate > 0 && this.#phase !== 'closed') {
      for (;;) {
        const due = this.#startedAt + (this.#issued * 1000) / rate
        if (due > now || due >= this.#closeAt) break
        this.#issued++
        if (due >= this.#openAt) recordMs(this.#late, now - due)
        this.#issue(due)
      }
      this.#port.flush()
      now = performance.now()
    }
    if (this.#phase === 'open' && now >= this.#closeAt) {
      if (rate === 0) this.#closeAt = now
      this.#phase = 'closed'
      this.#port.closed()
      if (this.#outstanding === 0) {
        this.#end()
        return
      }
    }
    if (this.#phase === 'closed') {
      this.#timer = setTimeout(() => this.#giveUp(), DRAIN_MS)
      return
    }
    const nextEdge = this.#phase === 'warmup' ? this.#openAt : this.#closeAt
    this.#timer = setTimeout(() => this.#tick(), rate > 0 ? TICK_MS : Math.max(0, nextEdge - now))
  }

  #giveUp(): void {
    this.#lost += this.#outstanding
    this.#end()
  }

  #end(): void {
    if (this.#phase === 'ended') return
    this.#phase = 'ended'
    clearTimeout(this.#timer)
    this.#finish({
      seconds: (this.#closeAt - this.#openAt) / 1000,
      tasks: this.#tasks,
      failed: this.#failed,
      lost: this.#lost,
      latency: this.#latency,
      late: this.#late,
    })
  }
}
