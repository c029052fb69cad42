/** What the core counts. Plain numbers that only grow. */
export class ClientCounters {
  /** Calls handed over by the application. */
  submitted = 0
  succeeded = 0
  /** Ended with an error, by its code; handlers' own codes count as TASK_FAILED. */
  readonly failed = new Map<string, number>()
  cancelled = 0
  /** REQUESTs in all, and how many of them were not the first for their call. */
  requestsSent = 0
  requestsResent = 0
  /** BUSY and DRAINING answers that the client waited out by itself. */
  turnedAway = 0
  partials = 0
  connectionsOpened = 0
  brokerRestarts = 0
  /** Records for calls that have ended: late, repeated or not ours. */
  late = 0
  /** Well-formed but out of place, by reason. */
  readonly dropped = new Map<string, number>()

  drop(reason: string): void {
    this.dropped.set(reason, (this.dropped.get(reason) ?? 0) + 1)
  }

  fail(code: string): void {
    this.failed.set(code, (this.failed.get(code) ?? 0) + 1)
  }
}
