import { RecordOctets } from '../../protocol/octets.ts'
import { EMPTY_BODY, Flag, type Request } from '../../protocol/record.ts'
import type { Assignment } from './assignment.ts'
import type { Client } from './client.ts'
import type { Guest } from './guest.ts'
import type { Service } from './service.ts'
import { Timed } from './timing-wheel.ts'

/** What a task is made of, as it comes: a REQUEST, or what stands for a stock client's. */
export type TaskFields = Pick<
  Request,
  'id' | 'priority' | 'flags' | 'traceparent' | 'body' | 'creditUpTo' | 'token' | 'octets'
>

/** A task from its arrival to its one answer. Its deadline waits in the wheel. */
export class Task extends Timed {
  readonly service: Service
  readonly priority: number
  readonly flags: number
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

  /** What is passed on as it came; null where the task came as an object. */
  readonly octets: RecordOctets | null
  readonly #fields: TaskFields | null

  constructor(
    service: Service,
    fields: TaskFields,
    client: Client | null,
    guest: Guest | null,
    arrivedAt: number,
    deadline: number,
  ) {
    super()
    this.service = service
    this.priority = fields.priority
    this.flags = fields.flags
    this.creditUpTo = fields.creditUpTo
    this.token = fields.token
    this.client = client
    this.guest = guest
    this.arrivedAt = arrivedAt
    this.deadline = deadline
    if (fields.octets === undefined) {
      this.octets = null
      this.#fields = fields
    } else {
      this.octets = new RecordOctets()
      this.octets.copy(fields.octets)
      this.#fields = null
    }
  }

  /** The client's own, the same over all its retries; made here for a stock client's task. */
  get id(): string {
    return this.octets?.id ?? this.#fields?.id ?? ''
  }

  /** The same, in whichever form it is at hand. */
  get key(): string | RecordOctets {
    return this.octets ?? this.#fields?.id ?? ''
  }

  /** @param key an id, in either form */
  hasId(key: string | RecordOctets): boolean {
    if (typeof key === 'string' || this.octets === null)
      return this.id === (typeof key === 'string' ? key : key.id)
    return this.octets.hasIdOf(key)
  }

  get traceparent(): string {
    return this.octets?.traceparent ?? this.#fields?.traceparent ?? ''
  }

  get body(): Uint8Array {
    return this.octets?.body ?? this.#fields?.body ?? EMPTY_BODY
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
