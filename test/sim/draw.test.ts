import { expect, test } from 'vitest'
import { drawParameters } from '../../sim/draw.ts'
import { parameters } from '../../sim/scenario.ts'

test('half of the seeds have the policy that everybody has who chooses none, and all others come up', () => {
  const usual = parameters.parse({}).policy
  const drawn = new Map<string, number>()
  for (let seed = 1; seed <= 1000; seed++) {
    const { policy } = drawParameters(seed)
    drawn.set(policy, (drawn.get(policy) ?? 0) + 1)
  }
  expect(drawn.get(usual)).toBeGreaterThan(450)
  expect(drawn.get(usual)).toBeLessThan(550)
  const others = [...drawn].filter(([policy]) => policy !== usual)
  expect(others.length).toBeGreaterThanOrEqual(4)
  for (const [policy, seeds] of others) expect(seeds, policy).toBeGreaterThan(500 / others.length / 1.5)
})
