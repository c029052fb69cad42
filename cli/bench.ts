import { Command, Option } from 'commander'
import type { Histogram } from 'hdr-histogram-js'
import { Client, type Reply, SpillwayError, TimeoutError, UnavailableError } from '../client/main.ts'
import { ConfigurationError } from '../settings/configuration-error.ts'
import { Load, type LoadResult, UNITS_PER_MS } from './bench/load.ts'
import { type BenchConfig, benchSchema } from './bench-config.ts'
import { resolveConfiguration } from './configuration.ts'
import { Exit } from './exit-status.ts'
import { addSettingFlags, settingFlags, settingSources } from './setting-flags.ts'

interface Flags {
  readonly config?: string
  readonly output: 'text' | 'json'
}

/** A task is given up after so long; in an open loop others go on meanwhile. */
const TASK_TIME_MS = 30_000
const WORKERS_SHOWN = 10

/** `spillway bench`: puts load on a federation that runs, and says what it bears. */
export function benchCommand(): Command {
  const command = new Command('bench')
    .description('put load on a broker and show throughput, latency and where the tasks ran')
    .option('-c, --config <file>', 'YAML file with the settings below')
    .addOption(new Option('-o, --output <format>', 'text or json').choices(['text', 'json']).default('text'))
  addSettingFlags(command, benchSchema)
  return command.addHelpText('after', EXAMPLES).action(async (flags: Flags, self: Command) => {
    let config: BenchConfig
    try {
      config = resolveConfiguration({
        schema: benchSchema,
        flags: settingFlags(self, benchSchema),
        env: process.env,
        file: flags.config ?? (process.env.SPILLWAY_CONFIG || undefined),
      }).values
    } catch (error) {
      if (!(error instanceof ConfigurationError)) throw error
      process.stderr.write(`${error.message}\n`)
      process.exitCode = Exit.Config
      return
    }
    process.exitCode = await run(config, flags)
  })
}

const EXAMPLES = `
Examples:
  $ spillway bench --connect tcp://127.0.0.1:5555
  $ spillway bench --connect tcp://127.0.0.1:5555 --outstanding 1000 --size 1024 --duration 30
  $ spillway bench --connect tcp://127.0.0.1:5555 --rate 5000 --service resize -o json

Without a rate tasks are kept outstanding, which shows what the federation can do; with one, latency counts from when each
task was due, which shows what its users see. The workers do real tasks: what they are sent is the alphabet.

${settingSources('outstanding')}

Exit status: 0 done; 1 tasks failed; 2 usage; 69 no broker reached; 75 nobody answers; 78 bad configuration.`

async function run(config: BenchConfig, flags: Flags): Promise<number> {
  const { connect, service, size, outstanding, rate, duration, warmup } = config
  await using client = new Client({
    connect,
    service,
    outstandingMax: Math.max(outstanding, rate > 0 ? 1_000_000 : 1),
  })
  const body = Buffer.alloc(size, 'abcdefghijklmnopqrstuvwxyz')
  const tally = new Tally()
  try {
    // One by itself: whether anybody is there is better asked before there are a thousand.
    await client.request(body)
  } catch (error) {
    if (!(error instanceof SpillwayError)) throw error
    process.stderr.write(`spillway: ${error.message}\n`)
    if (error instanceof UnavailableError) return Exit.Unreachable
    return error instanceof TimeoutError ? Exit.TimedOut : Exit.Failed
  }
  const options = { deadlineMs: TASK_TIME_MS }
  let measuring = false
  const load: Load = new Load(
    { outstanding, rate, warmupMs: warmup * 1000, measureMs: duration * 1000 },
    {
      issue: (slot, sequence) => {
        client.request(body, options).then(
          (reply) => {
            load.answered(slot, sequence, performance.now())
            if (measuring) tally.ran(reply)
          },
          (error: unknown) => {
            load.failed(slot, sequence)
            tally.failed(error)
          },
        )
      },
      flush: () => {},
      opened: () => {
        measuring = true
      },
      closed: () => {
        measuring = false
      },
    },
  )
  const result = await load.done
  process.stdout.write(
    flags.output === 'json'
      ? `${JSON.stringify(asJson(config, result, tally))}\n`
      : asText(config, result, tally),
  )
  return result.failed + result.lost === 0 ? Exit.Ok : Exit.Failed
}

