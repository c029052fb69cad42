import { describe, expect, test, vi } from 'vitest'
import { run } from '../../sim/run.ts'
import type { Parameters } from '../../sim/scenario.ts'
import { erlangC, erlangWaitMs, poolWaitMs, puristic } from './theory.ts'

// Work for the processor, not waiting: a loaded machine takes longer.
vi.setConfig({ testTimeout: 180_000 })

const SEED = 7

function simulatedWaitMs(p: Parameters): number {
  const { summary, breach } = run(SEED, p)
  expect(breach?.message).toBeUndefined()
  return summary?.meanWaitMs ?? Number.NaN
}

test("Erlang C's formula gives the values of the tables", () => {
  // M/M/1 waits load / (1 - load) service times; two servers at half load wait a third of one.
  expect(erlangC(1, 0.9)).toBeCloseTo(9, 10)
  expect(erlangC(2, 0.5)).toBeCloseTo(1 / 3, 10)
})

describe('one cluster with Poisson arrivals and exponential service', () => {
  test.each([0.5, 0.7, 0.8, 0.9])('at load %d waits as Erlang says, within two per cent', (load) => {
    const p = puristic({ workers: 4, clients: 2, rate: 200, load, durationMs: 300_000 })
    const simulated = simulatedWaitMs(p)
    const pool = poolWaitMs(SEED, p, p.durationMs).meanMs
    // On the very same tasks: all that is left is what the brokers add.
    expect(Math.abs(simulated / pool - 1)).toBeLessThan(0.01)
    // Chance takes long to even out at high load. What this run has of it, the recursion has too (a control variate), and
    // the recursion is run on for hours of virtual time.
    const long = poolWaitMs(SEED, p, 10_000_000 * load).meanMs
    const expected = erlangWaitMs(p)
    expect(Math.abs((simulated + long - pool) / expected - 1)).toBeLessThan(0.02)
  })
})

/** Clusters between which nothing takes any time. */
const FEDERATION = {
  clusters: 4,
  workers: 5,
  clients: 2,
  rate: 200,
  load: 0.85,
  durationMs: 60_000,
  stateCoalesceMs: 0,
}

test('clusters that lend without delay wait as one pool of all their workers would', () => {
  // The queue stays at home until a slot is free somewhere: that is what makes one pool.
  const p = puristic({ ...FEDERATION, guestWaitMs: 0 })
  const simulated = simulatedWaitMs(p)
  expect(simulated / poolWaitMs(SEED, p, p.durationMs).meanMs).toBeLessThan(1.02)
  // Each on its own would wait several times as long.
  expect(erlangWaitMs({ ...p, clusters: 1 }) / simulated).toBeGreaterThan(4)
})

test('so do they where some may wait at a peer, as they may unless told otherwise, within a tenth', () => {
  const p = puristic({ ...FEDERATION, durationMs: 15_000 })
  expect(simulatedWaitMs(p) / poolWaitMs(SEED, p, p.durationMs).meanMs).toBeLessThan(1.1)
})
