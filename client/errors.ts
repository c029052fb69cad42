import { ErrorCode } from '../protocol/error-code.ts'
import type { Outcome } from './core/outcome.ts'

/** What all errors of a task say. `retryable`: whether sending the very same task again can help. */
export class SpillwayError extends Error {
  override readonly name: string = 'SpillwayError'
  readonly code: string
  readonly retryable: boolean
  readonly taskId: string
  /** Cluster and worker that had the task last; empty when it never ran or nobody said. */
  readonly cluster: string
  readonly worker: string
  /** Starts of the task; 0 when it never ran or nobody said. */
  readonly attempts: number
  /** BUSY and DRAINING: come back after this, ms; 0 otherwise. */
  readonly retryAfterMs: number

  constructor(taskId: string, outcome: Outcome) {
    super(outcome.message === '' ? `the task ended with ${outcome.code}` : outcome.message)
    this.code = outcome.code
    this.retryable = outcome.retryable
    this.taskId = taskId
    this.retryAfterMs = outcome.retryAfterMs
    const ran = outcome.kind === 'failure' ? undefined : outcome
    this.cluster = ran?.cluster ?? ''
    this.worker = ran?.worker ?? ''
    this.attempts = ran?.attempts ?? 0
  }
}

/** No answer within the tries or the deadline. The task may have run, or still run. Code TIMEOUT. */
export class TimeoutError extends SpillwayError {
  override readonly name = 'TimeoutError'
}

/** No broker was ever heard at any endpoint, or it refuses this client. Code UNAVAILABLE. */
export class UnavailableError extends SpillwayError {
  override readonly name = 'UnavailableError'
}

/** The broker's queue is full, it is leaving, or this client has too much outstanding. Codes BUSY and DRAINING. */
export class BusyError extends SpillwayError {
  override readonly name = 'BusyError'
}

/** The handler failed: its own code, or TASK_FAILED; its message, `cluster` and `worker`. */
export class TaskError extends SpillwayError {
  override readonly name = 'TaskError'
}

/** Every worker that was given the task died: it probably kills them. Code POISON. */
export class PoisonError extends SpillwayError {
  override readonly name = 'PoisonError'
}

/** A task with `idempotent: false` may or may not have run, and nobody can say. Code UNKNOWN. */
export class UnknownError extends SpillwayError {
  override readonly name = 'UnknownError'
}

/** Nobody anywhere serves the service, and `failFast` was set. Code NO_SERVICE. */
export class NoServiceError extends SpillwayError {
  override readonly name = 'NoServiceError'
}

/** The broker gave up on the task because its time was over. Code EXPIRED. */
export class ExpiredError extends SpillwayError {
  override readonly name = 'ExpiredError'
}

/** A stream lost its worker or one of its pieces. Code STREAM_BROKEN. */
export class StreamBrokenError extends SpillwayError {
  override readonly name = 'StreamBrokenError'
}

/** The body is larger than the broker, or the answer larger than this client, takes. Code TOO_LARGE. */
export class TooLargeError extends SpillwayError {
  override readonly name = 'TooLargeError'
}

/** The client was closed, before the task or while it was under way. Code CLOSED. */
export class ClosedError extends SpillwayError {
  override readonly name = 'ClosedError'
}

/** The error for a call that did not end with a result. */
export function errorOf(taskId: string, outcome: Outcome): SpillwayError {
  return new (classOf(outcome))(taskId, outcome)
}

function classOf({ kind, code }: Outcome): typeof SpillwayError {
  switch (code) {
    // Of an answer they are a handler's own.
    case 'TIMEOUT':
      return kind === 'failure' ? TimeoutError : TaskError
    case 'UNAVAILABLE':
      return kind === 'failure' ? UnavailableError : TaskError
    case 'CLOSED':
      return kind === 'failure' ? ClosedError : TaskError
    case ErrorCode.Busy:
    case ErrorCode.Draining:
      return BusyError
    case ErrorCode.Expired:
      return ExpiredError
    case ErrorCode.NoService:
      return NoServiceError
    case ErrorCode.Poison:
      return PoisonError
    case ErrorCode.Unknown:
      return UnknownError
    case ErrorCode.StreamBroken:
      return StreamBrokenError
    case ErrorCode.TooLarge:
      return TooLargeError
    default:
      return TaskError
  }
}
