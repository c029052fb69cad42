import { WIDE } from './frame.ts'
import { short } from './scale.ts'
import { type Drawing, escaped, px, rect, text, widthOf } from './svg.ts'

export interface HeatMatrix {
  readonly title: string
  readonly rows: readonly string[]
  readonly columns: readonly string[]
  readonly rowLabel: string
  readonly columnLabel: string
  /** What is counted, in the plural. */
  readonly what: string
  /** `[row][column]`, not negative. */
  readonly values: readonly (readonly number[])[]
  /** On the diagonal is nothing to show. */
  readonly hollow?: boolean
  /** The last row and column stand for many others together: told, but not compared. */
  readonly rest?: boolean
  readonly width?: number
}

/** Shades beyond the empty one. */
const SHADES = 6
const LABEL_MAX = 14
const CELL_MAX = 52

/** Cells in a table, the darker the more; in numbers as well where they fit. */
export function heatMatrix(matrix: HeatMatrix): Drawing {
  const {
    title,
    rows,
    columns,
    rowLabel,
    columnLabel,
    what,
    values,
    hollow = false,
    rest = false,
    width = WIDE,
  } = matrix
  const rowNames = rows.map(clipped)
  const columnNames = columns.map(clipped)
  const left = 34 + Math.max(0, ...rowNames.map(widthOf))
  const cell = Math.min(CELL_MAX, (width - left - 12) / Math.max(1, columns.length))
  const widest = Math.max(0, ...columnNames.map(widthOf))
  const upright = widest > cell - 2
  const top = 24 + (upright ? widest + 6 : 18)
  const tall = Math.min(cell, 30)
  const isRest = (r: number, c: number): boolean =>
    rest && (r === rows.length - 1 || c === columns.length - 1)
  const most = values
    .flatMap((row, r) => row.filter((_, c) => !isRest(r, c)))
    .reduce((a, b) => Math.max(a, b), 0)
  const middle = top + (rows.length * tall) / 2
  const parts = [
    text(left, 14, `${columnLabel} →`, 'start', 'muted'),
    `<text class="muted" text-anchor="middle" transform="translate(14 ${px(middle)}) rotate(-90)">← ${escaped(rowLabel)}</text>`,
  ]
  for (const [n, name] of columnNames.entries()) {
    const at = left + (n + 0.5) * cell
    // Where names do not fit side by side and cells are slimmer than letters, every other one has to do.
    if (upright && cell < 12 && n % 2 === 1) continue
    parts.push(
      upright
        ? `<text class="muted" transform="translate(${px(at + 4)} ${px(top - 6)}) rotate(-90)">${escaped(name)}</text>`
        : text(at, top - 6, name, 'middle', 'muted'),
    )
  }
  for (const [r, name] of rowNames.entries()) {
    const y = top + r * tall
    if (tall >= 11 || r % 2 === 0) parts.push(text(left - 6, y + tall / 2 + 4, name, 'end', 'muted'))
    for (const c of columns.keys()) {
      if (hollow && r === c && !isRest(r, c)) continue
      const value = values[r]?.[c] ?? 0
      const shade = isRest(r, c) ? 0 : shadeOf(value, most)
      const x = left + c * cell
      const tip = `${rows[r] ?? ''} → ${columns[c] ?? ''}: ${short(value)} ${what}`
      parts.push(rect(`cell h${shade}`, x, y, cell, tall, tip))
      const label = short(value)
      // Their text is smaller than widthOf reckons with.
      if (value > 0 && 0.85 * widthOf(label) < cell - 2 && tall >= 14)
        parts.push(text(x + cell / 2, y + tall / 2 + 4, label, 'middle', `ink${shade}`))
    }
  }
  const below = top + rows.length * tall + 14
  parts.push(...key(left, below, most, what, width))
  return { title, width, height: below + 34, body: parts.join('\n') }
}

/** 0 for nothing, then equal steps up to the largest. */
export function shadeOf(value: number, most: number): number {
  return value > 0 ? Math.min(SHADES, Math.max(1, Math.ceil((SHADES * value) / most))) : 0
}

function key(left: number, top: number, most: number, what: string, width: number): string[] {
  const each = Math.min(44, (width - left - 12) / (SHADES + 1))
  const parts = Array.from({ length: SHADES + 1 }, (_, shade) =>
    rect(
      `cell h${shade}`,
      left + shade * each,
      top,
      each,
      12,
      shade === 0 ? 'none' : `up to ${short((shade / SHADES) * most)}`,
    ),
  )
  parts.push(text(left, top + 27, '0', 'start', 'muted'))
  parts.push(text(left + (SHADES + 1) * each, top + 27, `${short(most)} ${what}`, 'end', 'muted'))
  return parts
}

export function clipped(name: string): string {
  const letters = [...name]
  return letters.length <= LABEL_MAX ? name : `${letters.slice(0, LABEL_MAX - 1).join('')}…`
}
