import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { POLICIES } from '../../broker/core/routing.ts'
import { lottery } from './broker-rig.ts'

const candidate = (spare: number) => ({ spare, total: 10, roundTripMs: 0 })
const candidates = (...spare: number[]) => spare.map(candidate)

/** How often each is chosen in so many draws, as a share. */
function shares(policy: keyof typeof POLICIES, spare: readonly number[], draws = 20_000): number[] {
  const random = lottery(7)
  const counts = spare.map(() => 0)
  for (let i = 0; i < draws; i++) {
    const chosen = POLICIES[policy](candidates(...spare), random)
    counts[chosen] = (counts[chosen] ?? 0) + 1
  }
  return counts.map((count) => count / draws)
}

describe.each(Object.keys(POLICIES) as (keyof typeof POLICIES)[])('%s', (name) => {
  test('never picks one with nothing to spare, and picks one whenever one has', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 5 }), { maxLength: 8 }), fc.nat(), (spare, seed) => {
        const chosen = POLICIES[name](candidates(...spare), lottery(seed))
        if (spare.every((s) => s === 0)) expect(chosen).toBe(-1)
        else expect(spare[chosen]).toBeGreaterThan(0)
      }),
    )
  })

  test('does so for the extremes of chance', () => {
    for (const chance of [0, 0.5, 1 - 2 ** -53]) {
      const chosen = POLICIES[name](candidates(0, 3, 3, 0), () => chance)
      expect([1, 2]).toContain(chosen)
    }
  })
})

describe('what they prefer', () => {
  test('most-capacity takes the most, ties at random', () => {
    expect(shares('most-capacity', [3, 9, 2])).toEqual([0, 1, 0])
    for (const share of shares('most-capacity', [4, 4, 1, 4]).filter((s) => s > 0)) {
      expect(share).toBeCloseTo(1 / 3, 1)
    }
  })

  test('weighted goes by proportion', () => {
    const [a, b, c, d] = shares('weighted', [1, 0, 3, 6])
    expect(a).toBeCloseTo(0.1, 1)
    expect(b).toBe(0)
    expect(c).toBeCloseTo(0.3, 1)
    expect(d).toBeCloseTo(0.6, 1)
  })

  test('two-choices prefers the better of two drawn at random', () => {
    // Each pair of draws equally likely: the best of three wins 5 of 9, the second 3 of 9, the last 1 of 9.
    const [a, b, c] = shares('two-choices', [1, 5, 9])
    expect(a).toBeCloseTo(1 / 9, 1)
    expect(b).toBeCloseTo(3 / 9, 1)
    expect(c).toBeCloseTo(5 / 9, 1)
  })

  test('random takes any that has something, evenly', () => {
    const [a, b, c] = shares('random', [1, 0, 9])
    expect(a).toBeCloseTo(0.5, 1)
    expect(b).toBe(0)
    expect(c).toBeCloseTo(0.5, 1)
  })
})
