import { describe, expect, onTestFinished, test } from 'vitest'
import { Dealer } from 'zeromq'
import { Client } from '../../client/main.ts'
import { decodeMessage } from '../../protocol/decode.ts'
import { MessageEncoder } from '../../protocol/encode.ts'
import { Kind, type Request, Role, VERSION_MAJOR } from '../../protocol/record.ts'
import { plainWorker } from '../plain-worker.ts'
import { eventually } from '../reactor-rig.ts'
import { BrokerProcess, type BrokerReport } from './broker-process.ts'

const MIB = 1 << 20

async function broker(settings: BrokerProcess['settings'] = {}): Promise<BrokerProcess> {
  return await new BrokerProcess(settings).start()
}

async function free(broker: BrokerProcess, slots: number): Promise<void> {
  await eventually(async () => expect((await broker.report()).free).toBe(slots))
}

function client(broker: BrokerProcess): Client {
  const client = new Client({ connect: broker.endpoints.localfe, timeoutMs: 20_000, retries: 1 })
  onTestFinished(() => client.close())
  return client
}

/** What a broker holds on to, octets: everything but the pages that the allocators keep for themselves. */
function held({ memory }: BrokerReport): number {
  return memory.heapUsed + memory.external
}

function expectNothingUnderWay(report: BrokerReport): void {
  for (const [table, entries] of Object.entries(report.tables)) expect(entries, table).toBe(0)
}

const encoder = new MessageEncoder()

/** A client's first words and one task, as one message. */
function oneTask(id: string, body: Uint8Array, timeLeftMs = 10_000): Uint8Array[] {
  encoder.begin(1, 0)
  encoder.add({
    kind: Kind.Hello,
    role: Role.Client,
    name: id,
    epoch: 1,
    major: VERSION_MAJOR,
    minor: 0,
    heartbeatIntervalMs: 1000,
    bodyMax: 1 << 30,
    cloudfe: '',
    statebe: '',
    peers: [],
  })
  encoder.add(request(0, id, body, timeLeftMs))
  return encoder.finish()
}

function request(token: number, id: string, body: Uint8Array, timeLeftMs: number): Request {
  return {
    kind: Kind.Request,
    token,
    id,
    attempt: 1,
    timeLeftMs,
    priority: 4,
    flags: 0,
    creditUpTo: 0,
    service: '',
    traceparent: '',
    body,
  }
}

test('the memory of a broker does not grow from 200,000 tasks to a million', {
  timeout: 120_000,
}, async () => {
  const west = await broker()
  for (let host = 0; host < 4; host++)
    plainWorker(west.endpoints.localbe, { slots: 250, name: `host-${host}` })
  await free(west, 1000)
  const west1 = client(west)
  const body = Buffer.alloc(64, 'x')
  const run = async (count: number): Promise<void> => {
    let next = 0
    const askOneByOne = async () => {
      while (next++ < count) await west1.request(body)
    }
    await Promise.all(Array.from({ length: 1000 }, askOneByOne))
  }
  await run(200_000)
  const early = await west.report()
  await run(800_000)
  const late = await west.report()
  expect(late.settled).toEqual({ ok: 1_000_000 })
  expectNothingUnderWay(late)
  expect(held(late) - held(early)).toBeLessThan(4 * MIB)
})

