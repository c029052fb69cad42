import Table from 'cli-table3'
import { Command, Option } from 'commander'
import pc from 'picocolors'
import type { BrokerStatus } from '../broker/status.ts'
import { AdminError, adminUrl, fetchStatus, HTTP_DEFAULT } from './admin-client.ts'
import { Exit } from './exit-status.ts'

const WORKERS_SHOWN = 20

interface Flags {
  readonly http: string
  readonly output: 'table' | 'json'
}

/** `spillway status`: one look at a broker. */
export function statusCommand(): Command {
  return new Command('status')
    .description('show what a broker says of itself and its peers')
    .addOption(httpOption())
    .addOption(
      new Option('-o, --output <form>', 'how to print it').choices(['table', 'json']).default('table'),
    )
    .addHelpText(
      'after',
      `
Examples:
  $ spillway status --http 127.0.0.1:9464
  $ spillway status --http 127.0.0.1:9464 -o json | jq .queued

Exit status: 0 ok; 1 it is no broker that answers; 2 usage; 69 nobody answers.`,
    )
    .action(async (flags: Flags, command: Command) => {
      const url = adminUrl(flags.http)
      if (url === null)
        command.error(`error: --http ${flags.http}: expected host:port`, { exitCode: Exit.Usage })
      try {
        const status = await fetchStatus(url)
        process.stdout.write(
          `${flags.output === 'json' ? JSON.stringify(status, null, 2) : tables(status)}\n`,
        )
      } catch (error) {
        process.exitCode = complain('status', error)
      }
    })
}

export function httpOption(): Option {
  return new Option('--http <host:port>', "a broker's admin HTTP").env('SPILLWAY_HTTP').default(HTTP_DEFAULT)
}

/** @returns the exit status for it */
export function complain(verb: string, error: unknown): number {
  if (!(error instanceof AdminError)) throw error
  process.stderr.write(`spillway ${verb}: ${error.message}\n`)
  return error.unreachable ? Exit.Unreachable : Exit.Failed
}

/** A status as people read it. */
export function tables(status: BrokerStatus): string {
  const { inFlight, workers, counters } = status
  const { native, req, ppp } = workers.byDialect
  const state = status.draining
    ? pc.yellow('draining')
    : status.ready
      ? pc.green('ready')
      : pc.red('not ready')
  const overview = plainTable([
    ['broker', `${pc.bold(status.name)}  ${state}`],
    ['version', `${status.version}, up ${duration(status.uptimeMs)}, epoch ${status.epoch}`],
    ['slots', `${status.busy} of ${status.slots} busy, ${status.free} free`],
    [
      'queue',
      `${status.queued}${status.deferred === 0 ? '' : `, and ${status.deferred} wait for the retry budget`}`,
    ],
    [
      'in flight',
      `${inFlight.local} here, ${inFlight.peer} lent to peers, ${inFlight.guest} borrowed from peers`,
    ],
    ['workers', `${workers.total} (native ${native}, REQ ${req}, Paranoid Pirate ${ppp})`],
    [
      'tasks',
      `${sum(counters.received)} received, ${sum(counters.completed)} completed, ${sum(counters.redispatched)} run again`,
    ],
  ])
  const parts = [overview]
  if (status.peers.length > 0) {
    parts.push(
      table(
        ['peer', 'phase', 'slots free', 'queue', 'lent', 'borrowed', 'round trip', 'state age', 'address'],
        status.peers.map((peer) => [
          peer.name === '' ? '?' : peer.name,
          paintPhase(peer.phase),
          `${peer.slots.free}/${peer.slots.total}`,
          String(peer.queueDepth),
          String(peer.lent),
          String(peer.borrowed),
          peer.roundTripMs === 0 ? '–' : `${peer.roundTripMs.toFixed(1)} ms`,
          peer.stateAgeMs === null ? '–' : `${peer.stateAgeMs} ms`,
          peer.address,
        ]),
      ),
    )
  }
  if (status.services.length > 0) {
    parts.push(
      table(
        ['service', 'queued', 'slots free', 'workers'],
        status.services.map(({ service, queued, free, slots, workers: serving }) => [
          service === '' ? '(anonymous)' : service,
          String(queued),
          `${free}/${slots}`,
          String(serving),
        ]),
      ),
    )
  }
  if (workers.list.length > 0) {
    const shown = workers.list.slice(0, WORKERS_SHOWN)
    parts.push(
      table(
        ['worker', 'dialect', 'busy', 'services', 'silent for'],
        shown.map(({ name, dialect, busy, slots, services, silentForMs }) => [
          name,
          dialect,
          `${busy}/${slots}`,
          services.map((service) => service || '(anonymous)').join(', '),
          `${silentForMs} ms`,
        ]),
      ),
    )
    if (workers.total > shown.length)
      parts.push(pc.dim(`… and ${workers.total - shown.length} more workers; -o json lists a thousand`))
  }
  return parts.join('\n')
}

export function paintPhase(phase: string): string {
  return phase === 'up'
    ? pc.green(phase)
    : phase === 'lost' || phase === 'refused'
      ? pc.red(phase)
      : pc.yellow(phase)
}

function table(head: string[], rows: string[][]): string {
  const made = new Table({ head, style: { head: [], border: [], compact: true } })
  made.push(...rows)
  return made.toString()
}

function plainTable(rows: [string, string][]): string {
  return rows.map(([key, value]) => `${pc.dim(key.padEnd(10))} ${value}`).join('\n')
}

export function duration(ms: number): string {
  const seconds = Math.floor(ms / 1000)
  if (seconds < 120) return `${seconds} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 120) return `${minutes} min`
  const hours = Math.floor(minutes / 60)
  return hours < 48 ? `${hours} h` : `${Math.floor(hours / 24)} d`
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0)
}
