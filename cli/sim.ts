import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import cliProgress from 'cli-progress'
import { Command, Option } from 'commander'
import pc from 'picocolors'
import { stringify } from 'yaml'
import { z } from 'zod'
import { VERSION } from '../broker/io/version.ts'
import { Collector } from '../report/collector.ts'
import { writeReport } from '../report/write.ts'
import { ConfigurationError, notA } from '../settings/configuration-error.ts'
import { errorMessage } from '../settings/error-message.ts'
import { drawParameters } from '../sim/draw.ts'
import { type Result, retell, run, shortestPrefix } from '../sim/run.ts'
import { runReport } from '../sim/run-report.ts'
import { differences, FAULTS, type Parameters, parameters, saidIn } from '../sim/scenario.ts'
import { shrink } from '../sim/shrink.ts'
import type { Summary } from '../sim/simulation.ts'
import { compareCommand } from './compare.ts'
import { Exit } from './exit-status.ts'
import { Interruption } from './interruption.ts'
import { liveCommand } from './live.ts'
import { prepareReport, writtenReport } from './report-folder.ts'
import { endWithout, inRoomyProcess, ordered } from './roomy-process.ts'
import { explain, flagFor, JOBS_MAX, namesIn, SCENARIO_ONLY } from './scenario-flags.ts'

/** Lines of a breached task's history that a run prints. */
const LAST_LINES = 30
/** Seeds that a child process of a swarm takes at a time: enough that its start does not count. */
const CHUNK = 100
/** Seeds of one swarm: more than anybody waits for. */
const SEEDS_MAX = 1_000_000_000
/** Processes simulated, beyond which a run is given more memory for what lives shortly. */
const ROOMY_NODES = 2000

interface SimFlags {
  readonly scenario?: string
  readonly drawn?: boolean
  readonly [flag: string]: unknown
}

/** `spillway sim`: the cores under virtual time, and whole clusters for real. */
export function simCommand(): Command {
  const sim = new Command('sim').description(
    'let brokers, workers and clients die, freeze and be cut off, simulated or for real, and check what is promised',
  )
  sim.addCommand(runCommand())
  sim.addCommand(replayCommand())
  sim.addCommand(swarmCommand())
  sim.addCommand(shrinkCommand())
  sim.addCommand(compareCommand())
  sim.addCommand(liveCommand())
  return sim.addHelpText('after', EXAMPLES)
}

const EXAMPLES = `
Examples:
  $ spillway sim run --seed 7
  $ spillway sim swarm --seed 1 --seeds 1000
  $ spillway sim compare --quick --report routing
  $ spillway sim live --clusters 3 --kill-every 2s --duration 60s --seed 7

Virtual time, except for live, which starts real processes and kills them. spillway sim <verb> --help tells what each takes.
Exit status: 0 when every promise was kept, 1 when one was broken, 71 when the process of a run could not be started or has ended
early, 74 when only the report could not be written, 78 for parameters that make no sense, 2 for a command that makes none, 128 + n
when signal n has ended it: 134 or 137 for want of memory. shrink ends with 2 for a seed that keeps every promise.`

// ---------------------------------------------------------------- verbs

