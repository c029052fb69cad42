/** How the benchmark counts, judges and draws. */

import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { ComparisonResult, ContenderResult } from '../../bench/comparison.ts'
import { judge } from '../../bench/goals.ts'
import { pairsOf, parseOrder, writeOrder } from '../../bench/load/orders.ts'
import { histogramOf, type Measurement } from '../../bench/measure.ts'
import { FULL, QUICK } from '../../bench/plan.ts'
import { asMarkdown, asText, remarks, runRows, simulationRows } from '../../bench/report/tables.ts'
import { ratioOf, spreadOf } from '../../bench/spread.ts'
import { Load, newHistogram, recordMs, UNITS_PER_MS } from '../../cli/bench/load.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
})
afterEach(() => {
  vi.useRealTimers()
})

/** A load whose tasks are answered by hand. */
function startLoad(terms: { outstanding?: number; rate?: number }) {
  const issued: [slot: number, sequence: number][] = []
  const load = new Load(
    { outstanding: terms.outstanding ?? 1, rate: terms.rate ?? 0, warmupMs: 100, measureMs: 1000 },
    {
      issue: (slot, sequence) => issued.push([slot, sequence]),
      flush: () => {},
      opened: () => {},
      closed: () => {},
    },
  )
  const answerAll = () => {
    for (const [slot, sequence] of issued.splice(0)) load.answered(slot, sequence, performance.now())
  }
  return { load, issued, answerAll }
}

test('a stall is charged to every task that was due during it', async () => {
  const { load, issued, answerAll } = startLoad({ rate: 100 })
  vi.advanceTimersByTime(600)
  answerAll()
  // Nothing is answered for half a second, in which 50 tasks become due; then all of them at once.
  vi.advanceTimersByTime(500)
  expect(issued.length).toBeGreaterThan(45)
  answerAll()
  await vi.advanceTimersByTimeAsync(20)
  answerAll()
  const { latency, lost } = await load.done
  expect(lost).toBe(0)
  expect(latency.totalCount).toBe(100)
  // A closed loop, or a clock that starts at the send, would have seen one slow task.
  expect(latency.getValueAtPercentile(75) / UNITS_PER_MS).toBeGreaterThan(200)
})

test('a closed loop keeps just so many tasks outstanding', () => {
  const { issued, answerAll } = startLoad({ outstanding: 7 })
  expect(issued.length).toBe(7)
  answerAll()
  expect(issued.length).toBe(7)
})

test('an answer counts once, and one to nobody does not count', () => {
  const { load, issued } = startLoad({ outstanding: 2 })
  const [slot = 0, sequence = 0] = issued[0] ?? []
  expect(load.answered(slot, sequence, performance.now())).toBe(true)
  expect(load.answered(slot, sequence, performance.now())).toBe(false)
  expect(load.answered(1, 999, performance.now())).toBe(false)
  expect(load.answered(99, 1, performance.now())).toBe(false)
})

test('only what is answered while the window is open is throughput', async () => {
  const { load, issued, answerAll } = startLoad({ outstanding: 5 })
  answerAll()
  await vi.advanceTimersByTimeAsync(101)
  answerAll()
  await vi.advanceTimersByTimeAsync(1000)
  answerAll()
  const { tasks, seconds } = await load.done
  expect(tasks).toBe(5)
  expect(seconds).toBeCloseTo(1, 2)
  expect(issued).toEqual([])
})

test('what is never answered is lost, and the run ends all the same', async () => {
  const { load } = startLoad({ outstanding: 3 })
  await vi.advanceTimersByTimeAsync(1200)
  await vi.advanceTimersByTimeAsync(10_000)
  expect((await load.done).lost).toBe(3)
})

test('a histogram goes over the wire and comes out the same', () => {
  const histogram = newHistogram()
  for (const ms of [0.01, 0.2, 0.2, 3, 47, 1000, 1e9]) recordMs(histogram, ms)
  const copy = histogramOf(pairsOf(histogram))
  expect(copy.totalCount).toBe(7)
  for (const percentile of [1, 50, 90, 99, 100]) {
    const before = histogram.getValueAtPercentile(percentile)
    expect(Math.abs(copy.getValueAtPercentile(percentile) - before) / before).toBeLessThan(0.002)
  }
})

test('an order is read as it was written', () => {
  const order = { outstanding: 10, size: 64, rate: 5, warmupMs: 1, measureMs: 2 }
  expect(parseOrder(writeOrder(order).trimEnd())).toEqual(order)
  expect(() => parseOrder('run faster')).toThrow('not understood')
})

test('median and spread', () => {
  expect(spreadOf([3, 1, 2])).toEqual({ median: 2, min: 1, max: 3 })
  expect(spreadOf([4, 1, 2, 3])).toEqual({ median: 2.5, min: 1, max: 4 })
  expect(ratioOf([2, 9, 4], [1, 3, 4])).toEqual({ median: 2, min: 1, max: 3 })
  expect(() => spreadOf([])).toThrow()
})

