import { connect as connectTcp } from 'node:net'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { Dealer, Publisher, Router, XSubscriber } from 'zeromq'
import { Client } from '../../client/main.ts'
import { decodeMessage } from '../../protocol/decode.ts'
import { MessageEncoder } from '../../protocol/encode.ts'
import { type Hello, Kind, type Message, type Record, Role, VERSION_MAJOR } from '../../protocol/record.ts'
import * as arbitrary from '../arbitraries.ts'
import { plainWorker } from '../plain-worker.ts'
import { eventually, openBroker, type TestBroker } from '../reactor-rig.ts'

// ---------------------------------------------------------------- what is sent

/** Epochs that a stranger may claim: few, so that one message's may be the next one's too. */
const FROM = fc.constantFrom(1, 2, 3)

const encoder = new MessageEncoder()

function encode(message: Message): Buffer[] {
  encoder.begin(message.from, message.to)
  for (const record of message.records) encoder.add(record)
  return encoder.finish()
}

/** Addresses that libzmq may choke on, besides those that are merely text. */
const address = fc.oneof(
  arbitrary.address,
  fc.constantFrom(
    `ipc:///tmp/${'x'.repeat(400)}`,
    'ipc://',
    'ipc:///nonexistent/directory/socket',
    'inproc://nobody',
    'inproc://',
    'tcp://127.0.0.1:0',
    'tcp://127.0.0.1:1',
    'tcp://127.0.0.1:65536',
    'tcp://127.0.0.1:*',
    'tcp://127.0.0.1',
    'tcp://*:5555',
    'tcp://:5555',
    'tcp://[::1]:1',
    'tcp://no-such-host.invalid:5555',
    'tcp://127.0.0.1:2;127.0.0.1:1',
    `tcp://${'a'.repeat(300)}:1`,
    'udp://127.0.0.1:1',
    'pgm://127.0.0.1;239.0.0.1:5555',
    'epgm://x',
    'norm://x',
    'vmci://1:1',
    'tipc://{0,0}',
    'ws://127.0.0.1:1/',
    'wss://127.0.0.1:1/',
    '://',
    'tcp://\0',
  ),
)

/** Records such as pass the decoder, with the numbers at their limits more often than not. */
const record: fc.Arbitrary<Record> = fc.oneof(
  { weight: 4, arbitrary: arbitrary.record },
  {
    weight: 2,
    arbitrary: fc
      .tuple(arbitrary.hello, address, address, fc.array(address, { maxLength: 3 }))
      .map(([hello, cloudfe, statebe, others]) => ({
        ...hello,
        major: VERSION_MAJOR,
        cloudfe,
        statebe,
        peers: others.map((cloudfe, i) => ({ name: `other-${i}`, cloudfe })),
      })),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Record>(
      { kind: Kind.Heartbeat, ask: true, sent: Number.MAX_SAFE_INTEGER },
      { kind: Kind.Audit, sent: Number.MAX_SAFE_INTEGER },
      { kind: Kind.Inventory, received: Number.MAX_SAFE_INTEGER, tokens: [0, Number.MAX_SAFE_INTEGER] },
      {
        kind: Kind.Inventory,
        received: Number.MAX_SAFE_INTEGER,
        tokens: Array.from({ length: 65_535 }, (_, i) => i),
      },
      { kind: Kind.Ready, slots: 0xffff_ffff, services: ['', 'resize', '', 'resize'] },
      { kind: Kind.Ready, slots: 1, services: Array.from({ length: 5000 }, (_, i) => `s${i}`) },
      {
        kind: Kind.State,
        name: 'evil',
        epoch: 1,
        seq: Number.MAX_SAFE_INTEGER,
        draining: false,
        inFlight: 0xffff_ffff,
        queueDepth: 0xffff_ffff,
        cloudfe: '',
        services: [
          { service: '', free: 0xffff_ffff, total: 0, queued: 0xffff_ffff },
          { service: '', free: 1, total: 1, queued: 0 },
        ],
        received: [{ peer: 'west', epoch: 1, count: Number.MAX_SAFE_INTEGER }],
      },
    ),
  },
)

/** A task of a stranger must be gone before the test looks whether it is, however long it asked for. */
const soonOver = (record: Record): Record =>
  record.kind === Kind.Request ? { ...record, timeLeftMs: record.timeLeftMs % 300 } : record

type Mutation = (frames: Uint8Array[]) => Uint8Array[]

