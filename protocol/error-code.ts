/**
 * Why a task ended without a result. A handler may answer with codes of its own; these are the broker's.
 * `retryable` says whether sending the very same task again can help.
 */
export const ErrorCode = {
  /** The queue is full. Retry after the time given. */
  Busy: 'BUSY',
  /** The task's time was up before it was done. */
  Expired: 'EXPIRED',
  /** The broker is leaving: ask another, or the same one after its restart. */
  Draining: 'DRAINING',
  /** Nobody anywhere serves the service, and the client asked to be told at once. */
  NoService: 'NO_SERVICE',
  /** The task's workers died, as often as the broker tries: it probably kills them. */
  Poison: 'POISON',
  /** A task that must not start twice may have run; nobody can say. */
  Unknown: 'UNKNOWN',
  /** The stream broke after its first piece. */
  StreamBroken: 'STREAM_BROKEN',
  /** The body is larger than the broker or the peer takes. */
  TooLarge: 'TOO_LARGE',
  /** The handler threw, or the program exited with a status other than 0. */
  TaskFailed: 'TASK_FAILED',
  /** The client cancelled it. */
  Cancelled: 'CANCELLED',
} as const
export type ErrorCode = (typeof ErrorCode)[keyof typeof ErrorCode]
