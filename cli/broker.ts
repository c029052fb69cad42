import { statSync } from 'node:fs'
import { constants } from 'node:os'
import { isDeepStrictEqual } from 'node:util'
import { Command, Option } from 'commander'
import { stringify } from 'yaml'
import { type BrokerConfig, brokerSchema } from '../broker/config.ts'
import { ConfigWatch } from '../broker/io/config-watch.ts'
import { type Logger, makeLogger } from '../broker/io/log.ts'
import type { Broker } from '../broker/main.ts'
import { ConfigurationError } from '../settings/configuration-error.ts'
import { errorMessage } from '../settings/error-message.ts'
import { resolveConfiguration } from './configuration.ts'
import { Exit } from './exit-status.ts'
import { addSettingFlags, settingFlags, settingSources } from './setting-flags.ts'
import { warnOfStrayVariables } from './stray-variables.ts'

interface Flags {
  readonly config?: string
  readonly checkConfig?: true
  readonly output: 'yaml' | 'json'
}

/** `spillway broker`: one cluster's broker. */
export function brokerCommand(): Command {
  const command = new Command('broker').description("run a cluster's broker")
  command
    .option('-c, --config <file>', 'YAML file with the settings below; its list of peers is watched')
    .option('--check-config', 'print the configuration that would be run with, and end')
    .addOption(
      new Option('-o, --output <form>', 'of --check-config').choices(['yaml', 'json']).default('yaml'),
    )
  addSettingFlags(command, brokerSchema)
  return command.addHelpText('after', EXAMPLES).action(async (flags: Flags, self: Command) => {
    const given = settingFlags(self, brokerSchema)
    const file = flags.config ?? (process.env.SPILLWAY_CONFIG || undefined)
    const resolve = () =>
      resolveConfiguration({ schema: brokerSchema, flags: given, env: process.env, file }).values
    let config: BrokerConfig
    try {
      config = resolve()
    } catch (error) {
      if (!(error instanceof ConfigurationError)) throw error
      process.stderr.write(`${error.message}\n`)
      process.exitCode = Exit.Config
      return
    }
    if (flags.checkConfig) {
      process.stdout.write(
        flags.output === 'json' ? `${JSON.stringify(config, null, 2)}\n` : stringify(config),
      )
      return
    }
    process.exitCode = await run(config, file, resolve)
  })
}

const EXAMPLES = `
Examples:
  $ spillway broker --name west --localfe tcp://127.0.0.1:5555 --localbe tcp://127.0.0.1:5556 \\
      --cloudfe tcp://127.0.0.1:5557 --statebe tcp://127.0.0.1:5558 --http 127.0.0.1:9464 --peer tcp://127.0.0.1:6557
  $ spillway broker -c west.yaml --check-config
  $ spillway broker -c west.yaml --log-level debug

${settingSources('stateIntervalMs')}

SIGTERM and SIGINT drain, a second one ends at once. SIGHUP reads the file again: peers are applied, the rest needs a restart.

Exit status: 0 done; 1 a socket could not be bound, or a bug; 2 usage; 78 bad configuration; 128 + n on a second signal n.`

async function run(
  config: BrokerConfig,
  file: string | undefined,
  resolve: () => BrokerConfig,
): Promise<number> {
  const log = await makeLogger(config, config.name)
  logWarnings(log)
  warnOfStrayVariables(log, process.env, brokerSchema)
  // Loaded now, and not for help or a check: it brings the sockets.
  const { Broker } = await import('../broker/main.ts')
  const broker = new Broker({
    ...config,
    logger: log,
    onFatal: (error) => {
      log.fatal(
        { err: error },
        'this is a bug; the process ends, and whatever supervises it should start it again',
      )
      process.exit(Exit.Failed)
    },
  })
  leaveOnSignal(broker, log)
  const reload = new Reload(broker, log, file, resolve)
  try {
    await broker.start()
  } catch (error) {
    log.fatal({ event: 'start-failed' }, errorMessage(error))
    return Exit.Failed
  }
  reload.begin()
  await broker.drained
  reload.close()
  await broker.drain()
  log.info({ event: 'stopped' }, `broker ${config.name} has left`)
  return Exit.Ok
}