const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.tuple(fc.nat(), fc.nat(), arbitrary.u8).map(
    ([which, where, octet]): Mutation =>
      (frames) =>
        frames.map((frame, i) => {
          if (i !== which % frames.length || frame.length === 0) return frame
          const changed = Uint8Array.from(frame)
          // Behind the header, mostly: a message that is no native one any more is soon dealt with.
          const at =
            frame.length > 12 && where % 8 !== 0 ? 12 + (where % (frame.length - 12)) : where % frame.length
          changed[at] = octet
          return changed
        }),
  ),
  fc.tuple(fc.nat(), fc.nat()).map(
    ([which, length]): Mutation =>
      (frames) =>
        frames.map((frame, i) =>
          i === which % frames.length ? frame.subarray(0, length % (frame.length + 1)) : frame,
        ),
  ),
  fc.nat().map(
    (which): Mutation =>
      (frames) =>
        frames.length > 1 ? frames.filter((_, i) => i !== which % frames.length) : frames,
  ),
  fc.uint8Array({ maxLength: 20 }).map(
    (more): Mutation =>
      (frames) => [...frames, more],
  ),
  fc.constant<Mutation>((frames) => frames.flatMap((frame) => [frame, frame])),
)

/** A message as a stranger may send it to a broker whose epoch it has learned: valid, damaged, or never any good. */
function hostile(to: () => number): fc.Arbitrary<Uint8Array[]> {
  const valid = fc
    .record({
      from: FROM,
      records: fc.array(record.map(soonOver), { maxLength: 4 }),
      aimed: fc.constantFrom(true, true, true, false),
      greeting: fc.constantFrom(undefined, undefined, Role.Client, Role.Worker, Role.Broker),
    })
    .map(({ from, records, aimed, greeting }) =>
      encode({
        from,
        to: aimed ? to() : 0,
        records: greeting === undefined ? records : [hello('evil', greeting, from), ...records],
      }),
    )
  const damaged = fc
    .tuple(valid, fc.array(mutation, { minLength: 1, maxLength: 3 }))
    .map(([frames, mutations]) => mutations.reduce<Uint8Array[]>((so, mutate) => mutate(so), frames))
  const stock = fc.array(
    fc.oneof(
      fc.constantFrom(
        Buffer.alloc(0),
        Buffer.of(1),
        Buffer.of(2),
        Buffer.from('READY'),
        Buffer.from('0'.repeat(14)),
      ),
      fc.uint8Array({ maxLength: 20 }),
    ),
    { minLength: 1, maxLength: 12 },
  )
  const noise = arbitrary.garbage.filter((frames) => frames.length > 0)
  return fc.oneof(valid, damaged, stock, noise)
}

function hello(name: string, role: Role, epoch: number, more: Partial<Hello> = {}): Hello {
  return {
    kind: Kind.Hello,
    role,
    name,
    epoch,
    major: VERSION_MAJOR,
    minor: 0,
    heartbeatIntervalMs: 200,
    bodyMax: 1 << 20,
    cloudfe: '',
    statebe: '',
    peers: [],
    ...more,
  }
}

// ---------------------------------------------------------------- what must be true of the broker afterwards

const settings = { peerForgetMs: 400, stateIntervalMs: 100, stateTtlMs: 300, queueMax: 2000 }

/** It lives, answers a client with the help of a worker, and holds nothing of what the strangers sent. */
async function expectUnharmed(broker: TestBroker): Promise<void> {
  expect(broker.fatal).toEqual([])
  const worker = plainWorker(broker.localbe, { slots: 4, services: ['', 'honest'], name: 'honest' })
  const client = new Client({ connect: broker.localfe, retries: 50, deadlineMs: 10_000 })
  onTestFinished(() => client.close())
  const bodies = Array.from({ length: 100 }, (_, i) => `task ${i}`)
  const replies = await Promise.all(bodies.map((body) => client.request(body, { service: 'honest' })))
  expect(replies.map((reply) => reply.text())).toEqual(bodies)
  // Strangers' tasks for the anonymous service may have been done meanwhile.
  expect(worker.taken).toBeGreaterThanOrEqual(100)
  await eventually(() => broker.expectNoTaskLeft())
  // A plain REQ worker that has gone while idle shows no sign of it: it is missed when its turn comes.
  await eventually(() => {
    const left = [...broker.core.workers.byKey.values()].filter(({ link }) => link.dialect !== 'req')
    expect(left.map(({ name }) => name)).toEqual(['honest'])
  })
  await eventually(() => expect(broker.core.guests.byName.size).toBe(0))
  expect(broker.fatal).toEqual([])
}

