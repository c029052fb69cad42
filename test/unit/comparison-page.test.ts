import { describe, expect, test } from 'vitest'
import { comparedPlot, comparisonPage } from '../../report/comparison-page.ts'
import type { ComparisonReport } from '../../report/comparison-report.ts'
import { CENTRE, type Grid, gather, type Measures, OMNISCIENT } from '../../sim/comparison.ts'
import { comparisonReport } from '../../sim/comparison-report.ts'

const MEASURES: Measures = {
  tasks: 1000,
  meanWaitMs: 1.5,
  p50WaitMs: 0.3,
  p99WaitMs: 12,
  p999WaitMs: 20,
  lentShare: 0.25,
  rejectShare: 0.005,
  statesPerSecond: 100,
  statesPerTask: 2.5,
  throughput: 2000,
  breach: null,
}

const POLICIES = [OMNISCIENT, 'soonest', 'random']

/** Of every policy and value the same, but for the p99 wait: the omniscient scheduler's is 10 ms. */
function reportOf(changed: Partial<Measures> = {}): ComparisonReport {
  const grid: Grid = {
    centre: CENTRE,
    warmUpMs: 1000,
    quick: true,
    dimensions: ['load', 'state'],
    policies: POLICIES,
    seeds: [1],
  }
  const empty = gather(grid, new Map())
  const rows = empty.rows.map((row) => {
    const measures: Measures =
      row.policy === OMNISCIENT ? { ...MEASURES, p99WaitMs: 10 } : { ...MEASURES, ...changed }
    return { ...row, measures, timesOmniscient: measures.p99WaitMs / 10 }
  })
  return comparisonReport({ ...empty, rows }, 'spillway sim compare --quick', '0.1.0')
}

describe('report of a comparison', () => {
  test('has every policy at every value, next to the omniscient scheduler', () => {
    const { dimensions, yardstick } = reportOf()
    expect(yardstick).toBe(OMNISCIENT)
    expect(dimensions.map(({ name, values }) => [name, values.map(({ value }) => value)])).toEqual([
      ['load', [0.7, 0.9, 0.97]],
      ['state', [0, 10, 1000]],
    ])
    for (const { values } of dimensions) {
      for (const { policies } of values) {
        expect(policies.map(({ policy }) => policy)).toEqual(POLICIES)
        expect(policies.map(({ timesOmniscient }) => timesOmniscient)).toEqual([1, 1.2, 1.2])
      }
    }
  })

  test('is the same when it is read again from its file, also where nothing was measured', () => {
    const report = reportOf({ p99WaitMs: Number.NaN })
    const [load] = report.dimensions
    expect(load?.values[0]?.policies[1]?.timesOmniscient).toBe(null)
    const { dimensions } = reportOf()
    expect(JSON.parse(JSON.stringify(dimensions))).toEqual(dimensions)
  })
})

describe('page of a comparison', () => {
  test('has a plot of every measure in every dimension', () => {
    const html = comparisonPage(reportOf())
    for (const by of ['load', 'time between states']) {
      for (const what of [
        'p99 wait, times the omniscient scheduler’s',
        'p99 wait',
        'Mean wait',
        'Tasks subcontracted',
        'Tasks that a peer turned away',
        'States sent',
      ]) {
        expect(html).toContain(`aria-label="${what}, by ${by}"`)
      }
    }
    expect(html).toContain('<td class="number">1.20</td>')
    expect(html).toContain('spillway sim compare --quick')
  })

  test('asks nothing of any other place, and has every number sound', () => {
    const html = comparisonPage(reportOf())
    expect(html).not.toMatch(/<(script|link|img|iframe|object|embed)|@import|url\((?!#)|src=|href=/i)
    expect(html.replaceAll('http://www.w3.org/2000/svg', '')).not.toMatch(/https?:/)
    expect(html).not.toMatch(/NaN|Infinity|undefined|null/)
  })

  test('says first of all that a promise was broken, and draws nothing of such a run', () => {
    const breach = `a slot holds two tasks <img src=x onerror='alert(1)'>`
    const report = reportOf({ breach })
    const html = comparisonPage(report)
    expect(html).toContain('A promise was broken')
    expect(html).toContain('load 0.9, soonest: a slot holds two tasks')
    expect(html).not.toContain('<img')
    const [load] = report.dimensions
    const curves = load === undefined ? [] : comparedPlot(report, load, 'p99').curves
    expect(curves.map(({ points }) => points.map(({ y }) => y))).toEqual([
      [10, 10, 10],
      [null, null, null],
      [null, null, null],
    ])
  })

  test('leaves the yardstick out where it has nothing to be measured by, and draws the goal', () => {
    const report = reportOf()
    const [load] = report.dimensions
    if (load === undefined) throw new Error('no dimension')
    const { curves, x } = comparedPlot(report, load, 'ratio')
    expect(curves.map(({ name }) => name)).toEqual(['soonest', 'random', 'goal: 1.3'])
    expect((x.ticks ?? []).map((tick) => x.format?.(tick))).toEqual(['0.7', '0.9', '0.97'])
    expect(() => comparedPlot(report, load, 'nothing')).toThrow('there are ratio, p99')
  })
})
