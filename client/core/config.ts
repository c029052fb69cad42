/** What the client's core is set up with; read-only after. `client/config.ts` documents the defaults. */
export interface ClientCoreConfig {
  /** What brokers' logs call this client. */
  readonly name: string
  /** Random 32-bit number, never 0, drawn at each start. */
  readonly epoch: number
  /** Addresses of brokers, in the order in which they are tried; at least one. */
  readonly endpoints: readonly string[]
  /** Between questions whether the broker is still there, while anything is outstanding, ms. */
  readonly heartbeatIntervalMs: number
  /** Calls under way at once; beyond it new ones fail with BUSY. At most 2^21. */
  readonly outstandingMax: number
  /** Largest body of an answer, octets. */
  readonly bodyMax: number
}

/** High bits of a token that index the table of calls. */
export const OUTSTANDING_LIMIT = 2 ** 21
