/** Two clusters, one of them played by hand: lending, borrowing, counting, losing and finding each other. */

import { describe, expect, test } from 'vitest'
import { HELLOS_PER_CONNECTION } from '../../broker/core/peers.ts'
import { Flag, Kind, RejectReason } from '../../protocol/record.ts'
import { aHello, Rig, WEST_EPOCH } from './broker-rig.ts'

/** A rig without workers, so that all tasks have to leave. */
function alone(config: ConstructorParameters<typeof Rig>[0] = {}) {
  const rig = new Rig(config)
  return { rig, c1: rig.client('c1') }
}

describe('lending', () => {
  test('the peer with the most spare capacity gets the task', () => {
    const { rig, c1 } = alone()
    const east = rig.peer('east').up(3)
    const north = rig.peer('north').up(5)
    for (const id of ['a', 'b']) c1.request({ id })
    expect([east.started, north.started]).toEqual([[], ['a', 'b']])
    // Three each now: ties are for the dice, in the end all are used.
    for (const id of ['c', 'd', 'e', 'f', 'g', 'h', 'i']) c1.request({ id })
    expect(east.started).toHaveLength(3)
    expect(north.started).toHaveLength(5)
    expect(rig.broker.scheduler.queued).toBe(1)
  })

  test("a peer's slots are spent when a task is sent, and given back when its state has seen it", () => {
    const { rig, c1 } = alone()
    const east = rig.peer('east').up(1)
    c1.request({ id: 'a' })
    c1.request({ id: 'b' })
    expect(east.started).toEqual(['a'])
    // One slot free, but taken before it had seen the task.
    east.state(1, { received: [{ peer: 'west', epoch: WEST_EPOCH, count: 0 }] })
    expect(east.started).toEqual(['a'])
    east.state(1)
    expect(east.started).toEqual(['a', 'b'])
  })

  test('an answer comes back with the cluster and the worker that ran it', () => {
    const { rig, c1 } = alone()
    const east = rig.peer('east').up(1)
    c1.request({ id: 'a' })
    east.reply({ worker: 'e7', cluster: 'nonsense' })
    expect(c1.reply).toMatchObject({ code: '', cluster: 'east', worker: 'e7' })
    expect(rig.broker.counters.tasksCompletedByPeers).toBe(1)
  })

  test('a rejected task goes back to the head of the line', () => {
    const { rig, c1 } = alone()
    const east = rig.peer('east').up(1)
    c1.request({ id: 'a' })
    rig.advance(1)
    c1.request({ id: 'b' })
    east.reject(RejectReason.Full)
    expect(rig.broker.counters.rejectsReceived).toBe(1)
    const w1 = rig.worker('w1').ready()
    expect(w1.started).toEqual(['a'])
    w1.reply()
    expect(c1.reply).toMatchObject({ token: 1, attempts: 1 })
    expect(w1.started).toEqual(['a', 'b'])
  })

  test('a REJECT that draws attention to received tasks frees no slot of another service', () => {
    const { rig, c1 } = alone()
    const east = rig.peer('east').up(0)
    const capacity = (service: string, free: number) => ({ service, free, total: 4, queued: 0 })
    east.state([capacity('x', 1), capacity('y', 1)])
    c1.request({ id: 'x1', service: 'x' })
    c1.request({ id: 'y1', service: 'y' })
    // y1 is turned away; that x1 has arrived, and runs, is news that makes no room.
    east.reject(RejectReason.Full, { token: east.token('y1') })
    c1.request({ id: 'x3', service: 'x' })
    expect(east.started).toEqual(['x1', 'y1'])
  })

  test('room that a REJECT tells of is used at once, though its task has long been given to another', () => {
    const { rig, c1 } = alone()
    const east = rig.peer('east').up(1)
    c1.request({ id: 'a', timeLeftMs: 60_000 })
    rig.advance(1500)
    rig.worker('w1').ready()
    c1.request({ id: 'b', timeLeftMs: 60_000 })
    east.hello().state(0)
    expect(east.started).toEqual(['a'])
    east.reject(RejectReason.Full, { free: 1 })
    expect(east.started).toEqual(['a', 'b'])
  })

  test('an inventory that covers received tasks frees no slot', () => {
    const { rig, c1 } = alone()
    const east = rig.peer('east').up(2)
    for (const id of ['a', 'b']) c1.request({ id })
    east.inventory()
    c1.request({ id: 'c' })
    expect(east.started).toEqual(['a', 'b'])
  })

  test('a task that a leaving peer rejects goes to another, and none follows it', () => {
    const { rig, c1 } = alone()
    const east = rig.peer('east').up(5)
    c1.request({ id: 'a' })
    const north = rig.peer('north').up(1)
    east.reject(RejectReason.Draining, { free: 5 })
    expect(north.started).toEqual(['a'])
    c1.request({ id: 'b' })
    expect(east.started).toEqual(['a'])
  })

  test('a peer whose worker died says so, and three such make a task poison', () => {
    const { rig, c1 } = alone()
    const east = rig.peer('east').up(5)
    c1.request({ id: 'a' })
    for (const worker of ['e1', 'e2', 'e3']) east.reject(RejectReason.WorkerLost, { worker, free: 5 })
    expect(c1.reply.code).toBe('POISON')
    expect(c1.reply.message).toContain('e1, e2, e3')
  })

  test('a cancelled task is cancelled at the peer', () => {
    const { rig, c1 } = alone()
    const east = rig.peer('east').up(1)
    const token = c1.request({ id: 'a' })
    c1.cancel(token)
    expect(east.got(Kind.Cancel)).toEqual([{ kind: Kind.Cancel, token: east.token() }])
    expect(rig.broker.scheduler.assignments.size).toBe(0)
  })

  test('FailFast takes a service for served when a peer has slots for it, free or not', () => {
    const { rig, c1 } = alone()
    rig.peer('east').up(0)
    c1.request({ id: 'a', flags: Flag.FailFast })
    expect(c1.replies).toEqual([])
    c1.request({ id: 'b', service: 'other', flags: Flag.FailFast })
    expect(c1.codes).toEqual(['NO_SERVICE'])
  })

  test('a REQUEST that could not be delivered goes elsewhere, unstarted, and none follows until the peer speaks', () => {
    const { rig, c1 } = alone()
    const east = rig.peer('east').up(5)
    c1.request({ id: 'a', flags: Flag.NotIdempotent })
    const [request] = east.got(Kind.Request)
    if (request === undefined) throw new Error('no request')
    rig.undelivered(east.itsLink, [request], 'full')
    expect(rig.broker.scheduler.queued).toBe(1)
    east.heartbeat()
    expect(east.started).toEqual(['a', 'a'])
    east.reply({ token: [...east.holds.keys()][1] ?? 0 })
    expect(c1.reply).toMatchObject({ code: '', attempts: 1 })
  })
})

