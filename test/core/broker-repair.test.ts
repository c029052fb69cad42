/** What the broker does about messages that were lost, answers that came twice, and readers that went away. */

import { describe, expect, test } from 'vitest'
import { ErrorCode } from '../../protocol/error-code.ts'
import { Flag, Kind, RejectReason, Role } from '../../protocol/record.ts'
import { aHello, octets, Rig, WEST_EPOCH } from './broker-rig.ts'

const streaming = { flags: Flag.Stream, creditUpTo: 2 } as const

/** A piece of a stream, as an executor sends it. */
function piece(token: number, index: number) {
  return {
    kind: Kind.Partial,
    token,
    index,
    attempt: 1,
    cluster: '',
    worker: 'w',
    body: octets(`${index}`),
  } as const
}

describe('streams', () => {
  test('an inventory brings a credit that was lost back to the worker', () => {
    const rig = new Rig()
    const worker = rig.worker('w1').ready()
    const client = rig.client('c1')
    const token = client.request({ id: 'stream', ...streaming })
    client.say({ kind: Kind.Credit, token, upTo: 8 })
    const before = worker.got(Kind.Credit).length
    worker.say({ kind: Kind.Inventory, received: worker.received, tokens: [worker.token('stream')] })
    expect(
      worker
        .got(Kind.Credit)
        .slice(before)
        .map(({ upTo }) => upTo),
    ).toEqual([8])
  })

  // Its handler would wait for a reader, and keep its slot, until the task's time is up.
  // Nor does anybody notice when a connection breaks and stands again before the broker has looked (seed 680).
  test('a worker that has a task that nobody waits for is told so with every heartbeat until it answers', () => {
    const rig = new Rig()
    const worker = rig.worker('w1').ready()
    const client = rig.client('c1')
    const unwanted = client.request({ id: 'stream', ...streaming })
    client.say({ kind: Kind.Cancel, token: unwanted })
    const token = worker.token('stream')
    const cancelled = () => worker.got(Kind.Cancel).map((cancel) => cancel.token)
    expect(cancelled()).toEqual([token])
    rig.advance(1000)
    expect(cancelled()).toEqual([token, token])
    worker.heartbeat()
    rig.advance(1000)
    expect(cancelled()).toEqual([token, token, token])
    expect(rig.free()).toBe(0)
    worker.reply({ code: 'CANCELLED' })
    expect(rig.free()).toBe(1)
    rig.advance(1000)
    expect(cancelled()).toHaveLength(3)
  })

  test('a client that asks again for a stream renews its credit at the worker', () => {
    const rig = new Rig()
    const worker = rig.worker('w1').ready()
    const client = rig.client('c1')
    client.request({ id: 'stream', ...streaming })
    client.request({ id: 'stream', token: 1, ...streaming })
    expect(worker.got(Kind.Credit).map(({ upTo }) => upTo)).toEqual([2])
  })

  test('a stream that lost a piece on its way is broken, and its worker told to stop', () => {
    const rig = new Rig()
    const worker = rig.worker('w1').ready()
    const client = rig.client('c1')
    client.request({ id: 'stream', ...streaming, creditUpTo: 10 })
    worker.say(piece(worker.token(), 0))
    worker.say(piece(worker.token(), 2))
    expect(client.reply.code).toBe(ErrorCode.StreamBroken)
    expect(worker.got(Kind.Cancel)).toHaveLength(1)
    expect(rig.free()).toBe(0)
    worker.reply({ code: 'CANCELLED' })
    expect(rig.free()).toBe(1)
  })

  test('a stream that lost a piece starts again elsewhere if its client wants that', () => {
    const rig = new Rig()
    const first = rig.worker('w1').ready()
    const second = rig.worker('w2').ready()
    const client = rig.client('c1')
    client.request({ id: 'stream', flags: Flag.Stream | Flag.RestartStream, creditUpTo: 10 })
    first.say(piece(first.token(), 0))
    first.say(piece(first.token(), 2))
    expect(client.replies).toHaveLength(0)
    expect(second.started).toEqual(['stream'])
  })

  test('a guest that repeats its credit is told how many pieces went out to it', () => {
    const rig = new Rig()
    const worker = rig.worker('w1').ready()
    const guest = rig.guest('east')
    guest.hello()
    guest.request({ id: 'stream', token: 5, ...streaming })
    worker.piece(0).piece(1)
    guest.say({ kind: Kind.Credit, token: 5, upTo: 3 })
    expect(guest.got(Kind.Pending)).toEqual([])
    guest.say({ kind: Kind.Credit, token: 5, upTo: 3 })
    expect(guest.got(Kind.Pending)).toEqual([
      { kind: Kind.Pending, token: 5, running: true, attempt: 1, partials: 2 },
    ])
  })

  // Seed 5341: the handler waited for credit, its reader for the pieces, until the task's time was up.
  test.each(['worker', 'peer'] as const)(
    'a %s that says how many pieces it has sent shows that the last of them were lost',
    (kind) => {
      const rig = new Rig()
      const client = rig.client('c1')
      const executor = kind === 'worker' ? rig.worker('w1').ready() : rig.peer('east').up(1)
      client.request({ id: 'stream', ...streaming })
      const token = executor.token()
      executor.piece(0)
      executor.say({ kind: Kind.Pending, token, running: true, attempt: 1, partials: 1 })
      expect(client.replies).toHaveLength(0)
      executor.say({ kind: Kind.Pending, token, running: true, attempt: 1, partials: 2 })
      expect(client.reply.code).toBe(ErrorCode.StreamBroken)
      expect(executor.got(Kind.Cancel)).toHaveLength(1)
    },
  )

  test('a stream whose reader has fallen silent does not keep its slot', () => {
    const rig = new Rig()
    const worker = rig.worker('w1').ready()
    const client = rig.client('c1')
    client.request({ id: 'stream', ...streaming, timeLeftMs: 120_000 })
    client.request({ id: 'queued', timeLeftMs: 120_000 })
    for (let s = 0; s < 9; s++) worker.heartbeat().rig.advance(1000)
    expect(worker.got(Kind.Cancel)).toHaveLength(0)
    for (let s = 0; s < 2; s++) worker.heartbeat().rig.advance(1000)
    expect(worker.got(Kind.Cancel)).not.toHaveLength(0)
    expect(client.reply.code).toBe(ErrorCode.StreamBroken)
  })

  test('a reader that has come back over another connection is watched on that one, too', () => {
    const rig = new Rig()
    const worker = rig.worker('w1').ready()
    const stream = { id: 'stream', ...streaming, timeLeftMs: 120_000 } as const
    rig.client('c1').request(stream)
    const client = rig.client('c1 again')
    client.request(stream)
    for (let s = 0; s < 11; s++) worker.heartbeat().rig.advance(1000)
    expect(worker.got(Kind.Cancel)).not.toHaveLength(0)
    expect(client.reply.code).toBe(ErrorCode.StreamBroken)
  })

  test('a reader that beats keeps its stream, however slowly it reads', () => {
    const rig = new Rig()
    const worker = rig.worker('w1').ready()
    const client = rig.client('c1')
    client.request({ id: 'stream', ...streaming, timeLeftMs: 120_000 })
    for (let s = 0; s < 30; s++) {
      worker.heartbeat()
      client.say({ kind: Kind.Heartbeat, ask: true, sent: 1 })
      rig.advance(1000)
    }
    expect(worker.got(Kind.Cancel)).toHaveLength(0)
    expect(client.replies).toHaveLength(0)
  })

  test('an executor that turns a stream away after a piece has started it', () => {
    const rig = new Rig()
    const [w1, w2] = [rig.worker('w1').ready(), rig.worker('w2').ready()]
    const client = rig.client('c1')
    client.request({ id: 'a', ...streaming })
    client.request({ id: 'once', flags: Flag.Stream | Flag.NotIdempotent, creditUpTo: 2 })
    for (const worker of [w1, w2]) {
      worker.say(piece(worker.token(), 0))
      worker.reject(RejectReason.Full)
      worker.heartbeat()
    }
    expect([w1.started, w2.started]).toEqual([['a'], ['once']])
    expect(client.codes).toEqual([ErrorCode.StreamBroken, ErrorCode.Unknown])
  })
})