function runCommand(): Command {
  const command = new Command('run')
    .description('run one seed; without further flags the founding case: 12 clusters, one killed every 10 s')
    .option('--seed <number>', 'what everything random is drawn from', seedOf)
    .option('--json', 'print the outcome as JSON')
    .option('--report <folder>', 'write report.html and report.json into this folder')
    .addOption(new Option('--as-child').hideHelp())
    .addHelpText(
      'after',
      `
Examples:
  spillway sim run --seed 7
  spillway sim run --seed 7 --report reports/seed-7
  spillway sim run --seed 7 --clusters 3 --workers 20 --clients 50 --duration-ms 60000 --faults partition,freeze-broker
  spillway sim run --scenario two-partitions.yaml`,
    )
  return withParameters(command).action(
    async (flags: SimFlags & { seed?: number; json?: boolean; report?: string; asChild?: boolean }) => {
      // By hand, without anybody to tell it, it is a run like any other.
      const asChild = flags.asChild === true && process.send !== undefined
      const order = asChild ? await ordered() : null
      const { seed, parameters: p, typed } = order ?? wanted(flags, flags.seed)
      if (order === null && p.clusters * (p.clients + p.workers) > ROOMY_NODES) {
        process.exitCode = await inRoomyProcess({ seed, parameters: p, typed })
        return
      }
      if (flags.report !== undefined) prepareReport(flags.report)
      const series = flags.report === undefined ? null : new Collector({ durationMs: p.durationMs })
      const usedBefore = process.cpuUsage()
      const startedAt = performance.now()
      const show = progressLine()
      const result = run(seed, p, {
        onProgress: (at) => {
          if (order !== null) endWithout(order.parent)
          show(at)
        },
        onSettled: () => globalThis.gc?.(),
        ...(series === null ? {} : { series }),
      })
      clearLine()
      const cost = costSince(startedAt, usedBefore)
      if (flags.json) {
        process.stdout.write(`${JSON.stringify({ ...jsonOf(result), ...cost }, null, 2)}\n`)
      } else if (result.summary !== null) {
        process.stdout.write(`${tell(seed, p, result.summary, cost)}\n`)
      } else tellBreach(result, p, typed)
      if (flags.report !== undefined && series !== null) {
        const repeat = `spillway sim run --seed ${seed}${typed}`
        const at = flags.report
        const paths = writtenReport(() => writeReport(at, runReport(result, p, series, repeat, VERSION)))
        if (paths === null) process.exitCode = Exit.NotWritten
        // With --json, stdout holds nothing else.
        const out = flags.json ? process.stderr : process.stdout
        for (const path of paths ?? []) out.write(`Report: ${path}\n`)
      }
      if (result.breach !== null) process.exitCode = Exit.Failed
    },
  )
}

function replayCommand(): Command {
  const command = new Command('replay')
    .description('show a run event by event: of one task, or of everything')
    .argument('<seed>', 'the seed of the run', seedOf)
    .option('--task <number>', 'only this task, and the faults', count('task'))
    .option('--last <lines>', 'only so many lines before the end', count('last'), 1_000_000)
    .option('--events <number>', 'only the first so many events', count('events'))
    .addHelpText('after', '\nExample:\n  spillway sim replay 954 --drawn --task 52')
  return withParameters(command).action(
    (seed: number, flags: SimFlags & { task?: number; last: number; events?: number }) => {
      const { parameters: p } = wanted(flags, seed)
      const options = flags.events === undefined ? {} : { eventsMax: flags.events }
      const { lines, leftOut, result } = retell(seed, p, flags.task ?? null, flags.last, options)
      if (leftOut > 0) process.stdout.write(`${pc.dim(beginningLeftOut(leftOut))}\n`)
      for (const line of lines) process.stdout.write(`${lineOf(line)}\n`)
      const { breach } = result
      if (breach === null) return
      process.stdout.write(`${pc.red('BREACH')} ${breach.message}\n`)
      process.exitCode = Exit.Failed
    },
  )
}

function swarmCommand(): Command {
  return new Command('swarm')
    .description(
      'run many short seeds, each with parameters and faults of its own; a line for each that fails',
    )
    .option('--seed <number>', 'the first seed', seedOf, 1)
    .option('--seeds <count>', 'how many', count('seeds', 1, SEEDS_MAX), 1000)
    .option('--jobs <count>', 'processes at once', count('jobs', 1, JOBS_MAX), 2)
    .addOption(new Option('--as-child').hideHelp())
    .addHelpText('after', '\nExample:\n  spillway sim swarm --seed 1 --seeds 10000 --jobs 2')
    .action(async (flags: { seed: number; seeds: number; jobs: number; asChild?: boolean }) => {
      if (flags.asChild) {
        for (let seed = flags.seed; seed < flags.seed + flags.seeds; seed++) {
          const { breach, events, endedAt } = run(seed, drawParameters(seed))
          const line: SeedLine = {
            seed,
            events,
            endedAt,
            breach: breach?.message ?? null,
            task: breach?.task ?? null,
          }
          process.stdout.write(`${JSON.stringify(line)}\n`)
        }
        return
      }
      // Beyond them a seed and the next one are the same number.
      const seeds = integerOf('seeds', `${flags.seeds}`, 1, Number.MAX_SAFE_INTEGER - flags.seed + 1)
      const failed = await swarm(flags.seed, seeds, flags.jobs)
      if (failed > 0) process.exitCode = Exit.Failed
    })
}

