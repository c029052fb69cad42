/** A page that is one file: opens offline, readable in light and dark, on a telephone and on paper. */

import { NARROW, WIDE } from './frame.ts'
import { PLOT_STYLE } from './style.ts'
import { type Drawing, escaped, inlineSvg } from './svg.ts'

/** HTML that is already safe to put into a page: made by the functions here, or escaped by whoever made it. */
export type Html = string

export interface Page {
  readonly title: string
  /** What comes first, below the title: the verdict and how to repeat it. */
  readonly lead: Html
  readonly sections: readonly Html[]
  /** Where it comes from, in a line. */
  readonly origin: string
}

const STYLE = `${PLOT_STYLE}
* { box-sizing: border-box }
html { -webkit-text-size-adjust: 100% }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif }
main, header, footer { max-width: 944px; margin: 0 auto; padding: 0 32px }
header { padding-top: 32px }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 16px; overflow-wrap: anywhere }
h2 { font-size: 19px; margin: 0 0 4px }
section { margin: 44px 0 }
p { margin: 0 0 12px; max-width: 75ch; overflow-wrap: anywhere }
.note { color: var(--muted); font-size: 14px }
.verdict { margin: 0 0 16px; padding: 12px 16px; max-width: none; border-left: 4px solid; border-radius: 4px }
.verdict strong { display: block; font-size: 18px }
.verdict span { color: var(--text); white-space: pre-wrap }
.verdict.good { color: var(--good); background: var(--good-panel) }
.verdict.bad { color: var(--bad); background: var(--bad-panel) }
pre { margin: 0; padding: 10px 14px; background: var(--panel); border: 1px solid var(--grid); border-radius: 4px; white-space: pre-wrap; overflow-wrap: anywhere }
code { font: 13.5px/1.5 ui-monospace, "DejaVu Sans Mono", monospace }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(180px, 1fr)); gap: 10px; margin: 12px 0 0 }
dl div { padding: 10px 14px; border: 1px solid var(--grid); border-radius: 4px }
dt { color: var(--muted); font-size: 13px }
dd { margin: 0; font-size: 18px; font-weight: 600; overflow-wrap: anywhere; font-variant-numeric: tabular-nums }
figure { margin: 8px 0 0 }
figcaption { color: var(--muted); font-size: 14px; max-width: 75ch; margin-bottom: 8px }
figure + figure { margin-top: 24px }
svg.plot { display: block; width: 100%; height: auto }
.narrow { display: none; max-width: 480px }
.scroll { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-size: 14.5px }
th, td { padding: 5px 12px 5px 0; border-bottom: 1px solid var(--grid); text-align: left; vertical-align: top; overflow-wrap: anywhere }
th { color: var(--muted); font-weight: 600 }
th:last-child, td:last-child { padding-right: 0 }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.bad-text { color: var(--bad); font-weight: 600 }
details { margin-top: 12px }
summary { cursor: pointer; font-size: 14.5px; margin-bottom: 8px }
footer { padding-top: 8px; padding-bottom: 40px; color: var(--muted); font-size: 14px }
@media screen and (max-width: 700px) {
  main, header, footer { padding-left: 16px; padding-right: 16px }
  header { padding-top: 20px }
  h1 { font-size: 22px }
  dl { grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)) }
  .wide { display: none }
  .narrow { display: block }
}
@media print {
  body { font-size: 11pt }
  main, header, footer { max-width: none; padding: 0 }
  section { margin: 24px 0 }
  figure, tr, dl div { break-inside: avoid }
  h2 { break-after: avoid }
  .verdict, .plot * { print-color-adjust: exact; -webkit-print-color-adjust: exact }
}`

/** The policy allows nothing but what is written inside: not even a forgotten escape could fetch or run anything. */
const POLICY = "default-src 'none'; style-src 'unsafe-inline'"

export function page({ title, lead, sections, origin }: Page): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escaped(title)}</title>
<style>${STYLE}
</style>
</head>
<body>
<header>
<h1>${escaped(title)}</h1>
${lead}
</header>
<main>
${sections.join('\n')}
</main>
<footer>${escaped(origin)}</footer>
</body>
</html>
`
}

/** @param id to refer to it, unique in the page */
export function section(id: string, heading: string, ...content: readonly Html[]): Html {
  return `<section id="${escaped(id)}" aria-labelledby="${escaped(id)}-heading">
<h2 id="${escaped(id)}-heading">${escaped(heading)}</h2>
${content.join('\n')}
</section>`
}

export function paragraph(content: string): Html {
  return `<p>${escaped(content)}</p>`
}

export function note(content: string): Html {
  return `<p class="note">${escaped(content)}</p>`
}

export function verdict(good: boolean, what: string, why: string): Html {
  return `<p class="verdict ${good ? 'good' : 'bad'}"><strong>${escaped(what)}</strong><span>${escaped(why)}</span></p>`
}

/** Something to type. */
export function command(line: string): Html {
  return `<pre><code>${escaped(line)}</code></pre>`
}

/** Figures side by side. */
export function figures(all: readonly { readonly label: string; readonly value: string }[]): Html {
  const each = all.map(
    ({ label, value }) => `<div><dt>${escaped(label)}</dt><dd>${escaped(value)}</dd></div>`,
  )
  return `<dl>\n${each.join('\n')}\n</dl>`
}

/** A plot, drawn anew for narrow screens: a wide one made smaller could not be read. */
export function figure(draw: (width: number) => Drawing, caption: string): Html {
  const drawn = (width: number, kind: string): string =>
    `<div class="${kind}">\n${inlineSvg(draw(width))}\n</div>`
  return `<figure>
<figcaption>${escaped(caption)}</figcaption>
${drawn(WIDE, 'wide')}
${drawn(NARROW, 'narrow')}
</figure>`
}

/** @param numeric which columns hold numbers, and lie to the right */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  numeric: readonly number[] = [],
): Html {
  const look = (column: number): string => (numeric.includes(column) ? ' class="number"' : '')
  const headCells = head.map((cell, n) => `<th scope="col"${look(n)}>${escaped(cell)}</th>`).join('')
  const bodyRows = rows.map(
    (row) => `<tr>${row.map((cell, n) => `<td${look(n)}>${escaped(cell)}</td>`).join('')}</tr>`,
  )
  return `<div class="scroll"><table>
<thead><tr>${headCells}</tr></thead>
<tbody>
${bodyRows.join('\n')}
</tbody>
</table></div>`
}

/** What most readers do not need to see. */
export function folded(label: string, content: Html): Html {
  return `<details><summary>${escaped(label)}</summary>\n${content}\n</details>`
}
