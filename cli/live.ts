import { rmSync } from 'node:fs'
import { constants } from 'node:os'
import { Command, Option } from 'commander'
import { writeReport } from '../report/write.ts'
import { ConfigurationError } from '../settings/configuration-error.ts'
import { errorMessage } from '../settings/error-message.ts'
import { flagOf, resolveConfiguration } from './configuration.ts'
import { Exit } from './exit-status.ts'
import { SIGNALS } from './interruption.ts'
import { Board } from './live/board.ts'
import { Director } from './live/director.ts'
import { picture } from './live/live-view.ts'
import { LIVE_FAULTS, type LiveParameters, liveParameters } from './live/parameters.ts'
import { plainWords } from './live/plain-words.ts'
import { reportOf } from './live/report.ts'
import { verdict } from './live/verdict.ts'
import { PlainView } from './plain-view.ts'
import { killAll } from './process/leashed-process.ts'
import { prepareReport, writtenReport } from './report-folder.ts'
import { addSettingFlags, settingFlags } from './setting-flags.ts'
import { isRoomy, LiveView } from './terminal-view.ts'

const FRAME_MS = 125

interface LiveFlags {
  readonly report?: string
  readonly output: 'text' | 'json'
}

/** `spillway sim live`: real processes on this machine, killed for real. */
export function liveCommand(): Command {
  const command = new Command('live').description(
    'run clusters as real processes on this machine, kill and freeze them at random, and check what is promised',
  )
  addSettingFlags(command, liveParameters)
  return command
    .option('--report <folder>', 'write report.html and report.json into this folder')
    .addOption(
      new Option('-o, --output <form>', 'of what is said at the end')
        .choices(['text', 'json'])
        .default('text'),
    )
    .addHelpText('after', EXAMPLES)
    .action(async (flags: LiveFlags, self: Command) => {
      let p: LiveParameters
      try {
        p = resolveConfiguration({
          schema: liveParameters,
          flags: settingFlags(self, liveParameters),
          env: {},
        }).values
      } catch (error) {
        if (!(error instanceof ConfigurationError)) throw error
        process.stderr.write(`${error.message}\nSee spillway sim live --help.\n`)
        process.exitCode = Exit.Config
        return
      }
      if (flags.report !== undefined) prepareReport(flags.report)
      process.exitCode = await perform(p, flags, commandLine(settingFlags(self, liveParameters)))
    })
}

const EXAMPLES = `
Examples:
  $ spillway sim live --clusters 3 --workers 20 --clients 50 --kill-every 2s --duration 60s --seed 7
  $ spillway sim live --duration 5m --report live-report
  $ spillway sim live --faults partition,one-way,slow --link-every 500ms --duration 20s
  $ spillway sim live --faults cluster --kill-every 5s --hot 8

Times are given as in 500ms, 2s, 5m or 1h. Faults are ${LIVE_FAULTS.slice(0, 6).join(', ')},
${LIVE_FAULTS.slice(6).join(', ')}, all or none. The same seed plans the same faults; what comes
of them is up to this machine.

Exit status: 0 when every promise was kept, 1 when not, 74 when only the report could not be written, 78 for parameters that make
no sense, 130 when interrupted. No process is left behind.`

async function perform(p: LiveParameters, flags: LiveFlags, typed: string): Promise<number> {
  const stage = flags.output === 'json' ? process.stderr : process.stdout
  const board = new Board(performance.now())
  const view = isRoomy(stage) ? new LiveView(stage, picture) : new PlainView(stage, plainWords)
  const director = new Director(p, board)
  let keep = false
  const leave = (status: number) => {
    killAll()
    view.end()
    process.exit(status)
  }
  process.once('exit', () => {
    if (!keep) rmSync(director.folder, { recursive: true, force: true })
  })
  for (const signal of SIGNALS) {
    process.once(signal, () => leave(128 + constants.signals[signal]))
  }
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    process.once(event, (error) => {
      console.error(error)
      leave(Exit.Failed)
    })
  }
  const drawing = setInterval(() => view.draw(board, performance.now()), FRAME_MS)
  try {
    const outcome = await director.run()
    clearInterval(drawing)
    view.draw(board, performance.now())
    view.end()
    const good = outcome.judge.brokenCount() === 0
    keep = !good
    const report = reportOf(p, outcome, typed)
    if (flags.output === 'json') process.stdout.write(`${JSON.stringify(report, null, 2)}\n`)
    else process.stdout.write(`\n${verdict(p, outcome)}\n`)
    const at = flags.report
    const paths = at === undefined ? [] : writtenReport(() => writeReport(at, report))
    if (paths !== null && paths.length > 0) stage.write(`Report: ${paths.join(', ')}\n`)
    outcome.ledger.close()
    if (!good) return Exit.Failed
    return paths === null ? Exit.NotWritten : Exit.Ok
  } catch (error) {
    clearInterval(drawing)
    view.end()
    console.error(`spillway sim live: ${errorMessage(error)}`)
    return Exit.Failed
  } finally {
    killAll()
  }
}

/** What to type to get this run again. */
function commandLine(given: Readonly<Record<string, unknown>>): string {
  const words = Object.entries(given)
    .filter(([, value]) => value !== undefined)
    .map(([field, value]) => `--${flagOf({ field, type: 'text' })} ${String(value)}`)
  return ['spillway sim live', ...words].join(' ')
}