const SHRINK_EXAMPLE = `SEED is one that breaks a promise with the flags given: those that swarm finds do with --drawn.
Exit status: 1 with the smaller scenario on stdout; 2 when the seed keeps every promise, and stdout stays empty.

Example:
  spillway sim shrink SEED --drawn > smaller.yaml`

function shrinkCommand(): Command {
  const command = new Command('shrink')
    .description('make a failing seed smaller, and print the scenario that is left')
    .argument('<seed>', 'the seed of the run', seedOf)
    .option('--runs <count>', 'runs it may take at most', count('runs'), 500)
    .addHelpText('after', `\n${SHRINK_EXAMPLE}`)
  return withParameters(command).action((seed: number, flags: SimFlags & { runs: number }) => {
    const { parameters: p } = wanted(flags, seed)
    const shrunk = shrink(seed, p, flags.runs, ({ parameters: q, runs }) => {
      if (!process.stderr.isTTY) return
      const size = `${q.clusters} clusters, ${q.workers} workers, ${q.clients} clients, ${q.script.length} faults, ${q.durationMs} ms`
      process.stderr.write(`\r\x1b[K${runs} runs: ${size}`)
    })
    clearLine()
    if (shrunk === null) {
      process.stderr.write(
        `spillway sim shrink: seed ${seed} keeps every promise with these parameters, so there is nothing to make smaller; give it a seed that fails, with the flags it fails with: spillway sim swarm finds one, and a run that fails says what to type\n`,
      )
      process.exitCode = Exit.Usage
      return
    }
    process.stdout.write(stringify({ seed, ...differences(shrunk.parameters) }))
    process.stderr.write(`${pc.red('BREACH')} ${shrunk.result.breach?.message ?? ''} (${shrunk.runs} runs)\n`)
    process.exitCode = Exit.Failed
  })
}

/** What a run took. */
interface Cost {
  readonly realMs: number
  /** Time on a processor, of all threads: garbage collection and compilers included. */
  readonly cpuMs: number
  /** Resident at its highest, octets. */
  readonly peakMemory: number
}

function costSince(startedAt: number, before: NodeJS.CpuUsage): Cost {
  const { user, system } = process.cpuUsage(before)
  return {
    realMs: performance.now() - startedAt,
    cpuMs: (user + system) / 1000,
    peakMemory: process.resourceUsage().maxRSS * 1024,
  }
}

// ---------------------------------------------------------------- the swarm

const seedLine = z.object({
  seed: z.number(),
  events: z.number(),
  /** Virtual time, ms. */
  endedAt: z.number(),
  breach: z.string().nullable(),
  task: z.number().nullable(),
})
type SeedLine = z.infer<typeof seedLine>

