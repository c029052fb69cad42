/** What a comparison of routing policies has to show, as plain data: `report.json` is this, and `report.html` is drawn from it. */

/** What one policy did with one workload. */
export interface PolicyFigures {
  readonly policy: string
  readonly tasks: number
  /** From the submission by the client to the start of the handler, ms. */
  readonly meanWaitMs: number
  readonly p50WaitMs: number
  readonly p99WaitMs: number
  readonly p999WaitMs: number
  /** Its p99 wait by the yardstick's; null where that is 0 or not known. */
  readonly timesOmniscient: number | null
  /** Share of the tasks that started in another cluster. */
  readonly lentShare: number
  /** Tasks that a peer turned away, as a share of those sent to a peer. */
  readonly rejectShare: number
  /** States sent a second and broker. */
  readonly statesPerSecond: number
  readonly statesPerTask: number
  /** Tasks that started a second, in all clusters. */
  readonly throughput: number
  /** The promise that was broken; then nothing else here counts. */
  readonly breach: string | null
}

/** One value of what is varied, and what everybody did with it. */
export interface ComparedValue {
  readonly value: number
  readonly policies: readonly PolicyFigures[]
}

/** What was varied while everything else stayed as it is in the centre. */
export interface ComparedDimension {
  readonly name: string
  readonly title: string
  /** '' for a number of things. */
  readonly unit: string
  readonly values: readonly ComparedValue[]
}

export interface ComparisonReport {
  readonly format: 1
  readonly title: string
  /** What to type to get the same figures again. */
  readonly command: string
  readonly version: string
  /** The workload in the centre, in sentences. */
  readonly setting: string
  /** The name of the scheduler that knows everything, among the policies. */
  readonly yardstick: string
  readonly dimensions: readonly ComparedDimension[]
}