/** Where tasks ran, and why others did not. */
class Tally {
  readonly clusters = new Map<string, number>()
  readonly workers = new Map<string, number>()
  readonly codes = new Map<string, number>()

  ran({ cluster, worker }: Reply): void {
    this.clusters.set(cluster, (this.clusters.get(cluster) ?? 0) + 1)
    const name = `${cluster}/${worker}`
    this.workers.set(name, (this.workers.get(name) ?? 0) + 1)
  }

  failed(error: unknown): void {
    const code = error instanceof SpillwayError ? error.code : String(error)
    this.codes.set(code, (this.codes.get(code) ?? 0) + 1)
  }
}

const PERCENTILES = [
  ['p50', 50],
  ['p90', 90],
  ['p99', 99],
  ['p99.9', 99.9],
] as const

function asJson({ connect: _, ...terms }: BenchConfig, result: LoadResult, tally: Tally): object {
  const { seconds, tasks, failed, lost, latency } = result
  return {
    terms,
    seconds,
    tasks,
    tasksPerSecond: tasks / seconds,
    failed,
    lost,
    codes: Object.fromEntries(tally.codes),
    latencyMs: {
      ...Object.fromEntries(
        PERCENTILES.map(([name, percentile]) => [name, milliseconds(latency, percentile)]),
      ),
      max: latency.maxValue / UNITS_PER_MS,
    },
    clusters: Object.fromEntries(tally.clusters),
    workers: Object.fromEntries(tally.workers),
  }
}

function asText({ rate, outstanding, size }: BenchConfig, result: LoadResult, tally: Tally): string {
  const { seconds, tasks, failed, lost, latency } = result
  const how = rate > 0 ? `${rate} tasks/s asked for` : `${outstanding} outstanding`
  const lines = [
    `${tasks} tasks of ${size} octets in ${seconds.toFixed(1)} s, ${how}: ${Math.round(tasks / seconds)} tasks/s`,
    `latency${rate > 0 ? ' from when they were due' : ''}: ${PERCENTILES.map(([name, percentile]) => `${name} ${milliseconds(latency, percentile).toFixed(2)} ms`).join(', ')}, max ${(latency.maxValue / UNITS_PER_MS).toFixed(2)} ms`,
  ]
  lines.push(`by cluster: ${shares(tally.clusters, tally.clusters.size)}`)
  lines.push(`by worker: ${shares(tally.workers, WORKERS_SHOWN)}`)
  if (failed > 0) {
    lines.push(`${failed} failed: ${[...tally.codes].map(([code, count]) => `${code} ${count}`).join(', ')}`)
  }
  if (lost > 0) lines.push(`${lost} were not answered in time: the rate is more than the federation bears`)
  return `${lines.join('\n')}\n`
}

function shares(counts: ReadonlyMap<string, number>, shown: number): string {
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0)
  const sorted = [...counts].sort(([, a], [, b]) => b - a)
  const named = sorted
    .slice(0, shown)
    .map(([name, count]) => `${name} ${((100 * count) / total).toFixed(1)} %`)
  if (sorted.length > shown) named.push(`and ${sorted.length - shown} more`)
  return named.length === 0 ? 'none' : named.join(', ')
}

function milliseconds(latency: Histogram, percentile: number): number {
  // A percentile is the upper end of its bucket, which the largest value need not reach.
  const value = Math.min(latency.getValueAtPercentile(percentile), latency.maxValue)
  return latency.totalCount === 0 ? 0 : value / UNITS_PER_MS
}
