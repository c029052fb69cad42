/** More than any body has, and small enough for V8 to keep it in the object itself. */
const BODY_MAX_UNKNOWN = 0x7fff_ffff

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
  requestsSent = 0
  /** Calls that await their answer here, and how many of them are held back. */
  calls = 0
  held = 0
  closed = false

  constructor(endpoint: Endpoint, now: number) {
    this.endpoint = endpoint
    this.bodyMax = endpoint.bodyMax
    this.lastHeardAt = now
  }
}
