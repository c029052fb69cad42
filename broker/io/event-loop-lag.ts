import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks'

const RESOLUTION_MS = 10

/** How late timers are, beyond the sampling interval itself: what everything in this process has to wait for its turn. */
export class EventLoopLag {
  readonly #delays: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS })

  start(): void {
    this.#delays.enable()
  }

  stop(): void {
    this.#delays.disable()
  }

  /** Since the last call, seconds. */
  take(): { readonly p50: number; readonly p99: number; readonly max: number } {
    const seconds = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - RESOLUTION_MS) / 1000
    // An empty histogram's percentiles are not 0.
    const lag =
      this.#delays.max === 0
        ? { p50: 0, p99: 0, max: 0 }
        : {
            p50: seconds(this.#delays.percentile(50)),
            p99: seconds(this.#delays.percentile(99)),
            max: seconds(this.#delays.max),
          }
    this.#delays.reset()
    return lag
  }
}
