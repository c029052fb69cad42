import { decodeMessage } from '../protocol/decode.ts'
import { MessageEncoder } from '../protocol/encode.ts'
import { HIGH_WORD_LIMIT, MAGIC_0, MAGIC_1, MAGIC_2, U32_MAX, WORD } from '../protocol/native.ts'
import {
  EMPTY_BODY,
  Kind,
  type Message,
  type Record,
  RejectReason,
  type Request,
  VERSION_MAJOR,
} from '../protocol/record.ts'
import type { Random } from './random.ts'

/** What kind of nonsense, and what became of it: how often. */
export type NonsenseCounts = Map<string, number>

/** Where it is said: to a socket of a broker, or back to who opened the connection. */
export interface Where {
  readonly socket: 'localfe' | 'localbe' | 'cloudfe' | 'statebe'
  readonly outward: boolean
}

const TEXTS = ['', '\0', 'nobody', 'ж'.repeat(127), '\u{1f4a5}'.repeat(63), 'x'.repeat(255), '__proto__']
const NUMBERS = [0, 1, 2, 255, 65_535, 0x7fff_ffff, U32_MAX]
const BODIES = [EMPTY_BODY, new Uint8Array(1), new Uint8Array(24).fill(0xff), new Uint8Array(5000)]

/** About one task, which is nobody's: whoever is told drops it. */
const ABOUT_A_TASK: ReadonlySet<number> = new Set([
  Kind.Reply,
  Kind.Partial,
  Kind.Credit,
  Kind.Cancel,
  Kind.Pending,
  Kind.Reject,
])
/** What a broker never says to a client, and what of itself is harmless there. */
const TO_A_CLIENT: ReadonlySet<number> = new Set([
  Kind.Request,
  Kind.Ready,
  Kind.State,
  Kind.Audit,
  Kind.Inventory,
  Kind.Heartbeat,
])

/**
 * What no node would say: well-formed records about tasks that were never given, the same with the most absurd fields that
 * fit the wire, octets that have been damaged on their way, and octets that were never a message. All but the first take
 * the way of a real one, through encoder and decoder, and only what comes out of the decoder is said.
 *
 * What a node says of itself is left out where it would be believed (slots, counts, capacity, goodbyes): nobody can keep a promise to
 * those who lie about that.
 */
export class Nonsense {
  readonly #random: Random
  readonly #counts: NonsenseCounts
  readonly #bodyMax: number
  readonly #encoder = new MessageEncoder()

  /** @param counts is added to */
  constructor(random: Random, counts: NonsenseCounts, bodyMax: number) {
    this.#random = random
    this.#counts = counts
    this.#bodyMax = bodyMax
  }

  /** @returns null when the decoder lets nothing through, or nothing that may be said */
  message(from: number, to: number, where: Where): Message | null {
    const random = this.#random
    switch (random.below(4)) {
      case 0:
        return this.#said('plain', { from, to, records: this.#records(false, where) })
      case 1:
        return this.#decoded('absurd', this.#encoded(from, to, where), from, to, where)
      case 2:
        return this.#decoded('damaged', this.#damaged(this.#encoded(from, to, where)), from, to, where)
      default:
        return this.#decoded('octets', [this.#octets()], from, to, where)
    }
  }