describe('who behaves badly leaves no trace:', () => {
  test('10,000 clients that come, have one task done and go', { timeout: 60_000 }, async () => {
    const west = await broker({ repliesMax: 100 })
    plainWorker(west.endpoints.localbe, { slots: 100 })
    await free(west, 100)
    let clients = 0
    const comeAndGo = async (stock: boolean): Promise<void> => {
      const id = `passer-by-${clients++}`
      const dealer = new Dealer({ linger: 0, receiveTimeout: 10_000, sendTimeout: 10_000 })
      dealer.connect(west.endpoints.localfe)
      await dealer.send(stock ? [Buffer.alloc(0), Buffer.from(id)] : oneTask(id, Buffer.from(id)))
      if (stock) {
        const [, answer] = await dealer.receive()
        expect(String(answer)).toBe(id)
      } else {
        for (let answered = false; !answered; ) {
          const message = decodeMessage(await dealer.receive(), 0, { bodyMax: MIB })
          if ('error' in message) throw new Error(message.error)
          for (const record of message.records) {
            if (record.kind !== Kind.Reply) continue
            expect(Buffer.from(record.body).toString()).toBe(id)
            answered = true
          }
        }
      }
      dealer.close()
    }
    const batch = async (): Promise<void> => {
      await Promise.all(Array.from({ length: 100 }, (_, i) => comeAndGo(i % 2 === 0)))
    }
    // What the broker opens but once it has open after these.
    for (let i = 0; i < 10; i++) await batch()
    const settled = async (descriptors: number) => {
      await eventually(() => expect(west.descriptors()).toBeLessThanOrEqual(descriptors))
      return west.descriptors()
    }
    const baseline = await settled(99)
    const early = await west.report()
    for (let i = 0; i < 90; i++) await batch()
    await settled(baseline)
    const late = await west.report()
    expect(late.settled).toEqual({ ok: 10_000 })
    expectNothingUnderWay(late)
    expect(held(late) - held(early)).toBeLessThan(2 * MIB)
  })

  test('1,000 workers that sign in and vanish', async () => {
    const west = await broker()
    const early = await west.report()
    const before = west.descriptors()
    for (let i = 0; i < 10; i++) {
      const dealers = Array.from({ length: 100 }, () => new Dealer({ linger: 0 }))
      for (const dealer of dealers) {
        dealer.connect(west.endpoints.localbe)
        await dealer.send(Buffer.of(1))
      }
      await eventually(async () => {
        // Not before all have been seen may any be missed.
        for (const dealer of dealers) await dealer.send(Buffer.of(2))
        expect((await west.report()).free).toBe(100)
      })
      for (const dealer of dealers) dealer.close()
      await eventually(async () => expect((await west.report()).workers).toBe(0))
    }
    await eventually(() => expect(west.descriptors()).toBeLessThanOrEqual(before))
    const late = await west.report()
    expect(late.services).toBe(0)
    expectNothingUnderWay(late)
    expect(held(late) - held(early)).toBeLessThan(2 * MIB)
  })

  test('a client that sends and never reads', { timeout: 60_000 }, async () => {
    const west = await broker({ repliesMax: 100 })
    plainWorker(west.endpoints.localbe, { slots: 1000 })
    await free(west, 1000)
    const early = await west.report()
    const west1 = client(west)
    // Each deaf client leaves a full pipe of 512 answers behind, 30 MB: kept, those of four would be 120 MB.
    const body = Buffer.alloc(60_000, 'x')
    const tasks = 1500
    const sendAndNeverRead = async (round: number): Promise<number> => {
      // Its own pipe takes nothing, so that the answers pile up at the broker as soon as TCP's buffers are full.
      const deaf = new Dealer({
        linger: 0,
        sendTimeout: 20_000,
        receiveHighWaterMark: 1,
        receiveBufferSize: 4096,
      })
      deaf.connect(west.endpoints.localfe)
      for (let i = 0; i < tasks; i++) await deaf.send(oneTask(`deaf-${round}-${i}`, body))
      await eventually(async () => {
        const report = await west.report()
        expect(report.received).toBeGreaterThanOrEqual(round * tasks)
        expectNothingUnderWay(report)
      }, 20_000)
      // Others are served meanwhile.
      expect((await west1.request('hello')).text()).toBe('hello')
      deaf.close()
      // The last hundred answers are kept for who asks again: 6 MB.
      await eventually(async () => expect(held(await west.report()) - held(early)).toBeLessThan(12 * MIB))
      return (await west.report()).memory.rss
    }
    const first = await sendAndNeverRead(1)
    await sendAndNeverRead(2)
    await sendAndNeverRead(3)
    await sendAndNeverRead(4)
    // What libzmq held for one is there for the next: the process as a whole does not grow with their number.
    expect((await sendAndNeverRead(5)) - first).toBeLessThan(80 * MIB)
  })

  test('a worker that takes tasks and never answers', { timeout: 60_000 }, async () => {
    const west = await broker()
    const mute = plainWorker(west.endpoints.localbe, { slots: 50, mute: true })
    await free(west, 50)
    const early = await west.report()
    const west1 = client(west)
    const body = Buffer.alloc(4000, 'x')
    const first = await Promise.allSettled(
      Array.from({ length: 500 }, () => west1.request(body, { deadlineMs: 2000 })),
    )
    // The client's own clock may be the first to say so.
    for (const outcome of first) expect(outcome.status).toBe('rejected')
    for (const outcome of first) {
      expect(outcome).toHaveProperty('reason.code', expect.stringMatching(/^(EXPIRED|TIMEOUT)$/))
    }
    expect(mute.taken).toBe(50)
    // Its slots stay taken, everybody else's do the work.
    plainWorker(west.endpoints.localbe, { slots: 4 })
    await free(west, 4)
    const second = await Promise.all(Array.from({ length: 500 }, () => west1.request(body)))
    expect(second.length).toBe(500)
    expect(mute.taken).toBe(50)
    mute.close()
    await eventually(async () => {
      const report = await west.report()
      expectNothingUnderWay(report)
      expect(report.workers).toBe(1)
      // Two MiB of answers are kept, and one of what was needed at once is there to be used again.
      expect(held(report) - held(early)).toBeLessThan(4 * MIB)
      const { ok, EXPIRED = 0, CANCELLED = 0 } = report.settled
      expect({ ok, failed: EXPIRED + CANCELLED }).toEqual({ ok: 500, failed: 500 })
    })
  })
})