/** @returns how many seeds failed */
async function swarm(first: number, seeds: number, jobs: number): Promise<number> {
  const startedAt = performance.now()
  const bar = process.stderr.isTTY
    ? new cliProgress.SingleBar({
        format: 'seeds [{bar}] {value}/{total} | {failed} failed | {eta_formatted} left',
        stream: process.stderr,
        hideCursor: true,
      })
    : null
  const interruption = new Interruption(() => bar?.stop())
  bar?.start(seeds, 0, { failed: 0 })
  let next = first
  let done = 0
  let events = 0
  let failed = 0
  let virtualMs = 0
  const take = (line: SeedLine): void => {
    done++
    events += line.events
    virtualMs += line.endedAt
    if (line.breach !== null) {
      failed++
      if (bar !== null) clearLine()
      const replay = `spillway sim replay ${line.seed} --drawn${line.task === null ? '' : ` --task ${line.task}`}`
      process.stdout.write(
        `${pc.red('BREACH')} seed ${line.seed}: ${line.breach.split('\n')[0]}\n       ${pc.dim(replay)}\n`,
      )
    }
    bar?.update(done, { failed })
    // Where nobody watches, a file says how far it is.
    if (bar === null && done % Math.max(1, Math.ceil(seeds / 10)) === 0 && done < seeds)
      process.stderr.write(`${done} of ${seeds} seeds, ${failed} failed\n`)
  }
  const worker = async (): Promise<void> => {
    while (next < first + seeds) {
      const from = next
      const count = Math.min(CHUNK, first + seeds - from)
      next += count
      await child(from, count, take, interruption)
    }
  }
  try {
    await Promise.all(Array.from({ length: jobs }, worker))
  } finally {
    interruption.end()
  }
  const seconds = (performance.now() - startedAt) / 1000
  process.stdout.write(
    `${done} seeds from ${first} in ${seconds.toFixed(1)} s (${(done / seconds).toFixed(1)} seeds/s): ${(virtualMs / 3_600_000).toFixed(1)} simulated hours, ${events.toLocaleString('en')} events; ${swarmVerdict(failed, seeds - done)}\n`,
  )
  return failed + (seeds - done)
}

/** @param missing seeds that were not run, as their process ended before: they have kept nothing */
function swarmVerdict(failed: number, missing: number): string {
  const wrong: string[] = []
  if (failed > 0) wrong.push(`${failed} broke a promise`)
  if (missing > 0) wrong.push(`${missing} were not run, their process has ended before`)
  return wrong.length === 0 ? pc.green('every promise kept') : pc.red(wrong.join('; '))
}

function child(
  seed: number,
  seeds: number,
  take: (line: SeedLine) => void,
  interruption: Interruption,
): Promise<void> {
  const script = process.argv[1] ?? ''
  const args = [
    ...process.execArgv,
    script,
    'sim',
    'swarm',
    '--as-child',
    '--seed',
    `${seed}`,
    '--seeds',
    `${seeds}`,
  ]
  return new Promise((resolve, reject) => {
    const process_ = interruption.take(
      spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] }),
    )
    const lines = createInterface({ input: process_.stdout })
    lines.on('line', (line) => take(seedLine.parse(JSON.parse(line))))
    process_.on('error', reject)
    // Not when its lines end: whether a signal has ended it is known a little later.
    process_.on('close', () => resolve())
  })
}

// ---------------------------------------------------------------- flags

/** A flag for each parameter, a scenario file, and the swarm's own drawing. */
function withParameters(command: Command): Command {
  command.option('--scenario <file>', 'parameters from a YAML file; flags count more')
  command.option('--drawn', 'parameters as the swarm draws them from the seed; flags count more')
  const usual: { [key: string]: unknown } = parameters.parse({})
  const { properties } = jsonParameters.parse(
    z.toJSONSchema(parameters, { io: 'input', unrepresentable: 'any' }),
  )
  for (const [key, json] of Object.entries(properties)) {
    if (SCENARIO_ONLY.has(key)) continue
    const value = usual[key]
    const choices = json.enum ?? (json.items?.enum === undefined ? [] : [...json.items.enum, 'all', 'none'])
    const what = choices.length === 0 ? json.description : `${json.description}: ${choices.join(', ')}`
    const shown = Array.isArray(value) ? value.join(',') : String(value)
    const flag = typeof value === 'boolean' ? flagFor(key) : `${flagFor(key)} <value>`
    command.addOption(new Option(flag, `${what} (${rangeOf(json)}default: ${shown})`))
  }
  return command
}

