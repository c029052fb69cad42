import type { ErrorCode } from '../../protocol/error-code.ts'
import type { Reply } from '../../protocol/record.ts'

/** How a call ends without an answer from a broker. */
export interface Failure {
  readonly kind: 'failure'
  readonly code: FailureCode
  readonly retryable: boolean
  /** For BUSY: come back after this, ms. */
  readonly retryAfterMs: number
  /** What happened and what to do next. */
  readonly message: string
}

export type FailureCode =
  | typeof ErrorCode.Busy
  | typeof ErrorCode.Unknown
  | typeof ErrorCode.StreamBroken
  | typeof ErrorCode.TooLarge
  | 'TIMEOUT'
  | 'UNAVAILABLE'
  | 'CLOSED'

/** How a call ends: with the broker's last word, whatever its code, or without one. */
export type Outcome = Reply | Failure

export function failure(code: FailureCode, retryable: boolean, message: string, retryAfterMs = 0): Failure {
  return { kind: 'failure', code, retryable, retryAfterMs, message }
}