describe('pieces that a full pipe did not take', () => {
  test('break the stream of a client at once', () => {
    const rig = new Rig()
    const worker = rig.worker('w1').ready()
    const client = rig.client('c1')
    client.request({ id: 'stream', ...streaming })
    worker.say(piece(worker.token(), 0))
    rig.undelivered(client.itsLink, client.got(Kind.Partial), 'full')
    expect(client.reply.code).toBe(ErrorCode.StreamBroken)
    expect(worker.got(Kind.Cancel)).toHaveLength(1)
  })

  test('end a stream whose reader cannot be reached, even one that may be started again', () => {
    const rig = new Rig()
    const worker = rig.worker('w1').ready()
    const client = rig.client('c1')
    client.request({ id: 'stream', flags: Flag.Stream | Flag.RestartStream, creditUpTo: 4 })
    worker.say(piece(worker.token(), 0))
    rig.undelivered(client.itsLink, client.got(Kind.Partial), 'unreachable')
    expect(client.reply.code).toBe(ErrorCode.StreamBroken)
    expect(worker.started).toEqual(['stream'])
  })

  test('do not start a stream more often than a failing task', () => {
    const rig = new Rig({ attemptsMax: 3 })
    const workers = ['w1', 'w2', 'w3', 'w4'].map((key) => rig.worker(key).ready())
    const client = rig.client('c1')
    client.request({ id: 'stream', flags: Flag.Stream | Flag.RestartStream, creditUpTo: 4 })
    for (const worker of workers.slice(0, 3)) {
      worker.say(piece(worker.token(), 0))
      rig.undelivered(client.itsLink, client.got(Kind.Partial).slice(-1), 'full')
    }
    expect(workers.map(({ started }) => started.length)).toEqual([1, 1, 1, 0])
    expect(client.reply.code).toBe(ErrorCode.StreamBroken)
  })

  test("give a peer's stream back to it", () => {
    const rig = new Rig()
    const worker = rig.worker('w1').ready()
    const guest = rig.guest('east').hello()
    guest.request({ id: 'stream', ...streaming })
    worker.say(piece(worker.token(), 0))
    rig.undelivered(guest.itsLink, guest.got(Kind.Partial), 'full')
    expect(guest.rejects.map(({ reason }) => reason)).toEqual([RejectReason.HandedBack])
    expect(worker.got(Kind.Cancel)).toHaveLength(1)
  })

  test('say nothing of the stream to which another life of the client has given the same token', () => {
    const rig = new Rig()
    const worker = rig.worker('w1', { slots: 2 }).ready()
    const client = rig.client('c1')
    const token = client.request({ id: 'before', ...streaming })
    worker.say(piece(worker.token('before'), 0))
    const link = client.itsLink
    client.restart(501)
    expect(client.request({ id: 'after', ...streaming })).toBe(token)
    rig.undelivered(link, [piece(token, 0)], 'unreachable')
    expect(client.codes).toEqual([])
  })
})

