import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type Candidate,
  type Choice,
  type Here,
  NO_ROOM,
  POLICIES,
  TUNING,
  type Tuning,
} from '../../broker/core/routing.ts'
import { lottery } from './broker-rig.ts'

const candidate = (spare: number) => ({
  spare,
  total: 10,
  roundTripMs: 0,
  room: spare === 0 ? NO_ROOM : spare,
  unseen: 0,
  queued: 0,
  ageMs: 0,
})
/** Nobody here serves it. */
const HERE: Here = { waitMs: Number.POSITIVE_INFINITY, runMs: 0, load: 0.9, guestWaitMs: 1000 }
const candidates = (...spare: number[]) => spare.map(candidate)

const choiceOf = (policy: keyof typeof POLICIES): Choice => POLICIES[policy](TUNING).choose

/** How often each is chosen in so many draws, as a share. */
function shares(policy: keyof typeof POLICIES, spare: readonly number[], draws = 20_000): number[] {
  const random = lottery(7)
  const counts = spare.map(() => 0)
  for (let i = 0; i < draws; i++) {
    const chosen = choiceOf(policy)(candidates(...spare), random, HERE)
    counts[chosen] = (counts[chosen] ?? 0) + 1
  }
  return counts.map((count) => count / draws)
}

describe.each(Object.keys(POLICIES) as (keyof typeof POLICIES)[])('%s', (name) => {
  test('never picks one with nothing to spare, and picks one whenever one has', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 5 }), { maxLength: 8 }), fc.nat(), (spare, seed) => {
        const chosen = choiceOf(name)(candidates(...spare), lottery(seed), HERE)
        if (spare.every((s) => s === 0)) expect(chosen).toBe(-1)
        else expect(spare[chosen]).toBeGreaterThan(0)
      }),
    )
  })

  test('does so for the extremes of chance', () => {
    for (const chance of [0, 0.5, 1 - 2 ** -53]) {
      const chosen = choiceOf(name)(candidates(0, 3, 3, 0), () => chance, HERE)
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

describe('soonest', () => {
  const peer = (fields: Partial<Candidate>): Candidate => ({ ...candidate(1), roundTripMs: 20, ...fields })
  const here = (waitMs: number): Here => ({ waitMs, runMs: 100, load: 0.9, guestWaitMs: 1000 })
  /** How often each is chosen, and last how often none is, as shares. */
  const chosen = (
    from: readonly Candidate[],
    at: Here,
    tuned: Partial<Tuning> = {},
    draws = 5000,
  ): number[] => {
    const random = lottery(7)
    const choose = POLICIES.soonest({ ...TUNING, ...tuned }).choose
    const counts = [...from, null].map(() => 0)
    for (let i = 0; i < draws; i++) {
      const choice = choose(from, random, at)
      const index = choice < 0 ? from.length : choice
      counts[index] = (counts[index] ?? 0) + 1
    }
    return counts.map((count) => count / draws)
  }

  test('does not send a task on a way that takes far longer than waiting here', () => {
    const roomy = peer({ room: 10 })
    expect(chosen([roomy], here(0.5))).toEqual([0, 1])
    expect(chosen([roomy], here(5))).toEqual([1, 0])
  })

  test('has the more patience the more slots are free on average, and none where they never are', () => {
    const roomy = peer({ room: 100, total: 100 })
    const leavesAfterMs = (load: number): number => {
      for (let waitMs = 0; ; waitMs += 0.25)
        if (chosen([roomy], { ...here(waitMs), load }, {}, 1)[0] === 1) return waitMs
    }
    // The way takes 10 ms.
    expect(leavesAfterMs(1)).toBeLessThanOrEqual(0.25)
    expect(leavesAfterMs(0.9)).toBeCloseTo(1, 0)
    expect(leavesAfterMs(0.5)).toBeCloseTo(5, 0)
  })

  test('of two that start it as soon it prefers the one whose own tasks miss the slot less', () => {
    const both = [peer({ room: 10, total: 100 }), peer({ room: 30, total: 100 })]
    const [few = 0, many = 0] = chosen(both, here(60), { steepness: 6 })
    expect(many).toBeGreaterThan(few + 0.05)
    const [a = 0, b = 0] = chosen(both, here(60), { steepness: 6, price: 0 })
    expect(a).toBeCloseTo(b, 1)
  })

  test('takes none but the best at the greatest steepness, any at none', () => {
    const pair = [peer({ roundTripMs: 20 }), peer({ roundTripMs: 21 })]
    expect(chosen(pair, here(60), { steepness: 10_000 })).toEqual([1, 0, 0])
    const [a = 0, b = 0] = chosen(pair, here(60), { steepness: 0 })
    expect(a).toBeCloseTo(b, 1)
  })

  test('prefers the best the less the more there are to choose from', () => {
    const rest = (peers: number) => Array.from({ length: peers - 1 }, () => peer({ roundTripMs: 22 }))
    const ratio = (peers: number): number => {
      const [best = 0, next = 0] = chosen([peer({}), ...rest(peers)], here(60), {}, 20_000)
      return best / next
    }
    expect(ratio(4)).toBeGreaterThan(3)
    expect(ratio(32)).toBeLessThan(2)
  })

  test('prefers the nearer, the roomier, the one whose news is fresh', () => {
    const pairs: [Partial<Candidate>, Partial<Candidate>][] = [
      [{ roundTripMs: 2 }, { roundTripMs: 40 }],
      [{ room: 9 }, { room: 1 }],
      [
        { room: -1, queued: 1 },
        { room: -3, queued: 3 },
      ],
      [
        { room: 1, ageMs: 5 },
        { room: 1, ageMs: 500 },
      ],
    ]
    for (const [better, worse] of pairs) {
      const [a, b] = chosen([peer({ room: 5, ...better }), peer({ room: 5, ...worse })], here(60))
      expect(a).toBeGreaterThan((b ?? 0) + 0.05)
    }
  })

  test('never names one that takes nothing, nor one that would let the task wait for too long', () => {
    const number = (max: number) => fc.double({ min: 0, max, noNaN: true })
    const candidateOf = fc.record({
      spare: fc.nat({ max: 3 }),
      total: fc.integer({ min: 1, max: 1000 }),
      roundTripMs: number(1000),
      room: fc.oneof(fc.constant(NO_ROOM), fc.integer({ min: -5000, max: 500 })),
      unseen: fc.nat({ max: 100 }),
      queued: fc.nat({ max: 100 }),
      ageMs: number(10_000),
    })
    const hereOf = fc.record({
      waitMs: fc.oneof(fc.constant(Number.POSITIVE_INFINITY), number(1e6)),
      runMs: fc.oneof(fc.constant(0), fc.double({ min: 1e-6, max: 1e6, noNaN: true })),
      load: number(1),
      guestWaitMs: fc.oneof(fc.constant(0), number(1e4)),
    })
    const tuningOf = fc.record({
      patience: number(10),
      price: number(10),
      steepness: fc.oneof(number(100), fc.constant(10_000)),
      rivalry: number(10),
      looksAt: fc.constant(32),
    })
    fc.assert(
      fc.property(
        fc.array(candidateOf, { maxLength: 6 }),
        hereOf,
        tuningOf,
        fc.nat(),
        (all, at, tuning, seed) => {
          const choice = POLICIES.soonest(tuning).choose(all, lottery(seed), at)
          const one = all[choice]
          if (one === undefined) expect(choice).toBe(-1)
          else {
            expect(one.room).toBeGreaterThan(NO_ROOM)
            if (one.room < 1)
              expect(((1 - one.room) * at.runMs) / one.total).toBeLessThanOrEqual(at.guestWaitMs)
            // Not for a way that takes longer than the wait here and itself together.
            expect(one.roundTripMs / 2).toBeLessThanOrEqual(at.waitMs + one.roundTripMs / 2)
          }
          // Where nobody serves it, any free slot is better.
          if (at.waitMs === Number.POSITIVE_INFINITY && all.some((c) => c.room >= 1 && c.unseen === 0)) {
            expect(choice).toBeGreaterThanOrEqual(0)
          }
        },
      ),
    )
  })
})
