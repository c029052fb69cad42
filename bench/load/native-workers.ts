/** Worker hosts in the native dialect on bare DEALERs: many slots on one connection, each task answered with its body. */

import { randomInt } from 'node:crypto'
import { Dealer } from 'zeromq'
import { Kind, type Record, Role, VERSION_MAJOR } from '../../protocol/record.ts'
import { drain } from './drain.ts'
import { encodeRecords, PackedMessage, type RecordReader, readPacked, replyTemplate } from './native-wire.ts'
import { say } from './orders.ts'

const [connect = '', hosts = '1', slots = '1', workMs = '0'] = process.argv.slice(2)
const HEARTBEAT_MS = 1000

Error.stackTraceLimit = 0

/** A task that takes time. */
interface Working {
  readonly high: number
  readonly low: number
  readonly body: Buffer
  readonly until: number
}

class Host implements RecordReader {
  readonly #dealer = new Dealer({
    linger: 0,
    sendTimeout: 0,
    sendHighWaterMark: 0,
    receiveHighWaterMark: 0,
  })
  readonly #epoch = randomInt(1, 2 ** 32)
  readonly #name: string
  readonly #message: PackedMessage
  readonly #workMs: number
  /** Ordered by time, since all tasks take the same. */
  #working: Working[] = []
  #timer: NodeJS.Timeout | undefined
  #broker = 0
  #received = 0
  #answered = 0
  /** Tokens taken in this burst, for an inventory in the middle of it. */
  onSignedIn: () => void = () => {}

  constructor(name: string, workMs: number) {
    this.#name = name
    this.#workMs = workMs
    this.#message = new PackedMessage(replyTemplate(name))
    this.#dealer.connect(connect)
    this.#signIn()
    setInterval(() => this.#say([{ kind: Kind.Heartbeat, ask: false, sent: this.#answered }]), HEARTBEAT_MS)
    void drain(
      this.#dealer,
      (frames) => {
        const from = readPacked(frames, this)
        if (this.#broker !== from && this.#broker !== 0) this.#signIn()
        this.#broker = from
      },
      () => this.#flush(),
    )
  }

  #signIn(): void {
    this.#received = 0
    this.#answered = 0
    this.#working = []
    this.#broker = 0
    this.#say([
      {
        kind: Kind.Hello,
        role: Role.Worker,
        name: this.#name,
        epoch: this.#epoch,
        major: VERSION_MAJOR,
        minor: 0,
        heartbeatIntervalMs: HEARTBEAT_MS,
        bodyMax: 1 << 30,
        cloudfe: '',
        statebe: '',
        peers: [],
      },
      { kind: Kind.Ready, slots: Number(slots), services: [''] },
    ])
  }

  #say(records: readonly Record[]): void {
    this.#flush()
    void this.#dealer.send(encodeRecords(this.#epoch, this.#broker, records))
  }

  #flush(): void {
    if (this.#message.count > 0) void this.#dealer.send(this.#message.finish(this.#epoch, this.#broker))
  }

  request(high: number, low: number, body: Buffer, start: number, end: number): void {
    this.#received++
    if (this.#workMs > 0) {
      this.#working.push({
        high,
        low,
        body: body.subarray(start, end),
        until: performance.now() + this.#workMs,
      })
      this.#timer ??= setTimeout(() => this.#finishDue(), this.#workMs)
      return
    }
    this.#answer(high, low, body, start, end)
  }

  #answer(high: number, low: number, body: Buffer, start: number, end: number): void {
    this.#answered++
    this.#message.add(high, low, 0, body, start, end)
    if (this.#message.full) this.#flush()
  }

  #finishDue(): void {
    const now = performance.now()
    let done = 0
    for (const { high, low, body, until } of this.#working) {
      if (until > now) break
      this.#answer(high, low, body, 0, body.length)
      done++
    }
    this.#working.splice(0, done)
    this.#flush()
    const next = this.#working[0]
    this.#timer =
      next === undefined ? undefined : setTimeout(() => this.#finishDue(), Math.ceil(next.until - now))
  }

  reply(): void {
    throw new Error('a worker was sent a reply')
  }

  other(kind: number): void {
    if (kind === Kind.Hello) this.onSignedIn()
    else if (kind === Kind.Disconnect) this.#signIn()
    else if (kind === Kind.Audit) {
      const tokens = this.#working.map(({ high, low }) => high * 2 ** 32 + low)
      this.#say([{ kind: Kind.Inventory, received: this.#received, tokens }])
    }
  }
}

let signedIn = 0
const count = Number(hosts)
for (let n = 0; n < count; n++) {
  const host = new Host(`host-${n}`, Number(workMs))
  host.onSignedIn = () => {
    if (++signedIn === count) say({ type: 'ready' })
  }
}
process.stdin.resume().on('end', () => process.exit(0))
