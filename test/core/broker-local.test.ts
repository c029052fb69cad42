/** One cluster by itself: clients, workers, the queue between them. */

import { describe, expect, test } from 'vitest'
import { EMPTY_BODY, Flag, Kind, RejectReason, Role } from '../../protocol/record.ts'
import { aHello, aRequest, octets, Rig, text } from './broker-rig.ts'

describe('local workers', () => {
  test('a task goes to a free worker, its answer back with where it ran', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1').ready()
    const c1 = rig.client('c1')
    c1.request({ id: 'a', token: 7 })
    expect(w1.started).toEqual(['a'])
    rig.advance(5)
    w1.reply({ body: octets('result'), runUs: 4000 })
    expect(c1.reply).toMatchObject({
      token: 7,
      code: '',
      cluster: 'west',
      worker: 'w1',
      attempts: 1,
      runUs: 4000,
    })
    expect(text(c1.reply.body)).toBe('result')
  })

  test('local first: while a local worker is free no task leaves the cluster', () => {
    const rig = new Rig()
    const east = rig.peer('east').up(10)
    const w1 = rig.worker('w1', { slots: 2 }).ready()
    const c1 = rig.client('c1')
    c1.request({ id: 'a' })
    c1.request({ id: 'b' })
    expect(w1.started).toEqual(['a', 'b'])
    expect(east.started).toEqual([])
    c1.request({ id: 'c' })
    expect(east.started).toEqual(['c'])
  })

  test('least recently used first', () => {
    const rig = new Rig()
    const workers = ['w1', 'w2', 'w3'].map((name) => rig.worker(name, { slots: 2 }).ready())
    const c1 = rig.client('c1')
    for (const id of ['a', 'b', 'c', 'd']) c1.request({ id })
    expect(workers.map((w) => w.started)).toEqual([['a', 'd'], ['b'], ['c']])
    const [w1, w2, w3] = workers
    w2?.reply()
    w1?.reply({ id: 'a' })
    w3?.reply()
    // w1, then full, is free again only now; w2 and w3 never were full and are where their last task put them.
    for (const id of ['e', 'f', 'g']) c1.request({ id })
    expect(workers.map((w) => w.started)).toEqual([
      ['a', 'd', 'g'],
      ['b', 'e'],
      ['c', 'f'],
    ])
  })

  test('a worker gets as many tasks as it has slots, and the next one when it answers', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1', { slots: 2 }).ready()
    const c1 = rig.client('c1')
    for (const id of ['a', 'b', 'c', 'd']) c1.request({ id })
    expect(w1.started).toEqual(['a', 'b'])
    w1.reply({ id: 'b' })
    expect(w1.started).toEqual(['a', 'b', 'c'])
  })

  test('what waits goes by priority, then by age', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1').ready()
    const c1 = rig.client('c1')
    c1.request({ id: 'running' })
    c1.request({ id: 'low', priority: 0 })
    c1.request({ id: 'first', priority: 5 })
    c1.request({ id: 'second', priority: 5 })
    c1.request({ id: 'high', priority: 9 })
    for (let i = 0; i < 4; i++) w1.reply()
    expect(w1.started).toEqual(['running', 'high', 'first', 'second', 'low'])
  })

  test('services are kept apart', () => {
    const rig = new Rig()
    const resize = rig.worker('w1', { services: ['resize'] }).ready()
    const c1 = rig.client('c1')
    c1.request({ id: 'a', service: 'print' })
    expect(resize.started).toEqual([])
    const print = rig.worker('w2', { services: ['print'] }).ready()
    expect(print.started).toEqual(['a'])
  })

  test('of two services a worker serves, the task that has waited longest is next', () => {
    const rig = new Rig()
    const c1 = rig.client('c1')
    c1.request({ id: 'b', service: 'second' })
    rig.advance(1)
    c1.request({ id: 'a', service: 'first' })
    const w1 = rig.worker('w1', { services: ['first', 'second'] }).ready()
    expect(w1.started).toEqual(['b'])
    w1.reply()
    expect(w1.started).toEqual(['b', 'a'])
  })

  test('READY again replaces the offer: tasks that wait start on the new slots', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1').ready()
    const c1 = rig.client('c1')
    for (const id of ['a', 'b', 'c']) c1.request({ id })
    w1.ready(3)
    expect(w1.started).toEqual(['a', 'b', 'c'])
    w1.ready(0)
    w1.reply({ id: 'a' })
    c1.request({ id: 'd' })
    expect(w1.started).toEqual(['a', 'b', 'c'])
    expect(rig.free()).toBe(0)
  })

  test('a service beyond servicesMax is said to be so once, however often READY is repeated, and opened when there is room', () => {
    const rig = new Rig({ servicesMax: 2 })
    rig.worker('w1', { services: ['a'] }).ready()
    const w2 = rig.worker('w2', { services: ['b'] }).ready()
    const w3 = rig.worker('w3', { services: ['c', 'a', 'd'] }).ready()
    const said = () => rig.eventsOf('worker-ready').filter(({ worker }) => worker === 'w3').length
    const dropped = () => rig.broker.counters.dropped.get('services_max') ?? 0
    expect([said(), dropped()]).toEqual([1, 2])
    for (let i = 0; i < 5; i++) w3.ready()
    expect([said(), dropped()]).toEqual([1, 2])
    expect(rig.free('a')).toBe(2)
    w2.disconnect()
    w3.ready()
    expect([said(), dropped()]).toEqual([2, 3])
    expect([rig.free('c'), rig.free('a')]).toEqual([1, 2])
    w3.ready()
    expect([said(), dropped()]).toEqual([2, 3])
    // Of no use to anybody else, `c` makes room for what is named in its stead.
    w3.services = ['a', 'd']
    w3.ready()
    expect([said(), rig.free('c'), rig.free('d')]).toEqual([3, 0, 1])
  })

  test('a worker that turns a task away gets no other until it is heard from again', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1', { slots: 2 }).ready()
    const c1 = rig.client('c1')
    c1.request({ id: 'a' })
    w1.reject(RejectReason.Full)
    expect(w1.started).toEqual(['a'])
    expect(w1.got(Kind.Audit)).toHaveLength(1)
    w1.inventory()
    expect(w1.started).toEqual(['a', 'a'])
    w1.reply()
    expect(c1.reply).toMatchObject({ code: '', attempts: 1 })
  })

  test('a slot that a turned-away leftover frees is used at once', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1').ready()
    // It holds something that we know nothing of.
    w1.say({ kind: Kind.Inventory, received: 0, tokens: [99] })
    expect(w1.got(Kind.Cancel)).toMatchObject([{ token: 99 }])
    const c1 = rig.client('c1')
    c1.request({ id: 'a' })
    expect(w1.started).toEqual([])
    w1.reject(RejectReason.HandedBack, { token: 99 })
    expect(w1.started).toEqual(['a'])
  })

  test('a leftover of an inventory that came late is asked about with each heartbeat, and takes its slot no longer', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1').ready()
    const c1 = rig.client('c1')
    c1.request({ id: 'a' })
    const token = w1.token('a')
    w1.reply()
    // Written before that reply, or a second copy: the worker has nothing of the kind, and will never answer it.
    w1.say({ kind: Kind.Inventory, received: 1, tokens: [token] })
    c1.request({ id: 'b' })
    expect(w1.started).toEqual(['a'])
    w1.heartbeat()
    expect(w1.got(Kind.Audit)).toHaveLength(1)
    w1.inventory()
    expect(w1.started).toEqual(['a', 'b'])
    w1.heartbeat()
    expect(w1.got(Kind.Audit)).toHaveLength(1)
  })

  test('tasks that an inventory brings back do not go to the slots that the same inventory shows as taken', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1', { slots: 2 }).ready()
    const c1 = rig.client('c1')
    c1.request({ id: 'a' })
    c1.request({ id: 'b' })
    w1.say({ kind: Kind.Inventory, received: 2, tokens: [98, 99] })
    expect(w1.started).toEqual(['a', 'b'])
    w1.reply({ token: 98 })
    expect(w1.started).toEqual(['a', 'b', 'a'])
  })

  test('localbe refuses what is no worker, with a word on where it belongs', () => {
    const rig = new Rig()
    const lost = rig.worker('lost')
    lost.say(aHello({ role: Role.Client, name: 'lost', epoch: lost.epoch }))
    expect(lost.got(Kind.Refuse)).toMatchObject([{ reason: 'role' }])
    expect(rig.eventsOf('worker-refused')).toHaveLength(1)
    expect(rig.broker.workers.byKey.size).toBe(0)
  })

  test('localfe refuses a worker and a broker, and takes nothing else of what they say', () => {
    const rig = new Rig()
    for (const role of [Role.Worker, Role.Broker]) {
      const lost = rig.client(`lost-${role}`)
      lost.say(aHello({ role, name: 'lost', epoch: lost.epoch }), aRequest({ id: `of-${role}` }))
      expect(lost.inbox).toMatchObject([{ kind: Kind.Refuse, reason: 'role' }])
    }
    expect(rig.eventsOf('client-refused')).toMatchObject([{ key: 'lost' }, { key: 'lost' }])
    expect(rig.broker.scheduler.queued).toBe(0)
    const c1 = rig.client('c1').say(aHello({ role: Role.Client, name: 'c1' }))
    expect(c1.inbox).toMatchObject([{ kind: Kind.Hello, role: Role.Broker }])
  })

  test('a worker that is not signed in is told so', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1').heartbeat()
    expect(w1.got(Kind.Disconnect)).toHaveLength(1)
  })

  test('beyond workersMax a worker is refused with what to do', () => {
    const rig = new Rig({ workersMax: 1 })
    rig.worker('w1').ready()
    const w2 = rig.worker('w2').ready()
    expect(w2.got(Kind.Refuse)).toMatchObject([{ reason: 'workersMax' }])
  })

  test('beyond workersMax the plain REQ worker that has been idle longest makes room, not one that works now and then', () => {
    const rig = new Rig({ workersMax: 2 })
    const [r1, r2] = [rig.stockWorker('r1', 'req').ready(), rig.stockWorker('r2', 'req').ready()]
    rig.advance(1000)
    rig.client('c1').request({ id: 'a' })
    expect([r1.started, r2.started]).toEqual([['a'], []])
    r1.done()
    rig.stockWorker('r3', 'req').ready()
    expect([...rig.broker.workers.byKey.keys()]).toEqual(['r1', 'r3'])
  })
})

