import { spawn } from 'node:child_process'
import cliProgress from 'cli-progress'
import Table from 'cli-table3'
import { Command, Option } from 'commander'
import pc from 'picocolors'
import { z } from 'zod'
import { POLICIES } from '../broker/core/routing.ts'
import { VERSION } from '../broker/io/version.ts'
import { prepareComparison, writeComparison } from '../report/write.ts'
import { errorMessage } from '../settings/error-message.ts'
import {
  CENTRE,
  type Cell,
  type Comparison,
  cellsOf,
  DIMENSIONS,
  type DimensionName,
  type Grid,
  gather,
  type Measures,
  measure,
  OMNISCIENT,
  QUICK_CENTRE,
  type Row,
  WORKLOADS,
} from '../sim/comparison.ts'
import { comparisonReport, settingOf } from '../sim/comparison-report.ts'
import { type Parameters, parameters } from '../sim/scenario.ts'
import { flagOf, fromText } from './configuration.ts'
import { Exit } from './exit-status.ts'
import { Interruption } from './interruption.ts'
import { prepareReport, writtenReport } from './report-folder.ts'
import { explain, JOBS_MAX, namesIn } from './scenario-flags.ts'

/** Seeds of one comparison. A thousand make a figure thirty times as sure as one does, and the list of the largest grid's runs a gigabyte. */
const SEEDS_MAX = 1000

const number = (may: z.ZodNumber) => z.preprocess((text) => fromText({ type: 'number' }, String(text)), may)
const atLeast = (least: number, most = Number.MAX_SAFE_INTEGER) =>
  number(z.number().int().min(least).max(most))
const aboveNone = number(z.number().positive())
const atLeastNone = number(z.number().min(0))
/** Once each, however often it is named. */
const names = <Name extends string>(known: readonly Name[]) =>
  z.preprocess((text) => [...new Set(namesIn(String(text)))], z.array(z.enum(known)))

/** What each flag may be by itself. What its parameter may be beyond that, in the centre and in all that is made of it, is seen there. */
const compareFlags = z.object({
  dimensions: names(Object.keys(DIMENSIONS).filter(isDimension)).default([...WORKLOADS]),
  policies: names(Object.keys(POLICIES)).default(Object.keys(POLICIES)),
  seed: atLeast(0).default(1),
  seeds: atLeast(1, SEEDS_MAX).default(1),
  jobs: atLeast(1, JOBS_MAX).default(2),
  quick: z.boolean().optional(),
  json: z.boolean().optional(),
  report: z.string().optional(),
  clusters: atLeast(1).optional(),
  workers: atLeast(1).optional(),
  clients: atLeast(1).optional(),
  load: aboveNone.optional(),
  hot: aboveNone.optional(),
  cloudMs: aboveNone.optional(),
  guestWaitMs: atLeast(0).optional(),
  patience: atLeastNone.optional(),
  price: atLeastNone.optional(),
  steepness: atLeastNone.optional(),
  rivalry: atLeastNone.optional(),
  looksAt: atLeast(1).optional(),
  durationMs: atLeast(1).optional(),
  warmUpMs: atLeast(0).optional(),
})
type CompareFlags = z.output<typeof compareFlags>

const cellSchema = z.object({
  parameters,
  warmUpMs: z.number(),
  policy: z.string(),
  seed: z.number(),
})

const measuresSchema = z.object({
  tasks: z.number(),
  meanWaitMs: z.number(),
  p50WaitMs: z.number(),
  p99WaitMs: z.number(),
  p999WaitMs: z.number(),
  lentShare: z.number(),
  rejectShare: z.number(),
  statesPerSecond: z.number(),
  statesPerTask: z.number(),
  throughput: z.number(),
  breach: z.string().nullable(),
})

