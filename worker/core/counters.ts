/** What the core counts. Plain numbers that only grow. */
export class WorkerCounters {
  /** Tasks started, by how they ended. */
  started = 0
  succeeded = 0
  failed = 0
  expired = 0
  cancelled = 0
  /** Turned away: no slot was free, or the worker was leaving. */
  rejected = 0
  /** Handed back unfinished on leaving. */
  handedBack = 0
  /** Results that nobody waits for any more, since the broker that gave the task is gone. */
  orphaned = 0
  /** Results and pieces that could not be kept while no broker was there. */
  answersDropped = 0
  partials = 0
  connectionsOpened = 0
  brokerChanges = 0
  /** Tasks of which the broker says that it sent more than arrived. */
  requestsLost = 0
  /** Records and messages that were well-formed but out of place, by reason. */
  readonly dropped = new Map<string, number>()

  drop(reason: string): void {
    this.dropped.set(reason, (this.dropped.get(reason) ?? 0) + 1)
  }
}