describe('state', () => {
  test('older than its TTL it counts as nothing', () => {
    const { rig, c1 } = alone()
    const east = rig.peer('east').up(5)
    for (let i = 0; i < 15; i++) {
      rig.advance(100)
      east.heartbeat()
    }
    c1.request({ id: 'a' })
    expect(east.started).toEqual([])
    east.state(5)
    expect(east.started).toEqual(['a'])
  })

  test('an old sequence number is ignored', () => {
    const { rig, c1 } = alone()
    const east = rig.peer('east').up(0)
    east.state(5, { seq: 0 })
    c1.request({ id: 'a' })
    expect(east.started).toEqual([])
    expect(rig.broker.counters.dropped.get('state_old')).toBe(1)
  })

  test('of another epoch it is ignored, and answered with HELLO', () => {
    const { rig, c1 } = alone()
    const east = rig.peer('east').up(0)
    const before = east.got(Kind.Hello).length
    east.state(5, { epoch: 2001 })
    c1.request({ id: 'a' })
    expect(east.started).toEqual([])
    expect(east.got(Kind.Hello)).toHaveLength(before + 1)
  })

  test('an offer that is not in it any more is withdrawn, and the service forgotten', () => {
    const { rig } = alone()
    const east = rig.peer('east').up(0)
    east.state([{ service: 'x', free: 1, total: 1, queued: 0 }])
    expect([...rig.broker.scheduler.services.byName.keys()]).toEqual(['x'])
    east.state([])
    expect(rig.broker.scheduler.services.byName.size).toBe(0)
  })

  test('a draining peer gets nothing', () => {
    const { rig, c1 } = alone()
    const east = rig.peer('east').up(5)
    east.state(5, { draining: true })
    c1.request({ id: 'a' })
    expect(east.started).toEqual([])
  })

  test('goes out at once when nothing went out lately, coalesced otherwise, and at least every interval', () => {
    const rig = new Rig()
    rig.advance(100)
    const before = rig.states.length
    const w1 = rig.worker('w1', { slots: 2 }).ready()
    expect(rig.states).toHaveLength(before + 1)
    expect(rig.capacity()).toMatchObject({ free: 2, total: 2 })
    const c1 = rig.client('c1')
    c1.request({ id: 'a' })
    c1.request({ id: 'b' })
    rig.advance(9)
    expect(rig.states).toHaveLength(before + 1)
    rig.advance(1)
    expect(rig.states).toHaveLength(before + 2)
    expect(rig.capacity()).toMatchObject({ free: 0, total: 2 })
    rig.advance(2000)
    w1.heartbeat()
    expect(rig.states).toHaveLength(before + 6)
    const seqs = rig.states.map((state) => state.seq)
    expect(seqs).toEqual(seqs.map((_, i) => i))
  })

  test('goes out half as often with twice as many peers, from eight on', () => {
    const rig = new Rig()
    rig.worker('w1', { slots: 4 }).ready()
    for (let n = 0; n < 16; n++) rig.peer(`p${n}`).up(0)
    rig.advance(2000)
    const c1 = rig.client('c1')
    c1.request({ id: 'a' })
    rig.advance(50)
    const before = rig.states.length
    c1.request({ id: 'b' })
    expect(rig.states).toHaveLength(before + 1)
    c1.request({ id: 'c' })
    rig.advance(19)
    expect(rig.states).toHaveLength(before + 1)
    rig.advance(1)
    expect(rig.states).toHaveLength(before + 2)
  })

  test('a service whose last worker leaves is out of the state as soon as coalescing allows', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1').ready()
    rig.advance(100)
    expect(rig.capacity()).toBeDefined()
    w1.disconnect()
    rig.advance(10)
    expect(rig.capacity()).toBeUndefined()
  })

  test('tells a guest how many of its tasks have come, and goes on telling for a while', () => {
    const rig = new Rig()
    rig.worker('w1', { slots: 5 }).ready()
    const north = rig.guest('north').hello()
    rig.advance(100)
    north.request({ id: 'a' }).request({ id: 'b' })
    rig.advance(10)
    expect(rig.lastState.received).toEqual([{ peer: 'north', epoch: 2000, count: 2 }])
    rig.advance(1000)
    expect(rig.lastState.received).toEqual([{ peer: 'north', epoch: 2000, count: 2 }])
  })
})

