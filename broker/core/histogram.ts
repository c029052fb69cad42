/** Upper bounds of the buckets, seconds: half a millisecond to two minutes, the range a task can live in. */
export const TIME_BUCKETS = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120,
] as const

const MS_MAX = 2 ** 31 - 1

/** By the length in bits of a time's whole milliseconds: the bucket of the shortest such time, hardly ever two before its own. */
const FIRST_BUCKET = Uint8Array.from({ length: 32 }, (_, bits) => {
  const shortest = bits === 0 ? 0 : 2 ** (bits - 1) / 1000
  const bucket = TIME_BUCKETS.findIndex((bound) => shortest <= bound)
  return bucket < 0 ? TIME_BUCKETS.length : bucket
})

/** Counts of times by bucket. A plain array to add to on the way of a task; whoever scrapes makes a metric of it. */
export class Histogram {
  /** One a bucket and one for what is beyond the last; not cumulative. */
  readonly counts = new Float64Array(TIME_BUCKETS.length + 1)
  sumSeconds = 0

  observeMs(ms: number): void {
    const seconds = ms / 1000
    const bits = ms > 0 ? 32 - Math.clz32(Math.min(ms, MS_MAX)) : 0
    let bucket = FIRST_BUCKET[bits] ?? 0
    while (bucket < TIME_BUCKETS.length && seconds > (TIME_BUCKETS[bucket] ?? 0)) bucket++
    this.counts[bucket] = (this.counts[bucket] ?? 0) + 1
    this.sumSeconds += seconds
  }
}

/** Where a task's time went, for tasks that ran here and for tasks that ran at a peer. */
export class Timings {
  readonly queued = { local: new Histogram(), peer: new Histogram() }
  readonly run = { local: new Histogram(), peer: new Histogram() }
  readonly total = { local: new Histogram(), peer: new Histogram() }
}
