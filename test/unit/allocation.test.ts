/**
 * How much memory a packed task takes out of the broker's heap on its way through, and what of it stays: what the garbage
 * collector has to do decides how fast a broker is, and how even. A guard on speed that no slow machine can trip.
 */

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import {
  encodeRecords,
  PackedMessage,
  type RecordReader,
  readPacked,
  replyTemplate,
  requestTemplate,
} from '../../bench/load/native-wire.ts'
import { Broker } from '../../broker/core/broker.ts'
import { Outbox } from '../../broker/io/outbox.ts'
import { decodePacked } from '../../protocol/decode.ts'
import { Kind, Role } from '../../protocol/record.ts'
import { aHello, CONFIG, lottery } from '../core/broker-rig.ts'

setFlagsFromString('--expose-gc')
const collectGarbage: () => void = runInNewContext('gc')

const BROKER_EPOCH = 1
const CLIENT_EPOCH = 2
const HOST_EPOCH = 3
const SLOTS = 64
/** Tasks sent at once; twice what the host has slots for, so that half of them wait in line. */
const BURST = 2 * SLOTS
const BODY = Buffer.alloc(64, 'x')

/** A broker with its codec, a client and a worker host, and nothing between them. */
class Loop implements RecordReader {
  answered = 0
  readonly #requests = new PackedMessage(requestTemplate('abcdefghijklm', 60_000))
  readonly #replies = new PackedMessage(replyTemplate('host'))
  readonly #outbox = new Outbox(BROKER_EPOCH, (_link, [, ...frames]) => this.#sent.push(frames))
  readonly #broker = new Broker(
    { ...CONFIG, queueMax: BURST, repliesMax: 100_000, repliesBytesMax: 1 << 30 },
    {
      send: (link, record) => this.#outbox.add(link, record),
      publish: () => {},
      connectPeer: () => {},
      disconnectPeer: () => {},
      subscribe: () => {},
      unsubscribe: () => {},
      event: () => {},
      drained: () => {},
    },
    BROKER_EPOCH,
    lottery(1),
    0,
  )
  #sent: Uint8Array[][] = []
  #sequence = 0

  constructor() {
    const hello = aHello({ role: Role.Worker, name: 'host', epoch: HOST_EPOCH })
    this.#receive(
      'localbe',
      encodeRecords(HOST_EPOCH, 0, [hello, { kind: Kind.Ready, slots: SLOTS, services: [''] }]),
    )
  }

  get answersKept(): number {
    return this.#broker.scheduler.ledger.answered
  }

  /** Has so many tasks done, a burst at a time. */
  run(tasks: number): void {
    for (const until = this.answered + tasks; this.answered < until; ) {
      for (let n = 0; n < BURST; n++) {
        this.#sequence++
        this.#requests.add(n, this.#sequence, this.#sequence, BODY, 0, BODY.length)
      }
      this.#receive('localfe', this.#requests.finish(CLIENT_EPOCH, BROKER_EPOCH))
      do this.#carry()
      while (this.#sent.length > 0)
    }
  }

  /** Takes what the broker has sent to whom it is for, and what a host makes of it back to the broker. */
  #carry(): void {
    const sent = this.#sent
    this.#sent = []
    for (const frames of sent) readPacked(frames.map(Buffer.from), this)
    if (this.#replies.count > 0) this.#receive('localbe', this.#replies.finish(HOST_EPOCH, BROKER_EPOCH))
  }

  #receive(socket: 'localfe' | 'localbe', frames: Buffer[]): void {
    const message = decodePacked(frames, 0, { bodyMax: 1 << 20 })
    if ('error' in message) throw new Error(message.error)
    this.#broker[socket](socket, message, 0)
    this.#outbox.flush()
  }

  request(high: number, low: number, body: Buffer, start: number, end: number): void {
    this.#replies.add(high, low, 0, body, start, end)
  }

  reply(_high: number, _low: number, ok: boolean): void {
    if (!ok) throw new Error('a task failed')
    this.answered++
  }

  other(): void {}
}

/** Octets that are alive on the heap. */
function heapAfterCollection(): number {
  collectGarbage()
  collectGarbage()
  return process.memoryUsage().heapUsed
}

test('a packed task takes less than a kilobyte of the heap on its way through', () => {
  const loop = new Loop()
  loop.run(20_000)
  const octets: number[] = []
  for (let n = 0; n < 5; n++) {
    const before = heapAfterCollection()
    // Few enough that nothing is collected meanwhile.
    loop.run(10 * BURST)
    octets.push((process.memoryUsage().heapUsed - before) / (10 * BURST))
  }
  octets.sort((a, b) => a - b)
  const median = octets[2] ?? 0
  // About 200 once the compiler is done with it, 600 before, of which the load here takes 150. The lower bound tells whether
  // anything was measured.
  expect(median).toBeGreaterThan(50)
  expect(median).toBeLessThan(1000)
})

test('an answer that is kept takes next to nothing of the heap, however many there are', () => {
  const loop = new Loop()
  loop.run(10_000)
  const before = heapAfterCollection()
  const keptBefore = loop.answersKept
  loop.run(20_000)
  const kept = loop.answersKept - keptBefore
  expect(kept).toBeGreaterThanOrEqual(20_000)
  // As objects they took about 400 octets each, and every collection had to walk them.
  expect((heapAfterCollection() - before) / kept).toBeLessThan(40)
})
