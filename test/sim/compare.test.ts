import { expect, test, vi } from 'vitest'
import { POLICIES } from '../../broker/core/routing.ts'
import {
  CENTRE,
  cellsOf,
  type Grid,
  gather,
  jobsOf,
  measure,
  measurePolicy,
  OMNISCIENT,
  QUICK_CENTRE,
} from '../../sim/comparison.ts'
import type { Parameters } from '../../sim/scenario.ts'
import { Simulation } from '../../sim/simulation.ts'
import { Waits } from '../../sim/waits.ts'

vi.setConfig({ testTimeout: 180_000 })

const SMALL = { ...QUICK_CENTRE, clusters: 3, workers: 10, clients: 30, durationMs: 2000 }

/** What was asked of a run's brokers, task by task, one cluster's after the other's. */
function asked(policy: string): string[] {
  const simulation = new Simulation(7, { ...SMALL, policy })
  const tasks: string[] = []
  const { ledger } = simulation
  const submitted = ledger.submitted.bind(ledger)
  ledger.submitted = (client, call, at) => {
    tasks.push(`${call.errand.cluster} ${at} ${call.errand.serviceMs}`)
    submitted(client, call, at)
  }
  simulation.advance(SMALL.durationMs)
  return byCluster(tasks)
}

/** Clusters have their turns, so that the order of two clusters' tasks says nothing. */
function byCluster(tasks: readonly string[]): string[] {
  return tasks.toSorted((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10))
}

test('every policy, and the scheduler that knows everything, gets the very same tasks', () => {
  const wanted = [...jobsOf(7, SMALL)].map(({ cluster, at, serviceMs }) => `${cluster} ${at} ${serviceMs}`)
  expect(wanted.length).toBeGreaterThan(100)
  for (const policy of Object.keys(POLICIES)) expect(asked(policy)).toEqual(byCluster(wanted))
})

test('what soonest is made with reaches the brokers: each of its parameters changes the waits', () => {
  const p = { ...SMALL, clusters: 4 }
  const waitOf = (tuned: Partial<Parameters>): number =>
    measurePolicy(7, { ...p, ...tuned }, SMALL.durationMs / 4).meanWaitMs
  const usual = waitOf({})
  expect(usual).toBeGreaterThan(0)
  for (const tuned of [
    { patience: 9 },
    { price: 100 },
    { steepness: 10_000 },
    { rivalry: 9 },
    { looksAt: 1 },
  ]) {
    expect(waitOf(tuned), JSON.stringify(tuned)).not.toBe(usual)
  }
})

test('a wait is counted from submission to start, and only in the time that counts', () => {
  const waits = new Waits(100, 200)
  waits.add(0, 0, 99, 150)
  waits.add(0, 0, 100, 101)
  waits.add(0, 1, 150, 250)
  waits.add(0, 0, 200, 201)
  expect(waits.count).toBe(2)
  expect(waits.meanMs).toBe((1 + 100) / 2)
  expect(waits.percentileMs(0.5)).toBe(1)
  expect(waits.percentileMs(0.99)).toBe(100)
  expect(waits.lentShare).toBe(0.5)
  // By when they start: those at 150 and 101.
  expect(waits.startsPerSecond).toBe(20)
})

test('percentiles are right for more waits than there was room for at first', () => {
  const waits = new Waits(0, 1)
  for (let i = 10_000; i > 0; i--) waits.add(0, 0, 0, i)
  expect([0, 0.5, 0.99, 1].map((q) => waits.percentileMs(q))).toEqual([1, 5000, 9900, 10_000])
})

test('what comes to the same is run once, and shown wherever it belongs', () => {
  const grid: Grid = {
    centre: { ...CENTRE, ...SMALL, clusters: 12, load: 0.9 },
    warmUpMs: 500,
    quick: true,
    dimensions: ['load', 'clusters'],
    policies: [OMNISCIENT, 'random'],
    seeds: [1, 2],
  }
  const cells = cellsOf(grid)
  // Three loads and three numbers of clusters, of which one each is the centre.
  expect(cells.size).toBe(5 * 2 * 2)
  const measured = new Map([...cells].map(([key, cell]) => [key, measure(cell)]))
  const { rows } = gather(grid, measured)
  expect(rows.length).toBe(6 * 2)
  for (const { measures, policy, timesOmniscient } of rows) {
    expect(measures.breach).toBe(null)
    expect(measures.tasks).toBeGreaterThan(50)
    if (policy === OMNISCIENT) expect(timesOmniscient).toBe(1)
    // The ways alone.
    expect(measures.meanWaitMs).toBeGreaterThan(2 * CENTRE.localMs)
  }
  const centre = rows.filter((row) => row.value === 0.9 || row.value === 12)
  expect(centre[0]?.measures).toEqual(centre[2]?.measures)
  expect(centre[1]?.measures).toEqual(centre[3]?.measures)
})
