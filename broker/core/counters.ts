/**
 * What the core counts. Plain numbers, added to in place on the way of a task and read when somebody scrapes.
 * All only ever grow.
 */
export class Counters {
  readonly tasksReceived = { client: 0, stock: 0, peer: 0 }
  /** Final answers to clients that were results. */
  tasksSettledOk = 0
  /** Final answers to clients that were errors, by code; foreign codes count as TASK_FAILED. */
  readonly tasksFailed = new Map<string, number>()
  tasksCompletedLocal = 0
  tasksCompletedByPeers = 0
  tasksCompletedForPeers = 0
  /** Started again after a failure, by its cause. */
  readonly redispatched = {
    workerLost: 0,
    peerLost: 0,
    silent: 0,
    inventory: 0,
    undelivered: 0,
    handedBack: 0,
  }
  /** Redispatches that had to wait for the retry budget. */
  redispatchDeferred = 0
  /** Tasks of peers that we turned away, and tasks of ours that peers turned away. */
  rejectsSent = 0
  rejectsReceived = 0
  expiredQueued = 0
  expiredRunning = 0
  busy = 0
  /** A client sent a task that was still here: attached. One just answered: answered again. */
  attached = 0
  answeredAgain = 0
  /** Answers that nobody waited for any more. */
  lateReplies = 0
  repliesUndeliverable = 0
  partialsForwarded = 0
  partialsDropped = 0
  cancelled = 0
  /** Records that were well-formed but out of place, by reason. */
  readonly dropped = new Map<string, number>()

  drop(reason: string): void {
    this.dropped.set(reason, (this.dropped.get(reason) ?? 0) + 1)
  }

  failed(code: string): void {
    this.tasksFailed.set(code, (this.tasksFailed.get(code) ?? 0) + 1)
  }

  /** Final answers to clients, by what they were: `ok` or an error code. */
  get tasksSettled(): ReadonlyMap<string, number> {
    const settled = new Map(this.tasksFailed)
    if (this.tasksSettledOk > 0) settled.set('ok', this.tasksSettledOk)
    return settled
  }
}