/** Node's own go to stderr as they are, between the lines of the log. */
function logWarnings(log: Logger): void {
  process.removeAllListeners('warning')
  process.on('warning', (warning) => {
    log.warn({ event: 'warning', err: warning }, warning.message)
  })
}

function leaveOnSignal(broker: Broker, log: Logger): void {
  let asked = false
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (asked) log.warn({ event: 'killed', signal }, `${signal} again: ending at once`)
      // Before it is up there is nothing to finish.
      if (asked || !broker.ready) process.exit(128 + constants.signals[signal])
      asked = true
      log.info({ event: 'signal', signal }, `${signal}: leaving; send it again to end at once`)
      void broker.drain()
    })
  }
}

/** Reads the configuration again while the broker runs: peers are applied at once, the rest needs a restart. */
class Reload {
  readonly #broker: Broker
  readonly #log: Logger
  readonly #file: string | undefined
  readonly #resolve: () => BrokerConfig
  readonly #watch: ConfigWatch | undefined
  readonly #onHangup = () => this.#read('SIGHUP')
  #peers: readonly string[]
  #running = false
  /** Why it ought to have been read while the broker was starting. */
  #missed: string | undefined

  constructor(broker: Broker, log: Logger, file: string | undefined, resolve: () => BrokerConfig) {
    this.#broker = broker
    this.#log = log
    this.#file = file
    this.#resolve = resolve
    this.#peers = broker.config.peers
    this.#watch =
      file === undefined ? undefined : new ConfigWatch(file, () => this.#read('the file has changed'))
    process.on('SIGHUP', this.#onHangup)
  }

  /** The broker is up: what has changed meanwhile is read now. */
  begin(): void {
    this.#running = true
    // It had been read for a while when it began to be watched.
    if (this.#missed === undefined && this.#hasChanged()) this.#missed = 'the file has changed'
    if (this.#missed !== undefined) this.#read(this.#missed)
  }

  /** The file says something else than what the broker runs with; or nothing that can be used. */
  #hasChanged(): boolean {
    // What comes through a pipe can be read but once.
    if (this.#file === undefined || statSync(this.#file, { throwIfNoEntry: false })?.isFile() !== true)
      return false
    try {
      return !isDeepStrictEqual(this.#resolve(), this.#broker.config)
    } catch (error) {
      if (!(error instanceof ConfigurationError)) throw error
      return true
    }
  }

  close(): void {
    this.#watch?.close()
    process.off('SIGHUP', this.#onHangup)
  }

  #read(why: string): void {
    const log = this.#log
    if (!this.#running) {
      this.#missed = why
      return
    }
    if (this.#file === undefined) {
      log.warn(
        { event: 'reload' },
        `${why}: there is no configuration file to read again; start with -c <file>`,
      )
      return
    }
    let config: BrokerConfig
    try {
      config = this.#resolve()
    } catch (error) {
      if (!(error instanceof ConfigurationError)) throw error
      log.error(
        { event: 'reload', problems: error.problems },
        `${why}: ${this.#file} cannot be used, the configuration stays as it is: ${error.message}`,
      )
      return
    }
    const running = this.#broker.config
    const differing = Object.entries(config)
      .filter(([field, value]) => field !== 'peers' && Reflect.get(running, field) !== value)
      .map(([field]) => field)
    if (differing.length > 0) {
      log.warn(
        { event: 'reload', fields: differing },
        `${why}: changed, but needs a restart: ${differing.join(', ')}`,
      )
    }
    const added = config.peers.filter((peer) => !this.#peers.includes(peer))
    const removed = this.#peers.filter((peer) => !config.peers.includes(peer))
    this.#peers = config.peers
    if (added.length > 0 || removed.length > 0) this.#broker.setPeers(config.peers)
    else if (differing.length > 0) return
    log.info(
      { event: 'reload', added, removed },
      `${why}: ${added.length} ${added.length === 1 ? 'peer' : 'peers'} added, ${removed.length} removed`,
    )
  }
}
