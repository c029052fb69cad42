import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { Chromium } from './chromium.ts'

const main = join(import.meta.dirname, '../../dist/cli/main.js')

/** Of each plot that can be seen: what it is called, how large it is, and how its marks and words lie in it. */
const plots = z.array(
  z.object({
    name: z.string(),
    width: z.number(),
    height: z.number(),
    marks: z.number(),
    words: z.number(),
    outside: z.array(z.string()),
    /** Marks beyond the axes. */
    beyond: z.array(z.string()),
    smallest: z.number(),
    overlapping: z.array(z.string()),
  }),
)

const PLOTS = `
  const shown = [...document.querySelectorAll('svg.plot')].filter((svg) => svg.getClientRects().length > 0)
  return shown.map((svg) => {
    const frame = svg.getBoundingClientRect()
    const inside = (box) => box.left >= frame.left - 1 && box.right <= frame.right + 1 && box.top >= frame.top - 1 && box.bottom <= frame.bottom + 1
    const marks = [...svg.querySelectorAll('path[data-series], rect.bar, rect.cell, .mark')]
    const words = [...svg.querySelectorAll('text')]
    const boxes = words.map((word) => word.getBoundingClientRect())
    const axes = [...svg.querySelectorAll('line.axis')].map((axis) => axis.getBoundingClientRect())
    const edge = (side, which) => axes.length === 0 ? frame[side] : which(...axes.map((axis) => axis[side]))
    const area = { left: edge('left', Math.min), right: edge('right', Math.max), bottom: edge('bottom', Math.max) }
    const beyond = marks.filter((mark) => {
      const box = mark.getBoundingClientRect()
      return box.left < area.left - 5 || box.right > area.right + 5 || box.bottom > area.bottom + 3
    })
    const overlapping = []
    for (let a = 0; a < boxes.length; a++) for (let b = a + 1; b < boxes.length; b++) {
      const wide = Math.min(boxes[a].right, boxes[b].right) - Math.max(boxes[a].left, boxes[b].left)
      const tall = Math.min(boxes[a].bottom, boxes[b].bottom) - Math.max(boxes[a].top, boxes[b].top)
      if (wide > 1 && tall > 4) overlapping.push(words[a].textContent + ' / ' + words[b].textContent)
    }
    return {
      name: svg.getAttribute('aria-label'),
      width: frame.width,
      height: frame.height,
      marks: marks.filter((mark) => { const { width, height } = mark.getBoundingClientRect(); return width > 0 && height > 0 }).length,
      words: words.length,
      outside: [...marks, ...words].filter((mark) => !inside(mark.getBoundingClientRect())).map((mark) => mark.outerHTML.slice(0, 120)),
      smallest: Math.min(...boxes.map(({ height }) => height)),
      beyond: beyond.map((mark) => mark.outerHTML.slice(0, 120)),
      overlapping,
    }
  })`

/** Words that can hardly be told from what is behind them: WCAG's ratio for text, 4.5 to 1. */
const FAINT = `
  const channel = (value) => { const c = value / 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4 }
  const parse = (colour) => (colour.match(/[\\d.]+/g) ?? []).map(Number)
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b)
  const behind = (element) => {
    for (let at = element; at !== null; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor)
      if (colour.length === 3 || colour[3] > 0.99) return colour
    }
    return [255, 255, 255]
  }
  const faint = []
  const judge = (element, ink, paper) => {
    const [a, b] = [luminance(ink), luminance(paper)]
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
    if (ratio < 4.5) faint.push(element.textContent.slice(0, 40) + ' ' + ratio.toFixed(2) + ' ' + ink + ' on ' + paper)
  }
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  let judged = 0
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement
    if (walker.currentNode.textContent.trim() === '' || element.closest('title') || element.getClientRects().length === 0) continue
    judged++
    if (element.closest('svg') === null) { judge(element, parse(getComputedStyle(element).color), behind(element)); continue }
    // Words in a cell stand before the cell; others before the page.
    const cell = element.previousElementSibling
    const inCell = /^ink/.test(element.getAttribute('class') ?? '') && cell !== null
    judge(element, parse(getComputedStyle(element).fill), inCell ? parse(getComputedStyle(cell).fill) : behind(element.closest('div')))
  }
  return { judged, faint }`

