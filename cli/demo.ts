import { existsSync, statSync } from 'node:fs'
import { constants } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Command, InvalidArgumentError, Option } from 'commander'
import { errorMessage } from '../settings/error-message.ts'
import { Director, NAMES, SLOTS } from './demo/director.ts'
import { picture } from './demo/live-view.ts'
import { Pieces } from './demo/pieces.ts'
import { plainWords } from './demo/plain-words.ts'
import { Scene } from './demo/scene.ts'
import { judge, verdictTables } from './demo/verdict.ts'
import { SIGNALS } from './interruption.ts'
import { PlainView } from './plain-view.ts'
import { killAll } from './process/leashed-process.ts'
import { isRoomy, LiveView } from './terminal-view.ts'

const DURATION_S = 26
const QUICK_DURATION_S = 6
const DURATION_MIN_S = 4
/** Starting, bringing back and ending take up to ten seconds more, and a minute is what an audience bears. */
const DURATION_MAX_S = 45
const FRAME_MS = 125

interface DemoOptions {
  readonly duration: number
  readonly quick?: boolean
  readonly output: 'table' | 'json'
}

/** `spillway demo`: three clusters on this machine, one killed and brought back under load. */
export function demoCommand(): Command {
  return new Command('demo')
    .description(
      'show three clusters on this machine that lend each other workers, while one of them is killed',
    )
    .argument('[folder]', 'compress and hash the files below it; by default those of Spillway itself')
    .option(
      '--duration <seconds>',
      `how long to show it, ${DURATION_MIN_S} to ${DURATION_MAX_S}; starting and ending come on top`,
      seconds,
      DURATION_S,
    )
    .option('--quick', `the same as --duration ${QUICK_DURATION_S}`)
    .addOption(
      new Option('-o, --output <form>', 'of what is said at the end')
        .choices(['table', 'json'])
        .default('table'),
    )
    .addHelpText(
      'after',
      `
Examples:
  $ spillway demo
  $ spillway demo /usr/share/doc --duration 40

Exit status: 0 when every task got its right answer exactly once, 1 when not, 2 for wrong usage,
130 when interrupted. No process is left behind.`,
    )
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
    .action(async (folder: string | undefined, options: DemoOptions, command: Command) => {
      const from = folder === undefined ? packageFolder() : resolve(folder)
      if (!existsSync(from) || !statSync(from).isDirectory()) {
        command.error(`error: ${from} is not a folder: name one that has files in it`, { exitCode: 2 })
      }
      // The clients will read it for themselves; here, somebody is told at once when there is nothing to read.
      await Pieces.below(from).catch((error: Error) =>
        command.error(`error: ${error.message}`, { exitCode: 2 }),
      )
      process.exitCode = await perform(from, options)
    })
}

async function perform(folder: string, options: DemoOptions): Promise<number> {
  const stage = options.output === 'json' ? process.stderr : process.stdout
  const scene = new Scene(NAMES, SLOTS, performance.now())
  const view = isRoomy(stage) ? new LiveView(stage, picture) : new PlainView(stage, plainWords)
  const leave = (status: number) => {
    killAll()
    view.end()
    process.exit(status)
  }
  for (const signal of SIGNALS) {
    process.once(signal, () => leave(128 + constants.signals[signal]))
  }
  process.once('uncaughtException', (error) => {
    console.error(error)
    leave(1)
  })
  const drawing = setInterval(() => view.draw(scene, performance.now()), FRAME_MS)
  try {
    const durationMs = (options.quick === true ? QUICK_DURATION_S : options.duration) * 1000
    const verdict = judge(await new Director(scene, folder, durationMs).run())
    clearInterval(drawing)
    view.draw(scene, performance.now())
    view.end()
    if (options.output === 'json') process.stdout.write(`${JSON.stringify(verdict, null, 2)}\n`)
    else process.stdout.write(`\n${verdictTables(verdict)}\n`)
    return verdict.good ? 0 : 1
  } catch (error) {
    clearInterval(drawing)
    view.end()
    console.error(`spillway demo: ${errorMessage(error)}`)
    return 1
  } finally {
    killAll()
  }
}

function seconds(text: string): number {
  const value = Number(text)
  if (value >= DURATION_MIN_S && value <= DURATION_MAX_S) return value
  throw new InvalidArgumentError(`Expected a number from ${DURATION_MIN_S} to ${DURATION_MAX_S}.`)
}

/** Where Spillway's own package.json is: above the compiled files as above the sources. */
function packageFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'package.json'))) {
    const above = dirname(folder)
    if (above === folder) return process.cwd()
    folder = above
  }
  return folder
}