// Seed 99: the first REQUEST after it was lost, the second came, and both counts were 2.
test('a worker that counts from an earlier sign-in is told what we count before it gets a task', () => {
  const rig = new Rig()
  const client = rig.client('c1')
  client.request({ id: 'task' })
  const worker = rig.worker('w1')
  const before = rig.wire.length
  worker.say(
    aHello({ role: Role.Worker, name: 'w1', heartbeatIntervalMs: 1000 }),
    { kind: Kind.Inventory, received: 1, tokens: [] },
    { kind: Kind.Ready, slots: 1, services: [''] },
  )
  const said = rig.wire.slice(before).map(({ record }) => record)
  expect(said.map(({ kind }) => kind)).toEqual([Kind.Hello, Kind.Audit, Kind.Request])
  expect(worker.got(Kind.Audit)).toEqual([{ kind: Kind.Audit, sent: 0 }])
  worker.say({ kind: Kind.Inventory, received: 1, tokens: [worker.token()] })
  expect(worker.got(Kind.Audit)).toHaveLength(1)
})

// Seed 4967: what was lost were the states that told the count, and the peer was held for full with every slot free.
test('a peer whose states do not tell of what it was sent is asked what it has received', () => {
  const rig = new Rig()
  const peer = rig.peer('east').up(2)
  rig.client('c1').request({ id: 'task' })
  peer.reply()
  const audits = () => peer.got(Kind.Audit).length
  const before = audits()
  const beats = (count: number) => {
    for (let i = 0; i < count; i++) {
      peer.state(2, { received: [] })
      peer.say({ kind: Kind.Heartbeat, ask: false, sent: 1 })
      rig.advance(500)
    }
  }
  beats(5)
  expect(audits()).toBe(before)
  beats(3)
  expect(audits()).toBeGreaterThan(before)
  peer.say({ kind: Kind.Inventory, received: 1, tokens: [] })
  const asked = audits()
  beats(20)
  expect(audits()).toBe(asked)
})