const jsonParameter = z.looseObject({
  description: z.string().default(''),
  enum: z.array(z.string()).optional(),
  items: z.looseObject({ enum: z.array(z.string()).optional() }).optional(),
  minimum: z.number().optional(),
  exclusiveMinimum: z.number().optional(),
  maximum: z.number().default(Number.MAX_SAFE_INTEGER),
})
const jsonParameters = z.looseObject({ properties: z.record(z.string(), jsonParameter) })

/** What a number may be, where it may not be any that is not negative. */
function rangeOf({ minimum, exclusiveMinimum, maximum }: z.output<typeof jsonParameter>): string {
  if (maximum < Number.MAX_SAFE_INTEGER) return `${minimum ?? 0} to ${maximum}; `
  if (exclusiveMinimum !== undefined) return `above ${exclusiveMinimum}; `
  return minimum === undefined || minimum <= 0 ? '' : `at least ${minimum}; `
}

interface Wanted {
  readonly seed: number
  readonly parameters: Parameters
  /** Beside the seed, what to type to get them. */
  readonly typed: string
}

/** What is to be run. Ends the process with 78 when it cannot be. */
function wanted(flags: SimFlags, seedGiven: number | undefined): Wanted {
  const { scenario } = flags
  // What the file says is the file's fault, unless a flag says otherwise.
  let isInFile = (_field: string): boolean => true
  try {
    const file = scenario === undefined ? undefined : saidIn(textOf(scenario))
    isInFile = (field) => flags[field] === undefined && Object.hasOwn(file?.said ?? {}, field)
    const seed = seedGiven ?? file?.seed ?? Math.floor(Date.now() % 1e9)
    const base = { ...(flags.drawn ? drawParameters(seed) : parameters.parse({})), ...file?.said }
    const given: { [key: string]: unknown } = { ...base }
    for (const key of Object.keys(parameters.shape)) {
      if (flags[key] !== undefined) given[key] = parsed(key, flags[key])
    }
    const p = parameters.parse(given, { reportInput: true })
    return { seed, parameters: p, typed: givenFlags(p, base, flags) }
  } catch (error) {
    const fileOf = (field: string) => (isInFile(field) ? scenario : undefined)
    process.stderr.write(`${explain(error, 'run', fileOf)}\n`)
    process.exit(Exit.Config)
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const why = errorMessage(error)
    throw new ConfigurationError(`--scenario: ${why}; name a file that can be read`)
  }
}

function parsed(key: string, text: unknown): unknown {
  if (key === 'faults') return text === 'all' ? [...FAULTS] : text === 'none' ? [] : namesIn(String(text))
  if (typeof text !== 'string') return text
  const number = Number(text)
  return text.trim() === '' || Number.isNaN(number) ? text : number
}

function seedOf(text: string): number {
  return integerOf('seed', text)
}

/** Reads the number that a flag was given. Ends the process with 78 when it is none. */
function count(flag: string, least = 0, most = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => integerOf(flag, text, least, most)
}

/** Ends the process with 78 when it is none. */
function integerOf(field: string, text: string, least = 0, most = Number.MAX_SAFE_INTEGER): number {
  const integer = numberIn(text)
  if (Number.isSafeInteger(integer) && integer >= least && integer <= most) return integer
  const expected = `an integer from ${least} to ${most}`
  process.stderr.write(`${notA(field, text, expected).message}\n`)
  process.exit(Exit.Config)
}

/** Nothing is not 0. */
function numberIn(text: string): number {
  return text.trim() === '' ? Number.NaN : Number(text)
}

// ---------------------------------------------------------------- what is printed

function jsonOf(result: Result) {
  const { seed, summary, breach, faults } = result
  return {
    seed,
    summary,
    breach:
      breach === null
        ? null
        : { promise: breach.promise, at: breach.at, task: breach.task, message: breach.message },
    faults,
  }
}