/** Waits until the broker has taken so many messages more from a socket, or has stumbled. */
async function swallowed(
  broker: TestBroker,
  socket: 'localfe' | 'localbe' | 'cloudfe' | 'cloudbe',
  total: number,
) {
  await eventually(() => {
    expect(broker.fatal).toEqual([])
    expect(broker.reactor.traffic.received[socket].messages).toBeGreaterThanOrEqual(total)
  })
}

const RUNS = { numRuns: 60, endOnFailure: true }
const messages = (to: () => number) => fc.array(hostile(to), { minLength: 1, maxLength: 30 })

// ---------------------------------------------------------------- the sockets

describe('a stranger who talks nonsense', () => {
  for (const socket of ['localfe', 'localbe', 'cloudfe'] as const) {
    test(`to ${socket} does no harm`, async () => {
      const broker = await openBroker(settings)
      const received = broker.reactor.traffic.received[socket]
      let strangers = 0
      await fc.assert(
        fc.asyncProperty(
          messages(() => broker.core.epoch),
          async (sent) => {
            strangers++
            // At cloudfe the routing id is the name: sometimes one that the HELLOs in there agree with.
            const name = strangers % 3 === 0 ? 'evil' : `stranger-${strangers}`
            const dealer = new Dealer({ linger: 0, sendTimeout: 1000, routingId: name })
            dealer.connect(broker.reactor.endpoints[socket])
            try {
              const before = received.messages
              for (const frames of sent) await dealer.send(frames)
              await swallowed(broker, socket, before + sent.length)
            } finally {
              dealer.close()
            }
          },
        ),
        RUNS,
      )
      expect(broker.malformedAt(socket)).toBeGreaterThan(50)
      expect(broker.dropped).toBeGreaterThan(10)
      await expectUnharmed(broker)
    })
  }

  test('to statebe does no harm', async () => {
    const broker = await openBroker(settings)
    const stranger = new XSubscriber({ linger: 0, sendTimeout: 1000 })
    onTestFinished(() => stranger.close())
    stranger.connect(broker.reactor.endpoints.statebe)
    await fc.assert(
      fc.asyncProperty(
        messages(() => broker.core.epoch),
        async (sent) => {
          // 1 and 0 are the first octets of a subscription and of its end.
          for (const frames of sent) {
            await stranger.send(frames)
            await stranger.send([Buffer.of(1), ...frames])
            await stranger.send([Buffer.concat([Buffer.of(1), ...frames])])
          }
        },
      ),
      RUNS,
    )
    // Then subscribes like anybody else, and is told.
    await stranger.send(Buffer.of(1))
    stranger.receiveTimeout = 5000
    const state = decodeMessage(await stranger.receive(), 0, { bodyMax: 0 })
    expect(state).toMatchObject({ from: broker.core.epoch, records: [{ kind: Kind.State, name: 'west' }] })
    await expectUnharmed(broker)
  })

  test('over bare TCP does no harm at any socket', async () => {
    const broker = await openBroker(settings)
    const greeting = Buffer.from('ff00000000000000017f03004e554c4c', 'hex')
    const bytes = fc.array(fc.tuple(fc.boolean(), fc.uint8Array({ maxLength: 300 })), {
      minLength: 1,
      maxLength: 8,
    })
    await fc.assert(
      fc.asyncProperty(
        bytes,
        fc.constantFrom('localfe', 'localbe', 'cloudfe', 'statebe'),
        async (sent, socket) => {
          const port = Number(/\d+$/.exec(broker.reactor.endpoints[socket])?.[0])
          await Promise.all(
            sent.map(
              ([polite, octets]) =>
                new Promise<void>((resolve) => {
                  const stream = connectTcp(port, '127.0.0.1')
                  stream.on('error', () => resolve())
                  stream.on('close', () => resolve())
                  stream.resume()
                  if (polite) stream.write(Buffer.concat([greeting, Buffer.alloc(64 - greeting.length)]))
                  stream.end(octets)
                }),
            ),
          )
        },
      ),
      RUNS,
    )
    await expectUnharmed(broker)
  })
})