const MEASURED: Measurement = {
  tasksPerSecond: 1000,
  p50: 100,
  p90: 200,
  p99: 300,
  p999: 400,
  brokerTime: 10,
  brokerMainTime: 5,
  brokerCores: 1,
  loadCores: 0.1,
  foreignCores: 0,
  loadTime: 1,
  peakMemory: 1e8,
  lateP99: 0,
}

function contender(id: string, ...runs: Partial<Measurement>[]): ContenderResult {
  return {
    id,
    label: id,
    outstanding: 1,
    size: 64,
    rate: 0,
    loadFromNode: false,
    runs: runs.map((run) => ({ ...MEASURED, ...run })),
    missing: '',
    invalid: '',
  }
}

function comparison(id: string, ...contenders: ContenderResult[]): ComparisonResult {
  return { id, title: id, contenders }
}

const verdictOn = (path: string, ...results: ComparisonResult[]) =>
  judge(results, null).find((verdict) => verdict.path === path)

test('a goal is met by the median of the ratios turn by turn', () => {
  const slowHour = [{ tasksPerSecond: 400 }, { tasksPerSecond: 100 }, { tasksPerSecond: 410 }]
  const native = [{ tasksPerSecond: 1700 }, { tasksPerSecond: 420 }, { tasksPerSecond: 1600 }]
  const verdict = (ours: Partial<Measurement>[]) =>
    verdictOn(
      'native, 1,000 outstanding, 64 B, hosts of 64 slots',
      comparison('throughput', contender('native', ...ours), contender('c', ...slowHour)),
    )
  expect(verdict(native)).toMatchObject({ met: true })
  expect(verdict(native.map(() => ({ tasksPerSecond: 390 })))).toMatchObject({ met: false })
})

test('a goal that was not measured is neither met nor missed', () => {
  for (const { met } of judge([], null)) expect(met).toBeNull()
  const half = comparison('throughput', contender('native', {}), contender('c'))
  expect(verdictOn('native, 1,000 outstanding, 64 B, hosts of 64 slots', half)?.met).toBeNull()
})

test('added latency is compared without the wire that both have in common', () => {
  const path = 'one request at a time, stock dialect'
  const latency = (wire: number) =>
    comparison(
      'latency',
      contender('stock', { p50: 120 }),
      contender('bare', { p50: 100 }),
      contender('direct', { p50: wire }),
    )
  expect(verdictOn(path, latency(0))?.met).toBe(true)
  expect(verdictOn(path, latency(50))?.met).toBe(false)
})

test('twice the tasks of NATS is not enough when the p99 is higher', () => {
  const path = 'NATS, local, 1,000 outstanding'
  const against = (p99: number) =>
    comparison(
      'nats-throughput',
      contender('spillway', { tasksPerSecond: 2500, p99 }),
      contender('nats', { tasksPerSecond: 1000, p99: 300 }),
    )
  expect(verdictOn(path, against(200))?.met).toBe(true)
  expect(verdictOn(path, against(400))?.met).toBe(false)
})

test('figures that the load, or somebody else on the machine, has spoilt say so', () => {
  expect(remarks(contender('clean', {}))).toBe('')
  expect(remarks(contender('load', { loadTime: 20 }))).toContain('the load costs more than the broker')
  expect(remarks(contender('others', { foreignCores: 1 }))).toContain('others took 1.0 processors')
  expect(remarks({ ...contender('node', {}), loadFromNode: true })).toContain('load from Node')
  expect(remarks({ ...contender('slow', { tasksPerSecond: 900 }), rate: 1000 })).toContain('did not keep up')
})

test('a void contender shows why, and no figures', () => {
  const result = comparison('throughput', { ...contender('native'), invalid: '1 wrong answers\nand more' })
  expect(asText(runRows(result))).toContain('VOID: 1 wrong answers')
  expect(asMarkdown(runRows(result)).split('\n').length).toBe(3)
})

test('every comparison and every contender is called by a name of its own', () => {
  for (const plan of [QUICK, FULL]) {
    const ids = plan.map(({ id }) => id)
    expect(new Set(ids).size).toBe(ids.length)
    for (const { contenders } of plan)
      expect(new Set(contenders.map(({ id }) => id)).size).toBe(contenders.length)
  }
})

test('the simulator’s speed is by second on a processor, and a run that broke a promise has none', () => {
  const founding = {
    id: 'founding',
    label: 'founding case',
    command: 'spillway sim run',
    events: 3_000_000,
    virtualMs: 20_000,
    cpuMs: 5000,
    peakMemory: 5e8,
    invalid: '',
  }
  const verdict = (each: typeof founding) =>
    judge([], null, [each]).find(({ path }) => path.startsWith('simulator'))
  expect(verdict(founding)).toMatchObject({ measured: '600,000 events/s, 4.00 simulated s/s', met: true })
  expect(verdict({ ...founding, cpuMs: 10_000 })?.met).toBe(false)
  expect(verdict({ ...founding, invalid: 'a core threw' })).toMatchObject({
    measured: 'not measured: a core threw',
    met: null,
  })
  expect(simulationRows([founding])[1]).toContain('600,000')
})