describe('workers that fail', () => {
  test('a silent worker loses its task after three heartbeats, and not a millisecond before', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1').ready()
    const c1 = rig.client('c1')
    c1.request({ id: 'a', timeLeftMs: 60_000 })
    rig.advance(2999)
    const w2 = rig.worker('w2').ready()
    expect(w2.started).toEqual([])
    rig.advance(1)
    expect(w2.started).toEqual(['a'])
    expect(rig.eventsOf('worker-lost')).toMatchObject([{ worker: 'w1', tasksTakenBack: 1 }])
    w2.reply()
    expect(c1.reply).toMatchObject({ worker: 'w2', attempts: 2 })
    expect(w1.started).toEqual(['a'])
  })

  test('a native worker that beats while it works keeps its task', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1').ready()
    rig.client('c1').request({ id: 'a', timeLeftMs: 60_000 })
    for (let i = 0; i < 10; i++) {
      rig.advance(1000)
      w1.heartbeat()
    }
    expect(rig.eventsOf('worker-lost')).toEqual([])
  })

  test('a worker whose connection is gone loses its task at once', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1').ready()
    const w2 = rig.worker('w2').ready()
    rig.client('c1').request({ id: 'a' })
    expect(w1.started).toEqual(['a'])
    w1.vanish()
    expect(w2.started).toEqual(['a'])
  })

  test('when some connection breaks all workers are spoken to a moment later, to learn whose it was', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1').ready()
    const before = w1.got(Kind.Heartbeat).length
    rig.broker.workerDisconnected(rig.now)
    rig.advance(4)
    expect(w1.got(Kind.Heartbeat)).toHaveLength(before)
    rig.advance(1)
    expect(w1.got(Kind.Heartbeat)).toHaveLength(before + 1)
  })

  test('when connections break one after the other, the more workers there are the less often all are spoken to', () => {
    const rig = new Rig({ workersMax: 1000 })
    const workers = Array.from({ length: 400 }, (_, n) => rig.worker(`w${n}`).ready())
    const [w1] = workers
    const before = w1?.got(Kind.Heartbeat).length ?? 0
    for (let ms = 0; ms < 900; ms++) {
      rig.broker.workerDisconnected(rig.now)
      rig.advance(1)
    }
    const heard = (w1?.got(Kind.Heartbeat).length ?? 0) - before
    expect(heard).toBeGreaterThanOrEqual(900 / 25)
    expect(heard).toBeLessThanOrEqual(900 / 20 + 2)
  })

  test('a worker that restarts behind the same routing id has lost what it held', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1').ready()
    rig.client('c1').request({ id: 'a' })
    w1.epoch = 3001
    w1.holds.clear()
    w1.ready()
    expect(w1.started).toEqual(['a', 'a'])
    expect(rig.eventsOf('worker-lost')).toMatchObject([{ reason: 'restarted' }])
  })

  test('a restart is seen even when the new life is first heard speaking to an earlier life of the broker', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1').ready()
    rig.client('c1').request({ id: 'a' })
    rig.feed('localbe', 'w1', { from: 3001, to: 999, records: [w1.hello()] })
    w1.epoch = 3001
    w1.ready()
    expect(w1.started).toEqual(['a', 'a'])
  })

  test('a worker that reconnects with the same epoch keeps its tasks', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1').ready()
    const c1 = rig.client('c1')
    c1.request({ id: 'a' })
    w1.ready()
    expect(w1.started).toEqual(['a'])
    w1.reply()
    expect(c1.reply).toMatchObject({ code: '', attempts: 1 })
  })

  test('REQUESTs that could not be delivered go back unstarted', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1').ready()
    const w2 = rig.worker('w2').ready()
    const c1 = rig.client('c1')
    c1.request({ id: 'a', flags: Flag.NotIdempotent })
    const [request] = w1.got(Kind.Request)
    if (request === undefined) throw new Error('no request')
    rig.undelivered(w1.itsLink, [request], 'full')
    expect(w2.started).toEqual(['a'])
    w2.reply()
    expect(c1.reply).toMatchObject({ code: '', attempts: 1 })
    // w1 gets nothing until it speaks.
    c1.request({ id: 'b' })
    expect(w2.started).toEqual(['a', 'b'])
    expect(rig.free()).toBe(0)
    w1.heartbeat()
    expect(rig.free()).toBe(1)
  })

  test('a worker that leaves hands its tasks back', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1').ready()
    const w2 = rig.worker('w2').ready()
    rig.client('c1').request({ id: 'a' })
    w1.disconnect()
    expect(w2.started).toEqual(['a'])
    expect(rig.eventsOf('worker-left')).toHaveLength(1)
  })

  test('three dead workers make a task poison, with their names', () => {
    const rig = new Rig()
    const c1 = rig.client('c1')
    c1.request({ id: 'a' })
    for (const name of ['w1', 'w2', 'w3']) {
      const worker = rig.worker(name).ready()
      expect(worker.started).toEqual(['a'])
      worker.vanish()
    }
    expect(c1.reply).toMatchObject({ code: 'POISON', retryable: false })
    expect(c1.reply.message).toContain('w1, w2, w3')
    expect(rig.eventsOf('poison')).toMatchObject([{ workers: ['w1', 'w2', 'w3'] }])
  })

  test('a non-idempotent task is never started twice: UNKNOWN', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1').ready()
    const w2 = rig.worker('w2').ready()
    const c1 = rig.client('c1')
    c1.request({ id: 'a', flags: Flag.NotIdempotent })
    w1.vanish()
    expect(c1.reply).toMatchObject({ code: 'UNKNOWN', retryable: false })
    expect(w2.started).toEqual([])
  })

  test('lost REQUESTs and lost answers are found by counters and repaired', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1', { slots: 2 }).ready()
    const c1 = rig.client('c1')
    c1.request({ id: 'a' })
    c1.request({ id: 'b' })
    // The answer to a is lost on its way here.
    w1.holds.delete(w1.token('a'))
    w1.answered++
    w1.heartbeat()
    expect(w1.got(Kind.Audit)).toMatchObject([{ sent: 2 }])
    w1.inventory(2)
    expect(w1.started).toEqual(['a', 'b', 'a'])
    expect(rig.eventsOf('inventory')).toMatchObject([{ tasksLost: 1 }])
    w1.reply({ id: 'a' }).reply({ id: 'b' })
    expect(c1.codes).toEqual(['', ''])
  })

  test('an inventory says nothing of REQUESTs sent after it was taken', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1', { slots: 2 }).ready()
    const c1 = rig.client('c1')
    c1.request({ id: 'a' })
    c1.request({ id: 'b' })
    const token = w1.token('a')
    w1.say({ kind: Kind.Inventory, received: 1, tokens: [token] })
    expect(w1.started).toEqual(['a', 'b'])
  })

  test('lost answers are asked for until an inventory has come', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1').ready()
    rig.client('c1').request({ id: 'a' })
    w1.holds.clear()
    w1.answered++
    w1.heartbeat()
    // The AUDIT, or the INVENTORY that answers it, is lost as well.
    w1.heartbeat()
    expect(w1.got(Kind.Audit)).toHaveLength(2)
    w1.inventory()
    expect(w1.started).toEqual(['a', 'a'])
    w1.heartbeat()
    expect(w1.got(Kind.Audit)).toHaveLength(2)
  })

  test('a task whose worker dies at the end of its time is not started once more', () => {
    const rig = new Rig()
    const w1 = rig.stockWorker('w1', 'ppp').ready()
    const w2 = rig.stockWorker('w2', 'ppp')
    const c1 = rig.client('c1')
    c1.request({ id: 'a', timeLeftMs: 100, flags: Flag.NotIdempotent })
    expect(w1.started).toEqual(['a'])
    w2.ready()
    rig.advance(101)
    expect(c1.codes).toHaveLength(1)
    expect(w2.started).toEqual([])
  })

  test('an idempotent task whose silent worker is given up at its deadline just expires', () => {
    const rig = new Rig({ silentAttemptMs: 1000 })
    rig.stockWorker('w1', 'ppp').ready()
    const w2 = rig.stockWorker('w2', 'ppp').ready()
    const c1 = rig.client('c1')
    c1.request({ id: 'a', timeLeftMs: 500 })
    rig.advance(501)
    expect(c1.codes).toEqual(['EXPIRED'])
    expect(w2.started).toEqual([])
    expect(rig.free()).toBe(1)
  })
})