/** A peer that says HELLO as it should, and then whatever it likes, over cloudfe and statebe. */
async function evilPeer(): Promise<{
  cloudfe: Router
  statebe: Publisher
  address: string
  broker: TestBroker
}> {
  const cloudfe = new Router({
    linger: 0,
    routingId: 'evil',
    mandatory: true,
    sendTimeout: 1000,
    handover: true,
  })
  const statebe = new Publisher({ linger: 0 })
  onTestFinished(() => {
    cloudfe.close()
    statebe.close()
  })
  await cloudfe.bind('tcp://127.0.0.1:*')
  await statebe.bind('tcp://127.0.0.1:*')
  const address = cloudfe.lastEndpoint ?? ''
  const broker = await openBroker({ ...settings, peers: [address] })
  return { cloudfe, statebe, address, broker }
}

const EVIL_EPOCH = 1

/** Answers HELLO with HELLO, so that the broker takes it for a peer (again). */
function introduction(statebe: Publisher, address: string, to: number): Uint8Array[] {
  const statebeAt = statebe.lastEndpoint ?? ''
  return encode({
    from: EVIL_EPOCH,
    to,
    records: [hello('evil', Role.Broker, EVIL_EPOCH, { cloudfe: address, statebe: statebeAt })],
  })
}

describe('a peer that talks nonsense', () => {
  test('over cloudbe does no harm', async () => {
    const { cloudfe, statebe, address, broker } = await evilPeer()
    const received = broker.reactor.traffic.received.cloudbe
    const [from] = await cloudfe.receive()
    if (from === undefined) throw new Error('no greeting')
    const drain = (async () => {
      for await (const _ of cloudfe);
    })()
    await fc.assert(
      fc.asyncProperty(
        messages(() => broker.core.epoch),
        async (sent) => {
          const before = received.messages
          // The broker may have cut the connection over the last lot: it comes back by itself.
          const introduce = () => cloudfe.send([from, ...introduction(statebe, address, broker.core.epoch)])
          await eventually(introduce)
          for (const frames of sent) await eventually(() => cloudfe.send([from, ...frames]))
          await eventually(async () => {
            await introduce()
            expect(broker.fatal).toEqual([])
            expect(received.messages).toBeGreaterThan(before)
          })
        },
      ),
      RUNS,
    )
    expect(broker.malformedAt('cloudbe')).toBeGreaterThan(50)
    expect(broker.dropped).toBeGreaterThan(10)
    expect(broker.eventsOf('peer-up').length).toBeGreaterThan(0)
    cloudfe.close()
    await drain
    await expectUnharmed(broker)
  })

  test('over statefe does no harm', async () => {
    const { cloudfe, statebe, address, broker } = await evilPeer()
    const received = broker.reactor.traffic.received.statefe
    const [from] = await cloudfe.receive()
    if (from === undefined) throw new Error('no greeting')
    const drain = (async () => {
      for await (const _ of cloudfe);
    })()
    const state = arbitrary.state.map((state) =>
      encode({ from: EVIL_EPOCH, to: 0, records: [{ ...state, name: 'evil', epoch: EVIL_EPOCH }] }),
    )
    const published = fc.array(
      fc.oneof(
        state,
        hostile(() => 0),
      ),
      { minLength: 1, maxLength: 30 },
    )
    const keepUp = async () => {
      await cloudfe.send([from, ...introduction(statebe, address, broker.core.epoch)])
      await statebe.send([Buffer.from('are you there?')])
      expect(broker.malformedAt('statefe')).toBeGreaterThan(0)
    }
    await eventually(keepUp)
    // Believed once it is in order; what comes of the rest is chance.
    const good = fc.sample(arbitrary.state, 1)[0]
    if (good === undefined) throw new Error('no state')
    const services = [{ service: 'evil', free: 1, total: 1, queued: 0 }]
    const offer = { ...good, name: 'evil', epoch: EVIL_EPOCH, seq: 0, services }
    await eventually(async () => {
      await statebe.send(encode({ from: EVIL_EPOCH, to: 0, records: [offer] }))
      expect(broker.core.peers.byName.get('evil')?.offers.all.length).toBe(1)
    })
    await fc.assert(
      fc.asyncProperty(published, async (sent) => {
        // The broker makes a new connection when it has heard nothing for a while, as on a slow machine.
        await eventually(() => cloudfe.send([from, ...introduction(statebe, address, broker.core.epoch)]))
        const before = received.messages
        for (const frames of sent) await statebe.send(frames)
        await eventually(() => {
          expect(broker.fatal).toEqual([])
          expect(received.messages).toBeGreaterThanOrEqual(before + sent.length)
        })
      }),
      RUNS,
    )
    expect(broker.malformedAt('statefe')).toBeGreaterThan(50)
    expect(broker.dropped).toBeGreaterThan(10)
    cloudfe.close()
    statebe.close()
    await drain
    await expectUnharmed(broker)
  })

  test('that greets us with addresses nobody can connect to does no harm, and is forgotten with them', async () => {
    const broker = await openBroker(settings)
    let strangers = 0
    await fc.assert(
      fc.asyncProperty(
        fc.array(address, { minLength: 2, maxLength: 6 }),
        async ([cloudfe, statebe, ...others]) => {
          strangers++
          const name = `stranger-${strangers}`
          const dealer = new Dealer({ linger: 0, sendTimeout: 1000, receiveTimeout: 5000, routingId: name })
          dealer.connect(broker.cloudfe)
          try {
            const peers = others.map((at, i) => ({ name: `${name}-${i}`, cloudfe: at }))
            const greeting = hello(name, Role.Broker, 1, {
              cloudfe: cloudfe ?? '',
              statebe: statebe ?? '',
              peers,
            })
            await dealer.send(encode({ from: 1, to: 0, records: [greeting] }))
            expect(decodeMessage(await dealer.receive(), 0, { bodyMax: 0 })).toMatchObject({
              records: [{ kind: Kind.Hello }],
            })
            expect(broker.fatal).toEqual([])
          } finally {
            dealer.close()
          }
        },
      ),
      { ...RUNS, numRuns: 100 },
    )
    await eventually(() => expect(broker.core.peers.byAddress.size).toBe(0))
    await expectUnharmed(broker)
  })
})

