/**
 * What the reactor and the simulator see of every state machine: time goes in, effects come out through the port the
 * machine was built with. Inputs differ by machine, so they are methods of each. All times are milliseconds on a clock
 * that never goes back; no machine has a socket, a clock or randomness of its own.
 */
export interface Machine {
  /** Does whatever is due. A call too many does nothing. */
  timeout(now: number): void
  /** When `timeout` must be called next; Infinity when nothing is waiting. May be early, never late. */
  nextTimeout(): number
}
