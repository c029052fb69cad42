import { constants, hostname } from 'node:os'
import { Command, Option } from 'commander'
import type { Logger } from 'pino'
import { type WorkerCommandConfig, workerCommandSchema } from '../worker/config.ts'
import { ConfigurationError, Worker } from '../worker/main.ts'
import { Exit } from './exit-status.ts'
import { warnOfStrayVariables } from './stray-variables.ts'
import { type Ending, Supervisor, spawnSelf } from './supervisor.ts'
import { resolveWorkerConfig } from './worker-config.ts'
import { stderrLog } from './worker-log.ts'

/** A status above this is that of a signal. */
const SIGNAL_STATUS = 128

/** Set for a worker that is supervised, so that it does not become a supervisor itself. */
const SUPERVISED = 'SPILLWAY_SUPERVISED'

interface Flags {
  readonly connect?: string[]
  readonly config?: string
  readonly slots?: unknown
  readonly service?: string[]
  readonly name?: string
  readonly handler?: string
  readonly isolate?: true
  readonly restart?: true
  readonly heartbeatInterval?: unknown
  readonly liveness?: unknown
  readonly bodyMax?: unknown
  readonly drainDeadline?: unknown
  readonly killGrace?: unknown
  readonly logLevel?: string
}

/** `spillway worker`: does tasks, with a program or a module. */
export function workerCommand(): Command {
  return new Command('worker')
    .description('do tasks for a broker: each with a program, or with a handler in a module')
    .usage('[options] (-- program [arguments...] | --handler module)')
    .argument('[program...]', 'run for each task: its body on stdin, its result from stdout')
    .option('--connect <endpoint>', 'a broker’s localbe; may be given again: tried in this order', collect)
    .option('-c, --config <file>', 'YAML file with the same settings (connect, slots, services, program, …)')
    .option('--slots <n>', 'tasks at once (default: 1)')
    .option(
      '--service <name>',
      'what tasks to take; may be given again (default: those that name none)',
      collect,
    )
    .option('--name <name>', 'what logs and replies call it (default: host name and process id)')
    .option('--handler <file>', 'module whose default export, or "handler", does the tasks')
    .option('--isolate', 'run the handler in child processes: what blocks or crashes costs its own task only')
    .option('--restart', 'supervise: start the worker again whenever it dies')
    .option('--heartbeat-interval <ms>', 'between heartbeats (default: 1000)')
    .option('--liveness <n>', 'heartbeats a broker may miss before it counts as gone (default: 3)')
    .option('--body-max <octets>', 'largest task taken (default: 67108864)')
    .option('--drain-deadline <ms>', 'time for tasks under way after SIGTERM (default: 30000)')
    .option('--kill-grace <ms>', 'from asking a task’s processes to end to killing them (default: 1000)')
    .addOption(
      new Option('--log-level <level>', 'what goes to stderr (default: info)').choices([
        'debug',
        'info',
        'warn',
        'error',
        'silent',
      ]),
    )
    .addHelpText('after', EXAMPLES)
    .exitOverride((error) => process.exit(error.exitCode === 0 ? Exit.Ok : Exit.Usage))
    .action(async (program: string[], flags: Flags, command: Command) => {
      if (program.length > 0 && flags.handler !== undefined) {
        command.error('error: a program and --handler do not go together: leave one of them out', {
          exitCode: Exit.Usage,
        })
      }
      process.exitCode = await run(program, flags)
    })
}

const EXAMPLES = `
Examples:
  $ spillway worker --connect tcp://127.0.0.1:5556 --slots 4 -- ./transcode.sh --fast
  $ spillway worker --connect tcp://127.0.0.1:5556 --service resize -- convert - -resize 50% -
  $ spillway worker --connect tcp://127.0.0.1:5556 --slots 4 --handler ./handler.mjs --isolate --restart
  $ spillway worker -c worker.yaml

A program gets the task's body on stdin; what it writes to stdout is the result, piece by piece if the client asked for
a stream. A status other than 0 is an error reply (TASK_FAILED) with the end of its stderr. Its environment has
SPILLWAY_TASK_ID, SPILLWAY_ATTEMPT, SPILLWAY_TIME_LEFT_MS, SPILLWAY_SERVICE and, if given, TRACEPARENT. When the task's
time is up, or nobody waits for it any more, the program and all that it has started get SIGTERM, and SIGKILL a moment
later.

A module exports (task, { signal, log }) => result as its default or as "handler".

SIGTERM and SIGINT drain: no more tasks, those under way are finished, and what is unfinished at the deadline is handed
back. A second one ends at once.

Every setting may also come from the environment (SPILLWAY_CONNECT, SPILLWAY_SLOTS, SPILLWAY_SERVICES, …,
SPILLWAY_CONFIG for the file) or the file; a flag wins over the environment, the environment over the file.

Exit status: 0 drained; 1 the worker cannot go on; 2 usage; 78 bad configuration, or a program or handler that cannot
be used; 128 + n ended at once by a second signal.`

