/** The policy that weighs the wait here against the wait at peers, and peers' tasks that wait here for a worker. */

import { describe, expect, test } from 'vitest'
import { Flag, Kind, RejectReason } from '../../protocol/record.ts'
import { Rig } from './broker-rig.ts'

const BALANCING = { policy: 'soonest', guestWaitMs: 1000 } as const

/** A rig with one worker that is busy, and known to take 100 ms for a task. */
function busy(config: ConstructorParameters<typeof Rig>[0] = {}) {
  const rig = new Rig({ ...BALANCING, ...config })
  const w1 = rig.worker('w1').ready()
  const c1 = rig.client('c1')
  c1.request({ id: 'first' })
  w1.reply({ runUs: 100_000 })
  c1.request({ id: 'busy' })
  return { rig, w1, c1 }
}

const capacity = (free: number, total: number, queued: number) => [{ service: '', free, total, queued }]

/** A peer that is there and has no slot free. */
const full = (rig: Rig, total: number, queued: number) =>
  rig
    .peer('east')
    .up(0)
    .state(capacity(0, total, queued))

describe('a task that finds no worker free', () => {
  test('goes to a peer with slots free', () => {
    const { rig, c1 } = busy()
    const east = rig.peer('east').up(5)
    c1.request({ id: 'a' })
    expect(east.started).toEqual(['a'])
  })

  test('goes to a peer at once where nobody knows yet how long a task takes', () => {
    const rig = new Rig(BALANCING)
    const east = rig.peer('east').up(5)
    const c1 = rig.client('c1')
    c1.request({ id: 'a' })
    expect(east.started).toEqual(['a'])
    rig.worker('w1').ready()
    c1.request({ id: 'b' })
    c1.request({ id: 'c' })
    expect(east.started).toEqual(['a', 'c'])
  })

  test('waits at a peer if it starts sooner there', () => {
    const { rig, c1 } = busy()
    // One slot here every 100 ms; there ten times as often, and one task waits before it.
    const east = full(rig, 10, 1)
    c1.request({ id: 'a' })
    expect(east.started).toEqual(['a'])
  })

  test('waits here if it would wait longer at the peers', () => {
    const { rig, c1 } = busy()
    const east = full(rig, 10, 30)
    c1.request({ id: 'a' })
    expect(east.started).toEqual([])
    expect(rig.broker.scheduler.queued).toBe(1)
  })

  test('does not wait at a peer that would turn it away', () => {
    const { rig, c1 } = busy({ guestWaitMs: 0 })
    const east = full(rig, 10, 0)
    c1.request({ id: 'a' })
    expect(east.started).toEqual([])
    expect(rig.broker.scheduler.queued).toBe(1)
  })

  test('leaves in the end if the worker takes far longer than workers have so far', () => {
    const { rig, c1 } = busy()
    const east = full(rig, 1, 1)
    c1.request({ id: 'a' })
    expect(east.started).toEqual([])
    rig.advance(400)
    east.state(capacity(0, 1, 1))
    expect(east.started).toEqual(['a'])
  })

  test('whoever would wait longest leaves', () => {
    const { rig, c1, w1 } = busy()
    for (const id of ['a', 'b', 'c']) c1.request({ id })
    const east = rig
      .peer('east')
      .connect()
      .hello()
      .state(capacity(1, 1, 0))
    expect(east.started).toEqual(['c', 'b'])
    w1.reply({ runUs: 100_000 })
    expect(w1.started.at(-1)).toBe('a')
  })

  test('a peer that turned a task away gets none until it has said what it has', () => {
    const { rig, c1 } = busy()
    const east = full(rig, 10, 0)
    c1.request({ id: 'a' })
    east.reject(RejectReason.Full)
    c1.request({ id: 'b' })
    expect(east.started).toEqual(['a'])
    east.state(3)
    expect(east.started.length).toBeGreaterThan(1)
  })

  describe('that a peer without free slots has turned away', () => {
    function turnedAway() {
      const { rig, c1 } = busy({ guestWaitMs: 100 })
      const east = full(rig, 20, 0)
      c1.request({ id: 'a' })
      east.reject(RejectReason.Full)
      expect(east.started).toEqual(['a'])
      return { rig, east }
    }

    test('does not go there with the next news, if that has no slot free either', () => {
      const { rig, east } = turnedAway()
      // Each task that it turns away makes a state, which says that it has been seen.
      for (let i = 0; i < 5; i++) east.state(capacity(0, 20, 0))
      rig.advance(99)
      east.state(capacity(0, 20, 0))
      expect(east.started).toEqual(['a'])
    })

    test('goes there again when the line there may have moved on', () => {
      const { rig, east } = turnedAway()
      rig.advance(101)
      east.state(capacity(0, 20, 0))
      expect(east.started).toEqual(['a', 'a'])
    })

    test('goes there at once when a slot is free', () => {
      const { east } = turnedAway()
      east.state(capacity(1, 20, 0))
      expect(east.started).toEqual(['a', 'a'])
    })
  })

  test('what has been sent since the news counts once more for each other that has a backlog', () => {
    const started = (rivals: number): number => {
      const { rig, c1 } = busy()
      for (let i = 0; i < rivals; i++)
        rig
          .peer(`rival${i}`)
          .up(0)
          .state(capacity(0, 1, 50))
      const east = rig
        .peer('east')
        .up(0)
        .state(capacity(6, 10, 0))
      for (let i = 0; i < 20; i++) c1.request({ id: `${i}` })
      return east.started.length
    }
    expect(started(0)).toBeGreaterThan(started(3))
    expect(started(3)).toBeGreaterThan(0)
  })
})

