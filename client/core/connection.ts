import { BODY_MAX_UNKNOWN, type Token } from '../../protocol/record.ts'

/** One address a broker may be reached at. */
export class Endpoint {
  readonly address: string
  /** The broker there is leaving: others are preferred until this time, ms. */
  avoidUntil = 0
  /** Largest body the broker there takes, octets, once it has said so. */
  bodyMax = BODY_MAX_UNKNOWN
  /** What the broker there said when it would not talk to us; empty when it does. */
  refusal = ''
  /** When it said so last, ms. */
  refusedAt = Number.NEGATIVE_INFINITY

  constructor(address: string) {
    this.address = address
  }
}

/** A CANCEL that may have been lost: a connection may break, and be made again, with neither end being told. */
export interface Cancelled {
  readonly token: Token
  /** The life of the broker that has the call; 0: whichever was there when it came. */
  readonly epoch: number
  /** The first question that it was sent with: once this one or a later one is answered, it has come. */
  readonly question: number
}

/** So many cancelled calls are remembered. What is lost of others costs a slot until their time is over. */
const CANCELLED_MAX = 1024

/** So many questions are asked for the sake of cancelled calls alone: a broker that answers none of them is gone for long. */
const INSISTENCE = 5

/** One opened socket, from its opening to its closing. */
export class Connection {
  readonly endpoint: Endpoint
  /** The port's own: what it keeps of the connection. */
  outbox: unknown = undefined
  /** As the endpoint has it, where every call looks. */
  bodyMax: number
  /** Epoch of the broker at the other end, 0 until heard: goes into the header of every message. */
  epoch = 0
  /** The epoch before, whose late messages mean nothing any more. */
  formerEpoch = 0
  /** Messages heard in all, and when the last came. */
  heard = 0
  lastHeardAt: number
  /** The last HEARTBEAT that asked for one, counted from 1 and never anew: its answer names it. */
  asked = 0
  /** The last that was answered. */
  answered = 0
  /** Oldest first; null: none. */
  cancelled: Cancelled[] | null = null
  /** Questions that may still be asked though no call waits for an answer. */
  #insistence = 0
  /** Calls that await their answer here, and how many of them are held back. */
  calls = 0
  held = 0
  closed = false

  constructor(endpoint: Endpoint, now: number) {
    this.endpoint = endpoint
    this.bodyMax = endpoint.bodyMax
    this.lastHeardAt = now
  }

  /**
   * A CANCEL has been sent: it goes with each question from now on.
   *
   * @param epoch to which life of the broker the call was sent; 0: before any was known
   */
  remember(token: Token, epoch: number): void {
    this.cancelled ??= []
    if (this.cancelled.length === CANCELLED_MAX) this.cancelled.shift()
    this.cancelled.push({ token, epoch, question: this.asked + 1 })
    this.#insistence = INSISTENCE
  }

  /**
   * Whether a cancelled call is reason enough for a question. Not to a broker that was never heard: nothing says that it is
   * there.
   */
  get insists(): boolean {
    return this.cancelled !== null && this.#insistence > 0 && this.epoch !== 0 && !this.closed
  }

  /** One of its questions is about to be asked. */
  insist(): void {
    this.#insistence--
  }

  /**
   * A question has been answered: what was sent with it has come.
   *
   * @param named 0: the broker does not say which. It may be any from the next one on, and counts as that.
   */
  answer(named: number): void {
    const question = named === 0 ? this.answered + 1 : named
    if (question <= this.answered || question > this.asked) return
    this.answered = question
    if (this.cancelled === null) return
    this.cancelled = this.cancelled.filter((one) => one.question > question)
    if (this.cancelled.length === 0) this.cancelled = null
  }

  /** The broker is another one: it knows nothing of what the one before was asked and told, but it may have what was sent to neither. */
  startAnew(): void {
    this.answered = this.asked
    if (this.cancelled === null) return
    const question = this.asked + 1
    const anybodys = this.cancelled.filter(({ epoch }) => epoch === 0)
    this.cancelled = anybodys.length === 0 ? null : anybodys.map((one) => ({ ...one, question }))
    this.#insistence = INSISTENCE
  }
}
