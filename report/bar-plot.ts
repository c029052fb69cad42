import { areaOf, fillOf, type LegendEntry, legend, WIDE } from './frame.ts'
import { linearScale, roundEnd, short } from './scale.ts'
import { type Drawing, escaped, line, px, text } from './svg.ts'

export interface Bar {
  readonly label: string
  /** Which colour, and which entry of the legend. */
  readonly series: string
  /** Of several measurements. */
  readonly value: { readonly median: number; readonly min: number; readonly max: number }
}

const BAR_HEIGHT = 22
const BAR_GAP = 10
const LABEL_WIDTH = 300
const RIGHT = 40

/** Lying bars with the spread as whiskers; the axis begins at 0. */
export function barPlot(title: string, unit: string, bars: readonly Bar[], width = WIDE): Drawing {
  const series = [...new Set(bars.map((bar) => bar.series))]
  const entries = series.map((name, colour): LegendEntry => ({ name, colour }))
  const { top } = areaOf(width, 0, entries, [])
  const bottom = top + bars.length * (BAR_HEIGHT + BAR_GAP)
  const end = roundEnd(Math.max(...bars.map(({ value }) => value.max), 1))
  const x = linearScale(0, end, LABEL_WIDTH, width - RIGHT)
  const parts = [legend(entries, width)]
  for (const tick of x.ticks) {
    parts.push(line('grid', x.place(tick), top - 4, x.place(tick), bottom))
    parts.push(text(x.place(tick), bottom + 18, short(tick), 'middle', 'muted'))
  }
  parts.push(
    line('axis', LABEL_WIDTH, top - 4, LABEL_WIDTH, bottom),
    line('axis', LABEL_WIDTH, bottom, x.place(end), bottom),
    text((LABEL_WIDTH + x.place(end)) / 2, bottom + 38, unit, 'middle', 'muted'),
  )
  for (const [n, { label, series: name, value }] of bars.entries()) {
    const y = top + n * (BAR_HEIGHT + BAR_GAP)
    const middle = y + BAR_HEIGHT / 2
    const [from, to] = [x.place(value.min), x.place(value.max)]
    const tip = `${label}: ${short(value.median)} (${short(value.min)} – ${short(value.max)}) ${unit}`
    parts.push(
      text(LABEL_WIDTH - 8, middle + 4, label, 'end'),
      `<rect class="bar ${fillOf(series.indexOf(name))}" x="${LABEL_WIDTH}" y="${y}" width="${px(x.place(value.median) - LABEL_WIDTH)}" height="${BAR_HEIGHT}"><title>${escaped(tip)}</title></rect>`,
      line('whisker', from, middle, to, middle),
    )
    for (const edge of [from, to]) parts.push(line('whisker', edge, middle - 5, edge, middle + 5))
  }
  return { title, width, height: bottom + 50, body: parts.join('\n') }
}
