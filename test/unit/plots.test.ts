import { describe, expect, test } from 'vitest'
import { barPlot } from '../../report/bar-plot.ts'
import { heatMatrix, shadeOf } from '../../report/heat-matrix.ts'
import { binsOf, histogram, medianOf } from '../../report/histogram.ts'
import { lanes } from '../../report/lanes.ts'
import { linePlot } from '../../report/line-plot.ts'
import {
  decadesAround,
  linearScale,
  logScale,
  roundEnd,
  short,
  shortTime,
  ticksBetween,
} from '../../report/scale.ts'
import { largestAndOthers, OTHERS, stackedArea } from '../../report/stacked-area.ts'
import { type Drawing, escaped, inlineSvg, standaloneSvg } from '../../report/svg.ts'

/** Every number of every attribute that says where something lies. */
function coordinates({ body }: Drawing): number[] {
  return [...body.matchAll(/ (?:d|x|y|x1|y1|x2|y2|cx|cy|width|height)="([^"]*)"/g)].flatMap(
    ([, value = '']) => [...value.matchAll(/-?[\d.]+/g)].map(([number]) => Number(number)),
  )
}

/** Nothing lies outside, and nothing nowhere. */
function expectSound(drawing: Drawing): void {
  const svg = inlineSvg(drawing)
  expect(svg).not.toMatch(/NaN|Infinity|undefined/)
  for (const value of coordinates(drawing)) {
    expect(value).toBeGreaterThanOrEqual(0)
    expect(value).toBeLessThanOrEqual(Math.max(drawing.width, drawing.height))
  }
}

describe('axes', () => {
  test('are marked at round numbers', () => {
    expect(ticksBetween(0, 95)).toEqual([0, 20, 40, 60, 80])
    expect(ticksBetween(0.13, 0.31)).toEqual([0.15, 0.2, 0.25, 0.3])
    expect(ticksBetween(-40, 40, 4)).toEqual([-40, -20, 0, 20, 40])
  })

  test('end at a tick beyond the largest value', () => {
    expect(roundEnd(95)).toBe(100)
    expect(roundEnd(732_000)).toBe(800_000)
    expect(roundEnd(0.3)).toBe(0.3)
    expect(roundEnd(0)).toBe(1)
  })

  test('over few decades are marked at 1, 2 and 5 of each, over many at the decades', () => {
    expect(logScale(1, 100, 0, 1).ticks).toEqual([1, 2, 5, 10, 20, 50, 100])
    expect(logScale(0.1, 1e4, 0, 1).ticks).toEqual([0.1, 1, 10, 100, 1000, 10_000])
    expect(decadesAround(3, 1200)).toEqual([1, 10_000])
    expect(decadesAround(10, 10)).toEqual([10, 100])
  })

  test('put what lies outside at their edge', () => {
    expect(linearScale(0, 10, 100, 200).place(5)).toBe(150)
    expect(linearScale(0, 10, 100, 200).place(11)).toBe(200)
    expect(logScale(1, 100, 100, 200).place(10)).toBe(150)
    expect(logScale(1, 100, 100, 200).place(0)).toBe(100)
  })

  test('have numbers and times as a person writes them', () => {
    expect([0, 0.25, 9.999, 123.4, 1500, 12_345, 3_200_000].map(short)).toEqual([
      '0',
      '0.25',
      '10',
      '123',
      '1,500',
      '12.3 k',
      '3.2 M',
    ])
    expect([3, 1999, 12_500, 600_000, 6 * 3_600_000].map(shortTime)).toEqual([
      '3 ms',
      '1,999 ms',
      '12.5 s',
      '10 min',
      '6 h',
    ])
  })
})

describe('text', () => {
  test('lets no markup in', () => {
    expect(escaped(`<script>"&'\u0000`)).toBe('&lt;script&gt;&quot;&amp;&#39;\u{fffd}')
  })

  test('keeps letters of any script', () => {
    expect(escaped('naïve – 東京 🐘')).toBe('naïve – 東京 🐘')
  })
})

