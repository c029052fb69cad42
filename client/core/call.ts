import type { Token } from '../../protocol/record.ts'
import { Flag } from '../../protocol/record.ts'
import type { Connection } from './connection.ts'
import { Timed } from './deadline-wheel.ts'

/** Where a call stands. */
export const Phase = {
  /** Not handed over yet, or ended. */
  Idle: 0,
  /** Sent; an answer is awaited. */
  Sent: 1,
  /** Must not be sent before the broker at the other end is known to be there, and which life of it. */
  Held: 2,
  /** Turned away (BUSY, DRAINING); sent again when the time given is over. */
  Waiting: 3,
} as const
export type Phase = (typeof Phase)[keyof typeof Phase]

/** What the caller wants done, and how long it may take. */
export interface CallTerms {
  /** Random id, at most 56 octets: a restarted stream appends to it. */
  readonly id: string
  readonly body: Uint8Array
  readonly service: string
  readonly priority: number
  /** Bits of {@link Flag}. */
  readonly flags: number
  readonly traceparent: string
  /** Silence about this task after which it is sent again, ms. */
  readonly timeoutMs: number
  /** Tries in all that may go unanswered in a row, from 1. */
  readonly retries: number
  /** Time after which nobody wants the answer, ms from the start. */
  readonly deadlineMs: number
  /** For a stream: pieces that may be on their way at once. */
  readonly window: number
}

/** One task on its way: what is asked, and how far it has come. The shell's own class extends it. */
export class Call extends Timed {
  readonly body: Uint8Array
  readonly service: string
  readonly priority: number
  readonly flags: number
  readonly traceparent: string
  readonly timeoutMs: number
  readonly retries: number
  readonly window: number
  readonly deadlineMs: number
  /** What the application knows it by. */
  readonly taskId: string
  /** The id it travels under: the same over all retries; a restarted stream is another task to the broker. */
  id: string

  phase: Phase = Phase.Idle
  token: Token = -1
  startedAt = 0
  deadlineAt = 0
  connection: Connection | undefined = undefined
  /** How often it has been sent in all. */
  sends = 0
  /** Sends in a row that nothing about it was heard of since. */
  tries = 0
  /** What its connection had heard in all when it was sent. */
  heardBefore = 0
  /** Epoch of the broker that may have it; 0: none that we know of. */
  sentToEpoch = 0

  /** Streams: the attempt being read, as the consumer sees it; its next piece; how many the consumer has taken. */
  attempt = 0
  nextIndex = 0
  taken = 0
  /** Streams: pieces below this index may be sent. */
  granted: number
  /** Streams: how often it was begun anew, and the attempts that came before. */
  restarts = 0
  attemptsBefore = 0

  constructor(terms: CallTerms) {
    super()
    this.taskId = terms.id
    this.id = terms.id
    this.body = terms.body
    this.service = terms.service
    this.priority = terms.priority
    this.flags = terms.flags
    this.traceparent = terms.traceparent
    this.timeoutMs = terms.timeoutMs
    this.retries = terms.retries
    this.deadlineMs = terms.deadlineMs
    this.window = terms.window
    this.granted = terms.window
  }

  get streams(): boolean {
    return (this.flags & Flag.Stream) !== 0
  }

  get mayRestart(): boolean {
    return (this.flags & Flag.RestartStream) !== 0
  }

  get mayRunTwice(): boolean {
    return (this.flags & Flag.NotIdempotent) === 0
  }

  /** Whether it matters which broker, in which life, it is sent to again. */
  get isChoosy(): boolean {
    return (this.flags & Flag.NotIdempotent) !== 0 || this.nextIndex > 0
  }
}
