import { build, type Histogram } from 'hdr-histogram-js'
import type { Fault, LatencyOverall, Recovery, Series } from './report.ts'

export interface CollectorOptions {
  /** How long the run will take, ms, as far as is known: makes the buckets' width a round number. */
  readonly durationMs?: number
}

/** A fault that has begun, to be handed back when it ends. */
export type FaultHandle = number

const BUCKETS_MAX = 512
/** Of a run of the length that was foreseen; the rest is for what comes after. */
const BUCKETS_WANTED = 128
const USUAL_BUCKET_MS = 250
/** Beyond this a latency counts as this much, µs: one hour. */
const LATENCY_MAX_US = 3_600_000_000
/** Faults that take a whole cluster out of action. */
const KILLS: ReadonlySet<string> = new Set(['cluster', 'broker'])
const RETAKEN_MAX = 10_000

/** Counts of one cluster, a number for each bucket. */
class ClusterSeries {
  readonly name: string
  ranAtHome = new Float64Array(BUCKETS_MAX)
  ranForOthers = new Float64Array(BUCKETS_MAX)
  /** Free slots × ms, and of how many ms that is: their ratio is the mean. */
  spareArea = new Float64Array(BUCKETS_MAX)
  spareMs = new Float64Array(BUCKETS_MAX)
  spare = 0
  /** Since when it has had so much to spare; negative: nobody has said yet. */
  spareSince = -1
  /** Tasks lent, by borrower. */
  readonly lent = new Map<number, number>()
  /** Its recovery under way: since when, and of which fault. */
  recoveringSince = -1
  recoveringFrom = -1

  constructor(name: string) {
    this.name = name
  }
}

interface OpenFault {
  kind: string
  cluster: number
  node: number | null
  other: number | null
  fromMs: number
  untilMs: number | null
}

interface OpenRecovery {
  fault: number
  cluster: number
  downMs: number
  againMs: number | null
}

/**
 * Gathers what a report shows over time, of a run in virtual or real time. Memory depends on the number of clusters and
 * faults, not on the number of tasks: the time is cut into at most 512 buckets, which grow twice as wide when they run out.
 * Times are ms from the start of the run and may not go back by more than a bucket or so.
 */
export class Collector {
  #bucketMs: number
  #buckets = 0
  readonly #clusters: ClusterSeries[] = []
  readonly #failed = new Float64Array(BUCKETS_MAX)
  readonly #latency: (Histogram | null)[] = new Array<Histogram | null>(BUCKETS_MAX).fill(null)
  /** Exact, where the histogram rounds to 1 %. */
  readonly #latencyMax = new Float64Array(BUCKETS_MAX)
  readonly #faults: OpenFault[] = []
  readonly #recoveries: OpenRecovery[] = []
  readonly #retaken: number[] = []

  constructor({ durationMs }: CollectorOptions = {}) {
    this.#bucketMs =
      durationMs === undefined || durationMs <= 0 ? USUAL_BUCKET_MS : roundUp(durationMs / BUCKETS_WANTED)
  }

  /** @returns the cluster's index, by which it goes from here on */
  addCluster(name: string): number {
    return this.#clusters.push(new ClusterSeries(name)) - 1
  }

  /** Width of a bucket as it is now: it may become twice as wide. */
  get bucketMs(): number {
    return this.#bucketMs
  }

  get clusters(): readonly string[] {
    return this.#clusters.map(({ name }) => name)
  }

  get faults(): readonly Fault[] {
    return this.#faults
  }