function tell(seed: number, p: Parameters, s: Summary, { realMs, cpuMs }: Cost): string {
  const n = (value: number): string => Math.round(value).toLocaleString('en')
  const outcomes = Object.entries(s.outcomes).map(([code, count]) => `${code} ${n(count)}`)
  return [
    `${pc.green('Every promise kept.')} Seed ${seed}: ${p.clusters} clusters × ${p.workers} workers × ${p.clients} clients, ${(s.endedAt / 1000).toFixed(1)} s of virtual time in ${(realMs / 1000).toFixed(1)} s`,
    `  tasks     ${n(s.tasks)} sent, the last ${n(s.closing)} as a check; ${n(s.starts)} starts; ${outcomes.join(', ')}${s.abandoned > 0 ? `; ${n(s.abandoned)} whose client died` : ''}`,
    `  wait      ${s.meanWaitMs.toFixed(2)} ms on average to the start; ${(100 * s.lentShare).toFixed(1)} % ran in another cluster; both without the check`,
    `  faults    ${n(s.faults)}; all work done and everybody agreed ${(s.recoveredAfterMs / 1000).toFixed(1)} s after the last was healed`,
    `  events    ${n(s.events)}, ${n(s.messages)} messages; ${n((s.events / realMs) * 1000)} events/s, ${n((s.events / cpuMs) * 1000)} per CPU second; hash ${s.hash}`,
  ].join('\n')
}

function tellBreach(found: Result, p: Parameters, typed: string): void {
  const { result, checkBooksEvery } = shortestPrefix(found, p)
  const { breach, seed, events, endedAt } = result
  if (breach === null) return
  const { lines } = retell(seed, p, breach.task, LAST_LINES, { eventsMax: events })
  for (const line of lines) process.stdout.write(`${lineOf(line)}\n`)
  process.stdout.write(`${pc.red('BREACH')} seed ${seed}: ${breach.message}\n`)
  process.stdout.write(
    `Shortest prefix that shows it: the first ${events.toLocaleString('en')} events, ${endedAt.toFixed(3)} ms of virtual time.\n`,
  )
  const task = breach.task === null ? '' : ` --task ${breach.task}`
  const checked =
    checkBooksEvery === p.checkBooksEvery ? '' : ` ${flagFor('checkBooksEvery')} ${checkBooksEvery}`
  process.stdout.write(
    `Look closer: spillway sim replay ${seed}${typed}${task} --events ${events}${checked}\n`,
  )
  process.stdout.write(`Make it smaller: spillway sim shrink ${seed}${typed}\n`)
}

/** The flags that make these parameters, each with a space before it. @param base what they are without further flags */
function givenFlags(p: Parameters, base: { readonly [key: string]: unknown }, flags: SimFlags): string {
  const given = flags.drawn ? ['--drawn'] : []
  for (const [key, value] of Object.entries(differences(p, base))) {
    if (SCENARIO_ONLY.has(key)) continue
    const flag = flagFor(key)
    if (typeof value === 'boolean') given.push(flag)
    else given.push(`${flag} ${Array.isArray(value) ? value.join(',') || 'none' : value}`)
  }
  if (flags.scenario !== undefined) given.push(`--scenario ${quoted(flags.scenario)}`)
  return given.map((flag) => ` ${flag}`).join('')
}

/** As a shell takes it for one word. */
function quoted(word: string): string {
  return /^[\w./:=@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}

function beginningLeftOut(lines: number): string {
  return `The first ${lines.toLocaleString('en')} lines are left out: --events ends the run earlier, --task tells of one task, --last keeps more.`
}

function lineOf(line: { at: number; who: string; what: string; task: number | null }): string {
  const task = line.task === null ? '' : pc.cyan(` #${line.task}`)
  return `${line.at.toFixed(3).padStart(12)} ${pc.bold(line.who)}${task} ${line.what}`
}

function progressLine(): (at: number) => void {
  if (!process.stderr.isTTY) return () => {}
  let shownAt = 0
  return (at) => {
    const now = performance.now()
    if (now - shownAt < 200) return
    shownAt = now
    process.stderr.write(`\r\x1b[K${(at / 1000).toFixed(1)} s of virtual time`)
  }
}

function clearLine(): void {
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
}
