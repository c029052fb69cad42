/** `npm run bench`: measures, prints the table of goals with what was measured, writes results and plots. */

import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Command, InvalidArgumentError } from 'commander'
import { killAll } from './child.ts'
import { type ComparisonResult, compare, type Manner, SystemPool } from './comparison.ts'
import { judge } from './goals.ts'
import { type IdleResult, measureIdle } from './idle.ts'
import { describeMachine, isQuiet, machineLine } from './machine.ts'
import { type Comparison, FULL, QUICK } from './plan.ts'
import { publish, type Results, writeResults } from './report/results.ts'
import { asText, FOREIGN_MAX, goalRows, runRows, simulationRows } from './report/tables.ts'
import { measureSimulation, SIMULATIONS, SIMULATIONS_QUICK, type SimulationResult } from './simulation.ts'
import type { Surroundings } from './system.ts'
import { findToolchain } from './toolchain.ts'
import { usageIsKnown } from './usage.ts'

interface Flags {
  readonly quick?: true
  readonly only?: readonly string[]
  readonly rounds?: number
  readonly measureMs?: number
  readonly program?: string
  readonly out?: string
  readonly publish?: true
  readonly list?: true
}

const QUICK_MANNER: Manner = { rounds: 3, warmupMs: 150, measureMs: 250, fresh: false }
const FULL_MANNER: Manner = { rounds: 5, warmupMs: 400, measureMs: 800, fresh: true }
const IDLE_QUICK_MS = 2000
const IDLE_MS = 10_000
const IDLE = 'idle'
const SIMULATOR = 'simulator'

/** The repository, from here or from where this was compiled to. */
const ROOT = [join(import.meta.dirname, '..'), join(import.meta.dirname, '../../..')].find((folder) =>
  existsSync(join(folder, 'package.json')),
)

const flags: Flags = new Command('bench')
  .description('measures Spillway against what else there is, in turns; takes some minutes')
  .option('--quick', 'the goals only, in less than a minute')
  .option('--only <ids>', 'these comparisons only, separated by commas', (ids) => ids.split(','))
  .option('--rounds <n>', 'turns (default: 5, quick 3)', positive)
  .option('--measure-ms <ms>', 'length of each window (default: 800, quick 250)', positive)
  .option('--program <file>', 'another build’s cli/main.js, to compare two (default: this one’s)')
  .option('--out <folder>', 'where results go (default: bench/results)')
  .option('--publish', 'puts the results into docs/performance.md')
  .option('--list', 'says what there is to measure, and measures nothing')
  .parse()
  .opts()

process.exitCode = await main(flags)

