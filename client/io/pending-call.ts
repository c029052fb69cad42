import type { Partial } from '../../protocol/record.ts'
import { Call } from '../core/call.ts'
import type { Outcome } from '../core/outcome.ts'

/** A call as the loop knows it: what becomes of it is told to whoever waits. */
export abstract class PendingCall extends Call {
  abstract ended(outcome: Outcome, now: number): void
  abstract piece(piece: Partial): void
}