/** `spillway sim compare`: every routing policy and a scheduler that knows everything, on the same work. */
export function compareCommand(): Command {
  return new Command('compare')
    .description('the same work under every routing policy, next to a scheduler that knows everything')
    .option('--quick', 'a smaller grid of smaller clusters: less than a minute')
    .option(
      '--dimensions <names>',
      `what is varied: ${Object.keys(DIMENSIONS).join(', ')} (default: ${WORKLOADS.join(',')})`,
    )
    .option('--policies <names>', `policies: ${Object.keys(POLICIES).join(', ')} (default: all)`)
    .option('--seed <number>', 'the first seed (default: 1)')
    .option('--seeds <count>', `how many seeds, up to ${SEEDS_MAX}; their measures are averaged (default: 1)`)
    .option('--jobs <count>', 'processes at once (default: 2)')
    .option('--clusters <count>', `clusters in the centre (default: ${CENTRE.clusters})`)
    .option('--workers <count>', `workers in each cluster (default: ${CENTRE.workers})`)
    .option('--clients <count>', `clients in each cluster (default: ${CENTRE.clients})`)
    .option('--load <share>', `share of all slots kept busy in the centre (default: ${CENTRE.load})`)
    .option(
      '--hot <factor>',
      `tasks of the hot cluster, of any other one's, in the centre (default: ${CENTRE.hot})`,
    )
    .option('--cloud-ms <ms>', `one way between clusters in the centre (default: ${CENTRE.cloudMs})`)
    .option(
      '--guest-wait-ms <ms>',
      `how long a peer's task may be expected to wait for a worker (default: ${CENTRE.guestWaitMs})`,
    )
    .option('--patience <share>', `${parameters.shape.patience.description} (default: ${CENTRE.patience})`)
    .option('--price <ways>', `${parameters.shape.price.description} (default: ${CENTRE.price})`)
    .option('--steepness <power>', `${parameters.shape.steepness.description} (default: ${CENTRE.steepness})`)
    .option('--rivalry <tasks>', `${parameters.shape.rivalry.description} (default: ${CENTRE.rivalry})`)
    .option('--looks-at <count>', `${parameters.shape.looksAt.description} (default: ${CENTRE.looksAt})`)
    .option('--duration-ms <ms>', `how long tasks arrive, virtual time (default: ${CENTRE.durationMs})`)
    .option('--warm-up-ms <ms>', 'how much of that does not count (default: a quarter)')
    .option('--json', 'print everything measured as JSON')
    .option('--report <folder>', 'write report.html, report.json and every plot into this folder')
    .addOption(new Option('--as-child <cell>').hideHelp())
    .addHelpText(
      'after',
      `
Waits last from the submission by the client to the start of the handler. "omniscient" is one queue for all clusters that knows
when each worker will be free; tasks travel as long as everybody's.

Examples:
  spillway sim compare --quick
  spillway sim compare --quick --report routing
  spillway sim compare --dimensions load,state --policies most-capacity,two-choices --seeds 5
  spillway sim compare --dimensions patience,price,steepness,rivalry,looks-at,guest-wait --policies soonest --load 0.98
  spillway sim compare --json > comparison.json`,
    )
    .action(async ({ asChild, ...given }: { readonly asChild?: string }) => {
      if (asChild !== undefined) {
        process.stdout.write(JSON.stringify(measure(cellSchema.parse(JSON.parse(asChild)))))
        return
      }
      const flags = flagsFrom(given)
      const grid = gridOf(flags)
      if (flags.report !== undefined) {
        prepareReport(flags.report, (folder) => prepareComparison(folder, flags.dimensions))
      }
      const comparison = await compare(grid, flags.jobs).catch((error: unknown): null => {
        // It says nothing about a promise.
        process.stderr.write(`spillway sim compare: ${errorMessage(error)}\n`)
        return null
      })
      if (comparison === null) {
        process.exitCode = Exit.CannotRun
        return
      }
      if (flags.json) process.stdout.write(`${JSON.stringify(comparison, null, 2)}\n`)
      else process.stdout.write(`${tell(comparison)}\n`)
      if (flags.report !== undefined) {
        const at = flags.report
        const report = comparisonReport(comparison, commandLine(flags), VERSION)
        const paths = writtenReport(() => writeComparison(at, report))
        if (paths === null) process.exitCode = Exit.NotWritten
        // With --json, stdout holds nothing else.
        const out = flags.json ? process.stderr : process.stdout
        for (const path of paths ?? []) out.write(`Report: ${path}\n`)
      }
      if (comparison.rows.some(({ measures }) => measures.breach !== null)) process.exitCode = Exit.Failed
    })
}

