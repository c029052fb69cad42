import { constants } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import { Command, InvalidArgumentError } from 'commander'
import { createLogUpdate } from 'log-update'
import pc from 'picocolors'
import type { BrokerStatus } from '../broker/status.ts'
import { AdminError, adminUrl, fetchStatus } from './admin-client.ts'
import { Exit } from './exit-status.ts'
import { clusterRows, picture, plainLine } from './federation-view.ts'
import { complain, duration, httpOption } from './status.ts'

interface Flags {
  readonly http: string
  readonly interval: number
  readonly once?: true
}

/** Between the two samples that `--once` needs for its rates, ms. */
const ONCE_MS = 500
const CTRL_C = '\x03'

/** `spillway top`: the federation, live, as one broker knows it. */
export function topCommand(): Command {
  return new Command('top')
    .description('watch the whole federation through any one broker')
    .addOption(httpOption())
    .option('--interval <seconds>', 'between samples, 0.1 to 3600', seconds, 1)
    .option('--once', 'show it once, and end')
    .addHelpText(
      'after',
      `
Examples:
  $ spillway top --http 127.0.0.1:9464
  $ spillway top --http 127.0.0.1:9464 --interval 5 >> federation.log

The broker that is asked is marked with *. It knows itself exactly, its peers by their last states: LENT and BORROWED of a peer are
the tasks between the two, TASKS/S those that they sent each other. q or Ctrl-C ends it. Where stdout is no terminal it
prints a line a cluster and sample.

Exit status: 0 ended with q; 1 it is no broker that answers; 2 usage; 69 nobody answers; 130 ended with Ctrl-C.`,
    )
    .action(async (flags: Flags, command: Command) => {
      const url = adminUrl(flags.http)
      if (url === null)
        command.error(`error: --http ${flags.http}: expected host:port`, { exitCode: Exit.Usage })
      try {
        process.exitCode = flags.once ? await once(url) : await new Watch(url, flags.interval * 1000).run()
      } catch (error) {
        process.exitCode = complain('top', error)
      }
    })
}

function seconds(text: string): number {
  const value = Number(text)
  if (value >= 0.1 && value <= 3600) return value
  throw new InvalidArgumentError('Expected a number of seconds from 0.1 to 3600.')
}

async function once(url: URL): Promise<number> {
  const before = await fetchStatus(url)
  await pause(ONCE_MS)
  process.stdout.write(`${screen(await fetchStatus(url), before)}\n`)
  return Exit.Ok
}

function screen(status: BrokerStatus, before: BrokerStatus | null): string {
  const rows = clusterRows(status, before)
  const slots = rows.reduce((sum, row) => sum + row.slots, 0)
  const free = rows.reduce((sum, row) => sum + row.free, 0)
  const up = rows.filter(({ phase }) => phase === 'up').length
  return [
    `${pc.bold('spillway top')}  ${up} of ${rows.length} clusters up, ${slots - free} of ${slots} slots busy  ${pc.dim(`seen by ${status.name}, up ${duration(status.uptimeMs)}`)}`,
    '',
    picture(rows, process.stdout.columns || undefined),
  ].join('\n')
}

/** Samples until it is ended. Once the broker has answered, a silence is shown and waited out: it may be restarting. */
class Watch {
  readonly #url: URL
  readonly #intervalMs: number
  readonly #live = process.stdout.isTTY === true
  readonly #view = createLogUpdate(process.stdout)
  readonly #ending = new AbortController()
  #exit: number = Exit.Ok
  #before: BrokerStatus | null = null

  constructor(url: URL, intervalMs: number) {
    this.#url = url
    this.#intervalMs = intervalMs
  }

  async run(): Promise<number> {
    this.#listen()
    try {
      while (!this.#ending.signal.aborted) {
        await this.#sample()
        await pause(this.#intervalMs, undefined, { signal: this.#ending.signal }).catch(() => {})
      }
    } finally {
      if (this.#live) this.#view.done()
      if (process.stdin.isTTY) process.stdin.setRawMode(false)
      process.stdin.pause()
    }
    return this.#exit
  }

  async #sample(): Promise<void> {
    try {
      const status = await fetchStatus(this.#url)
      if (this.#live) this.#view(`${screen(status, this.#before)}\n\n${pc.dim('q to end')}`)
      else
        for (const row of clusterRows(status, this.#before))
          process.stdout.write(`${plainLine(new Date(), row)}\n`)
      this.#before = status
    } catch (error) {
      if (!(error instanceof AdminError) || !error.unreachable || this.#before === null || !this.#live)
        throw error
      this.#view(`${screen(this.#before, null)}\n\n${pc.red(error.message)}\n${pc.dim('q to end')}`)
    }
  }

  #listen(): void {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => this.#end(128 + constants.signals[signal]))
    }
    if (!this.#live || !process.stdin.isTTY) return
    process.stdin.setRawMode(true)
    process.stdin.resume()
    process.stdin.on('data', (keys: Buffer) => {
      const text = keys.toString('latin1')
      if (text.includes(CTRL_C)) this.#end(128 + constants.signals.SIGINT)
      else if (/q/i.test(text)) this.#end(Exit.Ok)
    })
  }

  #end(status: number): void {
    this.#exit = status
    this.#ending.abort()
  }
}
