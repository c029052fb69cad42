/** What the worker's core is set up with; read-only after. `worker/config.ts` documents the defaults. */
export interface WorkerCoreConfig {
  /** What brokers' logs and clients' replies call this worker. */
  readonly name: string
  /** Random 32-bit number, never 0, drawn at each start. */
  readonly epoch: number
  /** The localbe of each broker, in the order in which they are tried; at least one. */
  readonly endpoints: readonly string[]
  /** Tasks at once. */
  readonly slots: number
  readonly services: readonly string[]
  /** Between heartbeats, ms. */
  readonly heartbeatIntervalMs: number
  /** Intervals of silence after which the broker counts as gone. */
  readonly liveness: number
  /** Pause before a broker that is gone is tried again: doubles from the first to the second, ms. */
  readonly reconnectMinMs: number
  readonly reconnectMaxMs: number
  /** Largest task taken, octets. */
  readonly bodyMax: number
  /** Answers kept while no broker can be reached, octets. */
  readonly keptMax: number
}