describe('a flood', () => {
  const request = (i: number): Record => ({
    kind: Kind.Request,
    token: i,
    id: `flood-${i}`,
    attempt: 1,
    timeLeftMs: 500,
    priority: 9,
    flags: 0,
    creditUpTo: 0,
    service: '',
    traceparent: '',
    body: Buffer.from('flood'),
  })
  const greeting = (role: Role): Record => hello('evil', role, 1)

  const floods: {
    name: string
    socket: 'localfe' | 'localbe' | 'cloudfe'
    message: (i: number) => Uint8Array[]
  }[] = [
    {
      name: 'of tasks',
      socket: 'localfe',
      message: (i) => encode({ from: 1, to: 0, records: [request(i)] }),
    },
    {
      name: 'of greetings',
      socket: 'localfe',
      message: () => encode({ from: 1, to: 0, records: [greeting(Role.Client)] }),
    },
    {
      name: 'of greetings, each of a new life,',
      socket: 'localbe',
      message: (i) =>
        encode({
          from: i + 1,
          to: 0,
          records: [greeting(Role.Worker), { kind: Kind.Ready, slots: 9, services: [''] }],
        }),
    },
    {
      name: 'of greetings',
      socket: 'cloudfe',
      message: (i) => encode({ from: i + 1, to: 0, records: [greeting(Role.Broker)] }),
    },
    { name: 'of nothing', socket: 'localfe', message: () => [Buffer.alloc(0)] },
    { name: 'of 60,000-octet noise', socket: 'localbe', message: () => [Buffer.alloc(60_000, 0xd7)] },
  ]
  for (const { name, socket, message } of floods) {
    test(`${name} at ${socket}, with nobody reading the answers, passes by`, async () => {
      const broker = await openBroker(settings)
      const before = broker.reactor.traffic.received[socket].messages
      const dealer = new Dealer({ linger: 0, sendTimeout: 20_000, routingId: 'evil' })
      dealer.connect(broker.reactor.endpoints[socket])
      for (let i = 0; i < 20_000; i++) await dealer.send(message(i))
      await swallowed(broker, socket, before + 20_000)
      dealer.close()
      expect(broker.core.scheduler.queued).toBeLessThanOrEqual(settings.queueMax)
      await expectUnharmed(broker)
    })
  }
})

test('a message of more octets than a broker takes costs its sender the connection and nobody else anything', async () => {
  const broker = await openBroker({ ...settings, bodyMax: 1024 })
  const frameMax = 2 * 2048 + (4 << 20) + (1 << 20)
  for (const socket of ['localfe', 'localbe', 'cloudfe'] as const) {
    const dealer = new Dealer({ linger: 0, sendTimeout: 1000 })
    dealer.connect(broker.reactor.endpoints[socket])
    const gone = new Promise<void>((resolve) => {
      dealer.events.on('disconnect', () => resolve())
    })
    await dealer.send(Buffer.alloc(frameMax + 1))
    await gone
    dealer.close()
    expect(broker.reactor.traffic.received[socket].messages).toBe(0)
  }
  await expectUnharmed(broker)
})
