/** Elements of SVG as text, and whole drawings made of them. */

import { PLOT_STYLE } from './style.ts'

/** A plot, not yet a file or part of a page. */
export interface Drawing {
  readonly title: string
  readonly width: number
  readonly height: number
  /** SVG elements, in the order in which they are painted. */
  readonly body: string
}

/** For a page that has `PLOT_STYLE` and says the title itself. */
export function inlineSvg({ title, width, height, body }: Drawing): string {
  return `<svg class="plot" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escaped(title)}">\n${body}\n</svg>`
}

const HEADING_HEIGHT = 34

/** A file by itself: with its title, readable on light and dark. */
export function standaloneSvg({ title, width, height, body }: Drawing): string {
  const tall = height + HEADING_HEIGHT
  return `<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 ${width} ${tall}" width="${width}" height="${tall}" role="img" aria-label="${escaped(title)}">
<style>${PLOT_STYLE}</style>
<text class="heading" x="12" y="24">${escaped(title)}</text>
<g transform="translate(0 ${HEADING_HEIGHT})">
${body}
</g>
</svg>
`
}

/** Text that stands for itself in HTML and XML, in content and in attributes. */
export function escaped(content: string): string {
  return (
    content
      // What XML cannot hold in any form, and what would only confuse a reader.
      .replaceAll(/[^\t\n\r\u0020-\u007e\u00a0-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '\u{fffd}')
      .replaceAll('&', '&amp;')
      .replaceAll('<', '&lt;')
      .replaceAll('>', '&gt;')
      .replaceAll('"', '&quot;')
      .replaceAll("'", '&#39;')
  )
}

/** A coordinate, to a tenth of a pixel. */
export function px(value: number): string {
  const tenths = Math.round(value * 10) / 10
  return Object.is(tenths, -0) ? '0' : `${tenths}`
}

export function line(kind: string, x1: number, y1: number, x2: number, y2: number): string {
  return `<line class="${kind}" x1="${px(x1)}" y1="${px(y1)}" x2="${px(x2)}" y2="${px(y2)}"/>`
}

export type Anchor = 'start' | 'middle' | 'end'

export function text(x: number, y: number, content: string, anchor: Anchor = 'start', kind = ''): string {
  const look = kind === '' ? '' : ` class="${kind}"`
  const side = anchor === 'start' ? '' : ` text-anchor="${anchor}"`
  return `<text${look} x="${px(x)}" y="${px(y)}"${side}>${escaped(content)}</text>`
}

/** @param tip what is shown when the pointer rests on it; '' for nothing */
export function rect(kind: string, x: number, y: number, width: number, height: number, tip = ''): string {
  const box = `<rect class="${kind}" x="${px(x)}" y="${px(y)}" width="${px(Math.max(0, width))}" height="${px(Math.max(0, height))}"`
  return tip === '' ? `${box}/>` : `${box}><title>${escaped(tip)}</title></rect>`
}

/** Widest that a text of 12 px can be expected to get: nobody can measure it here. */
export function widthOf(content: string): number {
  return 7 * [...content].length
}
