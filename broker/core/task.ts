import { Flag } from '../../protocol/record.ts'
import type { Assignment } from './assignment.ts'
import type { Client } from './client.ts'
import type { Guest } from './guest.ts'
import type { Service } from './service.ts'
import { Timed } from './timing-wheel.ts'

/** A task from its arrival to its one answer. Its deadline waits in the wheel. */
export class Task extends Timed {
  /** The client's own, the same over all its retries; made here for a stock client's task. */
  readonly id: string
  readonly service: Service
  readonly priority: number
  readonly flags: number
  readonly traceparent: string
  readonly body: Uint8Array
  readonly arrivedAt: number
  deadline: number

  /** Who waits for the answer: exactly one of the two, and the token it gave the task. */
  client: Client | null
  readonly guest: Guest | null
  token: number

  /** Started so often; the number of the current attempt while it runs. */
  starts = 0
  /** Workers that died with it, for the verdict that it kills them. */
  deaths: string[] | null = null
  /** The attempt that counts. */
  current: Assignment | null = null
  /** Attempts given up on that may still answer: whoever answers first wins. */
  abandoned: Assignment[] | null = null
  settled = false

  /** PARTIALs passed on in the current attempt. */
  streamed = 0
  creditUpTo: number

  /** Its entry in the ledger; 0: none. */
  ledgerEntry = 0
  /** The next in the chain of its client's or guest's table. */
  tableNext: Task | null = null

  queued = false
  /** Waits for the retry budget. */
  deferred = false
  queuePrev: Task | null = null
  queueNext: Task | null = null

  constructor(
    id: string,
    service: Service,
    request: {
      readonly priority: number
      readonly flags: number
      readonly traceparent: string
      readonly body: Uint8Array
      readonly creditUpTo: number
      readonly token: number
    },
    client: Client | null,
    guest: Guest | null,
    arrivedAt: number,
    deadline: number,
  ) {
    super()
    this.id = id
    this.service = service
    this.priority = request.priority
    this.flags = request.flags
    this.traceparent = request.traceparent
    this.body = request.body
    this.creditUpTo = request.creditUpTo
    this.token = request.token
    this.client = client
    this.guest = guest
    this.arrivedAt = arrivedAt
    this.deadline = deadline
  }

  get mayStartTwice(): boolean {
    return (this.flags & Flag.NotIdempotent) === 0
  }

  get isStream(): boolean {
    return (this.flags & Flag.Stream) !== 0
  }

  get mayRestartStream(): boolean {
    return (this.flags & Flag.RestartStream) !== 0
  }
}