describe('plots', () => {
  const evil = '</svg><script>alert(1)</script>'

  test('bars name their axes and series, and let no markup in', () => {
    const value = { median: 5, min: 4, max: 6 }
    const bars = barPlot('Tasks', 'tasks/s', [{ label: evil, series: 'wire', value }])
    const svg = standaloneSvg(bars)
    expect(svg).not.toContain('<script')
    expect(svg).toContain('>tasks/s</text>')
    expect(svg).toContain('>wire</text>')
    expect(svg).toContain('prefers-color-scheme: dark')
    expectSound(bars)
  })

  test('a curve lies where its scale puts it, with gaps where nothing is known', () => {
    const plot = linePlot({
      title: 'By time',
      x: { label: 's' },
      y: { label: 'ms', scale: 'log' },
      curves: [
        {
          name: evil,
          points: [
            { x: 0, y: 1 },
            { x: 1, y: 100 },
            { x: 2, y: null },
            { x: 3, y: 10 },
          ],
        },
      ],
    })
    expectSound(plot)
    expect(inlineSvg(plot)).not.toContain('<script')
    const [, path = ''] = /class="curve[^>]* d="([^"]*)"/.exec(plot.body) ?? []
    const ys = [...path.matchAll(/[ML][\d.]+ ([\d.]+)/g)].map(([, y]) => Number(y))
    expect(path.match(/M/g)?.length).toBe(2)
    // Lowest, highest, halfway between them on a logarithmic axis.
    expect(ys[1]).toBeLessThan(ys[0] ?? 0)
    expect(ys[2]).toBeCloseTo(((ys[0] ?? 0) + (ys[1] ?? 0)) / 2, 0)
  })

  test('nothing to show makes an empty plot, not a broken one', () => {
    const x = { label: 's' }
    const y = { label: 'tasks/s' }
    for (const drawing of [
      linePlot({ title: 'none', x, y, curves: [] }),
      linePlot({ title: 'none', x, y: { ...y, scale: 'log' }, curves: [{ name: 'a', points: [] }] }),
      stackedArea({ title: 'none', x, y, step: 1, layers: [] }),
      histogram({ title: 'none', x, unit: 's', what: 'kills', values: [] }),
      heatMatrix({
        title: 'none',
        rows: [],
        columns: [],
        rowLabel: '',
        columnLabel: '',
        what: '',
        values: [],
      }),
      lanes({ title: 'none', x, step: 1, end: 0, lanes: [], full: 0, what: '', marks: [], marksAs: 'bars' }),
      barPlot('none', 'tasks/s', []),
    ])
      expectSound(drawing)
  })

  test('layers lie on top of each other up to their sum', () => {
    const plot = stackedArea({
      title: 'Stack',
      x: { label: 's' },
      y: { label: 'tasks/s' },
      step: 1,
      layers: [
        { name: 'a', values: [1, 2, 3] },
        { name: 'b', values: [3, 2, 1] },
      ],
    })
    expectSound(plot)
    const paths = [...plot.body.matchAll(/class="layer[^>]* d="([^"]*)"/g)].map(([, d = '']) =>
      [...d.matchAll(/[ML][\d.]+ ([\d.]+)/g)].map(([, y]) => Number(y)),
    )
    // The sum is 4 everywhere: the upper edge of the upper layer is level.
    expect(new Set(paths[1]?.slice(0, 5)).size).toBe(1)
    // Where the lower layer ends the upper begins.
    expect(paths[1]?.slice(5).reverse()).toEqual(paths[0]?.slice(0, 5))
  })

  test('of many layers the largest are shown, and the others together', () => {
    const layers = Array.from({ length: 1000 }, (_, n) => ({ name: `c${n}`, values: [n, 1] }))
    const shown = largestAndOthers(layers, 12)
    expect(shown.map(({ name }) => name)).toEqual([
      ...Array.from({ length: 11 }, (_, n) => `c${989 + n}`),
      OTHERS,
    ])
    expect(shown.at(-1)?.values).toEqual([(988 * 989) / 2, 989])
    const plot = stackedArea({ title: 'Many', x: { label: 's' }, y: { label: 'n' }, step: 1, layers })
    expectSound(plot)
    expect(plot.body.match(/class="layer/g)?.length).toBe(12)
  })

  test('bins have round widths and hold every value', () => {
    const { width, counts } = binsOf([0, 1, 2, 99, 100], 20)
    expect(width).toBe(5)
    expect(counts.length).toBe(21)
    expect(counts.at(-1)).toBe(1)
    expect(counts.reduce((a, b) => a + b)).toBe(5)
    expect(binsOf([0.1, 0.2, 0.3], 3).counts).toEqual([0, 1, 1, 1])
    expectSound(
      histogram({ title: 'Back', x: { label: 'ms' }, unit: 'ms', what: 'kills', values: [3, 900, 14, 3000] }),
    )
  })

  test('the median is the middle, or between the two in the middle', () => {
    expect(medianOf([])).toBeNull()
    expect(medianOf([5, 1, 3])).toBe(3)
    expect(medianOf([1, 2, 3, 10])).toBe(2.5)
  })

  test('a cell is the darker the more it stands for; only nothing is empty', () => {
    expect([0, 1, 50, 51, 100].map((value) => shadeOf(value, 100))).toEqual([0, 1, 3, 4, 6])
    const plot = heatMatrix({
      title: 'Loans',
      rows: ['a', 'a cluster with a very long name'],
      columns: ['a', 'a cluster with a very long name'],
      rowLabel: 'lent by',
      columnLabel: 'borrowed by',
      what: 'tasks',
      values: [
        [0, 5],
        [12_000, 0],
      ],
      hollow: true,
    })
    expectSound(plot)
    expect(plot.body.match(/class="cell h\d" [^>]*><title>a/g)?.length).toBe(2)
  })

  test('what stands for many others together is not compared with single ones', () => {
    const plot = heatMatrix({
      title: 'Loans',
      rows: ['a', 'b', OTHERS],
      columns: ['a', 'b', OTHERS],
      rowLabel: 'lent by',
      columnLabel: 'borrowed by',
      what: 'tasks',
      values: [
        [0, 5, 900],
        [1, 0, 0],
        [700, 0, 12_000],
      ],
      hollow: true,
      rest: true,
    })
    const shades = [...plot.body.matchAll(/class="cell h(\d)"[^>]*><title>(.*?):/g)].map(
      ([, h, of]) => `${of} ${h}`,
    )
    expect(shades).toContain('a → b 6')
    expect(shades).toContain('b → a 2')
    expect(shades).toContain('others → others 0')
  })

  test('marks of the same time in a lane lie below each other', () => {
    const mark = { lane: 0, from: 1, to: 5, kind: 'kill', tip: evil } as const
    const plot = lanes({
      title: 'Faults',
      x: { label: 's' },
      step: 1,
      end: 10,
      lanes: [{ name: 'east', values: [1, null, 3] }],
      full: 3,
      what: 'tasks/s',
      marks: [mark, { ...mark, from: 2, kind: 'freeze' }, { ...mark, from: 6, to: 7 }],
      marksAs: 'bars',
    })
    expectSound(plot)
    expect(inlineSvg(plot)).not.toContain('<script')
    const ys = [...plot.body.matchAll(/class="mark [^>]*>.*?<rect [^>]* y="([\d.]+)"/g)].map(([, y]) =>
      Number(y),
    )
    expect(ys[1]).toBeGreaterThan(ys[0] ?? 0)
    expect(ys[2]).toBe(ys[0])
  })
})