async function main(flags: Flags): Promise<number> {
  if (ROOT === undefined) throw new Error('package.json is not where it was expected, above bench/')
  const known = flags.quick ? QUICK : FULL
  if (flags.list) {
    for (const { id, title } of known) console.log(`${id.padEnd(22)} ${title}`)
    console.log(`${IDLE.padEnd(22)} 10,000 idle clients and 1,000 idle workers`)
    console.log(`${SIMULATOR.padEnd(22)} events and simulated time a second of the simulator`)
    return 0
  }
  const unknown = flags.only?.find(
    (id) => id !== IDLE && id !== SIMULATOR && !known.some((comparison) => comparison.id === id),
  )
  if (unknown !== undefined) {
    console.error(`there is no comparison called ${unknown}; --list says which there are`)
    return 2
  }
  if (flags.publish && (flags.quick || flags.only !== undefined)) {
    console.error('--publish takes a full run: leave --quick and --only out')
    return 2
  }
  const plan = known.filter(({ id }) => flags.only?.includes(id) ?? true)
  const usual = flags.quick ? QUICK_MANNER : FULL_MANNER
  const manner: Manner = {
    ...usual,
    rounds: flags.rounds ?? usual.rounds,
    measureMs: flags.measureMs ?? usual.measureMs,
  }
  const machine = await describeMachine()
  const toolchain = findToolchain(join(ROOT, 'bench'))
  const folder = mkdtempSync(join(tmpdir(), 'spillway-bench-'))
  const cleanUp = (): void => {
    killAll()
    toolchain.dispose()
    rmSync(folder, { recursive: true, force: true })
  }
  process.once('exit', cleanUp)
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
  const program = resolve(flags.program ?? join(ROOT, 'bench/.build/cli/main.js'))
  if (!existsSync(program)) {
    console.error(`${program} is not there: run "npm run bench", which compiles it`)
    return 1
  }
  const surroundings: Surroundings = { toolchain, program, folder }
  const notes = [...toolchain.notes]
  if (!isQuiet(machine)) {
    notes.unshift(
      `taken on a loaded machine: others kept ${machine.foreignCores.toFixed(1)} processors busy; do not quote`,
    )
  }
  if (!usageIsKnown) notes.push('no /proc/PID/schedstat: processor time and memory are not known here')
  console.error(machineLine(machine))
  for (const note of notes) console.error(`note: ${note}`)

  const comparisons: ComparisonResult[] = []
  const pool = new SystemPool(surroundings, !manner.fresh, plan)
  const startedAt = performance.now()
  for (const comparison of plan) {
    comparisons.push(await one(comparison, manner, pool))
    const result = comparisons.at(-1)
    if (result !== undefined) console.log(`\n${comparison.title}\n${asText(runRows(result))}`)
  }
  let idle: IdleResult | null = null
  if (flags.only?.includes(IDLE) ?? true) {
    progress('10,000 idle clients and 1,000 idle workers')
    idle = await measureIdle(surroundings, flags.quick ? IDLE_QUICK_MS : IDLE_MS, !flags.quick)
    progress('')
  }
  const simulations: SimulationResult[] = []
  if (flags.only?.includes(SIMULATOR) ?? true) {
    for (const each of flags.quick ? SIMULATIONS_QUICK : SIMULATIONS) {
      progress(`simulator: ${each.label}`)
      simulations.push(await measureSimulation(program, each))
      progress('')
    }
    console.log(`\nthe simulator, by second on a processor\n${asText(simulationRows(simulations))}`)
  }
  const runs = comparisons.flatMap(({ contenders }) => contenders.flatMap((contender) => contender.runs))
  const disturbed = runs.filter(({ foreignCores }) => foreignCores > FOREIGN_MAX).length
  if (disturbed > 0) {
    notes.unshift(
      `${disturbed} of ${runs.length} runs were disturbed: others took more than ${FOREIGN_MAX} processors; ${disturbed > runs.length / 10 ? 'do not quote' : 'see the rows'}`,
    )
  }
  const goals = judge(comparisons, idle, simulations)
  console.log(`\n${asText(goalRows(goals))}\n`)
  const results: Results = {
    takenAt: new Date().toISOString(),
    commit: commitOf(ROOT),
    mode: `${flags.quick ? 'quick' : 'full'}, ${manner.rounds} turns of ${manner.measureMs} ms`,
    machine,
    notes,
    goals,
    comparisons,
    idle,
    simulations,
  }
  const paths = writeResults(resolve(flags.out ?? join(ROOT, 'bench/results')), results)
  if (flags.publish) publish(join(ROOT, 'docs'), paths, results)
  for (const note of notes) console.log(`note: ${note}`)
  console.log(`${((performance.now() - startedAt) / 1000).toFixed(0)} s; written to ${paths.join(', ')}`)
  const broken = comparisons.some(({ contenders }) => contenders.some(({ invalid }) => invalid !== ''))
  // A goal that is missed is a result; a run that lost a task, or could not be run, is none.
  const brokeAPromise = simulations.some(({ invalid }) => invalid !== '')
  return broken || brokeAPromise || (idle !== null && idle.invalid !== '' && usageIsKnown) ? 1 : 0
}

async function one(comparison: Comparison, manner: Manner, pool: SystemPool): Promise<ComparisonResult> {
  const result = await compare(comparison, manner, pool, ({ label }, turn) =>
    progress(`${comparison.title}: turn ${turn + 1}, ${label}`),
  )
  progress('')
  return result
}

function progress(line: string): void {
  if (process.stderr.isTTY)
    process.stderr.write(`\r\x1b[K${line.slice(0, (process.stderr.columns ?? 80) - 1)}`)
}

function positive(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1)
    throw new InvalidArgumentError('a whole number from 1 is expected')
  return value
}

function commitOf(root: string): string {
  try {
    const git = (...args: string[]): string =>
      execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
    return `${git('rev-parse', '--short', 'HEAD')}${git('status', '--porcelain', '--', 'protocol', 'settings', 'wire', 'broker', 'client', 'worker', 'cli') === '' ? '' : ' with changes'}`
  } catch {
    return 'unknown'
  }
}
