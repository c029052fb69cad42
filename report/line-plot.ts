import {
  type Axis,
  areaOf,
  axes,
  type Band,
  bandRects,
  type LegendEntry,
  legend,
  strokeOf,
  WIDE,
} from './frame.ts'
import { decadesAround, linearScale, logScale, roundEnd, type Scale, short } from './scale.ts'
import { type Drawing, escaped, px, rect } from './svg.ts'

export interface Curve {
  readonly name: string
  /** By x. Where y is null the curve has a gap. */
  readonly points: readonly { readonly x: number; readonly y: number | null }[]
  /** A bound or an ideal rather than something measured: dotted, in the colour of text. */
  readonly goal?: boolean
}

export interface ScaledAxis extends Axis {
  readonly scale?: 'linear' | 'log'
  /** Ends of the axis; without them what the curves need, from 0 where linear. */
  readonly min?: number
  readonly max?: number
  /** Without them, round values. */
  readonly ticks?: readonly number[]
}

export interface LinePlot {
  readonly title: string
  readonly x: ScaledAxis
  readonly y: ScaledAxis
  readonly curves: readonly Curve[]
  readonly bands?: readonly Band[]
  /** A dot at each point: for few points. */
  readonly dots?: boolean
  readonly width?: number
  readonly plotHeight?: number
}

/** Places on the x axis at which a tip tells all curves' values. */
const TIPS_MAX = 120

/** Curves over a common x axis, either axis linear or logarithmic. */
export function linePlot(plot: LinePlot): Drawing {
  const { title, x: xAxis, y: yAxis, curves, bands = [], dots = false, width = WIDE, plotHeight = 260 } = plot
  const colours = coloursOf(curves)
  const entries = curves.map(
    ({ name, goal }, n): LegendEntry => ({ name, colour: colours[n] ?? null, as: goal ? 'goal' : 'line' }),
  )
  const xs = curves.flatMap(({ points }) => points.map(({ x }) => x))
  const ys = curves.flatMap(({ points }) => points.flatMap(({ y }) => (y === null ? [] : [y])))
  // The width of what is written at the axis depends on the ticks, not on where they come to lie.
  const yTicks = scaleOf(yAxis, ys, 1, 0, 'round').ticks.map(yAxis.format ?? short)
  const area = areaOf(width, plotHeight, entries, yTicks)
  const x = scaleOf(xAxis, xs, area.left, area.right, 'tight', width < 500 ? 4 : 9)
  const y = scaleOf(yAxis, ys, area.bottom, area.top, 'round')
  const parts = [legend(entries, width), axes(area, x, xAxis, y, yAxis, xAxis.ticks)]
  parts.push(...bandRects(bands, x, area))
  for (const [n, { name, points, goal }] of curves.entries()) {
    const colour = colours[n] ?? null
    const paths = pieces(points).map((piece) =>
      piece.map(([a, b], i) => `${i === 0 ? 'M' : 'L'}${px(x.place(a))} ${px(y.place(b))}`).join(''),
    )
    // A point between two gaps is a curve of no length, which is seen only if its ends are round.
    if (paths.length > 0)
      parts.push(
        `<path class="${goal ? 'goal' : `curve ${strokeOf(colour)}`}" data-series="${escaped(name)}" stroke-linecap="round" d="${paths.map((path) => (path.includes('L') ? path : `${path}h0.1`)).join('')}"/>`,
      )
    if (!dots || goal) continue
    for (const { x: a, y: b } of points) {
      if (b === null) continue
      const tip = `${name}, ${(xAxis.format ?? short)(a)} (${xAxis.label}): ${(yAxis.format ?? short)(b)} (${yAxis.label})`
      parts.push(
        `<circle class="f${(colour ?? 0) % 12}" cx="${px(x.place(a))}" cy="${px(y.place(b))}" r="3.5"><title>${escaped(tip)}</title></circle>`,
      )
    }
  }
  if (!dots) parts.push(...tips(curves, x, area, xAxis, yAxis))
  return { title, width, height: area.height, body: parts.join('\n') }
}

function coloursOf(curves: readonly Curve[]): (number | null)[] {
  let next = 0
  return curves.map(({ goal }) => (goal ? null : next++))
}

function scaleOf(
  axis: ScaledAxis,
  values: readonly number[],
  from: number,
  to: number,
  ends: 'round' | 'tight',
  wanted = 6,
): Scale {
  if (axis.scale === 'log') {
    const positive = values.filter((value) => value > 0)
    const least = smallest(positive, 1)
    const most = largest(positive, 10)
    const [low, high] = ends === 'round' ? decadesAround(least, most) : [least, most]
    return logScale(axis.min ?? low, axis.max ?? high, from, to)
  }
  const min = axis.min ?? (ends === 'round' ? Math.min(0, smallest(values, 0)) : smallest(values, 0))
  const most = axis.max ?? largest(values, 1)
  return linearScale(
    min,
    ends === 'round' && axis.max === undefined ? roundEnd(most, wanted) : most,
    from,
    to,
    wanted,
  )
}

function smallest(values: readonly number[], otherwise: number): number {
  return values.length === 0 ? otherwise : values.reduce((a, b) => Math.min(a, b))
}

function largest(values: readonly number[], otherwise: number): number {
  return values.length === 0 ? otherwise : values.reduce((a, b) => Math.max(a, b))
}

/** The curve without its gaps. */
function pieces(points: Curve['points']): [number, number][][] {
  const found: [number, number][][] = [[]]
  for (const { x, y } of points) {
    if (y === null) found.push([])
    else found.at(-1)?.push([x, y])
  }
  return found.filter((piece) => piece.length > 0)
}

function tips(
  curves: readonly Curve[],
  x: Scale,
  area: { readonly left: number; readonly right: number; readonly top: number; readonly bottom: number },
  xAxis: Axis,
  yAxis: Axis,
): string[] {
  const byX = new Map<number, string[]>()
  for (const { name, points } of curves) {
    for (const { x: at, y } of points) {
      const lines = byX.get(at) ?? []
      lines.push(`${name}: ${y === null ? 'none' : (yAxis.format ?? short)(y)}`)
      byX.set(at, lines)
    }
  }
  const all = [...byX].sort(([a], [b]) => a - b)
  const every = Math.ceil(all.length / TIPS_MAX)
  const shown = all.filter((_, n) => n % every === 0)
  return shown.map(([at, lines], n) => {
    const before = shown[n - 1]?.[0] ?? at
    const after = shown[n + 1]?.[0] ?? at
    const left = n === 0 ? area.left : (x.place(before) + x.place(at)) / 2
    const right = n === shown.length - 1 ? area.right : (x.place(at) + x.place(after)) / 2
    const tip = [`${xAxis.label}: ${(xAxis.format ?? short)(at)}`, ...lines, yAxis.label].join('\n')
    return rect('hover', left, area.top, right - left, area.bottom - area.top, tip)
  })
}
