import { type Axis, areaOf, axes, fillOf, WIDE } from './frame.ts'
import { clipped } from './heat-matrix.ts'
import { linearScale, short } from './scale.ts'
import { type Drawing, escaped, px, rect, text, widthOf } from './svg.ts'

export interface Lane {
  readonly name: string
  /** One for each bucket, shown as an area; null where nobody knows. */
  readonly values: readonly (number | null)[]
}

/** What a mark stands for: its colour and its sign. */
export type MarkKind = 'kill' | 'freeze' | 'cut' | 'odd' | 'come'

export interface Mark {
  readonly lane: number
  readonly from: number
  readonly to: number
  readonly kind: MarkKind
  readonly tip: string
}

export interface Lanes {
  readonly title: string
  readonly x: Axis
  /** Width of a bucket, in the x axis's unit. */
  readonly step: number
  /** Where the x axis ends. */
  readonly end: number
  readonly lanes: readonly Lane[]
  /** What fills a lane to its height: the same for all, so that they can be compared. */
  readonly full: number
  /** What the areas count, unit included. */
  readonly what: string
  readonly marks: readonly Mark[]
  /** Marks are bars with a sign that is explained, or merely set off their stretch of the lane. */
  readonly marksAs: 'bars' | 'bands'
  readonly width?: number
  readonly laneHeight?: number
}

const KINDS: { readonly [kind in MarkKind]: string } = {
  kill: 'killed',
  freeze: 'frozen',
  cut: 'cut off or slowed',
  odd: 'misbehaves',
  come: 'joins or leaves',
}
const BAR = 7
const ROWS = 3
const TIPS_MAX = 60

/** A lane for each cluster along one time: how much of something it had, and what happened to it. */
export function lanes(plot: Lanes): Drawing {
  const { title, x: xAxis, step, end, full, what, marks, marksAs, width = WIDE, laneHeight = 32 } = plot
  const names = plot.lanes.map(({ name }) => clipped(name))
  const shown = Object.entries(KINDS).filter(([kind]) => marks.some((mark) => mark.kind === kind))
  const keyed = marksAs === 'bars' ? shown : []
  const rows = keyRows(keyed, width)
  const frame = areaOf(width, plot.lanes.length * (laneHeight + 3), [], names)
  const shift = 20 * rows.length
  const area = { ...frame, top: frame.top + shift, bottom: frame.bottom + shift }
  const x = linearScale(0, end, area.left, area.right, width < 500 ? 4 : 9)
  const parts = [...key(rows)]
  for (const n of plot.lanes.keys())
    parts.push(rect('lane', area.left, area.top + n * (laneHeight + 3), area.right - area.left, laneHeight))
  parts.push(axes(area, x, xAxis, null, null))
  parts.push(text(8, area.top - 9, `height of a lane: ${short(full)} ${what}`, 'start', 'muted'))
  for (const [n, lane] of plot.lanes.entries()) {
    const top = area.top + n * (laneHeight + 3)
    const bottom = top + laneHeight
    parts.push(text(area.left - 6, top + laneHeight / 2 + 4, names[n] ?? '', 'end'))
    const y = linearScale(0, full, bottom, top)
    for (const path of areas(lane.values, step, x.place, y.place, bottom))
      parts.push(
        `<path class="${marksAs === 'bars' ? 'back' : `area ${fillOf(0)}`}" data-series="${escaped(lane.name)}" d="${path}"/>`,
      )
  }
  const taken = plot.lanes.map(() => new Array<number>(ROWS).fill(Number.NEGATIVE_INFINITY))
  for (const { lane, from, to, kind, tip } of marks) {
    const top = area.top + lane * (laneHeight + 3)
    const left = x.place(from)
    const right = Math.max(x.place(to), left + 2)
    if (marksAs === 'bands') {
      parts.push(rect(`mark shade ${kind}`, left, top, right - left, laneHeight, tip))
      continue
    }
    const ends = taken[lane] ?? []
    // What happens at the same time goes below each other; where there is no room, where it is first to end.
    const free = ends.findIndex((edge) => edge <= left)
    const row = free >= 0 ? free : ends.indexOf(Math.min(...ends))
    ends[row] = right + 2
    const y = top + 3 + row * (BAR + 2)
    parts.push(
      `<g class="mark ${kind}"><title>${escaped(tip)}</title><rect fill-opacity=".45" x="${px(left)}" y="${px(y)}" width="${px(right - left)}" height="${BAR}"/>${sign(kind, left, y)}</g>`,
    )
  }
  if (marksAs === 'bands') parts.push(...tips(plot, x.place, area, laneHeight))
  return { title, width, height: frame.height + shift, body: parts.join('\n') }
}