describe("a peer's task that finds no worker free", () => {
  test('waits in line with ours, by age, and is not sent on', () => {
    const { rig, w1, c1 } = busy()
    const north = rig.guest('north').hello().request({ id: 'a' })
    rig.advance(1)
    c1.request({ id: 'b' })
    const east = rig.peer('east').up(1)
    // Ours may leave; the guest's stays.
    expect(east.started).toEqual(['b'])
    east.state(5)
    expect(east.started).toEqual(['b'])
    w1.reply({ runUs: 100_000 })
    expect(w1.started.at(-1)).toBe('a')
    w1.reply({ runUs: 100_000 })
    expect(north.replies).toMatchObject([{ token: 1, code: '', worker: 'w1' }])
    expect(north.rejects).toEqual([])
    expect(rig.broker.scheduler).toMatchObject({ queued: 0, guestTasks: 0 })
  })

  test('is counted in the state that others hear', () => {
    const { rig } = busy()
    rig.guest('north').hello().request({ id: 'a' })
    rig.advance(20)
    expect(rig.capacity()).toMatchObject({ free: 0, total: 1, queued: 1 })
  })

  test('is turned away if it would wait for too long', () => {
    const { rig } = busy({ guestWaitMs: 250 })
    const north = rig.guest('north').hello()
    for (const id of ['a', 'b', 'c']) north.request({ id })
    expect(rig.broker.scheduler.guestTasks).toBe(2)
    expect(north.rejects).toMatchObject([{ token: 3, reason: RejectReason.Full, free: 0 }])
  })

  test('goes back, not started, when it has waited twice as long as it might have been expected to', () => {
    const { rig, w1 } = busy()
    const north = rig.guest('north').hello().request({ id: 'a', timeLeftMs: 60_000 })
    const beat = (): void => {
      w1.heartbeat()
      north.say({ kind: Kind.Heartbeat, ask: true, sent: 1 })
    }
    for (let ms = 0; ms < 1900; ms += 100) {
      rig.advance(100)
      beat()
    }
    expect(north.rejects).toEqual([])
    rig.advance(101)
    expect(north.rejects).toMatchObject([{ token: 1, reason: RejectReason.Full, free: 0 }])
    expect(rig.broker.scheduler).toMatchObject({ queued: 0, guestTasks: 0 })
  })

  test('that has started in time is left alone, to the end of its own', () => {
    const { rig, w1 } = busy()
    const north = rig.guest('north').hello().request({ id: 'a', timeLeftMs: 5000 })
    w1.reply({ runUs: 100_000 })
    expect(w1.started.at(-1)).toBe('a')
    for (let ms = 0; ms < 4900; ms += 100) {
      rig.advance(100)
      w1.heartbeat()
      north.say({ kind: Kind.Heartbeat, ask: true, sent: 1 })
    }
    expect(north.replies).toEqual([])
    rig.advance(100)
    expect(north.replies).toMatchObject([{ token: 1, code: 'EXPIRED' }])
  })

  test('goes back, not started, when the last worker leaves, and when the broker does', () => {
    const endings: [(rig: Rig, w1: ReturnType<Rig['worker']>) => void, RejectReason][] = [
      [(_, w1) => w1.vanish(), RejectReason.NoService],
      [(rig) => rig.broker.drain(10_000, rig.now), RejectReason.Draining],
    ]
    for (const [end, reason] of endings) {
      const { rig, w1 } = busy()
      const north = rig.guest('north').hello().request({ id: 'a', flags: Flag.NotIdempotent })
      end(rig, w1)
      expect(north.rejects).toMatchObject([{ token: 1, reason }])
      expect(rig.broker.scheduler.guestTasks).toBe(0)
    }
  })

  test('stays in line when the only worker changes its slots, and goes back when none is left', () => {
    const { rig, w1 } = busy()
    const north = rig.guest('north').hello()
    for (const id of ['a', 'b']) north.request({ id })
    w1.ready(2)
    expect(north.rejects).toEqual([])
    expect(w1.started).toEqual(['first', 'busy', 'a'])
    w1.ready(0)
    expect(north.rejects).toMatchObject([{ token: 2, reason: RejectReason.NoService }])
    expect(rig.broker.scheduler).toMatchObject({ queued: 0, guestTasks: 1 })
  })

  test('does not keep ours from a peer, whatever the policy', () => {
    const { rig, c1 } = busy({ policy: 'most-capacity' })
    rig.guest('north').hello().request({ id: 'a' })
    const east = rig.peer('east').up(1)
    c1.request({ id: 'b' })
    expect(east.started).toEqual(['b'])
  })

  test('is forgotten when its owner cancels it or is lost', () => {
    const { rig, w1 } = busy()
    const north = rig.guest('north').hello().request({ id: 'a' }).request({ id: 'b' })
    north.say({ kind: Kind.Cancel, token: 1 })
    expect(rig.broker.scheduler.guestTasks).toBe(1)
    rig.advance(1500)
    expect(rig.broker.scheduler).toMatchObject({ queued: 0, guestTasks: 0 })
    w1.reply({ runUs: 100_000 })
    expect(w1.started).toEqual(['first', 'busy'])
  })

  test('expires here when its time is up', () => {
    const { rig } = busy()
    const north = rig.guest('north').hello().request({ id: 'a', timeLeftMs: 100 })
    rig.advance(150)
    expect(north.replies).toMatchObject([{ token: 1, code: 'EXPIRED' }])
    expect(rig.broker.scheduler.queued).toBe(0)
  })
})
