/** One address a broker may be reached at. */
export class Endpoint {
  readonly address: string
  /** The broker there is leaving: others are preferred until this time, ms. */
  avoidUntil = 0
  /** Largest body the broker there takes, octets, once it has said so. */
  bodyMax = Number.POSITIVE_INFINITY
  /** What the broker there said when it would not talk to us; empty when it does. */
  refusal = ''
  /** When it said so last, ms. */
  refusedAt = Number.NEGATIVE_INFINITY

  constructor(address: string) {
    this.address = address
  }
}

/** One opened socket, from its opening to its closing. The port keeps what it likes beside it. */
export class Connection {
  readonly endpoint: Endpoint
  readonly openedAt: number
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
    this.openedAt = now
    this.lastHeardAt = now
  }
}
