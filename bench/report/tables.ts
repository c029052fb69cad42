/** Results as text: columns for a terminal, and the same as Markdown. */

import type { ComparisonResult, ContenderResult } from '../comparison.ts'
import type { Verdict } from '../goals.ts'
import type { Measurement } from '../measure.ts'
import type { SimulationResult } from '../simulation.ts'
import { spreadOf } from '../spread.ts'

type Row = readonly string[]

const GOAL_HEAD: Row = ['path', 'goal', 'measured', '']
const RUN_HEAD: Row = [
  'system',
  'tasks/s',
  'from – to',
  'p50 µs',
  'p99 µs',
  'broker µs/task',
  'of it main thread',
  'load µs/task',
  'peak MB',
  'notes',
]

export function goalRows(verdicts: readonly Verdict[]): Row[] {
  return [
    GOAL_HEAD,
    ...verdicts.map(({ path, goal, measured, met }) => [
      path,
      goal,
      measured,
      met === null ? '–' : met ? 'met' : 'MISSED',
    ]),
  ]
}

export function runRows(result: ComparisonResult): Row[] {
  return [RUN_HEAD, ...result.contenders.map(runRow)]
}

function runRow(contender: ContenderResult): Row {
  const { label, runs, missing, invalid } = contender
  if (runs.length === 0)
    return [label, '', '', '', '', '', '', '', '', invalid ? `VOID: ${firstLine(invalid)}` : missing]
  const of = (field: keyof Measurement) => spreadOf(runs.map((run) => run[field]))
  const speed = of('tasksPerSecond')
  return [
    label,
    thousands(speed.median),
    `${thousands(speed.min)} – ${thousands(speed.max)}`,
    thousands(of('p50').median),
    thousands(of('p99').median),
    of('brokerTime').median.toFixed(1),
    of('brokerMainTime').median.toFixed(1),
    of('loadTime').median.toFixed(1),
    (of('peakMemory').max / 1e6).toFixed(0),
    remarks(contender),
  ]
}

const SIMULATION_HEAD: Row = ['simulator', 'events/s', 'simulated s/s', 'events', 'peak MB', 'notes']

/** Speeds are by second on a processor: what others do on the machine counts for little. */
export function simulationRows(results: readonly SimulationResult[]): Row[] {
  return [
    SIMULATION_HEAD,
    ...results.map(({ label, events, virtualMs, cpuMs, peakMemory, command, invalid }) =>
      invalid === ''
        ? [
            label,
            thousands((events / cpuMs) * 1000),
            (virtualMs / cpuMs).toFixed(2),
            thousands(events),
            (peakMemory / 1e6).toFixed(0),
            command,
          ]
        : [label, '', '', '', '', `VOID: ${firstLine(invalid)}`],
    ),
  ]
}

/** Processors taken by somebody else beyond which a run is doubtful. */
export const FOREIGN_MAX = 0.15

/** What a reader has to know before he believes the figures. */
export function remarks({ runs, rate, loadFromNode }: ContenderResult): string {
  const of = (field: keyof Measurement) => spreadOf(runs.map((run) => run[field])).median
  const notes: string[] = loadFromNode ? ['load from Node'] : []
  if (of('loadTime') > of('brokerTime') && of('brokerTime') > 0) {
    notes.push('the load costs more than the broker')
  }
  if (of('foreignCores') > FOREIGN_MAX) {
    notes.push(`others took ${of('foreignCores').toFixed(1)} processors`)
  }
  if (rate > 0 && of('tasksPerSecond') < 0.98 * rate) notes.push('did not keep up with the rate')
  if (of('lateP99') > 0.2 * of('p99')) notes.push(`load was late by up to ${of('lateP99').toFixed(0)} µs`)
  return notes.join('; ')
}

export function asText(rows: readonly Row[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  )
  return rows
    .map((row) =>
      row
        .map((cell, column) =>
          isNumber(cell) ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

export function asMarkdown(rows: readonly Row[]): string {
  const [head = [], ...rest] = rows
  const line = (row: Row): string => `| ${row.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(head), `|${head.map(() => '---|').join('')}`, ...rest.map(line)].join('\n')
}

function isNumber(cell: string): boolean {
  return /^[\d,.]+$/.test(cell)
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? ''
}

export function thousands(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}
