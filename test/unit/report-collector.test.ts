import { describe, expect, test } from 'vitest'
import { Collector } from '../../report/collector.ts'

function pair(durationMs?: number): Collector {
  const collector = new Collector(durationMs === undefined ? {} : { durationMs })
  collector.addCluster('east')
  collector.addCluster('west')
  return collector
}

describe('series of a run', () => {
  test('a task counts where it ran, and as a loan when it came from elsewhere', () => {
    const collector = pair(1280)
    collector.answered(5, 1, 0, 0)
    collector.answered(15, 1, 0, 1)
    collector.answered(16, 1, 0, 1)
    const series = collector.series(20)
    expect(series.bucketMs).toBe(10)
    expect(series.ranAtHome).toEqual([
      [1, 0],
      [0, 0],
    ])
    expect(series.ranForOthers).toEqual([
      [0, 0],
      [0, 2],
    ])
    expect(series.loans).toEqual([[1, 0, 2]])
  })

  test('percentiles are those of the bucket, within a percent; the maximum is exact', () => {
    const collector = pair(128_000)
    for (let i = 1; i <= 1000; i++) collector.answered(500, i + 0.25, 0, 0)
    collector.answered(1500, 7, 0, 0)
    const { latency, latencyOverall } = collector.series(2000)
    expect(latency.p50[0]).toBeGreaterThan(495)
    expect(latency.p50[0]).toBeLessThan(506)
    expect(latency.p99[0]).toBeGreaterThan(980)
    expect(latency.p99[0]).toBeLessThan(1001)
    expect(latency.max).toEqual([1000.25, 7])
    expect(latencyOverall.answered).toBe(1001)
    expect(latencyOverall.max).toBe(1000.25)
  })

  test('where nothing was answered there is no latency, rather than none at all', () => {
    const collector = pair(1280)
    collector.failed(5)
    const { latency, latencyOverall, failed } = collector.series(10)
    expect(latency).toEqual({ p50: [null], p90: [null], p99: [null], max: [null] })
    expect(latencyOverall.p99).toBeNull()
    expect(failed).toEqual([1])
  })

  test('what is spare is averaged over time, not over reports', () => {
    const collector = pair(1280)
    collector.spare(0, 0, 10)
    collector.spare(9, 0, 0)
    collector.spare(9.5, 0, 0)
    collector.spare(15, 1, 4)
    const { spare } = collector.series(30)
    expect(spare[0]).toEqual([9, 0, 0])
    expect(spare[1]).toEqual([null, 4, 4])
  })

  test('a run longer than foreseen gets wider buckets and loses nothing', () => {
    const collector = pair(128)
    let lent = 0
    for (let at = 0; at < 5000; at++) {
      collector.answered(at, at / 10, 0, at % 2)
      lent += at % 2
      collector.spare(at, 0, 3)
    }
    const series = collector.series(5000)
    expect(series.buckets).toBeLessThanOrEqual(512)
    expect(series.bucketMs).toBe(16)
    const sum = (rows: readonly (readonly number[])[]): number => rows.flat().reduce((a, b) => a + b, 0)
    expect(sum(series.ranAtHome)).toBe(5000 - lent)
    expect(sum(series.ranForOthers)).toBe(lent)
    expect(series.latencyOverall.answered).toBe(5000)
    expect(series.latency.max.at(-1)).toBe(499.9)
    for (const free of series.spare[0] ?? []) expect(free).toBeCloseTo(3)
  })

  test('no percentile lies beyond the longest', () => {
    const collector = pair()
    collector.answered(1, 9493, 0, 0)
    const { latency, latencyOverall } = collector.series(100)
    expect(latency.p99).toEqual([9493])
    expect(latencyOverall.p999).toBe(9493)
  })

  test('a latency of hours does not end the run', () => {
    const collector = pair()
    collector.answered(1e7, 1e7, 0, 0)
    expect(collector.series(1e7).latencyOverall.max).toBe(1e7)
  })

  test('a killed cluster has recovered when a task that ran in it is answered', () => {
    const collector = pair(1000)
    const kill = collector.faultBegins(100, { kind: 'cluster', cluster: 1 })
    collector.answered(110, 1, 1, 0)
    collector.faultEnds(300, kill)
    collector.answered(310, 1, 1, 0)
    collector.answered(340, 1, 0, 1)
    collector.answered(350, 1, 0, 1)
    expect(collector.series(400).recoveries).toEqual([{ fault: 0, cluster: 1, downMs: 200, againMs: 40 }])
    expect(collector.faults).toEqual([
      { kind: 'cluster', cluster: 1, node: null, other: null, fromMs: 100, untilMs: 300 },
    ])
  })

  test('a cluster killed again before it did anything has not recovered from the first time', () => {
    const collector = pair(1000)
    collector.faultEnds(20, collector.faultBegins(10, { kind: 'cluster', cluster: 0 }))
    collector.faultEnds(40, collector.faultBegins(30, { kind: 'cluster', cluster: 0 }))
    collector.answered(45, 1, 0, 0)
    expect(collector.series(50).recoveries.map(({ againMs }) => againMs)).toEqual([null, 5])
  })

  test('faults that stop nothing need no recovery', () => {
    const collector = pair(1000)
    collector.faultEnds(20, collector.faultBegins(10, { kind: 'slow', cluster: 0, other: 1 }))
    expect(collector.series(50).recoveries).toEqual([])
  })

  test('a last bucket that has hardly begun is left out', () => {
    const collector = pair(1280)
    collector.answered(5, 1, 0, 0)
    collector.answered(11, 1, 0, 0)
    expect(collector.series(12).buckets).toBe(1)
    expect(collector.series(19).buckets).toBe(2)
  })
})