const GIVEN = [
  'clusters',
  'workers',
  'clients',
  'load',
  'hot',
  'cloudMs',
  'guestWaitMs',
  'patience',
  'price',
  'steepness',
  'rivalry',
  'looksAt',
  'durationMs',
] as const

/** What was typed, as numbers and names. Ends the process with 78 when some are none. */
function flagsFrom(given: object): CompareFlags {
  const { data, error } = compareFlags.safeParse(given, { reportInput: true })
  if (data !== undefined) return data
  process.stderr.write(`${explain(error, 'compare')}\n`)
  process.exit(Exit.Config)
}

/** What is to be compared. Ends the process with 78 when it cannot be. */
function gridOf(flags: CompareFlags): Grid {
  const given: { -readonly [key in keyof Parameters]?: Parameters[key] } = {}
  for (const key of GIVEN) {
    const value = flags[key]
    if (value !== undefined) given[key] = value
  }
  const centre: Parameters = { ...(flags.quick ? QUICK_CENTRE : CENTRE), ...given }
  const grid: Grid = {
    centre,
    warmUpMs: flags.warmUpMs ?? centre.durationMs / 4,
    quick: flags.quick ?? false,
    dimensions: flags.dimensions,
    policies: [OMNISCIENT, ...flags.policies],
    seeds: Array.from({ length: flags.seeds }, (_, i) => flags.seed + i),
  }
  const problems = problemsOf(grid)
  if (problems.size === 0) return grid
  process.stderr.write(`${[...problems].join('\n')}\n`)
  process.exit(Exit.Config)
}

/** Of each number there may be, of their centre, and of what is made of it: what is wrong with several is said once. */
function problemsOf(grid: Grid): Set<string> {
  const { centre, warmUpMs } = grid
  const problems = new Set<string>()
  // Every seed has the same.
  const cells = cellsOf({ ...grid, seeds: grid.seeds.slice(0, 1) })
  for (const p of [centre, ...[...cells.values()].map((cell) => cell.parameters)]) {
    const { error } = parameters.safeParse(p, { reportInput: true })
    if (error !== undefined) for (const line of explain(error, 'compare').split('\n')) problems.add(line)
  }
  if (warmUpMs >= centre.durationMs) {
    problems.add(
      `--warm-up-ms = ${warmUpMs}: expected less than --duration-ms, which is ${centre.durationMs}, as only the rest counts; see spillway sim compare --help`,
    )
  }
  return problems
}

// ---------------------------------------------------------------- running it

async function compare(grid: Grid, jobs: number): Promise<Comparison> {
  const cells = cellsOf(grid)
  const bar = process.stderr.isTTY
    ? new cliProgress.SingleBar({
        format: 'runs [{bar}] {value}/{total} | {eta_formatted} left',
        stream: process.stderr,
        hideCursor: true,
      })
    : null
  const interruption = new Interruption(() => bar?.stop())
  bar?.start(cells.size, 0)
  const measured = new Map<string, Measures>()
  const left = cells.entries()
  const worker = async (): Promise<void> => {
    for (const [key, cell] of left) {
      measured.set(key, await child(cell, interruption))
      bar?.increment()
    }
  }
  try {
    await Promise.all(Array.from({ length: jobs }, worker))
  } finally {
    interruption.end()
  }
  return gather(grid, measured)
}