describe('clients', () => {
  test('who asks is told which of its questions is answered', () => {
    const rig = new Rig()
    const c1 = rig.client('c1')
    for (const sent of [1, 7, 2 ** 53 - 1]) c1.say({ kind: Kind.Heartbeat, ask: true, sent })
    expect(c1.got(Kind.Heartbeat)).toEqual(
      [1, 7, 2 ** 53 - 1].map((sent) => ({ kind: Kind.Heartbeat, ask: false, sent })),
    )
  })

  test('a retry of a running task attaches to it', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1').ready()
    const w2 = rig.worker('w2').ready()
    const c1 = rig.client('c1')
    c1.request({ id: 'a', token: 1 })
    const again = rig.client('c1-again')
    again.request({ id: 'a', token: 5, attempt: 2 })
    expect(again.got(Kind.Pending)).toEqual([
      { kind: Kind.Pending, token: 5, running: true, attempt: 1, partials: 0 },
    ])
    expect(w2.started).toEqual([])
    w1.reply()
    expect(again.reply).toMatchObject({ token: 5, code: '' })
    expect(c1.replies).toEqual([])
    expect(rig.broker.counters.attached).toBe(1)
  })

  test('a retry of a queued task attaches, and gives it the time of the retry', () => {
    const rig = new Rig()
    const c1 = rig.client('c1')
    c1.request({ id: 'a', token: 1, timeLeftMs: 100 })
    rig.advance(50)
    c1.request({ id: 'a', token: 1, timeLeftMs: 100 })
    expect(c1.got(Kind.Pending)).toEqual([
      { kind: Kind.Pending, token: 1, running: false, attempt: 0, partials: 0 },
    ])
    rig.advance(99)
    expect(c1.replies).toEqual([])
    rig.advance(1)
    expect(c1.reply.code).toBe('EXPIRED')
  })

  test('a retry of an answered task gets that answer again, under the new token', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1').ready()
    rig.client('c1').request({ id: 'a' })
    w1.reply({ body: octets('once') })
    const again = rig.client('c1-again')
    again.request({ id: 'a', token: 9 })
    expect(again.reply).toMatchObject({ token: 9, code: '' })
    expect(text(again.reply.body)).toBe('once')
    expect(w1.started).toEqual(['a'])
    rig.advance(61_000)
    again.request({ id: 'a', token: 10 })
    expect(again.got(Kind.Reply)).toHaveLength(1)
  })

  test('another task under a token that is taken is dropped', () => {
    const rig = new Rig()
    const c1 = rig.client('c1')
    c1.request({ id: 'a', token: 1 })
    c1.request({ id: 'b', token: 1 })
    expect(rig.broker.counters.dropped.get('token_taken')).toBe(1)
    expect(rig.broker.scheduler.queued).toBe(1)
  })

  test('a client that restarts behind the same routing id does not meet its former tokens', () => {
    const rig = new Rig()
    const c1 = rig.client('c1')
    c1.request({ id: 'a', token: 1 })
    c1.epoch = 501
    c1.request({ id: 'b', token: 1 })
    const w1 = rig.worker('w1').ready()
    expect(w1.started).toEqual(['b'])
    w1.reply()
    expect(c1.reply).toMatchObject({ token: 1, code: '' })
    expect(rig.broker.clients.size).toBe(0)
  })

  test('whoever comes back by the link it was answered by needs no look-up, and is in the registry while it has tasks', () => {
    const rig = new Rig()
    rig.remembersLinks = true
    const c1 = rig.client('c1')
    const w1 = rig.worker('w1').ready()
    c1.request({ id: 'a', token: 1 })
    const { itsLink } = w1
    w1.reply()
    const first = c1.itsLink
    expect(rig.broker.clients.size).toBe(0)
    c1.request({ id: 'b', token: 2 })
    expect(rig.broker.clients.find(first)?.tasks).toBe(1)
    w1.reply()
    expect(c1.itsLink).toBe(first)
    expect(w1.itsLink).toBe(itsLink)
    // Another process, or another life of the worker, is not taken for the one behind the link.
    c1.epoch = 501
    c1.request({ id: 'c', token: 3 })
    w1.reply()
    expect(c1.itsLink).not.toBe(first)
    expect(c1.replies.at(-1)).toMatchObject({ token: 3, code: '' })
    rig.worker('w1', { epoch: 701 }).ready()
    expect(rig.broker.workers.byKey.get('w1')?.link).not.toBe(itsLink)
    expect(rig.broker.workers.byKey.size).toBe(1)
  })

  test('BUSY with retry-after beyond the bound', () => {
    const rig = new Rig({ queueMax: 2 })
    const c1 = rig.client('c1')
    for (const id of ['a', 'b', 'c']) c1.request({ id })
    expect(c1.reply).toMatchObject({ token: 3, code: 'BUSY', retryable: true, retryAfterMs: 100 })
    expect(rig.broker.scheduler.queued).toBe(2)
    // BUSY is an answer of the moment.
    const w1 = rig.worker('w1').ready()
    w1.reply()
    c1.request({ id: 'c' })
    expect(c1.replies).toHaveLength(2)
    expect(rig.broker.scheduler.queued).toBe(1)
  })

  test('EXPIRED in the queue, not a millisecond early', () => {
    const rig = new Rig()
    const c1 = rig.client('c1')
    c1.request({ id: 'a', timeLeftMs: 100 })
    rig.advance(99)
    expect(c1.replies).toEqual([])
    rig.advance(1)
    expect(c1.reply).toMatchObject({ code: 'EXPIRED', retryable: true, attempts: 0 })
    expect(rig.broker.counters.expiredQueued).toBe(1)
  })

  test('EXPIRED while running: CANCEL to the worker, the slot is taken until it answers', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1').ready()
    const c1 = rig.client('c1')
    c1.request({ id: 'a', timeLeftMs: 100 })
    c1.request({ id: 'b' })
    rig.advance(100)
    expect(c1.reply).toMatchObject({ token: 1, code: 'EXPIRED', attempts: 1 })
    expect(w1.got(Kind.Cancel)).toEqual([{ kind: Kind.Cancel, token: w1.token('a') }])
    expect(w1.started).toEqual(['a'])
    w1.reply({ id: 'a', code: 'CANCELLED' })
    expect(w1.started).toEqual(['a', 'b'])
    expect(c1.replies).toHaveLength(1)
    expect(rig.broker.counters.lateReplies).toBe(1)
  })

  test('a cancelled task leaves the queue, or is cancelled at its worker; nothing is answered', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1').ready()
    const c1 = rig.client('c1')
    const a = c1.request({ id: 'a' })
    const b = c1.request({ id: 'b' })
    c1.cancel(b)
    expect(rig.broker.scheduler.queued).toBe(0)
    c1.cancel(a)
    expect(w1.got(Kind.Cancel)).toHaveLength(1)
    w1.reply({ code: 'CANCELLED' })
    expect(c1.replies).toEqual([])
    expect(rig.free()).toBe(1)
  })

  test('DISCONNECT cancels all tasks of the client', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1').ready()
    const c1 = rig.client('c1')
    for (const id of ['a', 'b', 'c']) c1.request({ id })
    c1.say({ kind: Kind.Disconnect, reason: '' })
    expect(rig.broker.scheduler.unsettled).toBe(0)
    expect(rig.broker.clients.size).toBe(0)
    expect(w1.got(Kind.Cancel)).toHaveLength(1)
  })

  test('a service that nobody serves: the task waits, or fails at once with NO_SERVICE if asked to', () => {
    const rig = new Rig()
    const c1 = rig.client('c1')
    c1.request({ id: 'a', service: 'resize' })
    expect(c1.replies).toEqual([])
    c1.request({ id: 'b', service: 'resize', flags: Flag.FailFast })
    expect(c1.reply).toMatchObject({ token: 2, code: 'NO_SERVICE', retryable: true })
    rig.worker('w1', { services: ['resize'] }).ready()
    c1.request({ id: 'c', service: 'resize', flags: Flag.FailFast })
    expect(c1.replies).toHaveLength(1)
  })

  test('a body over the limit is TOO_LARGE', () => {
    const rig = new Rig()
    const c1 = rig.client('c1')
    rig.feed('localfe', 'c1', {
      from: 500,
      to: 0,
      records: [
        {
          kind: Kind.Request,
          token: 3,
          id: 'a',
          attempt: 1,
          timeLeftMs: 100,
          priority: 4,
          flags: 0,
          creditUpTo: 0,
          service: '',
          traceparent: '',
          body: EMPTY_BODY,
        },
      ],
      oversized: [3],
    })
    expect(c1.reply).toMatchObject({ token: 3, code: 'TOO_LARGE', retryable: false })
  })

  test('a message for an earlier life of the broker is answered with HELLO alone', () => {
    const rig = new Rig()
    const c1 = rig.client('c1')
    rig.feed('localfe', 'c1', { from: 500, to: 999, records: [{ kind: Kind.Heartbeat, ask: true, sent: 0 }] })
    expect(c1.inbox.map((record) => record.kind)).toEqual([Kind.Hello])
  })

  test('ten thousand clients that come and go leave nothing behind', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1').ready()
    for (let i = 0; i < 10_000; i++) {
      rig.client(`c${i}`).request({ id: `t${i}` })
      w1.reply()
    }
    const { broker } = rig
    expect(broker.clients.size).toBe(0)
    expect(broker.scheduler.assignments.size).toBe(0)
    expect(broker.scheduler.ledger.underWay).toBe(0)
    expect(broker.scheduler.ledger.answered).toBe(100)
  })
})

