/** Plots as SVG, by hand: readable on light and dark pages, since text and lines take the colour of either. */

import type { Spread } from '../spread.ts'

export interface Bar {
  readonly label: string
  /** Which colour, and which entry of the legend. */
  readonly series: string
  readonly value: Spread
}

const STYLE = `
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 14px }
.axis { stroke: #57606a; stroke-width: 1 }
.grid { stroke: #57606a; stroke-opacity: .25; stroke-width: 1 }
.whisker { stroke: #24292f; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .axis { stroke: #9198a1 } .grid { stroke: #9198a1 } .whisker { stroke: #e6edf3 }
}`
/** Told apart by people with any kind of colour vision, and against white and black alike (Okabe and Ito's). */
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9']

const WIDTH = 860
const BAR_HEIGHT = 22
const BAR_GAP = 10
const LABEL_WIDTH = 300
const RIGHT = 40

/** Lying bars with the spread as whiskers; the axis begins at 0. */
export function barPlot(title: string, unit: string, bars: readonly Bar[]): string {
  const series = [...new Set(bars.map((bar) => bar.series))]
  const top = 66
  const bottom = top + bars.length * (BAR_HEIGHT + BAR_GAP)
  const ticks = ticksTo(Math.max(...bars.map(({ value }) => value.max), 1))
  const end = ticks.at(-1) ?? 1
  const x = (value: number): number => LABEL_WIDTH + (value / end) * (WIDTH - LABEL_WIDTH - RIGHT)
  const parts = [heading(title), legend(series)]
  for (const tick of ticks) {
    parts.push(line('grid', x(tick), top - 4, x(tick), bottom))
    parts.push(text(x(tick), bottom + 18, short(tick), 'middle'))
  }
  parts.push(
    line('axis', LABEL_WIDTH, top - 4, LABEL_WIDTH, bottom),
    line('axis', LABEL_WIDTH, bottom, x(end), bottom),
  )
  parts.push(text((LABEL_WIDTH + x(end)) / 2, bottom + 38, unit, 'middle'))
  for (const [n, { label, series: name, value }] of bars.entries()) {
    const y = top + n * (BAR_HEIGHT + BAR_GAP)
    const middle = y + BAR_HEIGHT / 2
    parts.push(text(LABEL_WIDTH - 8, middle + 4, label, 'end'))
    parts.push(
      `<rect x="${LABEL_WIDTH}" y="${y}" width="${(x(value.median) - LABEL_WIDTH).toFixed(1)}" height="${BAR_HEIGHT}" fill="${colourOf(series, name)}"><title>${escaped(label)}: ${short(value.median)} (${short(value.min)} – ${short(value.max)}) ${escaped(unit)}</title></rect>`,
    )
    parts.push(line('whisker', x(value.min), middle, x(value.max), middle))
    for (const edge of [value.min, value.max])
      parts.push(line('whisker', x(edge), middle - 5, x(edge), middle + 5))
  }
  return svg(WIDTH, bottom + 50, title, parts)
}

export interface Curve {
  readonly name: string
  readonly points: readonly { readonly x: number; readonly y: number }[]
}

/** Curves over a logarithmic x axis and a logarithmic y axis, since both run over decades. */
export function curvePlot(title: string, xUnit: string, yUnit: string, curves: readonly Curve[]): string {
  const height = 420
  const [left, top, right, bottom] = [80, 66, WIDTH - RIGHT, height - 60]
  const all = curves.flatMap(({ points }) => points)
  if (all.length === 0) return svg(WIDTH, 80, title, [heading(title)])
  const xs = [...new Set(all.map((point) => point.x))].sort((a, b) => a - b)
  const xMin = Math.log10(xs[0] ?? 1)
  const xMax = Math.max(xMin + 0.1, Math.log10(xs.at(-1) ?? 10))
  const yMin = Math.floor(Math.log10(Math.min(...all.map((point) => point.y))))
  const yMax = Math.max(yMin + 1, Math.ceil(Math.log10(Math.max(...all.map((point) => point.y)))))
  const x = (value: number): number => left + ((Math.log10(value) - xMin) / (xMax - xMin)) * (right - left)
  const y = (value: number): number => bottom - ((Math.log10(value) - yMin) / (yMax - yMin)) * (bottom - top)
  const names = curves.map(({ name }) => name)
  const parts = [heading(title), legend(names)]
  for (const value of xs) {
    parts.push(
      line('grid', x(value), top, x(value), bottom),
      text(x(value), bottom + 18, short(value), 'middle'),
    )
  }
  for (let power = yMin; power <= yMax; power++) {
    const at = y(10 ** power)
    parts.push(line('grid', left, at, right, at), text(left - 8, at + 4, short(10 ** power), 'end'))
  }
  parts.push(line('axis', left, top, left, bottom), line('axis', left, bottom, right, bottom))
  parts.push(text((left + right) / 2, bottom + 42, xUnit, 'middle'))
  parts.push(
    `<text x="18" y="${(top + bottom) / 2}" text-anchor="middle" transform="rotate(-90 18 ${(top + bottom) / 2})">${escaped(yUnit)}</text>`,
  )
  for (const { name, points } of curves) {
    const colour = colourOf(names, name)
    const path = points.map((point) => `${x(point.x).toFixed(1)},${y(point.y).toFixed(1)}`).join(' ')
    parts.push(`<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`)
    for (const point of points) {
      parts.push(
        `<circle cx="${x(point.x).toFixed(1)}" cy="${y(point.y).toFixed(1)}" r="4" fill="${colour}"><title>${escaped(name)}, ${short(point.x)} ${escaped(xUnit)}: ${short(point.y)} ${escaped(yUnit)}</title></circle>`,
      )
    }
  }
  return svg(WIDTH, height, title, parts)
}

function svg(width: number, height: number, title: string, parts: readonly string[]): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escaped(title)}">\n<style>${STYLE}\n</style>\n${parts.join('\n')}\n</svg>\n`
}

function heading(title: string): string {
  return `<text class="title" x="16" y="24">${escaped(title)}</text>`
}

function legend(series: readonly string[]): string {
  let at = 16
  return series
    .map((name) => {
      const entry = `<rect x="${at}" y="36" width="12" height="12" fill="${colourOf(series, name)}"/>${text(at + 18, 46, name, 'start')}`
      at += 40 + 7 * name.length
      return entry
    })
    .join('\n')
}

function colourOf(series: readonly string[], name: string): string {
  return COLOURS[series.indexOf(name) % COLOURS.length] ?? '#0072b2'
}

function line(kind: string, x1: number, y1: number, x2: number, y2: number): string {
  const [a, b, c, d] = [x1, y1, x2, y2].map((value) => value.toFixed(1))
  return `<line class="${kind}" x1="${a}" y1="${b}" x2="${c}" y2="${d}"/>`
}

function text(x: number, y: number, content: string, anchor: 'start' | 'middle' | 'end'): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${escaped(content)}</text>`
}

function escaped(content: string): string {
  return content
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
}

/** From 0 to at least `max`, in steps of 1, 2 or 5 times a power of ten. */
export function ticksTo(max: number): number[] {
  const rough = max / 6
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10) * power
  const count = Math.ceil(max / step)
  return Array.from({ length: count + 1 }, (_, n) => n * step)
}

function short(value: number): string {
  if (value >= 1e6) return `${trim(value / 1e6)} M`
  if (value >= 1e4) return `${trim(value / 1e3)} k`
  return value.toLocaleString('en-US', { maximumFractionDigits: 1 })
}

function trim(value: number): string {
  return value.toLocaleString('en-US', { maximumSignificantDigits: 3 })
}
