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

/**
 * A task from its arrival to its one answer. Its deadline waits in the wheel. The object outlives it, and is another task's
 * after it ({@link TaskPool}).
 */
export class Task extends Timed {
  service: Service
  priority = 0
  flags = 0
  arrivedAt = 0
  deadline = 0

  /** Who waits for the answer: exactly one of the two, and the token it gave the task. */
  client: Client | null = null
  guest: Guest | null = null
  token = 0

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
  creditUpTo = 0

  /** Its entry in the ledger; 0: none. */
  ledgerEntry = 0
  /** The next in the chain of its client's or guest's table. */
  tableNext: Task | null = null

  queued = false
  /** Waits for the retry budget. */
  deferred = false
  queuePrev: Task | null = null
  queueNext: Task | null = null
  poolNext: Task | null = null

  /** What is passed on as it came; null where the task came as an object. */
  octets: RecordOctets | null = null
  #fields: TaskFields | null = null
  #octets: RecordOctets | null = null

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
    this.begin(service, fields, client, guest, arrivedAt, deadline)
  }

  begin(
    service: Service,
    fields: TaskFields,
    client: Client | null,
    guest: Guest | null,
    arrivedAt: number,
    deadline: number,
  ): void {
    this.service = service
    this.priority = fields.priority
    this.flags = fields.flags
    this.arrivedAt = arrivedAt
    this.deadline = deadline
    this.client = client
    this.guest = guest
    this.token = fields.token
    this.starts = 0
    this.deaths = null
    this.current = null
    this.abandoned = null
    this.settled = false
    this.streamed = 0
    this.creditUpTo = fields.creditUpTo
    this.ledgerEntry = 0
    this.queueNext = null
    if (fields.octets === undefined) this.#fields = fields
    else {
      this.#octets ??= new RecordOctets()
      this.#octets.copy(fields.octets)
      this.octets = this.#octets
    }
  }

  /** Lets go of what it holds. It stays settled: for all who still know it it is over. */
  end(): void {
    this.settled = true
    this.client = null
    this.guest = null
    this.deaths = null
    this.octets?.clear()
    this.octets = null
    this.#fields = null
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