/** One run in a process of its own: its memory is gone with it, and another may run beside it. */
function child(cell: Cell, interruption: Interruption): Promise<Measures> {
  // Most of what a run makes dies within a task's time.
  const args = ['--max-semi-space-size=64', ...process.execArgv, process.argv[1] ?? '', 'sim', 'compare']
  return new Promise((resolve, reject) => {
    const process_ = interruption.take(
      spawn(process.execPath, [...args, '--as-child', JSON.stringify(cell)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      }),
    )
    let text = ''
    process_.stdout.setEncoding('utf8')
    process_.stdout.on('data', (piece: string) => {
      text += piece
    })
    process_.on('error', reject)
    process_.on('close', (code, signal) => {
      if (code === 0) resolve(measuresSchema.parse(JSON.parse(text)))
      else reject(new Error(`the run of ${cell.policy}, seed ${cell.seed}, ${endedBy(code, signal)}`))
    })
  })
}

function endedBy(code: number | null, signal: NodeJS.Signals | null): string {
  if (signal === null) return `ended with status ${code}; what it said of it stands above`
  return `was ended by ${signal}. If for want of memory, give it less to hold (--clusters, --workers, --clients, --duration-ms) or let fewer run at once (--jobs)`
}

// ---------------------------------------------------------------- flags

/** What to type for the same figures: without what changes only how, and where, they are told. */
function commandLine(flags: CompareFlags): string {
  const words = ['spillway sim compare']
  if (flags.quick) words.push('--quick')
  words.push(`--dimensions ${flags.dimensions.join(',')}`, `--policies ${flags.policies.join(',')}`)
  words.push(`--seed ${flags.seed}`, `--seeds ${flags.seeds}`)
  for (const key of [...GIVEN, 'warmUpMs'] as const) {
    const value = flags[key]
    if (value === undefined) continue
    words.push(`--${flagOf({ field: key, type: 'number' })} ${value}`)
  }
  return words.join(' ')
}

function isDimension(name: string): name is DimensionName {
  return Object.hasOwn(DIMENSIONS, name)
}

// ---------------------------------------------------------------- what is printed

const HEAD = [
  'policy',
  'mean ms',
  'p99 ms',
  '× omn.',
  'lent %',
  'rejected %',
  'states/s',
  'states/task',
  'tasks/s',
]

function tell(comparison: Comparison): string {
  const lines = settingOf(comparison)
  for (const dimension of comparison.dimensions) {
    const { title, unit } = DIMENSIONS[dimension]
    lines.push('', pc.bold(unit === '' ? title : `${title} (${unit})`))
    const table = new Table({
      head: [title, ...HEAD],
      colAligns: ['right', 'left', ...HEAD.slice(1).map(() => 'right' as const)],
      style: { head: [], border: [], compact: true },
    })
    for (const row of comparison.rows) if (row.dimension === dimension) table.push(cellsOfRow(row))
    lines.push(table.toString())
  }
  lines.push(
    '',
    '× omn.: p99 of the wait by the omniscient scheduler’s. rejected: of the tasks sent to a peer. states/s: sent, a broker.',
  )
  for (const { dimension, value, policy, measures } of comparison.rows) {
    if (measures.breach !== null)
      lines.push(pc.red(`BREACH ${dimension} ${value}, ${policy}: ${measures.breach}`))
  }
  return lines.join('\n')
}

function cellsOfRow(row: Row): string[] {
  const { value, policy, measures: m, timesOmniscient } = row
  const knowsAll = policy === OMNISCIENT
  return [
    knowsAll ? String(value) : '',
    policy,
    m.meanWaitMs.toFixed(2),
    m.p99WaitMs.toFixed(2),
    // Without a task there is nothing to tell.
    knowsAll || !Number.isFinite(timesOmniscient) ? '' : timesOmniscient.toFixed(2),
    (100 * m.lentShare).toFixed(1),
    knowsAll ? '' : (100 * m.rejectShare).toFixed(2),
    knowsAll ? '' : m.statesPerSecond.toFixed(0),
    knowsAll ? '' : m.statesPerTask.toFixed(2),
    m.throughput.toFixed(0),
  ]
}
