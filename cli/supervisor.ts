import { type ChildProcess, spawn } from 'node:child_process'

/** Pause before what has died is started again, ms: doubles from the first to the second. */
const RESTART_MIN_MS = 100
const RESTART_MAX_MS = 10_000
/** Who has lived as long starts again with the shortest pause, ms. */
const HEALTHY_MS = 60_000

/** What a process ended with: a status, or the name of a signal. */
export type Ending = number | NodeJS.Signals

/** As much of a process as is supervised. */
export interface Supervised {
  kill(signal: NodeJS.Signals): unknown
  once(event: 'error', listener: () => void): unknown
  once(event: 'exit', listener: (status: number | null, signal: NodeJS.Signals | null) => void): unknown
}

export interface SupervisorOptions {
  /** Starts the process; its standard streams are for the starter to connect. */
  readonly spawn: () => Supervised
  /** Statuses after which nothing would be different the next time. */
  readonly final: readonly number[]
  readonly onRestart: (how: Ending, pauseMs: number) => void
}

/** Keeps a process running: whenever it dies it is started again, after a pause that grows. */
export class Supervisor {
  readonly #options: SupervisorOptions
  #child: Supervised | undefined
  #pauseMs = RESTART_MIN_MS
  #stopping = false
  #timer: NodeJS.Timeout | undefined
  #resolve: (how: Ending) => void = () => {}

  constructor(options: SupervisorOptions) {
    this.#options = options
  }

  /** @returns how it ended at last: by itself with a status that is final, or after `signal` */
  run(): Promise<Ending> {
    return new Promise((resolve) => {
      this.#resolve = resolve
      this.#start()
    })
  }

  /** Passes a signal on that ends it for good. */
  signal(signal: NodeJS.Signals): void {
    this.#stopping = true
    if (this.#child !== undefined) {
      this.#child.kill(signal)
      return
    }
    clearTimeout(this.#timer)
    this.#resolve(0)
  }

  #start(): void {
    const startedAt = performance.now()
    const child = this.#options.spawn()
    this.#child = child
    const ended = (how: Ending) => {
      if (this.#child !== child) return
      this.#child = undefined
      if (this.#stopping || (typeof how === 'number' && this.#options.final.includes(how))) {
        this.#resolve(how)
        return
      }
      if (performance.now() - startedAt >= HEALTHY_MS) this.#pauseMs = RESTART_MIN_MS
      const pauseMs = this.#pauseMs
      this.#pauseMs = Math.min(2 * pauseMs, RESTART_MAX_MS)
      this.#options.onRestart(how, pauseMs)
      this.#timer = setTimeout(() => this.#start(), pauseMs)
    }
    child.once('error', () => ended(1))
    child.once('exit', (status, signal) => ended(status ?? signal ?? 1))
  }
}

/** The command that runs this very program again, with these arguments. */
export function spawnSelf(
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
): ChildProcess {
  const [, script = ''] = process.argv
  return spawn(process.execPath, [...process.execArgv, script, ...args], {
    env: { ...process.env, ...environment },
    // Its own process group: Ctrl-C on a terminal reaches the supervisor, which passes it on, once.
    detached: true,
    // The channel tells it when the supervisor is gone.
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
}
