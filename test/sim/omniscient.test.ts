import { describe, expect, test, vi } from 'vitest'
import { jobsOf } from '../../sim/comparison.ts'
import { FreeTimes, type Job, omniscient } from '../../sim/omniscient.ts'
import type { Parameters } from '../../sim/scenario.ts'
import { erlangWaitMs, poolWaitMs, puristic } from './theory.ts'

// Work for the processor, not waiting: a loaded machine takes longer.
vi.setConfig({ testTimeout: 180_000 })

const SEED = 7

/** Clusters of so many slots, 1 ms within and 10 ms between them. */
const TERMS = { clusters: 2, slots: 1, localMs: 1, cloudMs: 10, jitter: 0, random: () => 0, patience: 1 }

/** Where each of these starts, and how long it has waited. */
function schedule(
  jobs: readonly Job[],
  terms: Partial<typeof TERMS> = {},
): [where: number, waitMs: number][] {
  const starts: [number, number][] = []
  omniscient(jobs, { ...TERMS, ...terms }, (_cluster, ranIn, at, startedAt) => {
    starts.push([ranIn, startedAt - at])
  })
  return starts
}

const job = (cluster: number, at: number, serviceMs: number): Job => ({ cluster, at, serviceMs })

function meanWaitMs(p: Parameters): number {
  let sum = 0
  let tasks = 0
  const terms = { ...TERMS, clusters: p.clusters, slots: p.workers, localMs: 0, cloudMs: 0 }
  omniscient(jobsOf(SEED, p), terms, (_cluster, _ranIn, at, startedAt) => {
    sum += startedAt - at
    tasks++
  })
  return sum / tasks
}

describe('without delay the omniscient scheduler is one queue for all workers', () => {
  const p = puristic({ clusters: 4, workers: 5, clients: 2, rate: 200, load: 0.85, durationMs: 60_000 })

  test('task by task', () => {
    expect(meanWaitMs(p)).toBeCloseTo(poolWaitMs(SEED, p, p.durationMs).meanMs, 6)
  })

  test('and as Erlang says', () => {
    expect(meanWaitMs({ ...p, durationMs: 3_000_000 }) / erlangWaitMs(p)).toBeCloseTo(1, 1)
  })
})

describe('with delay', () => {
  test('a free slot at home is taken first', () => {
    expect(schedule([job(0, 0, 100), job(1, 0, 100)])).toEqual([
      [0, 2],
      [1, 2],
    ])
  })

  test('a task travels where it starts sooner than at home, and pays the way', () => {
    expect(schedule([job(0, 0, 100), job(0, 0, 100)])).toEqual([
      [0, 2],
      [1, 12],
    ])
  })

  test('and stays where the slot at home is free before it would be there', () => {
    expect(schedule([job(0, 0, 8), job(0, 0, 100)])).toEqual([
      [0, 2],
      [0, 10],
    ])
    // Who has no patience does not even wait for that.
    expect(schedule([job(0, 0, 8), job(0, 0, 100)], { patience: 0 })[1]).toEqual([1, 12])
  })

  test('it is sent off in time to meet a slot as it becomes free', () => {
    const starts = schedule([job(0, 0, 100), job(1, 0, 15), job(0, 0, 100)])
    expect(starts[2]).toEqual([1, 17])
  })

  test('of the clusters with a free slot it goes to the one with most of them', () => {
    const starts = schedule([job(1, 0, 500), job(0, 1, 500), job(0, 1, 500), job(0, 1, 500)], {
      clusters: 3,
      slots: 2,
    })
    expect(starts[3]?.[0]).toBe(2)
  })

  test('somebody nearer may have the slot until a task on its way needs it', () => {
    const slots = new FreeTimes(2)
    expect(slots.take(10, 100)).toBe(10)
    expect(slots.take(0, 5)).toBe(0)
    // Free at 5 and at 110.
    expect(slots.freeAt(4)).toBe(0)
    expect(slots.freeAt(5)).toBe(1)
    expect(slots.take(6, 100)).toBe(6)
    expect(slots.take(7, 1)).toBe(106)
  })

  test('nobody starts anything where there is no worker', () => {
    expect(schedule([job(0, 0, 1)], { slots: 0 })[0]?.[1]).toBe(Number.POSITIVE_INFINITY)
  })
})
