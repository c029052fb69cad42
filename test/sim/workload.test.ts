import { describe, expect, test } from 'vitest'
import { Behaviour, BODY_MIN, type Errand, SMALL_MAX } from '../../sim/errand.ts'
import { type Parameters, parameters } from '../../sim/scenario.ts'
import { meanServiceMs, Workload } from '../../sim/workload.ts'

const SEED = 7
const CLUSTERS = 4

/** A hundred tasks a second in each cluster. */
function work(given: Partial<Parameters> = {}): Parameters {
  return parameters.parse({ clusters: CLUSTERS, workers: 10, clients: 20, rate: 5, hot: 1, ...given })
}

/** When a cluster's clients want something done, within two minutes. */
function arrivals(p: Parameters, cluster: number): number[] {
  const workload = new Workload(SEED, cluster, p)
  const times: number[] = []
  for (let at = workload.next(0); at < 120_000; at = workload.next(at)) {
    if (workload.who(at) >= 0) times.push(at)
  }
  return times
}

function errands(p: Parameters, count: number): Errand[] {
  const workload = new Workload(SEED, 0, p)
  return Array.from({ length: count }, (_, number) => workload.task(number, 'c0.u0', 0).errand)
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

function share(all: readonly Errand[], is: (errand: Errand) => boolean): number {
  return all.filter(is).length / all.length
}

describe('tasks arrive', () => {
  test('as Poisson has it: gaps are as wide as they vary', () => {
    const times = arrivals(work(), 0)
    const gaps = times.map((at, i) => at - (times[i - 1] ?? 0))
    expect(mean(gaps)).toBeCloseTo(10, 0)
    const variance = mean(gaps.map((gap) => (gap - mean(gaps)) ** 2))
    expect(Math.sqrt(variance) / mean(gaps)).toBeCloseTo(1, 1)
  })

  test('in bursts: a quarter of the time at four times the rate, each cluster in its turn', () => {
    const p = work({ arrivals: 'bursts' })
    const busy = Array.from({ length: CLUSTERS }, (_, cluster) => {
      const times = arrivals(p, cluster)
      expect(times.length / 12_000).toBeCloseTo(1, 1)
      // Of the tenths of a round of four seconds, those in which anything comes.
      return new Set(times.map((at) => Math.floor((at % 4000) / 100)))
    })
    for (const tenths of busy) expect(tenths.size).toBeLessThanOrEqual(11)
    const together = [...(busy[0] ?? [])].filter((tenth) => busy[1]?.has(tenth))
    expect(together.length).toBeLessThan(5)
  })

  test('in a daily wave that rolls over the clusters', () => {
    const p = work({ arrivals: 'wave' })
    const peaks = Array.from({ length: CLUSTERS }, (_, cluster) => {
      const quarters = [0, 0, 0, 0]
      // So that a quarter lies around the top of the wave, and not beside it.
      for (const at of arrivals(p, cluster)) {
        const quarter = Math.floor(((at + 3750) % 30_000) / 7500)
        quarters[quarter] = (quarters[quarter] ?? 0) + 1
      }
      expect(Math.max(...quarters) / Math.min(...quarters)).toBeGreaterThan(4)
      return quarters.indexOf(Math.max(...quarters))
    })
    expect(peaks).toEqual([1, 0, 3, 2])
  })

  test('in one hot cluster as many times as often as in each other, and no more of them in all', () => {
    const counts = Array.from(
      { length: CLUSTERS },
      (_, cluster) => arrivals(work({ hot: 8 }), cluster).length,
    )
    const [hot = 0, ...others] = counts
    for (const other of others) expect(Math.abs(hot / other - 8)).toBeLessThan(0.8)
    expect(mean(counts) / 12_000).toBeCloseTo(1, 1)
  })
})

describe('a task takes', () => {
  test('as long as makes the load that is wanted: 240 ms in the founding case', () => {
    expect(meanServiceMs(parameters.parse({}))).toBeCloseTo(240, 9)
    expect(meanServiceMs(work({ serviceMs: 12 }))).toBe(12)
  })

  test.each(['fixed', 'uniform', 'exponential', 'pareto'] as const)(
    '%s time, with the same mean',
    (service) => {
      const times = errands(work({ service, serviceMs: 100 }), 100_000).map(({ serviceMs }) => serviceMs)
      // The one task in a million is cut short: 1.3 % of the heaviest tail's work.
      expect(Math.abs(mean(times) / 100 - 1)).toBeLessThan(0.03)
    },
  )

  test('most of the time in few tasks where the tail is heavy', () => {
    const longest = (service: Parameters['service']): number => {
      const times = errands(work({ service, serviceMs: 100 }), 100_000)
        .map(({ serviceMs }) => serviceMs)
        .sort((a, b) => b - a)
      return mean(times.slice(0, 1000)) / mean(times) / 100
    }
    expect(longest('exponential')).toBeCloseTo(0.056, 2)
    expect(longest('pareto')).toBeGreaterThan(0.1)
  })
})

describe('among the tasks are', () => {
  const COUNT = 20_000

  test('poison, failures, streams and those that may not start twice, in the shares that are wanted', () => {
    const all = errands(work({ poison: 0.1, failing: 0.2, streams: 0.3, notIdempotent: 0.4 }), COUNT)
    expect(share(all, ({ behaviour }) => behaviour === Behaviour.Kills)).toBeCloseTo(0.1, 1)
    expect(share(all, ({ behaviour }) => behaviour === Behaviour.Fails)).toBeCloseTo(0.9 * 0.2, 1)
    expect(share(all, ({ streams }) => streams)).toBeCloseTo(0.3, 1)
    expect(share(all, ({ mayRunTwice }) => !mayRunTwice)).toBeCloseTo(0.4, 1)
  })

  test('small bodies and, in the share that is wanted, large ones of every order of magnitude', () => {
    const all = errands(work({ large: 0.25, largeBytes: 65_536 }), COUNT)
    expect(share(all, ({ size }) => size > SMALL_MAX)).toBeCloseTo(0.25, 1)
    const sizes = all.map(({ size }) => size).sort((a, b) => a - b)
    expect(sizes[0]).toBeGreaterThanOrEqual(BODY_MIN)
    expect(sizes.at(-1)).toBeLessThanOrEqual(65_536)
    const large = sizes.filter((size) => size > SMALL_MAX)
    for (const [from, to] of [
      [65, 650],
      [650, 6500],
      [6500, 65_000],
    ] as const) {
      const inside = large.filter((size) => size >= from && size < to).length / large.length
      expect(inside).toBeCloseTo(1 / 3, 1)
    }
  })
})
