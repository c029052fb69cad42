#!/usr/bin/env node
import { Command, CommanderError } from 'commander'
import { VERSION } from '../broker/io/version.ts'
import { Exit } from './exit-status.ts'

interface Verb {
  readonly description: string
  /** Only the verb that is wanted is loaded: the others' libraries would cost half a second at each start. */
  readonly load: () => Promise<Command>
}

const VERBS: { readonly [verb: string]: Verb } = {
  broker: {
    description: "run a cluster's broker",
    load: async () => (await import('./broker.ts')).brokerCommand(),
  },
  worker: {
    description: 'do tasks, with a program or a JavaScript module',
    load: async () => (await import('./worker.ts')).workerCommand(),
  },
  request: {
    description: 'send a task, or one for each line of stdin, and print the answer',
    load: async () => (await import('./request.ts')).requestCommand(),
  },
  status: {
    description: 'show what a broker says of itself and its peers',
    load: async () => (await import('./status.ts')).statusCommand(),
  },
  top: {
    description: 'watch the whole federation through any one broker',
    load: async () => (await import('./top.ts')).topCommand(),
  },
  bench: {
    description: 'put load on a broker and show throughput, latency and where the tasks ran',
    load: async () => (await import('./bench.ts')).benchCommand(),
  },
  demo: {
    description:
      'show three clusters on this machine that lend each other workers, while one of them is killed',
    load: async () => (await import('./demo.ts')).demoCommand(),
  },
  sim: {
    description:
      'let brokers, workers and clients die, freeze and be cut off, simulated or for real, and check what is promised',
    load: async () => (await import('./sim.ts')).simCommand(),
  },
  completion: {
    description: 'print a script that completes verbs and flags in your shell',
    load: async () => (await import('./completion.ts')).completionCommand(allVerbs),
  },
}

async function allVerbs(): Promise<Command[]> {
  return await Promise.all(Object.values(VERBS).map(({ load }) => load()))
}

function program(): Command {
  return new Command('spillway')
    .description('Clusters that lend each other workers: a task broker on ZeroMQ.')
    .version(VERSION, '-V, --version')
    .helpCommand('help [verb]', 'show what a verb takes')
    .showHelpAfterError('(add --help for what can be given)')
    .addHelpText(
      'after',
      `
Example:
  $ spillway broker --name west --http 127.0.0.1:9464
  $ spillway worker --connect tcp://127.0.0.1:5556 --slots 4 -- tr a-z A-Z
  $ spillway request --connect tcp://127.0.0.1:5555 "hello"

spillway <verb> --help has an example for every verb. Data goes to stdout, logs to stderr; NO_COLOR is honoured.
Exit status: 0 ok; 1 failure; 2 usage; 69 unreachable; 75 timed out; 78 bad configuration; 128 + n on signal n.`,
    )
    .exitOverride()
}

async function main(args: readonly string[]): Promise<void> {
  const spillway = program()
  const wanted = args[0] === 'help' ? args[1] : args[0]
  for (const [name, { description, load }] of Object.entries(VERBS)) {
    if (name === wanted) spillway.addCommand(inheriting(spillway, await load()))
    else spillway.command(name).description(description)
  }
  try {
    await spillway.parseAsync([...args], { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    // What commander finds wrong by itself is wrong usage; what a verb finds wrong has its own status.
    const usage = error.exitCode === 1 && error.code !== 'commander.error'
    process.exitCode = usage ? Exit.Usage : error.exitCode
  }
}

/** Errors of a verb, and of the verbs below it, come out here as well. */
function inheriting(above: Command, command: Command): Command {
  command.copyInheritedSettings(above)
  for (const below of command.commands) inheriting(command, below)
  return command
}

process.stdout.on('error', (error: Error) => {
  // What a worker's handlers print is not what it is there for.
  if (process.argv[2] === 'worker') return
  // Whoever read has had enough (`| head`): nothing is wrong.
  if ('code' in error && error.code === 'EPIPE') process.exit(Exit.Ok)
  process.stderr.write(`spillway: stdout cannot be written to, and nothing more is done: ${error.message}\n`)
  process.exit(Exit.NotWritten)
})
// Whoever read the complaints has gone: nobody can be told.
process.stderr.on('error', () => {})

await main(process.argv.slice(2))
