import type { Partial, Record } from '../../protocol/record.ts'
import type { Call } from './call.ts'
import type { Connection } from './connection.ts'
import type { Outcome } from './outcome.ts'

/**
 * Everything the client's core does to the world, at one place. The caller carries each out in order; records for one
 * connection that come out in one turn travel as one message. None of these may call back into the core before it has
 * returned.
 */
export interface ClientPort<C extends Call> {
  /** Opens a socket, with a routing id never used before, to the connection's endpoint. */
  open(connection: Connection): void
  /** Closes it; what was not sent yet is dropped. */
  close(connection: Connection): void
  /** Gathers a record; it leaves when the turn ends. What was for a life of the broker that has gone by then may be dropped. */
  send(connection: Connection, record: Record): void
  /** The call has ended. Called exactly once a call, unless it was cancelled. */
  settle(call: C, outcome: Outcome, now: number): void
  /**
   * The next piece of a stream. `call.attempt` says of which attempt: a higher one than before starts over from index
   * 0, and what was not consumed of the earlier one is void.
   */
  partial(call: C, piece: Partial): void
  /** A change of state worth telling. */
  event(event: ClientEvent): void
}

/** Changes of state: never one a task. */
export type ClientEvent =
  | { readonly type: 'connecting'; readonly endpoint: string }
  | { readonly type: 'broker-up'; readonly endpoint: string; readonly epoch: number }
  | {
      readonly type: 'broker-restarted'
      readonly endpoint: string
      readonly epoch: number
      readonly resent: number
    }
  | {
      readonly type: 'broker-silent'
      readonly endpoint: string
      readonly silentMs: number
      readonly resent: number
    }
  | { readonly type: 'broker-leaving'; readonly endpoint: string }
  | { readonly type: 'refused'; readonly endpoint: string; readonly reason: string; readonly message: string }