describe('borrowing', () => {
  test('a task from a peer runs here at once, and its answer goes back', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1').ready()
    const north = rig.guest('north').hello().request({ id: 'a' })
    expect(w1.started).toEqual(['a'])
    w1.reply()
    expect(north.replies).toMatchObject([{ token: 1, code: '', cluster: 'west', worker: 'w1' }])
    expect(rig.broker.scheduler.guestTasks).toBe(0)
  })

  test('a task from a peer is never sent on: it is rejected when no local worker is free', () => {
    const rig = new Rig()
    const east = rig.peer('east').up(5)
    const w1 = rig.worker('w1').ready()
    const north = rig.guest('north').hello()
    north.request({ id: 'a' }).request({ id: 'b' })
    expect(w1.started).toEqual(['a'])
    expect(east.started).toEqual([])
    expect(north.rejects).toMatchObject([{ token: 2, reason: RejectReason.Full, free: 0, received: 2 }])
    north.request({ id: 'c', service: 'unheard-of' })
    expect(north.rejects).toMatchObject([{}, { reason: RejectReason.NoService }])
    // Neither when its worker dies under it.
    w1.vanish()
    expect(north.rejects).toMatchObject([{}, {}, { token: 1, reason: RejectReason.WorkerLost, worker: 'w1' }])
    expect(east.started).toEqual([])
  })

  test('a guest that cancels, restarts, leaves or falls silent is forgotten with its tasks', () => {
    const endings: ((north: ReturnType<Rig['guest']>, rig: Rig) => void)[] = [
      (north) => north.say({ kind: Kind.Cancel, token: 1 }),
      (north) => {
        north.epoch = 2001
        north.hello()
      },
      (north) => north.say({ kind: Kind.Disconnect, reason: '' }),
      (_, rig) => rig.advance(1500),
    ]
    for (const end of endings) {
      const rig = new Rig()
      const w1 = rig.worker('w1').ready()
      const north = rig.guest('north').hello().request({ id: 'a' })
      end(north, rig)
      expect(w1.got(Kind.Cancel)).toHaveLength(1)
      expect(rig.broker.scheduler.guestTasks).toBe(0)
      w1.reply({ code: 'CANCELLED' })
      expect(north.replies).toEqual([])
      expect(rig.free()).toBe(1)
    }
  })

  test('lost REQUESTs are found by the heartbeat: an inventory tells what is held', () => {
    const rig = new Rig()
    rig.worker('w1', { slots: 5 }).ready()
    const north = rig.guest('north').hello().request({ id: 'a' })
    north.sent++
    north.heartbeat()
    expect(north.got(Kind.Inventory)).toEqual([{ kind: Kind.Inventory, received: 2, tokens: [1] }])
    // It may be lost as well, and the counts agree from now on: as many times as heartbeats fit into the TTL, and once more.
    for (let i = 0; i < 10; i++) north.heartbeat()
    expect(north.got(Kind.Inventory)).toEqual(
      Array.from({ length: 5 }, () => ({ kind: Kind.Inventory, received: 2, tokens: [1] })),
    )
  })

  test('a requester that has begun to count anew is counted with', () => {
    const rig = new Rig()
    rig.worker('w1', { slots: 5 }).ready()
    const north = rig.guest('north').hello()
    for (const id of ['a', 'b', 'c']) north.request({ id })
    // It had lost us and found us again at another address: the same epoch, other counts.
    north.sent = 0
    north.say({ kind: Kind.Heartbeat, ask: true, sent: 0 })
    north.request({ id: 'd', token: 77 })
    rig.advance(10)
    expect(rig.lastState.received).toMatchObject([{ peer: 'north', count: 1 }])
  })

  test('a peer that never answers is told to the log once, and not one that has answered', () => {
    const rig = new Rig()
    rig.peer('nowhere').connect()
    rig.peer('north').up(1)
    const greetings = HELLOS_PER_CONNECTION * rig.broker.config.stateIntervalMs
    rig.advance(greetings / 2)
    expect(rig.eventsOf('peer-unreached')).toEqual([])
    rig.advance(4 * greetings)
    expect(rig.eventsOf('peer-unreached')).toMatchObject([{ address: 'tcp://nowhere' }])
  })

  test('a peer that is up and whose state does not come is told to the log once, and again when that happens anew', () => {
    const rig = new Rig()
    const east = rig.peer('east').connect().hello()
    const { stateIntervalMs } = rig.broker.config
    const speak = (beats: number, states: boolean) => {
      for (let i = 0; i < beats; i++) {
        rig.advance(stateIntervalMs)
        east.say({ kind: Kind.Heartbeat, ask: false, sent: 0 })
        if (states) east.state(1)
      }
    }
    speak(HELLOS_PER_CONNECTION / 2, false)
    expect(rig.eventsOf('peer-stateless')).toEqual([])
    speak(2 * HELLOS_PER_CONNECTION, false)
    const complaint = { peer: 'east', address: 'tcp://east-state' }
    expect(rig.eventsOf('peer-stateless')).toMatchObject([complaint])
    speak(2 * HELLOS_PER_CONNECTION, true)
    expect(rig.eventsOf('peer-stateless')).toMatchObject([complaint])
    speak(2 * HELLOS_PER_CONNECTION, false)
    expect(rig.eventsOf('peer-stateless')).toMatchObject([complaint, complaint])
    expect(rig.eventsOf('peer-lost')).toEqual([])
  })

  test('of two brokers of one name the one that came later is refused, once the other is heard after it', () => {
    const rig = new Rig()
    const { stateTtlMs, stateIntervalMs } = rig.broker.config
    const east = rig.peer('east', 2000).up(1)
    const twin = rig.guest('east', 3000)
    twin.hello({ cloudfe: 'tcp://twin' })
    // As it would be after a restart of which our own connection has not heard yet.
    expect(twin.got(Kind.Refuse)).toEqual([])
    for (let ms = 0; ms <= stateTtlMs; ms += stateIntervalMs) {
      rig.advance(stateIntervalMs)
      east.say({ kind: Kind.Heartbeat, ask: false, sent: 0 })
    }
    twin.hello({ cloudfe: 'tcp://twin' })
    expect(twin.got(Kind.Refuse)).toMatchObject([
      { reason: 'name-taken', message: expect.stringContaining('tcp://east') },
    ])
    expect(rig.eventsOf('peer-refused')).toMatchObject([{ peer: 'east', address: 'tcp://twin' }])
    expect(rig.eventsOf('peer-lost')).toEqual([])
    rig.guest('east', 2000).hello()
    expect(rig.eventsOf('peer-refused')).toHaveLength(1)
  })

  test('a broker that has restarted is welcome however often it says hello before its former life is given up', () => {
    const rig = new Rig()
    const { stateTtlMs } = rig.broker.config
    rig.peer('east', 2000).up(1)
    const again = rig.guest('east', 3000)
    for (let ms = 0; ms < 2 * stateTtlMs; ms += 100) {
      again.hello({ cloudfe: 'tcp://elsewhere' })
      rig.advance(100)
    }
    expect(again.got(Kind.Refuse)).toEqual([])
    expect(rig.eventsOf('peer-refused')).toEqual([])
    expect(rig.broker.peers.byAddress.has('tcp://elsewhere')).toBe(true)
  })

  test('a message for an earlier life of this broker is answered with HELLO alone', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1').ready()
    const north = rig.guest('north')
    rig.feed('cloudfe', 'north', { from: 2000, to: 999, records: [aHello({ name: 'north', epoch: 2000 })] })
    expect(north.inbox.map((r) => r.kind)).toEqual([Kind.Hello])
    expect(w1.started).toEqual([])
  })

  test('another broker of our name is refused, and one under a name that is not its routing id', () => {
    const rig = new Rig()
    const twin = rig.guest('west').hello()
    expect(twin.got(Kind.Refuse)).toMatchObject([{ reason: 'name-taken' }])
    const liar = rig.guest('north').hello({ name: 'south' })
    expect(liar.got(Kind.Refuse)).toMatchObject([{ reason: 'name' }])
    expect(rig.eventsOf('peer-refused')).toHaveLength(2)
    expect(rig.broker.guests.byName.size).toBe(0)
  })
})