test('a peer whose full pipe did not take a CANCEL is asked what it holds until it has said so', () => {
  const rig = new Rig()
  const peer = rig.peer('east').up(1)
  const client = rig.client('c1')
  const unwanted = client.request({ id: 'stream', ...streaming })
  const token = peer.token('stream')
  const audits = () => peer.got(Kind.Audit).length
  const before = audits()
  client.say({ kind: Kind.Cancel, token: unwanted })
  rig.undelivered(peer.itsLink, peer.got(Kind.Cancel), 'full')
  rig.advance(500)
  rig.advance(500)
  expect(audits()).toBe(before + 2)
  peer.say({ kind: Kind.Inventory, received: 1, tokens: [token] })
  expect(peer.got(Kind.Cancel).map((cancel) => cancel.token)).toEqual([token, token])
  rig.advance(500)
  expect(audits()).toBe(before + 2)
})

describe('a task that must not start twice', () => {
  test('is UNKNOWN when asked for again after its answer had to make room', () => {
    const rig = new Rig({ repliesMax: 1 })
    const worker = rig.worker('w1').ready()
    const client = rig.client('c1')
    client.request({ id: 'once', flags: Flag.NotIdempotent })
    worker.reply()
    client.request({ id: 'other' })
    worker.reply()
    client.request({ id: 'once', flags: Flag.NotIdempotent, attempt: 2 })
    expect(client.codes).toEqual(['', '', ErrorCode.Unknown])
    expect(worker.started).toEqual(['once', 'other'])
  })

  test('starts when its first copy never came, since no answer has been forgotten', () => {
    const rig = new Rig()
    const worker = rig.worker('w1').ready()
    rig.client('c1').request({ id: 'once', flags: Flag.NotIdempotent, attempt: 2 })
    expect(worker.started).toEqual(['once'])
  })

  test('does not start for a copy that comes after it was cancelled on another connection', () => {
    const rig = new Rig()
    const worker = rig.worker('w1', { slots: 2 }).ready()
    const [first, second] = [rig.client('c1'), rig.client('c2')]
    const once = { id: 'a', flags: Flag.NotIdempotent } as const
    second.cancel(second.request({ ...once, attempt: 2 }))
    first.request(once)
    expect(worker.started).toEqual(['a'])
    expect(first.codes).toEqual([ErrorCode.Unknown])
    // One that never started may still.
    second.cancel(second.request({ id: 'b', flags: Flag.NotIdempotent, service: 'x' }))
    first.request({ id: 'b', flags: Flag.NotIdempotent })
    expect(worker.started).toEqual(['a', 'b'])
  })

  test('does not start again when its answer said when to come back, and was lost', () => {
    const rig = new Rig()
    const worker = rig.worker('w1').ready()
    const client = rig.client('c1')
    client.request({ id: 'a', flags: Flag.NotIdempotent })
    worker.reply({ code: 'LATER', retryable: true, retryAfterMs: 100 })
    client.request({ id: 'a', flags: Flag.NotIdempotent, attempt: 2 })
    expect(worker.started).toEqual(['a'])
    expect(client.codes).toEqual(['LATER', 'LATER'])
  })
})

