import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

/** Lines of stderr kept, for whoever has to explain why a process ended. */
const LINES_KEPT = 40

export interface LeashedOptions {
  /** What messages call it. */
  readonly label: string
  /** JavaScript to run in Node, and its arguments. */
  readonly script: string
  readonly args: readonly string[]
  /** The module that ends the process when this one is gone; preloaded. */
  readonly leash: string
  readonly env?: Readonly<Record<string, string>>
  /** Whether processes are given to the debugger's or a loader's options of this one. */
  readonly execArgv?: readonly string[]
  readonly onLine?: (line: string) => void
  readonly onMessage?: (message: unknown) => void
}

const running = new Set<LeashedProcess>()

/**
 * A Node process that leads a process group of its own, so that it can be killed with all that it has started, and
 * that ends when this process ends, whatever ends it.
 */
export class LeashedProcess {
  readonly label: string
  /** Its process group's id as well. */
  readonly pid: number
  /** Fulfilled with its exit status, or the name of the signal that ended it. */
  readonly ended: Promise<number | string>
  readonly #child: ChildProcess
  readonly #lines: string[] = []
  #alive = true

  /** @throws when it cannot be started at all */
  constructor(options: LeashedOptions) {
    const { label, script, args, leash, env = {}, execArgv = [], onLine, onMessage } = options
    this.label = label
    this.#child = spawn(process.execPath, [...execArgv, '--import', leash, script, ...args], {
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      env: { ...strangersEnvironment(), ...env },
    })
    const { pid, stderr } = this.#child
    this.ended = new Promise((resolve) => {
      const end = (status: number | string) => {
        this.#alive = false
        running.delete(this)
        resolve(status)
      }
      this.#child.once('error', (error) => end(error.message))
      // Not 'close': what it has started may hold its stderr open for longer.
      this.#child.once('exit', (status, signal) => end(status ?? signal ?? 'unknown'))
    })
    if (pid === undefined) throw new Error(`${label} cannot be started (${process.execPath})`)
    this.pid = pid
    running.add(this)
    if (stderr !== null) {
      createInterface({ input: stderr }).on('line', (line) => {
        this.#lines.push(line)
        if (this.#lines.length > LINES_KEPT) this.#lines.shift()
        onLine?.(line)
      })
    }
    if (onMessage !== undefined) this.#child.on('message', onMessage)
  }

  get alive(): boolean {
    return this.#alive
  }

  /** The last it said on stderr. */
  get lastWords(): string {
    return this.#lines.join('\n')
  }

  /** A message over the channel that is its leash, too. Nothing happens when it is gone. */
  tell(message: object): void {
    if (this.#child.connected) this.#child.send(message, () => {})
  }

  /** To its whole process group. Nothing happens when it is gone. */
  signal(signal: NodeJS.Signals): void {
    if (!this.#alive) return
    try {
      process.kill(-this.pid, signal)
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
    }
  }

  /** Asks it to leave, and kills it when it has not left after `graceMs`. */
  async stop(graceMs: number): Promise<number | string> {
    this.signal('SIGTERM')
    const timer = setTimeout(() => this.signal('SIGKILL'), graceMs)
    const status = await this.ended
    clearTimeout(timer)
    return status
  }
}

/** Without settings that were meant for another process: they would beat the ones in a file, for all alike. */
function strangersEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SPILLWAY_')))
}

/** Kills every process started here that still runs. At once: for the last moment of this process. */
export function killAll(): void {
  for (const process of running) process.signal('SIGKILL')
}
