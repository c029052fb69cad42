/**
 * Peers of a broker, many in one process, that say all that brokers say to each other and lend and borrow nothing: HELLO both
 * ways, heartbeats both ways, states both ways. Among each other they do not speak, as that is no cost of the broker's.
 */

import { randomInt } from 'node:crypto'
import { Dealer, Publisher, Router, Subscriber } from 'zeromq'
import { Kind, type Record, Role, VERSION_MAJOR } from '../../protocol/record.ts'
import { drain } from './drain.ts'
import { encodeRecords, type RecordReader, readPacked } from './native-wire.ts'
import { say } from './orders.ts'

const [cloudfe = '', statebe = '', count = '1', stateIntervalMs = '500'] = process.argv.slice(2)
const HEARTBEAT_MS = 500
const SLOTS = 64

class Peer implements RecordReader {
  readonly #name: string
  readonly #epoch = randomInt(1, 2 ** 32)
  readonly #cloudfe = new Router({ linger: 0, sendTimeout: 0, handover: true })
  readonly #cloudbe: Dealer
  readonly #statebe = new Publisher({ linger: 0, sendTimeout: 0 })
  readonly #statefe = new Subscriber({ linger: 0 })
  readonly #onKnown: () => void
  #broker = 0
  #seq = 0

  constructor(name: string, onKnown: () => void) {
    this.#name = name
    this.#onKnown = onKnown
    this.#cloudbe = new Dealer({ linger: 0, sendTimeout: 0, routingId: name })
  }

  async open(): Promise<void> {
    await this.#cloudfe.bind('tcp://127.0.0.1:*')
    await this.#statebe.bind('tcp://127.0.0.1:*')
    this.#cloudbe.connect(cloudfe)
    this.#statefe.connect(statebe)
    this.#statefe.subscribe()
    void drain(
      this.#cloudbe,
      (frames) => {
        this.#broker = readPacked(frames, this)
      },
      () => {},
    )
    void drain(
      this.#cloudfe,
      ([id, ...frames]) => {
        if (id === undefined) return
        const from = readPacked(frames, this)
        const answer: Record[] = this.#greeted ? [this.#hello()] : []
        if (this.#asked) answer.push({ kind: Kind.Heartbeat, ask: false, sent: 0 })
        this.#greeted = this.#asked = false
        if (answer.length > 0) void this.#cloudfe.send([id, ...encodeRecords(this.#epoch, from, answer)])
      },
      () => {},
    )
    void this.#readStates()
    void this.#cloudbe.send(encodeRecords(this.#epoch, 0, [this.#hello()]))
    // At different moments, as brokers that were started at different moments.
    setTimeout(() => setInterval(() => this.#beat(), HEARTBEAT_MS), randomInt(HEARTBEAT_MS))
    const interval = Number(stateIntervalMs)
    setTimeout(() => setInterval(() => this.#publish(), interval), randomInt(interval))
  }

  #greeted = false
  #asked = false

  async #readStates(): Promise<void> {
    for await (const _ of this.#statefe) {
      // A real peer would decode it; that is its cost, not the publisher's.
    }
  }

  #hello(): Record {
    return {
      kind: Kind.Hello,
      role: Role.Broker,
      name: this.#name,
      epoch: this.#epoch,
      major: VERSION_MAJOR,
      minor: 0,
      heartbeatIntervalMs: HEARTBEAT_MS,
      bodyMax: 1 << 20,
      cloudfe: this.#cloudfe.lastEndpoint ?? '',
      statebe: this.#statebe.lastEndpoint ?? '',
      peers: [],
    }
  }

  #beat(): void {
    if (this.#broker === 0) return
    void this.#cloudbe.send(
      encodeRecords(this.#epoch, this.#broker, [{ kind: Kind.Heartbeat, ask: true, sent: 0 }]),
    )
  }

  #publish(): void {
    void this.#statebe.send(
      encodeRecords(this.#epoch, 0, [
        {
          kind: Kind.State,
          name: this.#name,
          epoch: this.#epoch,
          seq: this.#seq++,
          draining: false,
          inFlight: 0,
          queueDepth: 0,
          cloudfe: this.#cloudfe.lastEndpoint ?? '',
          services: [{ service: '', free: SLOTS, total: SLOTS, queued: 0 }],
          received: [],
        },
      ]),
    )
  }

  request(): void {
    throw new Error('a task was lent to a peer, which spoils a measurement of local tasks')
  }

  reply(): void {
    throw new Error('a peer that lends nothing was sent a reply')
  }

  other(kind: number): void {
    if (kind === Kind.Hello) {
      this.#greeted = true
      this.#onKnown()
    } else if (kind === Kind.Heartbeat) this.#asked = true
  }
}

let known = 0
const total = Number(count)
for (let n = 0; n < total; n++) {
  let first = true
  const peer = new Peer(`peer-${n}`, () => {
    if (!first) return
    first = false
    if (++known === total) say({ type: 'ready' })
  })
  await peer.open()
}
process.stdin.resume().on('end', () => process.exit(0))
