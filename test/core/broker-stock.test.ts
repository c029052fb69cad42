/** Programs that know nothing of the native dialect: REQ clients, REQ and Paranoid Pirate workers. */

import { describe, expect, test } from 'vitest'
import { Flag, Kind } from '../../protocol/record.ts'
import { Rig, text } from './broker-rig.ts'

describe('stock workers', () => {
  test('one slot, of the anonymous service', () => {
    const rig = new Rig()
    const w1 = rig.stockWorker('w1', 'req').ready()
    const c1 = rig.stockClient('c1')
    c1.request('a')
    rig.stockClient('c2').request('b')
    expect(w1.started).toEqual(['stock-a'])
    w1.done()
    expect(w1.started).toEqual(['stock-a', 'stock-b'])
    expect(c1.replies.map((r) => text(r.body))).toEqual(['done stock-a'])
    expect(c1.itsLink.envelope).toHaveLength(1)
  })

  test('a heartbeat from an unknown PPP worker signs it in', () => {
    const rig = new Rig()
    rig.client('c1').request({ id: 'a' })
    const w1 = rig.stockWorker('w1', 'ppp').heartbeat()
    expect(w1.started).toEqual(['a'])
  })

  test('a busy PPP worker is not made idle by its heartbeat', () => {
    const rig = new Rig()
    const w1 = rig.stockWorker('w1', 'ppp').ready()
    const c1 = rig.client('c1')
    c1.request({ id: 'a' })
    c1.request({ id: 'b' })
    w1.heartbeat()
    expect(w1.started).toEqual(['a'])
    expect(rig.free()).toBe(0)
  })

  test('an idle PPP worker dies of silence, a busy one does not', () => {
    const rig = new Rig()
    const w1 = rig.stockWorker('w1', 'ppp').ready()
    rig.stockWorker('w2', 'ppp').ready()
    rig.client('c1').request({ id: 'a', timeLeftMs: 60_000 })
    rig.advance(2999)
    expect(rig.broker.workers.byKey.size).toBe(2)
    rig.advance(1)
    expect(rig.eventsOf('worker-lost')).toMatchObject([{ worker: 'w2' }])
    rig.advance(20_000)
    w1.done()
    expect(rig.free()).toBe(1)
    rig.advance(2999)
    expect(rig.free()).toBe(1)
    rig.advance(1)
    expect(rig.free()).toBe(0)
  })

  test('an idle REQ worker may be silent for ever, and is never sent a heartbeat', () => {
    const rig = new Rig()
    const w1 = rig.stockWorker('w1', 'req').ready()
    rig.advance(600_000)
    expect(rig.free()).toBe(1)
    expect(w1.inbox).toEqual([])
  })

  test('a PPP worker is sent heartbeats', () => {
    const rig = new Rig()
    const w1 = rig.stockWorker('w1', 'ppp').ready()
    rig.advance(2000)
    expect(w1.got(Kind.Heartbeat)).toHaveLength(2)
  })

  test('a task that has used half of its time at a silent worker is given to another as well; the first answer wins', () => {
    const rig = new Rig()
    const w1 = rig.stockWorker('w1', 'req').ready()
    const w2 = rig.stockWorker('w2', 'req').ready()
    const c1 = rig.client('c1')
    c1.request({ id: 'a', timeLeftMs: 10_000 })
    rig.advance(4999)
    expect(w2.started).toEqual([])
    rig.advance(1)
    expect(w2.started).toEqual(['a'])
    rig.advance(100)
    w1.done()
    expect(c1.reply).toMatchObject({ code: '', worker: 'w1' })
    w2.done()
    expect(c1.replies).toHaveLength(1)
    expect(rig.broker.counters.lateReplies).toBe(1)
    expect(rig.free()).toBe(2)
  })

  test('a non-idempotent task stays with its silent worker to the end of its time', () => {
    const rig = new Rig()
    const w1 = rig.stockWorker('w1', 'req').ready()
    const w2 = rig.stockWorker('w2', 'req').ready()
    const c1 = rig.client('c1')
    c1.request({ id: 'a', timeLeftMs: 10_000, flags: Flag.NotIdempotent })
    rig.advance(9999)
    expect(w2.started).toEqual([])
    expect(c1.replies).toEqual([])
    w1.done()
    expect(c1.reply).toMatchObject({ code: '', worker: 'w1' })
  })

  test('silent to the end of its task, a stock worker is given up; its late answer signs it in again', () => {
    const rig = new Rig()
    const w1 = rig.stockWorker('w1', 'req').ready()
    const c1 = rig.client('c1')
    c1.request({ id: 'a', timeLeftMs: 1000 })
    rig.advance(1000)
    expect(c1.codes).toEqual(['EXPIRED'])
    expect(rig.eventsOf('worker-lost')).toHaveLength(1)
    w1.done()
    expect(c1.replies).toHaveLength(1)
    expect(rig.free()).toBe(1)
    expect(rig.broker.scheduler.assignments.size).toBe(0)
  })

  test('READY from a busy worker means that it has lost its task', () => {
    const rig = new Rig()
    const w1 = rig.stockWorker('w1', 'ppp').ready()
    const c1 = rig.client('c1')
    c1.request({ id: 'a' })
    w1.ready()
    expect(w1.started).toEqual(['a', 'a'])
    w1.done([...w1.holds.keys()][1])
    expect(c1.reply).toMatchObject({ code: '' })
  })

  test('a stock worker that a task could not be delivered to gets the next one once it has spoken', () => {
    for (const speak of ['heartbeat', 'ready'] as const) {
      const rig = new Rig()
      const w1 = rig.stockWorker('w1', 'ppp').ready()
      rig.client('c1').request({ id: 'a' })
      const [request] = w1.got(Kind.Request)
      if (request === undefined) throw new Error('no request')
      rig.undelivered(w1.itsLink, [request], 'full')
      expect(rig.broker.scheduler.queued).toBe(1)
      w1[speak]()
      expect(w1.started, speak).toEqual(['a', 'a'])
    }
  })

  test('when room is needed the REQ worker idle longest makes it', () => {
    const rig = new Rig({ workersMax: 2 })
    rig.stockWorker('w1', 'req').ready()
    rig.stockWorker('w2', 'req').ready()
    rig.worker('w3').ready()
    expect([...rig.broker.workers.byKey.keys()]).toEqual(['w2', 'w3'])
  })
})

describe('stock clients', () => {
  test('have the default time', () => {
    const rig = new Rig({ stockTaskTimeMs: 5000 })
    const c1 = rig.stockClient('c1')
    c1.request('a')
    rig.advance(4999)
    expect(c1.replies).toEqual([])
    rig.advance(1)
    expect(c1.replies).toMatchObject([{ code: 'EXPIRED' }])
  })

  test('a retry is a new task', () => {
    const rig = new Rig()
    const w1 = rig.worker('w1', { slots: 2 }).ready()
    const c1 = rig.stockClient('c1')
    c1.request('a')
    c1.request('a')
    expect(w1.started).toEqual(['stock-a', 'stock-a'])
  })
})
