import { describe, expect, test } from 'vitest'
import { Collector } from '../../report/collector.ts'
import type { Report } from '../../report/report.ts'
import { runPage } from '../../report/run-page.ts'

function reportOf(names: readonly string[], given: Partial<Report> = {}): Report {
  const collector = new Collector({ durationMs: 10_000 })
  for (const name of names) collector.addCluster(name)
  for (let at = 0; at < 10_000; at += 10) {
    const from = (at / 10) % names.length
    collector.answered(at, 5 + (at % 70), from, at % 50 === 0 ? 0 : from)
    collector.spare(at, from, at % 9)
  }
  collector.faultEnds(4000, collector.faultBegins(3000, { kind: 'cluster', cluster: 0 }))
  collector.faultBegins(5000, { kind: 'partition', cluster: names.length - 1, other: 0 })
  collector.faultEnds(6000, collector.faultBegins(5500, { kind: 'something new', cluster: -1 }))
  return {
    format: 1,
    title: 'A run',
    command: 'spillway sim run --seed 3',
    seed: 3,
    version: '0.1.0',
    time: 'virtual',
    clusters: names,
    durationMs: 10_000,
    breach: null,
    summary: [{ label: 'tasks', value: '1,000' }],
    promises: [
      { promise: 'nothing is lost', checked: 1000, broken: 0 },
      { promise: 'nothing is doubled', checked: 234, broken: 0 },
    ],
    faults: collector.faults,
    series: collector.series(10_000),
    ...given,
  }
}

const numbered = (count: number): string[] => Array.from({ length: count }, (_, n) => `c${n}`)

describe('page of a run', () => {
  test('asks nothing of any other place', () => {
    const html = runPage(reportOf(['east', 'west']))
    expect(html).not.toMatch(/<(script|link|img|iframe|object|embed)|@import|url\((?!#)|src=|href=/i)
    // The name of a namespace is no address.
    expect(html.replaceAll('http://www.w3.org/2000/svg', '')).not.toMatch(/https?:/)
  })

  test('lets nothing that it is told become markup', () => {
    const evil = `"><img src=x onerror='alert(1)'></svg></style><!--`
    const given = {
      title: evil,
      command: evil,
      version: evil,
      breach: evil,
      summary: [{ label: evil, value: evil }],
      promises: [{ promise: evil, checked: 1, broken: 1 }],
      faults: [{ kind: evil, cluster: 0, node: 1, other: 1, fromMs: 0, untilMs: null }],
    }
    const html = runPage(reportOf([evil, 'west'], given))
    expect(html).not.toContain('<img')
    expect(html).not.toContain('<!--')
    expect(html.match(/<\/style>/g)?.length).toBe(1)
    const opened = html.match(/<svg/g)?.length
    expect(html.match(/<\/svg>/g)?.length).toBe(opened)
  })

  test('has every number sound', () => {
    expect(runPage(reportOf(['east', 'west', 'north']))).not.toMatch(/NaN|Infinity|undefined|null/)
  })

  test('says what was promised, how often it was checked, and how to get the run again', () => {
    const html = runPage(reportOf(['east', 'west']))
    expect(html).toContain('Every promise kept')
    expect(html).toContain('1,234 checks of 2 promises.')
    expect(html).toContain('<td>nothing is lost</td><td class="number">1,000</td><td class="number">0</td>')
    expect(html).toContain('<code>spillway sim run --seed 3</code>')
  })

  test('says first of all that a promise was broken', () => {
    const html = runPage(reportOf(['east', 'west'], { breach: 'nothing is lost at 3 ms, task 9' }))
    expect(html).toContain(
      '<strong>A promise was broken</strong><span>nothing is lost at 3 ms, task 9</span>',
    )
    expect(html).not.toContain('Every promise kept')
  })

  test('marks every fault, one between two clusters in both their lanes', () => {
    const html = runPage(reportOf(['east', 'west']))
    const wide = html.slice(html.indexOf('aria-label="Clusters over time'), html.indexOf('class="narrow"'))
    expect(wide.match(/<g class="mark kill"/g)?.length).toBe(1)
    expect(wide.match(/<g class="mark cut"/g)?.length).toBe(2)
    expect(wide.match(/<g class="mark odd"/g)?.length).toBe(1)
    expect(wide).toContain('west: cut off, to east, at 5 s to the end')
    expect(wide).toContain('everywhere: something new, at 5.5 s for 500 ms')
  })

  test('an empty run has a page too', () => {
    const collector = new Collector()
    collector.addCluster('only')
    const html = runPage(
      reportOf(['only'], {
        durationMs: 0,
        series: collector.series(0),
        faults: [],
        promises: [],
        summary: [],
      }),
    )
    expect(html).toContain('Nothing went wrong.')
    expect(html).toContain('No cluster was killed and started again.')
    expect(html).toContain('No cluster ran a task of another.')
    expect(html).not.toMatch(/NaN|Infinity|undefined/)
  })

  test('of a thousand clusters it shows those that matter, and stays small enough to open', () => {
    const html = runPage(reportOf(numbered(1000)))
    expect(html).toContain('24 of 1,000 clusters')
    expect(html.length).toBeLessThan(3_000_000)
  })
})
