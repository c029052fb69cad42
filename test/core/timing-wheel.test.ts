import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Timed, TimingWheel } from '../../broker/core/timing-wheel.ts'

class Alarm extends Timed {
  readonly name: number
  constructor(name: number) {
    super()
    this.name = name
  }
}

function due(wheel: TimingWheel, now: number): number[] {
  const out: Timed[] = []
  wheel.advance(now, out)
  return out.map((timed) => (timed instanceof Alarm ? timed.name : -1))
}

describe('the timing wheel', () => {
  test('hands out a deadline at it, not a millisecond before, and once', () => {
    const wheel = new TimingWheel(1000)
    wheel.set(new Alarm(1), 1100)
    expect(wheel.next()).toBe(1100)
    expect(due(wheel, 1099)).toEqual([])
    expect(due(wheel, 1100)).toEqual([1])
    expect(due(wheel, 1e9)).toEqual([])
    expect(wheel.next()).toBe(Number.POSITIVE_INFINITY)
  })

  test('a fraction of a millisecond is never early', () => {
    const wheel = new TimingWheel(0.7)
    wheel.set(new Alarm(1), 10.2)
    expect(due(wheel, 10.9)).toEqual([])
    expect(due(wheel, 11)).toEqual([1])
  })

  test('one already past is due at the next tick', () => {
    const wheel = new TimingWheel(1000)
    wheel.set(new Alarm(1), 3)
    expect(due(wheel, 1000)).toEqual([])
    expect(due(wheel, 1001)).toEqual([1])
  })

  test('set again replaces, cleared never comes', () => {
    const wheel = new TimingWheel(0)
    const [a, b] = [new Alarm(1), new Alarm(2)]
    wheel.set(a, 5)
    wheel.set(b, 5)
    wheel.set(a, 50)
    wheel.clear(b)
    wheel.clear(b)
    expect(wheel.size).toBe(1)
    expect(due(wheel, 49)).toEqual([])
    expect(due(wheel, 50)).toEqual([1])
    expect(a.waiting).toBe(false)
  })

  test('agrees with a list that is searched, over many rounds and jumps', () => {
    const op = fc.oneof(
      fc.record({ set: fc.nat({ max: 15 }), in: fc.oneof(fc.nat({ max: 40 }), fc.nat({ max: 1000 })) }),
      fc.record({ clear: fc.nat({ max: 15 }) }),
      fc.record({ advance: fc.oneof(fc.nat({ max: 3 }), fc.nat({ max: 100 }), fc.nat({ max: 5000 })) }),
      fc.constant({ follow: true as const }),
    )
    fc.assert(
      fc.property(
        fc.constantFrom(32, 64, 256),
        fc.nat({ max: 2 ** 40 }),
        fc.array(op, { maxLength: 60 }),
        (size, start, ops) => {
          let now = start
          const wheel = new TimingWheel(start, size)
          const alarms = Array.from({ length: 16 }, (_, i) => new Alarm(i))
          const model = new Map<number, number>()
          const go = (to: number) => {
            now = to
            const expected = [...model].filter(([, at]) => at <= now)
            for (const [name] of expected) model.delete(name)
            const got = due(wheel, now)
            expect([...got].sort((a, b) => a - b)).toEqual(
              expected.map(([name]) => name).sort((a, b) => a - b),
            )
            const order = new Map(expected)
            const times = got.map((name) => order.get(name) ?? 0)
            expect(times).toEqual([...times].sort((a, b) => a - b))
          }
          for (const o of ops) {
            if ('set' in o) {
              const alarm = alarms[o.set]
              if (alarm === undefined) continue
              wheel.set(alarm, now + o.in)
              model.set(o.set, Math.max(now + 1, now + o.in))
            } else if ('clear' in o) {
              const alarm = alarms[o.clear]
              if (alarm !== undefined) wheel.clear(alarm)
              model.delete(o.clear)
            } else if ('advance' in o) go(now + o.advance)
            else if (wheel.next() < Number.POSITIVE_INFINITY) go(wheel.next())
            expect(wheel.size).toBe(model.size)
            // Early by whole rounds, never late, and never in the past: a caller that follows it gets on.
            const inThisRound = [...model.values()].map((at) => now + 1 + ((at - now - 1) % size))
            expect(wheel.next()).toBe(Math.min(...inThisRound))
          }
        },
      ),
      { numRuns: 500 },
    )
  })
})
