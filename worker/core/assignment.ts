import type { Request, Token } from '../../protocol/record.ts'
import { Flag } from '../../protocol/record.ts'

/** Why a task ends without a result. */
export interface Failure {
  /** An error code of the protocol, or the handler's own; not empty. */
  readonly code: string
  /** What went wrong and what to do next. */
  readonly message: string
  /** Whether the very same task can succeed when it is sent again. */
  readonly retryable: boolean
}

/** One task that a broker gave to this worker. The shell's own class extends it. */
export class Assignment {
  readonly request: Request
  readonly startedAt: number
  /** Nobody waits for the result after this time, ms. */
  readonly deadlineAt: number
  /** For a stream: pieces with an index below this may be sent. */
  creditUpTo: number
  /** Pieces sent. */
  partials = 0
  /** Why its result is not wanted any more, though it may still run; undefined while it is wanted. */
  stopped: Failure | undefined = undefined
  /** The broker that gave it still expects an answer. */
  expected = true

  constructor(request: Request, now: number) {
    this.request = request
    this.startedAt = now
    this.deadlineAt = now + request.timeLeftMs
    this.creditUpTo = request.creditUpTo
  }

  get token(): Token {
    return this.request.token
  }

  get isStream(): boolean {
    return (this.request.flags & Flag.Stream) !== 0
  }

  get isIdempotent(): boolean {
    return (this.request.flags & Flag.NotIdempotent) === 0
  }

  /** Whether the reader of the stream takes one piece more. */
  get hasCredit(): boolean {
    return this.partials < this.creditUpTo
  }
}