const OVERFLOWING = `
  const width = document.documentElement.clientWidth
  const wide = [...document.body.querySelectorAll('*')].filter((element) => {
    if (element.closest('svg') !== null && element.tagName !== 'svg') return false
    // A wide table is folded, and slides in its frame.
    if (element.closest('details .scroll') !== null && !element.matches('.scroll')) return false
    const box = element.getBoundingClientRect()
    return box.width > 0 && (box.left < -0.5 || box.right > width + 0.5)
  })
  return { page: document.documentElement.scrollWidth - width, elements: wide.map((element) => element.outerHTML.slice(0, 120)) }`

const EXPECTED = [
  'Clusters over time, with every fault',
  'Tasks answered a second, by the cluster they ran in',
  'Errors a second',
  'Latency percentiles over time',
  'Free slots of each cluster over time',
  'Time from the restart of a killed cluster to its first answer',
  'Time until a task whose worker died was started again',
  'Tasks that a cluster ran for another',
]

/** Every plot is there, and nothing on the page lies beyond its edge, over another thing, or too faint. */
async function expectReadable(chromium: Chromium, width: number, names: readonly string[]): Promise<void> {
  const all = await chromium.run(plots, PLOTS)
  expect(all.map(({ name }) => name)).toEqual(names)
  for (const plot of all) {
    const { name, outside, beyond, overlapping } = plot
    expect({ name, outside, beyond, overlapping }).toEqual({
      name,
      outside: [],
      beyond: [],
      overlapping: [],
    })
    expect(plot.marks, plot.name).toBeGreaterThan(0)
    expect(plot.words, plot.name).toBeGreaterThan(4)
    expect(plot.width, plot.name).toBeGreaterThan(width === 400 ? 340 : 800)
    expect(plot.height, plot.name).toBeGreaterThan(100)
    // Letters smaller than on a medicine's leaflet are not read.
    expect(plot.smallest, plot.name).toBeGreaterThan(10)
  }
  const contrast = await chromium.run(z.object({ judged: z.number(), faint: z.array(z.string()) }), FAINT)
  expect(contrast.faint).toEqual([])
  expect(contrast.judged).toBeGreaterThan(200)
  const overflow = z.object({ page: z.number(), elements: z.array(z.string()) })
  expect(await chromium.run(overflow, OVERFLOWING)).toEqual({ page: 0, elements: [] })
}

async function expectAlone(chromium: Chromium): Promise<void> {
  const loaded = await chromium.run(
    z.array(z.string()),
    `return performance.getEntriesByType('resource').map(({ name }) => name)`,
  )
  expect(loaded).toEqual([])
  expect(await chromium.console()).toEqual([])
}

const SCREENS = [
  [1280, 'light'],
  [1280, 'dark'],
  [400, 'light'],
  [400, 'dark'],
] as const