describe('counting', () => {
  test('an answer that came twice does not hide one that was lost', () => {
    const rig = new Rig()
    const worker = rig.worker('w1', { slots: 2 }).ready()
    const client = rig.client('c1')
    client.request({ id: 'a' })
    client.request({ id: 'b' })
    const a = worker.token('a')
    worker.reply({ id: 'a' })
    // The first once more, and the second was lost: it has sent two, two have come.
    worker.reply({ token: a })
    worker.say({ kind: Kind.Heartbeat, ask: false, sent: 2 })
    expect(worker.got(Kind.Audit)).toHaveLength(1)
  })

  test('a service that was gone from a state for a moment has no more room for what is on its way to it', () => {
    const rig = new Rig()
    const client = rig.client('c1')
    const east = rig.peer('east').connect().hello()
    const tell = (free: number, count: number) =>
      east.state(free === 0 ? [] : [{ service: 'x', free, total: 5, queued: 0 }], {
        received: [{ peer: 'west', epoch: WEST_EPOCH, count }],
      })
    tell(2, 0)
    for (const id of ['a', 'b', 'c', 'd']) client.request({ id, service: 'x' })
    tell(0, 0)
    tell(2, 0)
    expect(east.started).toEqual(['a', 'b'])
    tell(1, 1)
    expect(east.started).toEqual(['a', 'b'])
    tell(1, 2)
    expect(east.started).toEqual(['a', 'b', 'c'])
  })

  test('a heartbeat that was lost with a connection does not make the way to the peer longer', () => {
    const rig = new Rig()
    const east = rig.peer('east').up(1)
    rig.advance(500).advance(2)
    east.heartbeat()
    rig.advance(498)
    east.breakConnection()
    rig.advance(400)
    east.hello()
    rig.advance(100).advance(2)
    east.heartbeat()
    expect(rig.broker.peers.byName.get('east')?.roundTripMs).toBe(2)
  })

  test('a broker whose clock is between two milliseconds is not sent back to the same moment for ever', () => {
    const rig = new Rig({ stateCoalesceMs: 0.3 })
    const worker = rig.worker('w1').ready()
    for (let n = 0; n < 1000; n++) {
      worker.ready(1 + (n % 2))
      rig.advance(0.7)
    }
    expect(rig.states.length).toBeGreaterThan(900)
  })
})

describe('brokers that have lost sight of each other', () => {
  test('a guest that nobody introduced is told who we are, and that it is not among our peers', () => {
    const rig = new Rig()
    const guest = rig.guest('east').heartbeat()
    expect(guest.got(Kind.Hello).map(({ peers }) => peers)).toEqual([[]])
  })

  test('a peer that does not count us among its own is greeted with every heartbeat until it does', () => {
    const rig = new Rig()
    const east = rig.peer('east').up(0)
    rig.advance(1600)
    east.hello({ peers: [{ name: 'west', cloudfe: 'tcp://west' }] })
    rig.advance(500)
    const before = east.got(Kind.Hello).length
    rig.advance(500)
    expect(east.got(Kind.Hello)).toHaveLength(before)
    east.hello({ peers: [] })
    rig.advance(500)
    expect(east.got(Kind.Hello)).toHaveLength(before + 1)
  })

  test.each([
    ['another broker of our name', { name: 'west', role: Role.Broker }],
    ['a worker', { name: 'w', role: Role.Worker }],
  ])('what a peer held runs elsewhere when %s is at its address', (_, stranger) => {
    const rig = new Rig()
    const client = rig.client('c1')
    const east = rig.peer('east').up(2)
    client.request({ id: 'a' })
    client.request({ id: 'once', flags: Flag.NotIdempotent })
    expect(east.started).toEqual(['a', 'once'])
    east.breakConnection()
    const hello = aHello({ ...stranger, epoch: 999 })
    rig.feed('cloudbe', east.key, { from: 999, to: WEST_EPOCH, records: [hello] })
    const worker = rig.worker('w1').ready()
    expect(worker.started).toEqual(['a'])
    expect(client.codes).toEqual([ErrorCode.Unknown])
  })
})

describe('a slow task at stock workers', () => {
  test('is not poison: as many get it as may fail, and the first to answer wins', () => {
    const rig = new Rig({ stockTaskTimeMs: 64_000 })
    const workers = ['w1', 'w2', 'w3', 'w4'].map((key) => rig.stockWorker(key, 'req').ready())
    const client = rig.stockClient('c1')
    client.request('slow')
    rig.advance(60_000)
    expect(workers.map(({ started }) => started.length)).toEqual([1, 1, 1, 0])
    expect(client.replies).toHaveLength(0)
    workers[0]?.done()
    expect(client.replies.map(({ code }) => code)).toEqual([''])
  })
})