describe('losing a peer', () => {
  test('silent for the TTL it gives back what it held, not a millisecond before', () => {
    const { rig, c1 } = alone()
    const east = rig.peer('east').up(1)
    c1.request({ id: 'a', timeLeftMs: 60_000 })
    const w1 = rig.worker('w1').ready()
    rig.advance(1000)
    w1.heartbeat()
    rig.advance(499)
    expect(w1.started).toEqual([])
    rig.advance(1)
    expect(w1.started).toEqual(['a'])
    expect(rig.eventsOf('peer-lost')).toMatchObject([{ peer: 'east', tasksTakenBack: 1 }])
    expect(east.started).toEqual(['a'])
  })

  test('a new epoch gives back every task the peer held, and none goes to the new life unasked', () => {
    const { rig, c1 } = alone()
    const east = rig.peer('east').up(5)
    for (const id of ['a', 'b']) c1.request({ id })
    east.restart(2001).hello()
    expect(east.started).toEqual(['a', 'b'])
    expect(rig.eventsOf('peer-restarted')).toMatchObject([{ tasksTakenBack: 2 }])
    expect(rig.broker.scheduler.queued).toBe(2)
    east.state(5)
    expect(east.started).toEqual(['a', 'b', 'a', 'b'])
    expect(east.received).toBe(2)
    expect(rig.broker.peers.byName.get('east')).toMatchObject({ sent: 2 })
  })

  test('a restart that no broken connection gave away is answered with HELLO, for the new life to know us', () => {
    const { rig } = alone()
    const east = rig.peer('east').up(5)
    rig.advance(600)
    const before = east.got(Kind.Hello).length
    east.restart(2001).hello()
    rig.advance(500)
    expect(east.got(Kind.Hello).length).toBeGreaterThan(before)
  })

  test('a non-idempotent task at a lost peer is UNKNOWN', () => {
    const { rig, c1 } = alone()
    const east = rig.peer('east').up(1)
    c1.request({ id: 'a', flags: Flag.NotIdempotent })
    const w1 = rig.worker('w1').ready()
    rig.advance(1500)
    expect(c1.reply.code).toBe('UNKNOWN')
    expect(w1.started).toEqual([])
    expect(rig.eventsOf('peer-lost')).toMatchObject([{ tasksUnknown: 1 }])
    east.hello()
    east.reply()
    expect(c1.replies).toHaveLength(1)
  })

  test('first reply wins, the later one is counted and dropped', () => {
    const { rig, c1 } = alone()
    const east = rig.peer('east').up(1)
    c1.request({ id: 'a', timeLeftMs: 60_000 })
    const w1 = rig.worker('w1')
    rig.advance(1500)
    w1.ready()
    expect(w1.started).toEqual(['a'])
    east.hello()
    east.reply({ worker: 'e1' })
    expect(c1.reply).toMatchObject({ code: '', cluster: 'east' })
    expect(w1.got(Kind.Cancel)).toHaveLength(1)
    w1.reply()
    expect(c1.replies).toHaveLength(1)
    expect(rig.broker.counters.lateReplies).toBe(1)
  })

  test('the answer of an abandoned attempt whose pieces nobody was given does not end a stream', () => {
    const { rig, c1 } = alone()
    const east = rig.peer('east').up(1)
    const flags = Flag.Stream | Flag.RestartStream
    c1.request({ id: 's', timeLeftMs: 60_000, flags, creditUpTo: 10 })
    const w1 = rig.worker('w1')
    rig.advance(1500)
    w1.ready()
    expect(w1.started).toEqual(['s'])
    w1.piece(0)
    east.hello()
    east.piece(0).piece(1)
    east.reply({ partials: 2 })
    expect(c1.replies).toEqual([])
    expect(c1.pieces).toHaveLength(1)
    w1.reply({ partials: 1 })
    expect(c1.reply).toMatchObject({ code: '', partials: 1, worker: 'w1' })
    expect(rig.broker.scheduler.assignments.size).toBe(0)
  })

  test('a suspect peer that returns with the same epoch keeps its tasks, but for those its inventory lacks', () => {
    const { rig, c1 } = alone()
    const east = rig.peer('east').up(3)
    for (const id of ['a', 'b']) c1.request({ id })
    east.breakConnection()
    c1.request({ id: 'c' })
    expect(east.started).toEqual(['a', 'b'])
    rig.advance(400)
    east.hello()
    expect(east.got(Kind.Audit)).toMatchObject([{ sent: 2 }])
    // Its answer to b was on the wire when it broke.
    east.holds.delete(east.token('b'))
    east.inventory(2)
    rig.advance(600)
    east.heartbeat().state(3)
    expect(east.started).toEqual(['a', 'b', 'c', 'b'])
    expect(rig.eventsOf('peer-lost')).toEqual([])
    east.reply({ id: 'a' })
    expect(c1.reply).toMatchObject({ token: 1, attempts: 1 })
  })

  test('what waits goes to a suspect peer as soon as it is back', () => {
    const { rig, c1 } = alone()
    const east = rig.peer('east').up(3)
    east.breakConnection()
    c1.request({ id: 'a' })
    expect(east.started).toEqual([])
    east.hello()
    expect(east.started).toEqual(['a'])
  })

  test('a suspect peer that does not return loses its tasks within a heartbeat interval', () => {
    const { rig, c1 } = alone()
    const east = rig.peer('east').up(1)
    c1.request({ id: 'a' })
    const w1 = rig.worker('w1').ready()
    east.breakConnection()
    rig.advance(499)
    expect(w1.started).toEqual([])
    rig.advance(1)
    expect(w1.started).toEqual(['a'])
  })

  test('a peer that leaves gives everything back, and is not given it again', () => {
    const { rig, c1 } = alone()
    const east = rig.peer('east').up(5)
    for (const id of ['a', 'b']) c1.request({ id })
    east.disconnect()
    expect(east.started).toEqual(['a', 'b'])
    expect(rig.broker.scheduler.queued).toBe(2)
    const w1 = rig.worker('w1', { slots: 2 }).ready()
    expect(w1.started).toEqual(['a', 'b'])
    expect(rig.eventsOf('peer-left')).toHaveLength(1)
  })

  test('a configured peer that left and is back, in a new life, is up again', () => {
    const { rig, c1 } = alone()
    const east = rig.peer('east').up(5).disconnect()
    rig.advance(1000)
    east.restart(2001).hello().state(1)
    c1.request({ id: 'a' })
    expect(east.started).toEqual(['a'])
  })

  test('lost answers are found by the heartbeat and repaired by an inventory', () => {
    const { rig, c1 } = alone()
    const east = rig.peer('east').up(5)
    for (const id of ['a', 'b']) c1.request({ id })
    east.holds.delete(east.token('a'))
    east.answered++
    const w1 = rig.worker('w1').ready()
    east.heartbeat()
    expect(east.got(Kind.Audit)).toMatchObject([{ sent: 2 }])
    east.inventory()
    expect(w1.started).toEqual(['a'])
  })

  test('what a peer holds for nobody is cancelled there', () => {
    const { rig } = alone()
    const east = rig.peer('east').up(5)
    east.say({ kind: Kind.Inventory, received: 0, tokens: [5] })
    expect(east.got(Kind.Cancel)).toEqual([{ kind: Kind.Cancel, token: 5 }])
  })

  test('the round trip is measured by heartbeats', () => {
    const { rig } = alone()
    const east = rig.peer('east').up(5)
    rig.advance(500)
    rig.advance(40)
    east.heartbeat()
    expect(rig.broker.peers.byName.get('east')?.roundTripMs).toBe(40)
  })

  test('when we stood still ourselves nobody is dead for it', () => {
    const rig = new Rig()
    rig.worker('w1').ready()
    rig.peer('east').up(1)
    rig.now += 60_000
    rig.broker.timeout(rig.now)
    expect(rig.eventsOf('worker-lost')).toEqual([])
    expect(rig.eventsOf('peer-lost')).toEqual([])
    rig.advance(3000)
    expect(rig.eventsOf('worker-lost')).toHaveLength(1)
  })

  test('neither with heartbeats that are quicker than the state', () => {
    const rig = new Rig({ workerHeartbeatIntervalMs: 100 })
    const w1 = rig.worker('w1')
    w1.say({ ...w1.hello(), heartbeatIntervalMs: 100 }, { kind: Kind.Ready, slots: 1, services: [''] })
    rig.now += 600
    rig.broker.timeout(rig.now)
    expect(rig.eventsOf('worker-lost')).toEqual([])
    rig.advance(300)
    expect(rig.eventsOf('worker-lost')).toHaveLength(1)
  })
})