  /**
   * A task has come to its end at its client.
   * @param latencyMs from submission
   * @param from index of the cluster whose client sent it
   * @param ranIn index of the cluster whose worker answered it
   */
  answered(at: number, latencyMs: number, from: number, ranIn: number): void {
    const bucket = this.#bucketAt(at)
    const cluster = this.#clusters[ranIn]
    if (cluster === undefined) return
    if (ranIn === from) add(cluster.ranAtHome, bucket, 1)
    else {
      add(cluster.ranForOthers, bucket, 1)
      cluster.lent.set(from, (cluster.lent.get(from) ?? 0) + 1)
    }
    let histogram = this.#latency[bucket]
    if (histogram === null || histogram === undefined) {
      histogram = newHistogram()
      this.#latency[bucket] = histogram
    }
    histogram.recordValue(Math.min(LATENCY_MAX_US, Math.max(0, Math.round(latencyMs * 1000))))
    if (latencyMs > (this.#latencyMax[bucket] ?? 0)) this.#latencyMax[bucket] = latencyMs
    if (cluster.recoveringSince >= 0) this.#recovered(cluster, at)
  }

  /** A task has ended with an error, right or wrong. */
  failed(at: number): void {
    add(this.#failed, this.#bucketAt(at), 1)
  }

  /** From now on so many slots of a cluster are free, until the next word about it. */
  spare(at: number, cluster: number, free: number): void {
    const series = this.#clusters[cluster]
    if (series === undefined) return
    this.#bucketAt(at)
    this.#account(series, at)
    series.spare = free
    series.spareSince = at
  }

  /** @returns what ends it */
  faultBegins(
    at: number,
    fault: { kind: string; cluster: number; node?: number | null; other?: number | null },
  ): FaultHandle {
    const { kind, cluster, node = null, other = null } = fault
    const series = this.#clusters[cluster]
    // It has died again before it had recovered: the former recovery stays open for good.
    if (series !== undefined && KILLS.has(kind)) series.recoveringSince = -1
    return this.#faults.push({ kind, cluster, node, other, fromMs: at, untilMs: null }) - 1
  }

  faultEnds(at: number, handle: FaultHandle): void {
    const fault = this.#faults[handle]
    if (fault === undefined || fault.untilMs !== null) return
    fault.untilMs = at
    const series = this.#clusters[fault.cluster]
    if (series === undefined || !KILLS.has(fault.kind)) return
    series.recoveringSince = at
    series.recoveringFrom = this.#recoveries.length
    this.#recoveries.push({
      fault: handle,
      cluster: fault.cluster,
      downMs: at - fault.fromMs,
      againMs: null,
    })
  }

  /** A task whose worker died was started again, so long after the death. */
  retaken(afterMs: number): void {
    if (this.#retaken.length < RETAKEN_MAX) this.#retaken.push(afterMs)
  }

  /** What has been gathered until now. May be called at any time, and again later. */
  series(at: number): Series {
    this.#bucketAt(at)
    for (const series of this.#clusters) this.#account(series, at)
    // A bucket that has hardly begun would look like a collapse at the end of every curve.
    const last = at - (this.#buckets - 1) * this.#bucketMs
    const buckets = this.#buckets > 1 && last < this.#bucketMs / 2 ? this.#buckets - 1 : this.#buckets
    const upTo = (values: Float64Array): number[] => [...values.subarray(0, buckets)]
    const percentile = (which: number): (number | null)[] =>
      this.#latency
        .slice(0, buckets)
        .map((histogram, bucket) =>
          histogram === null ? null : percentileOf(histogram, which, this.#latencyMax[bucket] ?? 0),
        )
    return {
      bucketMs: this.#bucketMs,
      buckets,
      ranAtHome: this.#clusters.map(({ ranAtHome }) => upTo(ranAtHome)),
      ranForOthers: this.#clusters.map(({ ranForOthers }) => upTo(ranForOthers)),
      failed: upTo(this.#failed),
      latency: {
        p50: percentile(50),
        p90: percentile(90),
        p99: percentile(99),
        max: upTo(this.#latencyMax).map((max, bucket) => (this.#latency[bucket] == null ? null : max)),
      },
      latencyOverall: this.#overall(),
      spare: this.#clusters.map(({ spareArea, spareMs }) =>
        upTo(spareArea).map((area, bucket) => {
          const ms = spareMs[bucket] ?? 0
          return ms > 0 ? area / ms : null
        }),
      ),
      loans: this.#clusters.flatMap(({ lent }, lender) =>
        [...lent].map(([borrower, tasks]): [number, number, number] => [lender, borrower, tasks]),
      ),
      recoveries: this.#recoveries.map((recovery): Recovery => ({ ...recovery })),
      retakenAfterMs: [...this.#retaken],
    }
  }

  #overall(): LatencyOverall {
    const all = newHistogram()
    for (const histogram of this.#latency) if (histogram !== null) all.add(histogram)
    const answered = all.totalCount
    const max = this.#latencyMax.reduce((a, b) => Math.max(a, b), 0)
    const at = (which: number): number | null => (answered === 0 ? null : percentileOf(all, which, max))
    return {
      answered,
      p50: at(50),
      p90: at(90),
      p99: at(99),
      p999: at(99.9),
      max: answered === 0 ? null : max,
    }
  }

  #recovered(cluster: ClusterSeries, at: number): void {
    const recovery = this.#recoveries[cluster.recoveringFrom]
    if (recovery !== undefined) recovery.againMs = at - cluster.recoveringSince
    cluster.recoveringSince = -1
  }

  /** Spreads what a cluster has had to spare since its last word over the buckets it lasted. */
  #account(series: ClusterSeries, at: number): void {
    if (series.spareSince < 0) return
    let from = series.spareSince
    while (from < at) {
      const bucket = Math.min(BUCKETS_MAX - 1, Math.floor(from / this.#bucketMs))
      const to = Math.min(at, (bucket + 1) * this.#bucketMs)
      // The edge of a bucket may be rounded to just where we are.
      if (to <= from) break
      add(series.spareArea, bucket, series.spare * (to - from))
      add(series.spareMs, bucket, to - from)
      from = to
    }
    series.spareSince = at
  }

  #bucketAt(at: number): number {
    let bucket = Math.max(0, Math.floor(at / this.#bucketMs))
    while (bucket >= BUCKETS_MAX) {
      this.#widen()
      bucket = Math.floor(at / this.#bucketMs)
    }
    if (bucket >= this.#buckets) this.#buckets = bucket + 1
    return bucket
  }

  /** Two buckets become one. */
  #widen(): void {
    this.#bucketMs *= 2
    this.#buckets = Math.ceil(this.#buckets / 2)
    halve(this.#failed)
    for (const { ranAtHome, ranForOthers, spareArea, spareMs } of this.#clusters)
      for (const values of [ranAtHome, ranForOthers, spareArea, spareMs]) halve(values)
    for (let i = 0; i < BUCKETS_MAX; i++) {
      const [even, odd] = [this.#latency[2 * i] ?? null, this.#latency[2 * i + 1] ?? null]
      if (even !== null && odd !== null) even.add(odd)
      this.#latency[i] = even ?? odd
      this.#latencyMax[i] = Math.max(this.#latencyMax[2 * i] ?? 0, this.#latencyMax[2 * i + 1] ?? 0)
    }
  }
}

function halve(values: Float64Array): void {
  for (let i = 0; i < values.length; i++) values[i] = (values[2 * i] ?? 0) + (values[2 * i + 1] ?? 0)
}

function add(values: Float64Array, index: number, amount: number): void {
  values[index] = (values[index] ?? 0) + amount
}

/** In ms. The histogram's own goes to the upper edge of a step, which may lie beyond the largest value. */
function percentileOf(histogram: Histogram, which: number, max: number): number {
  return Math.min(max, histogram.getValueAtPercentile(which) / 1000)
}

function newHistogram(): Histogram {
  return build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: LATENCY_MAX_US,
    numberOfSignificantValueDigits: 2,
    bitBucketSize: 32,
  })
}

/** The next of 1, 2, 5 times a power of ten. */
function roundUp(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value))
  return ([1, 2, 5].find((factor) => factor * power >= value) ?? 10) * power
}
