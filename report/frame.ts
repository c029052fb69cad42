/** What plots with two axes have in common: the area, its grid, its axes with their units, and the legend. */

import { type Scale, short } from './scale.ts'
import { COLOURS } from './style.ts'
import { line, rect, text, widthOf } from './svg.ts'

export const WIDE = 880
export const NARROW = 360

export interface Axis {
  /** What it counts, unit included. */
  readonly label: string
  readonly format?: (value: number) => string
}

export interface LegendEntry {
  readonly name: string
  /** Index of its colour; null: that of "others". */
  readonly colour: number | null
  readonly as?: 'area' | 'line' | 'goal'
}

/** Edges of the area in which marks are put. */
export interface Area {
  readonly left: number
  readonly right: number
  readonly top: number
  readonly bottom: number
}

/** A stretch of the x axis that is set off. */
export interface Band {
  readonly from: number
  readonly to: number
  readonly tip: string
}

const LEGEND_ROW = 20
const X_AXIS_HEIGHT = 42
const Y_LABEL_HEIGHT = 18

/** @param yTicks what is written at the y axis, for its width */
export function areaOf(
  width: number,
  plotHeight: number,
  legend: readonly LegendEntry[],
  yTicks: readonly string[],
): Area & { readonly height: number } {
  const top = legendHeight(legend, width) + Y_LABEL_HEIGHT + 8
  const left = Math.max(34, 14 + Math.max(0, ...yTicks.map(widthOf)))
  const bottom = top + plotHeight
  return { left, right: width - 18, top, bottom, height: bottom + X_AXIS_HEIGHT }
}

/** What sets stretches of the x axis off; to be drawn before what it must not cover. */
export function bandRects(bands: readonly Band[], x: Scale, { top, bottom }: Area): string[] {
  return bands.map(({ from, to, tip }) => {
    const left = x.place(from)
    return rect('band', left, top, Math.max(2, x.place(to) - left), bottom - top, tip)
  })
}

/** Grid and axes; the marks go on top. */
export function axes(
  area: Area,
  x: Scale,
  xAxis: Axis,
  y: Scale | null,
  yAxis: Axis | null,
  xTicks = x.ticks,
): string {
  const { left, right, top, bottom } = area
  const parts: string[] = []
  for (const tick of y?.ticks ?? []) {
    const at = y?.place(tick) ?? bottom
    parts.push(
      line('grid', left, at, right, at),
      text(left - 6, at + 4, (yAxis?.format ?? short)(tick), 'end', 'muted'),
    )
  }
  let last = Number.NEGATIVE_INFINITY
  for (const tick of xTicks) {
    const at = x.place(tick)
    parts.push(line('grid', at, top, at, bottom))
    const label = (xAxis.format ?? short)(tick)
    // On a logarithmic axis, and with values given by hand, ticks may be closer than their labels are wide.
    const half = widthOf(label) / 2
    if (at - half < last + 4) continue
    last = at + half
    const anchor = at + half > right + 16 ? 'end' : 'middle'
    parts.push(text(anchor === 'end' ? right + 16 : at, bottom + 17, label, anchor, 'muted'))
  }
  parts.push(line('axis', left, bottom, right, bottom))
  parts.push(text((left + right) / 2, bottom + 35, xAxis.label, 'middle', 'muted'))
  if (yAxis !== null) {
    parts.push(line('axis', left, top, left, bottom), text(8, top - 9, yAxis.label, 'start', 'muted'))
  }
  return parts.join('\n')
}

function legendRows(entries: readonly LegendEntry[], width: number): LegendEntry[][] {
  const rows: LegendEntry[][] = []
  let used = Number.POSITIVE_INFINITY
  for (const entry of entries) {
    const needs = 40 + widthOf(entry.name)
    if (used + needs > width - 8) {
      rows.push([])
      used = 8
    }
    rows.at(-1)?.push(entry)
    used += needs
  }
  return rows
}

function legendHeight(entries: readonly LegendEntry[], width: number): number {
  return LEGEND_ROW * legendRows(entries, width).length
}

export function legend(entries: readonly LegendEntry[], width: number, hatch = ''): string {
  const parts: string[] = []
  for (const [row, inRow] of legendRows(entries, width).entries()) {
    let at = 8
    for (const { name, colour, as = 'area' } of inRow) {
      const y = 4 + row * LEGEND_ROW
      if (as === 'area') {
        parts.push(rect(fillOf(colour), at, y, 20, 12))
        if (hatch !== '' && isHatched(colour)) parts.push(hatched(hatch, at, y, 20, 12))
      } else {
        const look = as === 'goal' ? 'goal' : `curve ${strokeOf(colour)}`
        parts.push(line(look, at, y + 6, at + 22, y + 6))
      }
      parts.push(text(at + 27, y + 10, name))
      at += 40 + widthOf(name)
    }
  }
  return parts.join('\n')
}

export function fillOf(colour: number | null): string {
  return colour === null ? 'frest' : `f${colour % COLOURS}`
}

export function strokeOf(colour: number | null): string {
  if (colour === null) return 'lrest'
  return `l${colour % COLOURS}${colour >= 6 ? ' dashed' : ''}`
}

export function isHatched(colour: number | null): boolean {
  return colour !== null && colour >= 6
}

/** Lines over an area whose hue alone would not tell it apart. */
export function hatchPattern(id: string): string {
  return `<pattern id="${id}" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><line class="hatch" x1="0" y1="0" x2="0" y2="6"/></pattern>`
}

function hatched(id: string, x: number, y: number, width: number, height: number): string {
  return `<rect fill="url(#${id})" x="${x}" y="${y}" width="${width}" height="${height}"/>`
}

/** A name for what is referred to within a drawing, different in every drawing of a page. */
export function idOf(title: string, width: number): string {
  return `${title.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')}-${width}`
}