describe('draining', () => {
  test('state 0 at once, new tasks refused, what runs is finished, everybody told, drained once', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1', { slots: 2 }).ready()
    const east = rig.peer('east').up(0)
    const north = rig.guest('north').hello()
    const c1 = rig.client('c1')
    c1.request({ id: 'a' })
    rig.advance(100)
    east.heartbeat()
    north.heartbeat()
    const before = rig.states.length
    rig.broker.drain(5000, rig.now)
    expect(rig.states).toHaveLength(before + 1)
    expect(rig.lastState).toMatchObject({ draining: true, services: [{ free: 0, total: 2 }] })
    c1.request({ id: 'b' })
    expect(c1.reply).toMatchObject({ token: 2, code: 'DRAINING', retryable: true })
    expect(c1.reply.retryAfterMs).toBeGreaterThan(0)
    rig.stockClient('s1').request('x')
    north.request({ id: 'c' })
    expect(north.rejects).toMatchObject([{ reason: RejectReason.Draining, free: 0 }])
    expect(rig.drainedTimes).toBe(0)
    w1.reply()
    expect(c1.codes).toEqual(['DRAINING', ''])
    expect(rig.drainedTimes).toBe(1)
    for (const actor of [w1, east, north]) expect(actor.got(Kind.Disconnect), actor.key).toHaveLength(1)
    rig.broker.drain(0, rig.now)
    rig.advance(10_000)
    expect(rig.drainedTimes).toBe(1)
    expect(rig.broker.nextTimeout()).toBe(Number.POSITIVE_INFINITY)
  })

  test('the queue is handed to peers as they have room', () => {
    const { rig, c1 } = alone()
    const east = rig.peer('east').up(0)
    for (const id of ['a', 'b']) c1.request({ id })
    rig.broker.drain(5000, rig.now)
    east.state(2)
    expect(east.started).toEqual(['a', 'b'])
    expect(rig.drainedTimes).toBe(0)
    east.reply({ id: 'a' }).reply({ id: 'b' })
    expect(rig.drainedTimes).toBe(1)
    expect(c1.codes).toEqual(['', ''])
  })

  test('at the deadline what is not done is given back to its owners', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1', { slots: 3 }).ready()
    const c1 = rig.client('c1')
    const north = rig.guest('north').hello()
    c1.request({ id: 'a' })
    c1.request({ id: 'b', flags: Flag.NotIdempotent })
    north.request({ id: 'c' })
    c1.request({ id: 'd' })
    rig.broker.drain(1000, rig.now)
    rig.advance(999)
    expect(c1.replies).toEqual([])
    rig.advance(1)
    expect(Object.fromEntries(c1.replies.map((r) => [r.token, r.code]))).toEqual({
      1: 'DRAINING',
      2: 'UNKNOWN',
      3: 'DRAINING',
    })
    expect(north.rejects).toMatchObject([{ reason: RejectReason.HandedBack }])
    expect(rig.eventsOf('drained')).toMatchObject([{ leftUndone: 4 }])
    expect(w1.got(Kind.Disconnect)).toHaveLength(1)
    expect(rig.drainedTimes).toBe(1)
  })

  test('asked again, the shorter deadline counts; with nothing to do it leaves at once', () => {
    const { rig, c1 } = alone()
    c1.request({ id: 'a' })
    rig.broker.drain(60_000, rig.now)
    rig.broker.drain(0, rig.now)
    expect(rig.drainedTimes).toBe(1)
    const idle = new Rig()
    idle.broker.drain(60_000, idle.now)
    expect(idle.drainedTimes).toBe(1)
  })
})