describe('streams', () => {
  const STREAM = { id: 's', flags: Flag.Stream, creditUpTo: 2 }

  test('pieces pass while there is credit; more credit goes on to the worker', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1').ready()
    const c1 = rig.client('c1')
    const token = c1.request(STREAM)
    w1.piece(0).piece(1).piece(2)
    expect(c1.pieces.map((p) => p.index)).toEqual([0, 1])
    expect(rig.broker.counters.partialsDropped).toBe(1)
    c1.say({ kind: Kind.Credit, token, upTo: 4 })
    c1.say({ kind: Kind.Credit, token, upTo: 3 })
    expect(w1.got(Kind.Credit)).toEqual([{ kind: Kind.Credit, token: w1.token(), upTo: 4 }])
    w1.piece(2)
    expect(c1.pieces).toMatchObject([{}, {}, { index: 2, token, cluster: 'west', worker: 'w1', attempt: 1 }])
    w1.reply({ partials: 3 })
    expect(c1.reply).toMatchObject({ partials: 3 })
  })

  test('a stream whose worker dies after its first piece is broken', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1').ready()
    const w2 = rig.worker('w2').ready()
    const c1 = rig.client('c1')
    c1.request(STREAM)
    w1.piece(0)
    w1.vanish()
    expect(c1.reply).toMatchObject({ code: 'STREAM_BROKEN', retryable: true, partials: 1 })
    expect(w2.started).toEqual([])
  })

  test('a stream whose worker dies before its first piece starts again', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1').ready()
    const w2 = rig.worker('w2').ready()
    rig.client('c1').request(STREAM)
    w1.vanish()
    expect(w2.started).toEqual(['s'])
  })

  test('a stream that may be restarted is, with its index from 0 and a higher attempt', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1').ready()
    const w2 = rig.worker('w2').ready()
    const c1 = rig.client('c1')
    c1.request({ ...STREAM, flags: Flag.Stream | Flag.RestartStream })
    w1.piece(0)
    w1.vanish()
    w2.piece(0).piece(1)
    expect(c1.pieces.map((p) => [p.attempt, p.index])).toEqual([
      [1, 0],
      [2, 0],
      [2, 1],
    ])
  })

  test('a piece of a task that is no stream is dropped', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1').ready()
    const c1 = rig.client('c1')
    c1.request({ id: 'a', creditUpTo: 10 })
    w1.piece(0)
    expect(c1.pieces).toEqual([])
  })
})

