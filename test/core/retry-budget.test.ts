import fc from 'fast-check'
import { expect, test } from 'vitest'
import { RetryBudget } from '../../broker/core/retry-budget.ts'

test('a full burst at the start, then a fraction of each task', () => {
  const budget = new RetryBudget(0.25, 2, 0, 0)
  expect([budget.take(0), budget.take(0), budget.take(0)]).toEqual([true, true, false])
  for (let i = 0; i < 3; i++) budget.earn()
  expect(budget.take(0)).toBe(false)
  budget.earn()
  expect([budget.take(0), budget.take(0)]).toEqual([true, false])
  expect(budget.nextAt(0)).toBe(Number.POSITIVE_INFINITY)
})

test('time earns a trickle, up to the burst', () => {
  const budget = new RetryBudget(0, 2, 10, 0)
  budget.take(0)
  budget.take(0)
  expect(budget.take(99)).toBe(false)
  expect(budget.nextAt(99)).toBeGreaterThanOrEqual(100)
  expect(budget.take(100)).toBe(true)
  budget.take(1e9)
  budget.take(1e9)
  expect(budget.take(1e9)).toBe(false)
})

test('who follows nextAt gets on: time does not stand still on a rounding error', () => {
  const perSecond = fc.double({ min: 0.01, max: 1000, noNaN: true })
  const start = fc.double({ min: 0, max: 1e12, noNaN: true })
  fc.assert(
    fc.property(perSecond, start, fc.double({ min: 0, max: 1, noNaN: true }), (rate, at, ratio) => {
      const budget = new RetryBudget(ratio, 1, rate, at)
      budget.take(at)
      budget.earn()
      let now = at
      for (let turns = 0; !budget.take(now); turns++) {
        expect(turns).toBeLessThan(3)
        const next = budget.nextAt(now)
        expect(next).toBeGreaterThan(now)
        now = next
      }
    }),
  )
})

test('never more than the burst, the share and the trickle together', () => {
  const op = fc.oneof(fc.constant('earn'), fc.constant('take'), fc.nat({ max: 500 }))
  fc.assert(
    fc.property(fc.array(op, { maxLength: 200 }), (ops) => {
      const budget = new RetryBudget(0.1, 5, 2, 0)
      let now = 0
      let earned = 0
      let taken = 0
      for (const o of ops) {
        if (o === 'earn') {
          budget.earn()
          earned++
        } else if (o === 'take') taken += budget.take(now) ? 1 : 0
        else if (typeof o === 'number') now += o
      }
      expect(taken).toBeLessThanOrEqual(5 + earned * 0.1 + (now / 1000) * 2 + 1e-9)
    }),
  )
})