  #said(what: string, message: Message): Message {
    this.#count(what)
    return message
  }

  #decoded(
    what: string,
    frames: readonly Uint8Array[],
    from: number,
    to: number,
    where: Where,
  ): Message | null {
    const message = decodeMessage(frames, 0, { bodyMax: this.#bodyMax })
    if ('error' in message) {
      this.#count(`${what}, refused: ${message.error}`)
      return null
    }
    const records = message.records.filter((record) => mayBeSaid(record, where))
    if (records.length < message.records.length) this.#count(`${what}, held back`)
    if (records.length === 0) return null
    const { oversized } = message
    // Another epoch would mean another life of the sender, which is more than nonsense.
    return this.#said(what, { from, to, records, ...(oversized === undefined ? {} : { oversized }) })
  }

  #encoded(from: number, to: number, where: Where): Buffer[] {
    this.#encoder.begin(from, to)
    for (const record of this.#records(true, where)) this.#encoder.add(record)
    // The encoder writes the next message over this one.
    return this.#encoder.finish().map((frame) => Buffer.from(frame))
  }

  /** Octets changed, which often still makes a message; or lost, said twice or made up in the middle, which hardly ever does. */
  #damaged(frames: Buffer[]): Buffer[] {
    const random = this.#random
    const damaged = [...frames]
    for (let times = random.integer(1, 3); times > 0; times--) {
      const which = random.below(damaged.length)
      const frame = damaged[which] ?? Buffer.alloc(0)
      const at = random.below(frame.length + 1)
      switch (random.below(12)) {
        case 0:
          damaged[which] = frame.subarray(0, at)
          break
        case 1:
          damaged[which] = Buffer.concat([
            frame.subarray(0, at),
            this.#octets().subarray(0, 8),
            frame.subarray(at),
          ])
          break
        case 2:
          damaged[which] = Buffer.concat([frame.subarray(0, at), frame.subarray(Math.floor(at / 2))])
          break
        case 3:
          damaged.push(frame)
          break
        default:
          if (at < frame.length) frame[at] = random.pick([0, 1, 0x7f, 0x80, 0xff, random.below(256)]) ?? 0
      }
    }
    return damaged
  }

  /** Half of them begin as a message does, or the decoder would never look further. */
  #octets(): Buffer {
    const random = this.#random
    const octets = Buffer.alloc(random.below(200))
    for (let at = 0; at < octets.length; at++) octets[at] = random.below(256)
    if (random.chance(0.5)) return octets
    const begins = Buffer.from([MAGIC_0, MAGIC_1, MAGIC_2, VERSION_MAJOR])
    begins.copy(octets)
    return octets
  }

  #records(absurd: boolean, where: Where): Record[] {
    const candidates = this.#candidates(absurd, where)
    const records: Record[] = []
    for (let i = 0; i < 3; i++) {
      const record = this.#random.pick(candidates)
      if (record !== undefined) records.push(record)
    }
    return records
  }

  #candidates(absurd: boolean, where: Where): Record[] {
    const random = this.#random
    const number = (usual: number): number => (absurd ? (random.pick(NUMBERS) ?? usual) : usual)
    const text = (usual: string): string => (absurd ? (random.pick(TEXTS) ?? usual) : usual)
    const body = absurd ? (random.pick(BODIES) ?? EMPTY_BODY) : EMPTY_BODY
    const counter = (): number => (absurd && random.chance(0.3) ? (HIGH_WORD_LIMIT - 1) * WORD : number(0))
    const high = absurd && random.chance(0.3) ? HIGH_WORD_LIMIT - 1 : random.below(4)
    const token = high * WORD + random.next32()
    const answer = {
      token,
      attempts: number(1),
      queuedUs: number(0),
      runUs: number(0),
      partials: number(0),
      cluster: text('nowhere'),
      worker: text('nobody'),
      message: text(''),
      body,
    }
    const code = text('')
    const candidates: Record[] = [
      { kind: Kind.Reply, code, retryable: absurd && random.chance(0.5), retryAfterMs: number(0), ...answer },
      {
        kind: Kind.Partial,
        token,
        index: number(0),
        attempt: number(1),
        cluster: text(''),
        worker: text(''),
        body,
      },
      { kind: Kind.Credit, token, upTo: number(1000) },
      { kind: Kind.Cancel, token },
      { kind: Kind.Pending, token, running: true, attempt: number(1), partials: number(0) },
      {
        kind: Kind.Reject,
        token,
        reason: absurd ? (random.pick(Object.values(RejectReason)) ?? 1) : RejectReason.Full,
        free: number(0),
        received: counter(),
        worker: text(''),
      },
    ]
    if (!absurd || where.socket !== 'localfe') return candidates
    if (where.outward) candidates.push(this.#request(token, body, text(''), number(1)))
    else {
      candidates.push(
        { kind: Kind.Ready, slots: number(1), services: [text('')] },
        { kind: Kind.Audit, sent: counter() },
        { kind: Kind.Inventory, received: counter(), tokens: [token, 0] },
        this.#request(token, body, text(''), number(1)),
      )
    }
    return candidates
  }

  /** A task that nobody waits for, of a service that hardly anybody serves: its time is up soon. */
  #request(token: number, body: Uint8Array, service: string, number: number): Request {
    const random = this.#random
    return {
      kind: Kind.Request,
      token,
      id: random.pick(['~', 'x'.repeat(64), `nonsense-${random.next32()}`]) ?? '~',
      attempt: number,
      timeLeftMs: random.below(500),
      priority: random.below(10),
      flags: random.below(256),
      creditUpTo: number,
      service: `nonsense ${service}`.slice(0, 60),
      traceparent: '',
      body,
    }
  }

  #count(what: string): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1)
  }
}

function mayBeSaid({ kind, ...record }: Record, { socket, outward }: Where): boolean {
  if (ABOUT_A_TASK.has(kind)) return true
  if (socket !== 'localfe') return false
  if (!outward) return TO_A_CLIENT.has(kind)
  // A damaged one might last for weeks, or have a worker do what nobody wants.
  return (
    kind === Kind.Request &&
    'service' in record &&
    record.service.startsWith('nonsense') &&
    record.timeLeftMs < 500
  )
}