function collect(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value]
}

async function run(program: readonly string[], flags: Flags): Promise<number> {
  const supervised = process.env[SUPERVISED] !== undefined
  // Not for the programs that do the tasks, which may start workers of their own.
  delete process.env[SUPERVISED]
  try {
    const config = resolveWorkerConfig(
      {
        connect: flags.connect,
        slots: flags.slots,
        services: flags.service,
        name: flags.name,
        handler: flags.handler,
        program: program.length > 0 ? program : undefined,
        isolate: flags.isolate,
        restart: flags.restart,
        heartbeatIntervalMs: flags.heartbeatInterval,
        liveness: flags.liveness,
        bodyMax: flags.bodyMax,
        drainDeadlineMs: flags.drainDeadline,
        killGraceMs: flags.killGrace,
        logLevel: flags.logLevel,
      },
      process.env,
      flags.config,
    )
    const name = config.name || `${hostname()}:${process.pid}`
    const log = stderrLog(config.logLevel, { worker: name })
    if (!supervised) warnOfStrayVariables(log, process.env, workerCommandSchema)
    return config.restart && !supervised ? await supervise(log) : await work(config, name, log, supervised)
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error
    process.stderr.write(`spillway worker: ${error.message}\n`)
    return Exit.Config
  }
}

async function work(
  config: WorkerCommandConfig,
  name: string,
  log: Logger,
  supervised: boolean,
): Promise<number> {
  const { handler, program, restart: _restart, logLevel: _logLevel, ...options } = config
  const worker = new Worker({ ...options, name, handler, program, log, drainOnSigterm: false })
  let asked: NodeJS.Signals | undefined
  let forced: NodeJS.Signals | undefined
  const onSignal = (signal: NodeJS.Signals) => {
    if (asked !== undefined) forced = signal
    asked = signal
    // It ends the same promise that is awaited below.
    worker.drain().catch(() => {})
  }
  const onOrphaned = () => onSignal('SIGTERM')
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  if (supervised && process.send !== undefined) {
    process.on('disconnect', onOrphaned)
    // Listening must not be what keeps a process alive that has nothing else to do.
    process.channel?.unref()
  }
  try {
    await worker.stopped
  } catch (error) {
    if (error instanceof ConfigurationError) throw error
    log.fatal({ err: error }, 'the worker cannot go on')
    return Exit.Failed
  } finally {
    process.off('SIGTERM', onSignal)
    process.off('SIGINT', onSignal)
    process.off('disconnect', onOrphaned)
    if (process.connected) process.disconnect()
  }
  return forced === undefined ? Exit.Ok : SIGNAL_STATUS + constants.signals[forced]
}

async function supervise(log: Logger): Promise<number> {
  const supervisor = new Supervisor({
    spawn: () => spawnSelf(process.argv.slice(2), { [SUPERVISED]: '1' }),
    final: [Exit.Ok, Exit.Usage, Exit.Config],
    onRestart: (how, pauseMs) =>
      log.error(
        { ...(typeof how === 'number' ? { status: how } : { signal: how }), pauseMs },
        'the worker has died: it is started again',
      ),
  })
  const onSignal = (signal: NodeJS.Signals) => supervisor.signal(signal)
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  const how: Ending = await supervisor.run()
  process.off('SIGTERM', onSignal)
  process.off('SIGINT', onSignal)
  return typeof how === 'number' ? how : SIGNAL_STATUS + constants.signals[how]
}
