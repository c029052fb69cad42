import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { type Bar, barPlot } from '../../report/bar-plot.ts'
import { type Curve, linePlot } from '../../report/line-plot.ts'
import { standaloneSvg } from '../../report/svg.ts'
import type { ComparisonResult } from '../comparison.ts'
import type { Verdict } from '../goals.ts'
import type { IdleResult } from '../idle.ts'
import { type Machine, machineLine } from '../machine.ts'
import type { SimulationResult } from '../simulation.ts'
import { spreadOf } from '../spread.ts'
import { asMarkdown, goalRows, runRows, simulationRows } from './tables.ts'

/** All that a run of the benchmark came to. */
export interface Results {
  readonly takenAt: string
  readonly commit: string
  readonly mode: string
  readonly machine: Machine
  readonly notes: readonly string[]
  readonly goals: readonly Verdict[]
  readonly comparisons: readonly ComparisonResult[]
  readonly idle: IdleResult | null
  readonly simulations: readonly SimulationResult[]
}

/** Writes `results.json`, `results.md` and the plots. @returns their paths */
export function writeResults(folder: string, results: Results): string[] {
  mkdirSync(folder, { recursive: true })
  const paths: string[] = []
  const write = (name: string, content: string): void => {
    const path = join(folder, name)
    writeFileSync(path, content)
    paths.push(path)
  }
  write('results.json', `${JSON.stringify(results, null, 1)}\n`)
  write('results.md', markdownOf(results))
  const bars = throughputBars(results.comparisons)
  if (bars.length > 0)
    write(
      'throughput.svg',
      standaloneSvg(barPlot('Tasks a second, 1,000 outstanding, 64 B', 'tasks/s', bars)),
    )
  const sweeps = [
    ['sweep-outstanding', 'Tasks a second by tasks outstanding, 64 B', 'outstanding'],
    ['sweep-size', 'Tasks a second by size of body, 100 outstanding', 'octets of body'],
    ['sweep-slots', 'Tasks a second by worker slots, 1,000 outstanding, 64 B', 'slots'],
  ] as const
  for (const [id, title, unit] of sweeps) {
    const curves = curvesOf(results.comparisons.find((comparison) => comparison.id === id))
    if (curves.length > 0) write(`${id}.svg`, sweepPlot(title, unit, curves))
  }
  return paths
}

const BEGIN = '<!-- figures -->'
const END = '<!-- end of figures -->'

/**
 * Puts results into the page that shows them, with the plots beside it.
 * @param paths what `writeResults` has written
 */
export function publish(docs: string, paths: readonly string[], results: Results): void {
  const page = join(docs, 'performance.md')
  const folder = join(docs, 'performance')
  mkdirSync(folder, { recursive: true })
  const plots = paths.filter((path) => path.endsWith('.svg'))
  for (const plot of plots) copyFileSync(plot, join(folder, basename(plot)))
  const images = plots.map((plot) => `![${basename(plot, '.svg')}](performance/${basename(plot)})`)
  const text = readFileSync(page, 'utf8')
  const from = text.indexOf(BEGIN)
  const to = text.indexOf(END)
  if (from < 0 || to < from)
    throw new Error(`${page} has no place for figures, between "${BEGIN}" and "${END}"`)
  const figures = [markdownOf(results).trimEnd(), ...images].join('\n\n')
  writeFileSync(page, `${text.slice(0, from + BEGIN.length)}\n${figures}\n${text.slice(to)}`)
}

function markdownOf({
  takenAt,
  commit,
  mode,
  machine,
  notes,
  goals,
  comparisons,
  simulations,
}: Results): string {
  const parts = [
    `${takenAt}, commit ${commit}, ${mode}. ${machineLine(machine)}.`,
    ...notes.map((note) => `> ${note}`),
    asMarkdown(goalRows(goals)),
  ]
  for (const comparison of comparisons) {
    parts.push(`### ${comparison.title}`, asMarkdown(runRows(comparison)))
  }
  if (simulations.length > 0)
    parts.push('### The simulator, by second on a processor', asMarkdown(simulationRows(simulations)))
  return `${parts.join('\n\n')}\n`
}

function throughputBars(comparisons: readonly ComparisonResult[]): Bar[] {
  const series = {
    throughput: 'bare load generators',
    'nats-throughput': 'Node at both ends, local',
    'nats-across': 'Node at both ends, two clusters',
  }
  return Object.entries(series).flatMap(([id, name]) =>
    (comparisons.find((comparison) => comparison.id === id)?.contenders ?? [])
      .filter(({ runs }) => runs.length > 0)
      .map(({ label, runs }) => ({
        label,
        series: name,
        value: spreadOf(runs.map(({ tasksPerSecond }) => tasksPerSecond)),
      })),
  )
}

/** Both axes run over decades; the x axis is marked where was measured. */
function sweepPlot(title: string, unit: string, curves: readonly Curve[]): string {
  const measured = new Set(curves.flatMap(({ points }) => points.map(({ x }) => x)))
  const ticks = [...measured].sort((a, b) => a - b)
  const x = { label: unit, scale: 'log', ticks } as const
  return standaloneSvg(
    linePlot({ title, x, y: { label: 'tasks/s', scale: 'log' }, curves, dots: true, plotHeight: 320 }),
  )
}

const CURVE_NAMES: { readonly [id: string]: string } = {
  native: 'Spillway, native',
  stock: 'Spillway, stock dialect',
  bare: 'bare zeromq.js',
}

/** Contenders of a sweep are called by their system and their place on the x axis. */
function curvesOf(sweep: ComparisonResult | undefined): Curve[] {
  const curves = new Map<string, { x: number; y: number }[]>()
  for (const { id, runs } of sweep?.contenders ?? []) {
    const [name = '', x = ''] = id.split('-')
    if (runs.length === 0) continue
    const points = curves.get(name) ?? []
    points.push({ x: Number(x), y: spreadOf(runs.map(({ tasksPerSecond }) => tasksPerSecond)).median })
    curves.set(name, points)
  }
  return [...curves].map(([name, points]) => ({ name: CURVE_NAMES[name] ?? name, points }))
}
