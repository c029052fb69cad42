import { type Axis, areaOf, axes, WIDE } from './frame.ts'
import { linearScale, roundEnd, roundStep, short } from './scale.ts'
import { type Drawing, line, px, rect, text } from './svg.ts'

export interface Histogram {
  readonly title: string
  readonly x: Axis
  /** Of the values, for single ones of them. */
  readonly unit: string
  /** What is counted, in the plural. */
  readonly what: string
  /** Not negative. */
  readonly values: readonly number[]
  readonly width?: number
  readonly plotHeight?: number
}

const BINS = 24
/** So many values are still shown one by one below the bars. */
const RUG_MAX = 200

/** How many values lie in each of some equally wide bins from 0 on, and where their median is. */
export function histogram({
  title,
  x: xAxis,
  unit,
  what,
  values,
  width = WIDE,
  plotHeight = 200,
}: Histogram): Drawing {
  const bins = binsOf(values, width < 500 ? BINS / 2 : BINS)
  const most = bins.counts.reduce((a, b) => Math.max(a, b), 0)
  const end = Math.max(2, roundEnd(most, 4))
  const whole = (tick: number): boolean => Number.isInteger(tick)
  const yTicks = linearScale(0, end, 1, 0, 4).ticks.filter(whole)
  const area = areaOf(width, plotHeight, [], yTicks.map(short))
  const x = linearScale(0, bins.width * bins.counts.length, area.left, area.right, width < 500 ? 4 : 9)
  const scale = linearScale(0, end, area.bottom, area.top, 4)
  const y = { ...scale, ticks: yTicks }
  const format = xAxis.format ?? short
  const parts = [axes(area, x, xAxis, y, { label: what })]
  for (const [n, count] of bins.counts.entries()) {
    if (count === 0) continue
    const left = x.place(n * bins.width)
    const right = x.place((n + 1) * bins.width)
    const tip = `${format(n * bins.width)} to ${format((n + 1) * bins.width)} ${unit}: ${short(count)} ${what}`
    parts.push(
      rect('bar f0', left + 0.5, y.place(count), right - left - 1, area.bottom - y.place(count), tip),
    )
  }
  if (values.length <= RUG_MAX) {
    for (const value of values)
      parts.push(line('rug', x.place(value), area.bottom, x.place(value), area.bottom + 5))
  }
  const median = medianOf(values)
  if (median !== null) {
    const at = x.place(median)
    const [anchor, beside] =
      at > (area.left + area.right) / 2 ? (['end', at - 5] as const) : (['start', at + 5] as const)
    parts.push(line('mean', at, area.top - 12, at, area.bottom))
    parts.push(text(Number(px(beside)), area.top - 4, `median ${format(median)} ${unit}`, anchor))
  }
  return { title, width, height: area.height, body: parts.join('\n') }
}

/** Bins of a round width that hold all values; a value on an edge counts to the right of it. */
export function binsOf(values: readonly number[], wanted: number): { width: number; counts: number[] } {
  const max = values.reduce((a, b) => Math.max(a, b), 0)
  const width = max > 0 ? roundStep(max, wanted) : 1
  const counts = new Array<number>(Math.max(1, Math.floor(max / width + 1e-9) + 1)).fill(0)
  for (const value of values) {
    const bin = Math.min(counts.length - 1, Math.max(0, Math.floor(value / width + 1e-9)))
    counts[bin] = (counts[bin] ?? 0) + 1
  }
  return { width, counts }
}

export function medianOf(values: readonly number[]): number | null {
  if (values.length === 0) return null
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? 0
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? 0) + upper) / 2
}
