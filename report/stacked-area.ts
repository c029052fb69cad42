import {
  type Axis,
  areaOf,
  axes,
  type Band,
  bandRects,
  fillOf,
  hatchPattern,
  idOf,
  isHatched,
  type LegendEntry,
  legend,
  WIDE,
} from './frame.ts'
import { linearScale, roundEnd, short } from './scale.ts'
import { type Drawing, escaped, px, rect } from './svg.ts'

export interface Layer {
  readonly name: string
  /** One for each bucket. */
  readonly values: readonly number[]
}

export interface StackedArea {
  readonly title: string
  readonly x: Axis
  readonly y: Axis
  /** Width of a bucket, in the x axis's unit. */
  readonly step: number
  /** Where the x axis ends; without it, where the last bucket does. */
  readonly end?: number
  /** From the bottom up. More than `layersMax` are drawn as the largest and "others". */
  readonly layers: readonly Layer[]
  readonly layersMax?: number
  readonly bands?: readonly Band[]
  readonly width?: number
  readonly plotHeight?: number
}

const TIPS_MAX = 120

/** Layers on top of each other: how much there is in all, and of what. */
export function stackedArea(plot: StackedArea): Drawing {
  const { title, x: xAxis, y: yAxis, step, bands = [], width = WIDE, plotHeight = 280 } = plot
  const layers = largestAndOthers(plot.layers, plot.layersMax ?? 12)
  const buckets = Math.max(1, ...layers.map(({ values }) => values.length))
  const sums = new Array<number>(buckets).fill(0)
  for (const { values } of layers) for (const [n, value] of values.entries()) sums[n] = (sums[n] ?? 0) + value
  const end = roundEnd(sums.reduce((a, b) => Math.max(a, b), 0))
  const yTicks = linearScale(0, end, 1, 0).ticks.map(yAxis.format ?? short)
  const colourOf = (layer: Layer, n: number): number | null => (layer.name === OTHERS ? null : n)
  const entries = layers.map((layer, n): LegendEntry => ({ name: layer.name, colour: colourOf(layer, n) }))
  const area = areaOf(width, plotHeight, entries, yTicks)
  const x = linearScale(0, plot.end ?? buckets * step, area.left, area.right, width < 500 ? 4 : 9)
  const y = linearScale(0, end, area.bottom, area.top)
  const last = x.place(buckets * step)
  const hatch = idOf(title, width)
  const parts = [
    `<defs>${hatchPattern(hatch)}</defs>`,
    legend(entries, width, hatch),
    axes(area, x, xAxis, y, yAxis),
  ]
  // Behind the layers: over them they would change their colours.
  parts.push(...bandRects(bands, x, area))
  const floor = new Array<number>(buckets).fill(0)
  for (const [n, layer] of layers.entries()) {
    const below = floor.map((value, bucket): [number, number] => [bucket, value])
    for (let bucket = 0; bucket < buckets; bucket++)
      floor[bucket] = (floor[bucket] ?? 0) + (layer.values[bucket] ?? 0)
    const above = floor.map((value, bucket): [number, number] => [bucket, value])
    // The middle of a bucket stands for it; the first and last reach to the edges.
    const point = ([bucket, value]: [number, number]): string =>
      `${px(x.place((bucket + 0.5) * step))} ${px(y.place(value))}`
    const edge = (side: number, [, value]: [number, number]): string => `${px(side)} ${px(y.place(value))}`
    const first: [number, number] = [0, 0]
    const path = `M${edge(area.left, above[0] ?? first)}L${above.map(point).join('L')}L${edge(last, above.at(-1) ?? first)}L${edge(last, below.at(-1) ?? first)}L${below.reverse().map(point).join('L')}L${edge(area.left, below.at(-1) ?? first)}Z`
    const colour = colourOf(layer, n)
    parts.push(`<path class="layer ${fillOf(colour)}" data-series="${escaped(layer.name)}" d="${path}"/>`)
    if (isHatched(colour)) parts.push(`<path fill="url(#${hatch})" d="${path}"/>`)
  }
  const every = Math.ceil(buckets / TIPS_MAX)
  for (let bucket = 0; bucket < buckets; bucket += every) {
    const left = x.place(bucket * step)
    const right = x.place(Math.min(buckets, bucket + every) * step)
    const lines = layers
      .map(({ name, values }) => `${name}: ${(yAxis.format ?? short)(values[bucket] ?? 0)}`)
      .reverse()
    const tip = [
      `${xAxis.label}: ${(xAxis.format ?? short)(bucket * step)}`,
      `all: ${(yAxis.format ?? short)(sums[bucket] ?? 0)}`,
      ...lines,
      yAxis.label,
    ].join('\n')
    parts.push(rect('hover', left, area.top, right - left, area.bottom - area.top, tip))
  }
  return { title, width, height: area.height, body: parts.join('\n') }
}

export const OTHERS = 'others'

/** At most `max` layers: the largest in their order, and the sum of the others. */
export function largestAndOthers(layers: readonly Layer[], max: number): Layer[] {
  if (layers.length <= max) return [...layers]
  const sums = layers.map(({ values }, index) => ({ index, sum: values.reduce((a, b) => a + b, 0) }))
  const kept = new Set(
    sums
      .sort((a, b) => b.sum - a.sum || a.index - b.index)
      .slice(0, Math.max(0, max - 1))
      .map(({ index }) => index),
  )
  const rest: number[] = []
  for (const [index, { values }] of layers.entries()) {
    if (!kept.has(index)) for (const [n, value] of values.entries()) rest[n] = (rest[n] ?? 0) + value
  }
  return [...layers.filter((_, index) => kept.has(index)), { name: OTHERS, values: rest }]
}
