import { type ChildProcess, spawn } from 'node:child_process'
import { extname, join } from 'node:path'
import { createInterface } from 'node:readline'
import type { RunReport } from './load/orders.ts'
import { type RunOrder, writeOrder } from './load/orders.ts'

/** Our own processes are started as what this one is: compiled, or through a loader. */
const EXTENSION = extname(import.meta.filename)
const READY_TIMEOUT_MS = 20_000
const ENDING_LINES = 20

const running = new Set<ChildProcess>()

/** What a process says when it is ready; brokers say where. */
export interface ReadyLine {
  readonly type: string
  readonly localfe?: string
  readonly localbe?: string
  readonly port?: number
}

/** A process of the benchmark: it says on stdout that it is ready, hears orders on stdin, and ends when that ends. */
export class Child {
  readonly label: string
  readonly pid: number
  readonly #child: ChildProcess
  readonly #stderr: string[] = []
  #waiting: ((line: ReadyLine | RunReport | Error) => void) | undefined
  #hurry: ((line: ReadyLine | RunReport) => boolean) | undefined
  #ended: Error | undefined

  constructor(label: string, command: string, args: readonly string[], leash = false) {
    this.label = label
    const child = spawn(command, args, {
      stdio: ['pipe', 'pipe', 'pipe', ...(leash ? (['ipc'] as const) : [])],
    })
    this.#child = child
    this.pid = child.pid ?? -1
    running.add(child)
    child.once('error', (error) => this.#end(error))
    child.once('exit', (status, signal) => {
      running.delete(child)
      const how = `${label} has ended (${signal ?? status})`
      this.#end(new Error([how, ...this.#stderr].join('\n')))
    })
    const { stdin, stdout, stderr } = child
    if (stdin === null || stdout === null || stderr === null) throw new Error(`${label} has no pipes`)
    stdin.on('error', () => {
      // It is gone, which its exit tells better.
    })
    createInterface({ input: stderr }).on('line', (line) => {
      this.#stderr.push(line)
      if (this.#stderr.length > ENDING_LINES) this.#stderr.shift()
    })
    createInterface({ input: stdout }).on('line', (line) => {
      if (!line.startsWith('{"type"')) return
      const said: ReadyLine | RunReport = JSON.parse(line)
      if (this.#hurry?.(said) !== true) this.#waiting?.(said)
    })
  }

  /** One of the benchmark's own modules. @param module its path from here, without its extension */
  static ofModule(label: string, module: string, args: readonly (string | number)[]): Child {
    const script = join(import.meta.dirname, `${module}${EXTENSION}`)
    return new Child(label, process.execPath, [...process.execArgv, script, ...args.map(String)])
  }

  /** A Node program that takes no orders, but ends when this process does, whatever ends it. */
  static leashed(label: string, script: string, args: readonly string[]): Child {
    const leash = new URL(`../cli/process/leash${EXTENSION}`, import.meta.url).href
    return new Child(label, process.execPath, [...process.execArgv, '--import', leash, script, ...args], true)
  }

  /** @throws when it ends, or says nothing for too long */
  async ready(): Promise<ReadyLine> {
    const line = await this.#hear(READY_TIMEOUT_MS)
    if (line.type !== 'ready' || 'tasks' in line)
      throw new Error(`${this.label} said something else than ready`)
    return line
  }

  /** Has it run a load. @param onEdge called at once when the window opens and when it closes */
  async run(order: RunOrder, onEdge: (edge: 'open' | 'close') => void): Promise<RunReport> {
    this.#hurry = ({ type }) => {
      if (type !== 'open' && type !== 'close') return false
      onEdge(type)
      return true
    }
    const heard = this.#hear(order.warmupMs + order.measureMs + READY_TIMEOUT_MS)
    this.#child.stdin?.write(writeOrder(order))
    const line = await heard
    this.#hurry = undefined
    if (!('tasks' in line)) throw new Error(`${this.label} said something else than its result`)
    return line
  }

  get alive(): boolean {
    return this.#ended === undefined
  }

  /** @throws with its last words when it has ended */
  expectAlive(): void {
    if (this.#ended !== undefined) throw this.#ended
  }

  /** Nothing here has anything to lose. */
  async kill(): Promise<void> {
    if (!this.alive) return
    const gone = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.kill('SIGKILL')
    await gone
  }

  #end(error: Error): void {
    this.#ended ??= error
    this.#waiting?.(this.#ended)
  }

  async #hear(timeoutMs: number): Promise<ReadyLine | RunReport> {
    if (this.#ended !== undefined) throw this.#ended
    let timer: NodeJS.Timeout | undefined
    const line = await new Promise<ReadyLine | RunReport | Error>((resolve) => {
      this.#waiting = resolve
      timer = setTimeout(() => {
        resolve(new Error([`${this.label} has been silent for ${timeoutMs} ms`, ...this.#stderr].join('\n')))
      }, timeoutMs)
    })
    clearTimeout(timer)
    this.#waiting = undefined
    if (line instanceof Error) throw line
    return line
  }
}

/** Kills what was started here and still runs: for the last moment of this process. */
export function killAll(): void {
  for (const child of running) child.kill('SIGKILL')
}