describe('a broker that has left', () => {
  test('answers nobody any more', () => {
    const rig = new Rig()
    const guest = rig.guest('east').hello()
    rig.broker.drain(1000, rig.now)
    expect(rig.drainedTimes).toBe(1)
    const before = rig.wire.length
    guest.hello().heartbeat()
    rig.client('c1').request({ id: 'late' })
    rig.worker('w1').ready()
    rig.advance(10_000)
    expect(rig.wire.length).toBe(before)
  })

  test('is silent, whatever becomes of its peers', () => {
    const rig = new Rig()
    const east = rig.peer('east').up(1)
    rig.broker.drain(1000, rig.now)
    expect(rig.drainedTimes).toBe(1)
    const said = rig.wire.length
    east.breakConnection()
    expect(rig.broker.addPeer('tcp://north', rig.now)).toBe(false)
    expect(rig.broker.removePeer('east', rig.now)).toBe(false)
    rig.broker.setPeers(['tcp://south'], rig.now)
    expect(rig.wire).toHaveLength(said)
    expect([...rig.connections.keys()]).toEqual(['tcp://east'])
  })
})

describe('the operator', () => {
  test('removes a peer in both directions: it is refused as a guest, until it is added again', () => {
    const rig = new Rig()
    rig.worker('w1').ready()
    const peer = rig.peer('east').up(0)
    const guest = rig.guest('east').hello()
    rig.broker.removePeer('east', rig.now)
    guest.request({ id: 'task' })
    expect(guest.got(Kind.Refuse).map(({ reason }) => reason)).toEqual(['removed'])
    expect(rig.broker.scheduler.guestTasks).toBe(0)
    peer.up(0)
    guest.hello().request({ id: 'again' })
    expect(rig.broker.scheduler.guestTasks).toBe(1)
  })

  test('adds a peer that a reading of the configuration does not take away', () => {
    const rig = new Rig()
    rig.broker.setPeers(['tcp://east'], rig.now)
    rig.broker.addPeer('tcp://north', rig.now)
    rig.broker.setPeers([], rig.now)
    expect([...rig.broker.peers.byAddress.keys()]).toEqual(['tcp://north'])
  })

  /** east is configured as tcp://dns, reached at tcp://east, and lost there: it is tried at both. */
  function triedAtBoth() {
    const rig = new Rig()
    const east = rig.peer('east', 2000)
    rig.guest('east', 2000).hello()
    east.hello()
    rig.broker.setPeers(['tcp://dns'], rig.now)
    const hello = aHello({ name: 'east', epoch: 2000, cloudfe: 'tcp://east' })
    rig.feed('cloudbe', rig.connections.get('tcp://dns') ?? '', {
      from: 2000,
      to: WEST_EPOCH,
      records: [hello],
    })
    expect([...rig.connections.keys()]).toEqual(['tcp://east'])
    rig.advance(3000)
    expect([...rig.connections.keys()].sort()).toEqual(['tcp://dns', 'tcp://east'])
    return rig
  }

  test('takes an address from the configuration, and its broker is tried at no other for that', () => {
    const rig = triedAtBoth()
    rig.broker.setPeers([], rig.now)
    expect([...rig.connections.keys()]).toEqual([])
  })

  test('removes a peer by the configured address, and it is not tried where it was reached either', () => {
    const rig = triedAtBoth()
    expect(rig.broker.removePeer('tcp://dns', rig.now)).toBe(true)
    expect([...rig.connections.keys()]).toEqual([])
  })
})

describe('somebody of another major version', () => {
  test('is refused each time, and told to the log once', () => {
    const rig = new Rig()
    for (let i = 0; i < 20; i++) {
      rig.broker.foreignVersion('cloudfe', 'v2', 2, 'v2')
      rig.broker.foreignVersion('localfe', `connection ${i}`, 2, '')
      rig.advance(500)
    }
    expect(rig.wire.filter(({ record }) => record.kind === Kind.Refuse)).toHaveLength(40)
    expect(rig.eventsOf('peer-refused')).toHaveLength(1)
    expect(rig.eventsOf('client-refused')).toHaveLength(1)
    rig.broker.foreignVersion('cloudfe', 'v2', 3, 'v2')
    expect(rig.eventsOf('peer-refused')).toHaveLength(2)
  })
})
