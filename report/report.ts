/** What a run of the simulator has to show, as plain data: `report.json` is this, and `report.html` is drawn from it. */

/** One figure of the summary. */
export interface Figure {
  readonly label: string
  /** As a person reads it, unit included. */
  readonly value: string
}

/** What is promised, how often it was looked at, and how often it was not kept. */
export interface PromiseKept {
  readonly promise: string
  readonly checked: number
  readonly broken: number
}

/** One thing that went wrong on purpose. Times are ms from the start of the run. */
export interface Fault {
  readonly kind: string
  /** Index into the report's clusters; -1: everywhere. */
  readonly cluster: number
  /** Which worker, client or connection of the cluster; null: no particular one. */
  readonly node: number | null
  /** The other cluster of a partition or a slow link; null: there is none. */
  readonly other: number | null
  readonly fromMs: number
  /** null: it lasted to the end. */
  readonly untilMs: number | null
}

/** How a cluster came back after it had been killed. */
export interface Recovery {
  /** Index into the report's faults. */
  readonly fault: number
  readonly cluster: number
  /** From the kill until it was started again, ms. */
  readonly downMs: number
  /** From there until a task that ran in it was answered, ms; null: none was before it died again, or before the end. */
  readonly againMs: number | null
}

/** Latency of the tasks answered within one bucket, in ms from submission to answer; null where none was. */
export interface LatencySeries {
  readonly p50: readonly (number | null)[]
  readonly p90: readonly (number | null)[]
  readonly p99: readonly (number | null)[]
  readonly max: readonly (number | null)[]
}

/** Latency over the whole run, ms; null where nothing was answered. */
export interface LatencyOverall {
  readonly answered: number
  readonly p50: number | null
  readonly p90: number | null
  readonly p99: number | null
  readonly p999: number | null
  readonly max: number | null
}

/** What changed over time, in buckets of equal width from the start of the run. A last one that has hardly begun is left out. */
export interface Series {
  readonly bucketMs: number
  readonly buckets: number
  /** `[cluster][bucket]`: tasks answered that ran in the cluster they came from. */
  readonly ranAtHome: readonly (readonly number[])[]
  /** `[cluster][bucket]`: tasks answered that ran in this cluster and came from another. */
  readonly ranForOthers: readonly (readonly number[])[]
  /** `[bucket]`: tasks that ended with an error. */
  readonly failed: readonly number[]
  readonly latency: LatencySeries
  readonly latencyOverall: LatencyOverall
  /** `[cluster][bucket]`: slots free on average; null where nobody knew. */
  readonly spare: readonly (readonly (number | null)[])[]
  /** Who lent to whom: `[lender, borrower, tasks]`, clusters by index, pairs with no task left out. */
  readonly loans: readonly (readonly [number, number, number])[]
  readonly recoveries: readonly Recovery[]
  /** Of tasks whose worker died: from its death until the task was started again elsewhere, ms; a sample if there were many. */
  readonly retakenAfterMs: readonly number[]
}

export interface Report {
  /** Goes up when a reader of the former shape would go wrong. */
  readonly format: 1
  readonly title: string
  /** What to type to get this run again. */
  readonly command: string
  readonly seed: number
  readonly version: string
  readonly time: 'virtual' | 'real'
  readonly clusters: readonly string[]
  readonly durationMs: number
  /**
   * When the last tasks were sent, ms, if what was left was then given time to get done. In real time each client sends one more at
   * the end.
   */
  readonly arrivalsUntilMs?: number
  /** null: every promise was kept. Otherwise what was not, in words. */
  readonly breach: string | null
  readonly summary: readonly Figure[]
  readonly promises: readonly PromiseKept[]
  readonly faults: readonly Fault[]
  readonly series: Series
}