describe('the retry budget', () => {
  test('defers what it does not cover, and loses nothing', () => {
    const rig = new Rig({ retryBudgetBurst: 2, retryBudgetRatio: 0, retryBudgetPerSecond: 1 })
    const w1 = rig.worker('w1', { slots: 4 }).ready()
    const c1 = rig.client('c1')
    for (const id of ['a', 'b', 'c', 'd']) c1.request({ id, timeLeftMs: 60_000 })
    const w2 = rig.worker('w2', { slots: 4 }).ready()
    w1.vanish()
    expect(w2.started).toHaveLength(2)
    expect(rig.broker.scheduler.deferred).toBe(2)
    expect(rig.broker.counters.redispatchDeferred).toBe(2)
    rig.advance(1000)
    expect(w2.started).toHaveLength(3)
    w2.heartbeat()
    rig.advance(1000)
    expect([...w2.started].sort()).toEqual(['a', 'b', 'c', 'd'])
    expect(rig.broker.scheduler.deferred).toBe(0)
  })

  test('what it defers counts against the bound of the queue, and does not pile up beyond it', () => {
    const rig = new Rig({ queueMax: 2, retryBudgetBurst: 1, retryBudgetRatio: 0, retryBudgetPerSecond: 0 })
    const c1 = rig.client('c1')
    const w1 = rig.worker('w1', { slots: 3 }).ready()
    for (const id of ['a', 'b', 'c']) c1.request({ id })
    w1.vanish()
    expect(rig.broker.scheduler).toMatchObject({ deferred: 2, queued: 1 })
    c1.request({ id: 'd' })
    expect(c1.codes).toEqual(['BUSY'])
    const w2 = rig.worker('w2', { slots: 3 }).ready()
    for (const id of ['e', 'f']) c1.request({ id })
    expect(w2.started).toHaveLength(3)
    w2.vanish()
    expect(rig.broker.scheduler).toMatchObject({ deferred: 5, queued: 0 })
    // These are free, but would only fail as the others did, who come first.
    const w3 = rig.worker('w3', { slots: 3 }).ready()
    c1.request({ id: 'g' })
    expect(w3.started).toEqual([])
    expect(c1.codes).toEqual(['BUSY', 'BUSY'])
    // Another service has nothing to do with it.
    const w4 = rig.worker('w4', { slots: 1, services: ['other'] }).ready()
    c1.request({ id: 'h', service: 'other' })
    expect(w4.started).toEqual(['h'])
  })

  test('a deferred task still expires, and can be cancelled', () => {
    const rig = new Rig({ retryBudgetBurst: 1, retryBudgetRatio: 0, retryBudgetPerSecond: 0 })
    const w1 = rig.worker('w1', { slots: 3 }).ready()
    const c1 = rig.client('c1')
    for (const id of ['a', 'b', 'c']) c1.request({ id, timeLeftMs: 1000 })
    w1.vanish()
    expect(rig.broker.scheduler).toMatchObject({ deferred: 2, queued: 1 })
    c1.cancel(1)
    rig.advance(1000)
    expect(c1.codes).toEqual(['EXPIRED', 'EXPIRED'])
    expect(rig.broker.scheduler.unsettled).toBe(0)
  })
})

test('no task waits for longer than the longest time there is, whatever its client asks for', () => {
  const rig = new Rig({ taskTimeMaxMs: 5000 })
  const client = rig.client('c1')
  client.request({ id: 'patient', timeLeftMs: 2 ** 32 - 1 })
  client.request({ id: 'patient', token: 1, timeLeftMs: 2 ** 32 - 1 })
  rig.advance(5000)
  expect(client.codes).toEqual(['EXPIRED'])
})
