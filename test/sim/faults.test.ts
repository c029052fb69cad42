import { expect, test } from 'vitest'
import { drawParameters } from '../../sim/draw.ts'
import { run } from '../../sim/run.ts'
import { type Parameters, parameters } from '../../sim/scenario.ts'

const SMALL: Parameters = parameters.parse({
  clusters: 2,
  workers: 2,
  clients: 2,
  rate: 10,
  load: 0.3,
  durationMs: 3000,
  faultEveryMs: 0,
  checkBooksEvery: 1,
  freezeRecords: true,
})

function meanWaitMs(script: Parameters['script'], given: Partial<Parameters> = {}): number {
  const { breach, summary } = run(3, { ...SMALL, ...given, script })
  expect(breach?.message ?? 'kept').toBe('kept')
  return summary?.meanWaitMs ?? Number.NaN
}

// Node 0 of a cluster is its broker.
const lag = { at: 0, fault: 'lag', cluster: 0, node: 48, forMs: 3000 } as const

test('a lagging broker makes its tasks wait, as long as it may lag, and no promise is broken', () => {
  const calm = meanWaitMs([])
  const little = meanWaitMs([lag], { lagMs: 20 })
  const much = meanWaitMs([lag], { lagMs: 400 })
  expect(little).toBeGreaterThan(calm + 2)
  expect(much).toBeGreaterThan(little + 50)
})

/** When the broker of cluster 0 gave up a worker, ms; its first worker is killed at 1000 ms, one way or another. */
function givenUpAt(fault: 'worker' | 'vanish'): number {
  let at = Number.NaN
  const node = fault === 'worker' ? 0 : 4
  const script = [{ at: 1000, fault, cluster: 0, node, forMs: 1900 } as const]
  const given = { ...SMALL, workerHeartbeatMs: 100, workerLiveness: 3, script }
  const { breach } = run(3, given, {
    tracer: (now, who, what) => {
      if (who === 'c0' && what.includes('"worker-lost"') && Number.isNaN(at)) at = now
    },
  })
  expect(breach?.message ?? 'kept').toBe('kept')
  return at
}

test('a process that vanishes is given up for its silence, one that is killed at once', () => {
  expect(givenUpAt('worker')).toBeLessThan(1010)
  expect(givenUpAt('vanish')).toBeGreaterThan(1200)
  expect(givenUpAt('vanish')).toBeLessThan(1500)
})

test('a client that cancels its tasks hears nothing more of them, and nothing is left of them', () => {
  const { breach, summary } = run(3, { ...SMALL, streams: 0.5, cancelled: 1 })
  expect(breach?.message ?? 'kept').toBe('kept')
  expect(summary?.abandoned).toBeGreaterThan(10)
  expect(summary?.outcomes).not.toHaveProperty('CANCELLED')
})

test('a slow network is as slow as it may be', () => {
  const slow = { at: 0, fault: 'slow', cluster: 0, other: 0, node: 49, forMs: 3000 } as const
  const calm = meanWaitMs([], { localMs: 2 })
  expect(meanWaitMs([slow], { localMs: 2, slowBy: 2 })).toBeGreaterThan(calm)
  expect(meanWaitMs([slow], { localMs: 2 })).toBeGreaterThan(5 * calm)
})

test('a turn that has begun before a process is quick again excuses what waits for it to come round', () => {
  expect(run(701609, drawParameters(701609)).breach).toBeNull()
})