describe('report of a simulated run, in a browser', () => {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-report-'))
  const page = pathToFileURL(join(folder, 'report.html')).href
  let said = ''
  let chromium: Chromium

  beforeAll(async () => {
    const faults = ['--faults', 'cluster,broker,worker,partition,freeze-cluster', '--fault-every-ms', '700']
    const size = [
      '--clusters',
      '12',
      '--workers',
      '6',
      '--clients',
      '20',
      '--duration-ms',
      '12000',
      '--load',
      '1',
    ]
    const done = spawnSync(
      process.execPath,
      [main, 'sim', 'run', '--seed', '7', '--report', folder, ...size, ...faults],
      { encoding: 'utf8' },
    )
    said = `${done.stdout}${done.stderr}`
    chromium = await Chromium.open()
    await chromium.goTo(page)
  }, 120_000)

  afterAll(async () => {
    await chromium?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  test('the run says where it is', () => {
    expect(said).toContain(`Report: ${join(folder, 'report.html')}`)
    expect(said).toContain(`Report: ${join(folder, 'report.json')}`)
    const { format, breach, faults } = JSON.parse(readFileSync(join(folder, 'report.json'), 'utf8'))
    expect({ format, breach }).toEqual({ format: 1, breach: null })
    expect(faults.length).toBeGreaterThan(5)
  })

  test.each(SCREENS)(
    'at %i px in %s every plot is there, and everything can be read',
    async (width, scheme) => {
      await chromium.look(width, scheme)
      await expectReadable(chromium, width, EXPECTED)
    },
  )

  test('dark is dark and light is light', async () => {
    const papers: string[] = []
    for (const scheme of ['light', 'dark'] as const) {
      await chromium.look(1280, scheme)
      papers.push(await chromium.run(z.string(), 'return getComputedStyle(document.body).backgroundColor'))
    }
    expect(papers).toEqual(['rgb(255, 255, 255)', 'rgb(13, 17, 23)'])
  })

  test('twelve clusters have twelve layers, none of them like another', async () => {
    await chromium.look(1280, 'light')
    const fills = await chromium.run(
      z.array(z.string()),
      `const svg = [...document.querySelectorAll('.wide svg')].find((plot) => plot.getAttribute('aria-label').startsWith('Tasks answered'))
       return [...svg.querySelectorAll('path.layer')].map((layer) => getComputedStyle(layer).fill)`,
    )
    expect(fills.length).toBe(12)
    expect(new Set(fills).size).toBe(12)
  })

  test('it loads nothing and complains about nothing', async () => {
    await expectAlone(chromium)
  })

  test('its headings and tables are such to those who cannot see them', async () => {
    const outline = await chromium.run(
      z.array(z.string()),
      `return [...document.querySelectorAll('h1, h2')].map(({ tagName }) => tagName)`,
    )
    expect(outline[0]).toBe('H1')
    expect(outline.filter((tag) => tag === 'H1').length).toBe(1)
    const unnamed = await chromium.run(
      z.number(),
      `return [...document.querySelectorAll('section')].filter((section) => !document.getElementById(section.getAttribute('aria-labelledby'))).length
        + [...document.querySelectorAll('th')].filter((cell) => cell.scope !== 'col').length
        + [...document.querySelectorAll('svg')].filter((svg) => svg.getAttribute('role') !== 'img' || !svg.getAttribute('aria-label')).length`,
    )
    expect(unnamed).toBe(0)
  })

  test('on paper it is light, wide, and loses nothing', async () => {
    await chromium.devtools('Emulation.setEmulatedMedia', {
      media: 'print',
      features: [{ name: 'prefers-color-scheme', value: 'dark' }],
    })
    expect(await chromium.run(z.string(), 'return getComputedStyle(document.body).backgroundColor')).toBe(
      'rgb(255, 255, 255)',
    )
    const pdf = z.object({ data: z.string() })
    const { data } = pdf.parse(await chromium.devtools('Page.printToPDF', { printBackground: true }))
    expect(Buffer.from(data, 'base64').toString('latin1', 0, 5)).toBe('%PDF-')
  })
})

describe('report of a comparison, in a browser', () => {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-comparison-'))
  let chromium: Chromium

  beforeAll(async () => {
    const size = '--clusters 3 --workers 10 --clients 40 --duration-ms 1500 --dimensions load,state'.split(
      ' ',
    )
    spawnSync(process.execPath, [main, 'sim', 'compare', '--quick', '--report', folder, ...size])
    chromium = await Chromium.open()
    await chromium.goTo(pathToFileURL(join(folder, 'report.html')).href)
  }, 120_000)

  afterAll(async () => {
    await chromium?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  test.each(SCREENS)(
    'at %i px in %s every plot is there, and everything can be read',
    async (width, scheme) => {
      await chromium.look(width, scheme)
      const measures = [
        'p99 wait, times the omniscient scheduler’s',
        'p99 wait',
        'Mean wait',
        'Tasks subcontracted',
        'Tasks that a peer turned away',
        'States sent',
      ]
      const names = ['load', 'time between states'].flatMap((by) =>
        measures.map((what) => `${what}, by ${by}`),
      )
      await expectReadable(chromium, width, names)
    },
  )

  test('its tables open, and can be read on a telephone', async () => {
    await chromium.look(400, 'light')
    const open = `for (const each of document.querySelectorAll('details')) each.open = true
      return document.querySelectorAll('details table').length`
    expect(await chromium.run(z.number(), open)).toBe(2)
    const page = 'return document.documentElement.scrollWidth - document.documentElement.clientWidth'
    expect(await chromium.run(z.number(), page)).toBe(0)
  })

  test('it loads nothing and complains about nothing', async () => {
    await expectAlone(chromium)
  })
})
