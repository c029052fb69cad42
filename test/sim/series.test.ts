import { describe, expect, test } from 'vitest'
import { Collector } from '../../report/collector.ts'
import { runPage } from '../../report/run-page.ts'
import { escaped } from '../../report/svg.ts'
import { run } from '../../sim/run.ts'
import { runReport } from '../../sim/run-report.ts'
import { parameters } from '../../sim/scenario.ts'

const p = parameters.parse({
  clusters: 3,
  workers: 10,
  clients: 20,
  durationMs: 8000,
  faults: ['cluster', 'broker', 'worker', 'partition'],
  faultEveryMs: 500,
  faultForMs: 800,
})

describe('series of a simulated run', () => {
  const series = new Collector({ durationMs: p.durationMs })
  const watched = run(11, p, { series })
  const gathered = series.series(watched.gatheredUntil)

  test('gathering them changes nothing', () => {
    expect(watched.breach).toBeNull()
    expect(run(11, p).summary).toEqual(watched.summary)
  })

  test('hold every task that was answered or failed', () => {
    const sum = (rows: readonly (readonly number[])[]): number => rows.flat().reduce((a, b) => a + b, 0)
    const answered = sum(gathered.ranAtHome) + sum(gathered.ranForOthers)
    const failed = sum([gathered.failed])
    // Each client's task at the very end is a check and no work.
    const settled = Object.values(watched.summary?.outcomes ?? {}).reduce((a, b) => a + b, 0)
    expect(answered + failed).toBe(settled - 3 * 20)
    expect(gathered.latencyOverall.answered).toBe(answered)
    expect(sum(gathered.loans.map(([, , tasks]) => [tasks]))).toBe(sum(gathered.ranForOthers))
  })

  test('show the share that ran in another cluster as the summary does, and it knows how many tasks they leave out', () => {
    const lent = gathered.loans.reduce((sum, [, , tasks]) => sum + tasks, 0)
    expect(lent).toBeGreaterThan(0)
    expect(watched.summary?.lentShare).toBe(lent / gathered.latencyOverall.answered)
    expect(watched.summary?.closing).toBe(3 * 20)
  })

  test('hold every fault, with its end', () => {
    expect(series.faults.map(({ kind, fromMs, cluster }) => ({ fault: kind, at: fromMs, cluster }))).toEqual(
      watched.faults.map(({ fault, at, cluster }) => ({ fault, at, cluster })),
    )
    expect(series.faults.length).toBeGreaterThan(5)
    for (const { fromMs, untilMs } of series.faults) expect(untilMs).toBeGreaterThanOrEqual(fromMs)
  })

  test('show what was free before anything of a later time has happened', () => {
    // At this length what is free is looked at every 4 ms, where each cluster's turn begins.
    const durationMs = 2500
    let latest = 0
    const ahead: number[] = []
    let looks = 0
    class Looks extends Collector {
      override spare(at: number, cluster: number, free: number): void {
        looks++
        if (latest > at) ahead.push(at)
        super.spare(at, cluster, free)
      }
    }
    run(
      11,
      { ...p, durationMs },
      {
        series: new Looks({ durationMs }),
        tracer: (at) => {
          latest = Math.max(latest, at)
        },
      },
    )
    expect(looks).toBeGreaterThan((3 * durationMs) / 4)
    expect(ahead).toEqual([])
  })

  test('never show more spare capacity than there are workers', () => {
    const known = gathered.spare.flat().filter((free) => free !== null)
    expect(Math.max(...known)).toBeLessThanOrEqual(10)
    expect(Math.max(...known)).toBeGreaterThan(0)
    expect(Math.min(...known)).toBeGreaterThanOrEqual(0)
  })
})

describe('promises of a simulated run', () => {
  test('were each looked at, and none was broken', () => {
    // Where something has just failed some promises are not asked for: there has to be quiet before.
    const { promises } = run(11, { ...p, faultEveryMs: 6000, faults: ['cluster'] })
    const unseen = promises.filter(({ checked }) => checked === 0).map(({ promise }) => promise)
    // There are no streams in this run.
    expect(unseen).toEqual(['a stream is whole'])
    expect(promises.filter(({ broken }) => broken > 0)).toEqual([])
  })

  test('tell a task that was lost from brokers that do not agree', () => {
    const LOST = 'no task is lost while its client lives and any worker lives'
    const kept = run(11, p)
    expect(kept.promises.find(({ promise }) => promise === LOST)?.checked).toBe(
      kept.promises.find(({ promise }) => promise === 'no answer to the wrong client')?.checked,
    )
    // Who never looks at the clock never asks again for what a dead broker had.
    const deaf = run(
      11,
      { ...p, faults: ['broker'] },
      {
        onClient: (core) => {
          core.timeout = () => {}
          core.nextTimeout = () => Number.POSITIVE_INFINITY
        },
      },
    )
    expect(deaf.promises.filter(({ broken }) => broken > 0).map(({ promise }) => promise)).toEqual([LOST])
    expect(deaf.breach?.task).not.toBeNull()
  })

  test('show the one that was broken, by its name', () => {
    const series = new Collector({ durationMs: p.durationMs })
    const result = run(
      11,
      { ...p, checkBooksEvery: 0 },
      {
        series,
        onBroker: (core) => {
          let turns = 0
          Object.defineProperty(core.scheduler, 'queued', { get: () => (++turns > 1000 ? 1e9 : 0), set() {} })
        },
      },
    )
    const { breach, promises } = result
    const page = runPage(runReport(result, p, series, 'spillway sim run --seed 11', '0.1.0'))
    expect(page).toContain('A promise was broken')
    expect(page).toContain(escaped(breach?.message ?? 'no breach'))
    expect(breach?.promise).toBe('every queue stays within its bound')
    expect(promises.filter(({ broken }) => broken > 0).map(({ promise }) => promise)).toEqual([
      breach?.promise,
    ])
  })
})