/** Different in form as well, for those who cannot tell the colours. */
function sign(kind: MarkKind, x: number, y: number): string {
  const [l, t, r, b] = [x, y, x + BAR, y + BAR]
  const [cx, cy] = [x + BAR / 2, y + BAR / 2]
  switch (kind) {
    case 'kill':
      return `<path class="kill-line" d="M${px(l)} ${px(t)}L${px(r)} ${px(b)}M${px(l)} ${px(b)}L${px(r)} ${px(t)}"/>`
    case 'freeze':
      return `<rect x="${px(l)}" y="${px(t)}" width="${BAR}" height="${BAR}"/>`
    case 'cut':
      return `<path d="M${px(l)} ${px(t)}L${px(r)} ${px(cy)}L${px(l)} ${px(b)}Z"/>`
    case 'odd':
      return `<circle cx="${px(cx)}" cy="${px(cy)}" r="${BAR / 2}"/>`
    case 'come':
      return `<path d="M${px(cx)} ${px(t)}L${px(r)} ${px(cy)}L${px(cx)} ${px(b)}L${px(l)} ${px(cy)}Z"/>`
  }
}

type Keyed = readonly [kind: string, name: string]

function keyRows(entries: readonly Keyed[], width: number): Keyed[][] {
  const rows: Keyed[][] = []
  let used = Number.POSITIVE_INFINITY
  for (const entry of entries) {
    const needs = 50 + widthOf(entry[1])
    if (used + needs > width - 8) {
      rows.push([])
      used = 8
    }
    rows.at(-1)?.push(entry)
    used += needs
  }
  return rows
}

function key(rows: readonly Keyed[][]): string[] {
  return rows.flatMap((row, n) => {
    let at = 8
    return row.map(([kind, name]) => {
      const y = 6 + 20 * n
      const entry = `<g class="${kind}"><rect fill-opacity=".45" x="${at}" y="${y}" width="22" height="${BAR}"/>${sign(markKind(kind), at, y)}</g>${text(at + 28, y + 8, name)}`
      at += 50 + widthOf(name)
      return entry
    })
  })
}

function markKind(kind: string): MarkKind {
  return kind === 'freeze' || kind === 'cut' || kind === 'odd' || kind === 'come' ? kind : 'kill'
}

function areas(
  values: readonly (number | null)[],
  step: number,
  x: (value: number) => number,
  y: (value: number) => number,
  bottom: number,
): string[] {
  const paths: string[] = []
  let path = ''
  const close = (end: number): void => {
    if (path !== '') paths.push(`${path}L${px(x(end * step))} ${px(bottom)}Z`)
    path = ''
  }
  for (const [n, value] of values.entries()) {
    if (value === null) {
      close(n)
      continue
    }
    const at = px(y(value))
    path += `${path === '' ? `M${px(x(n * step))} ${px(bottom)}` : ''}L${px(x(n * step))} ${at}L${px(x((n + 1) * step))} ${at}`
  }
  close(values.length)
  return paths
}

function tips(
  { lanes: all, step, what, x: xAxis }: Lanes,
  x: (value: number) => number,
  area: { readonly top: number },
  laneHeight: number,
): string[] {
  return all.flatMap(({ name, values }, n) => {
    const every = Math.ceil(values.length / TIPS_MAX)
    const top = area.top + n * (laneHeight + 3)
    const parts: string[] = []
    for (let bucket = 0; bucket < values.length; bucket += every) {
      const value = values[bucket] ?? null
      const left = x(bucket * step)
      const right = x(Math.min(values.length, bucket + every) * step)
      const told = value === null ? 'unknown' : `${short(value)} ${what}`
      parts.push(
        rect(
          'hover',
          left,
          top,
          right - left,
          laneHeight,
          `${name}, ${short(bucket * step)} (${xAxis.label}): ${told}`,
        ),
      )
    }
    return parts
  })
}
