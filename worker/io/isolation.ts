import { type ChildProcess, fork } from 'node:child_process'
import { extname } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { ErrorCode } from '../../protocol/error-code.ts'
import { Kind } from '../../protocol/record.ts'
import { ConfigurationError } from '../../settings/configuration-error.ts'
import type { Context, Handler } from '../handler.ts'
import type { Log } from '../log.ts'
import { flagsOf, type Task } from '../task.ts'
import { type FromChild, isEnveloped, type ToChild } from './isolation-messages.ts'
import { signalGroup } from './process-group.ts'
import type { Workshop } from './workshop.ts'

const CHILD = new URL(`./isolated-child${extname(fileURLToPath(import.meta.url))}`, import.meta.url)

/** Pause before a process that did not even come up is started again: doubles from the first to the second, ms. */
const RESPAWN_MIN_MS = 100
const RESPAWN_MAX_MS = 10_000
const LOOK_EVERY_MS = 20

/** What comes out of a cell: what the process says, and its end. */
type News =
  | Exclude<FromChild, { type: 'log' }>
  | { readonly type: 'gone'; readonly status: number | null; readonly signal: string | null }

/** One child process with the handler in it. */
class Cell {
  /** It has said that it is ready. */
  usable = false
  /** It has begun a task. */
  used = false
  gone = false
  /** Gone, or about to be. */
  doomed = false
  readonly ended: Promise<void>
  readonly #child: ChildProcess
  readonly #news: News[] = []
  #wake = () => {}

  constructor(url: string, log: Log) {
    this.#child = fork(fileURLToPath(CHILD), [url, String(process.pid)], {
      serialization: 'advanced',
      // Its own process group: a signal from the terminal is for the worker alone, and what it starts is killed with it.
      detached: true,
      // What handlers print is for people; stdout is not theirs.
      stdio: ['ignore', 2, 2, 'ipc'],
    })
    this.#child.on('message', (enveloped: unknown) => {
      if (!isEnveloped(enveloped)) return
      const message = enveloped.spillway
      if (message.type === 'log') log[message.level](message.fields, message.message)
      else this.#bring(message)
    })
    this.ended = new Promise((resolve) => {
      const end = (status: number | null, signal: string | null) => {
        if (this.gone) return
        this.gone = true
        this.doomed = true
        // What it has started is still there when it has ended by itself.
        if (this.pid !== undefined) signalGroup(this.pid, 'SIGKILL')
        this.#bring({ type: 'gone', status, signal })
        resolve()
      }
      this.#child.on('error', () => end(null, null))
      this.#child.once('exit', end)
    })
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  tell(message: ToChild): void {
    // Its end is told by its exit.
    if (this.#child.connected) this.#child.send(message, () => {})
  }

  /** The next that it says. After its end always that. */
  async next(): Promise<News> {
    for (;;) {
      const news = this.#news[0]
      if (news !== undefined) {
        if (news.type !== 'gone') this.#news.shift()
        return news
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  kill(): void {
    this.doomed = true
    if (!this.gone && this.pid !== undefined) signalGroup(this.pid, 'SIGKILL')
  }

  #bring(news: News): void {
    this.#news.push(news)
    this.#wake()
  }
}

/** The process that a task ran in has died of it. */
class CellError extends Error {
  override readonly name = 'CellError'
  readonly code = ErrorCode.TaskFailed
  readonly retryable: boolean

  constructor(message: string, retryable: boolean) {
    super(message)
    this.retryable = retryable
  }
}

/**
 * A module's handler in child processes, one for each slot and kept warm: a handler that blocks or crashes costs its own
 * task only. One that does not heed its signal is killed, and its process replaced.
 */
export class Isolation implements Workshop {
  readonly #url: string
  readonly #slots: number
  readonly #killGraceMs: number
  readonly #log: Log
  readonly #cells = new Set<Cell>()
  readonly #idle: Cell[] = []
  /** Tasks that wait for a process that is coming up. */
  readonly #waiting = new Set<(cell: Cell | undefined) => void>()
  /** Tasks under way. */
  #running = 0
  #respawnMs = RESPAWN_MIN_MS
  #closed = false

  constructor(url: string, slots: number, killGraceMs: number, log: Log) {
    this.#url = url
    this.#slots = slots
    this.#killGraceMs = killGraceMs
    this.#log = log
  }

  readonly handler: Handler = (task, context) => this.#run(task, context)

  async open(): Promise<void> {
    const first = new Cell(this.#url, this.#log)
    this.#cells.add(first)
    const news = await first.next()
    if (news.type !== 'ready') {
      first.kill()
      throw new ConfigurationError(whyUnusable(this.#url, news))
    }
    this.#keep(first)
    for (let i = 1; i < this.#slots; i++) void this.#spawn()
  }

  async close(graceMs: number): Promise<void> {
    this.#closed = true
    for (const wake of this.#waiting) wake(undefined)
    for (let waited = 0; waited < graceMs && this.#running > 0; waited += LOOK_EVERY_MS) {
      await pause(LOOK_EVERY_MS)
    }
    for (const cell of this.#cells) cell.kill()
    await Promise.all([...this.#cells].map(({ ended }) => ended))
  }

  async *#run(task: Task, { signal }: Context): AsyncGenerator<Uint8Array, Uint8Array, undefined> {
    let cell = await this.#take(signal)
    this.#running++
    let begun = false
    let over = false
    let timer: NodeJS.Timeout | undefined
    const cancel = () => {
      if (timer !== undefined) return
      const reason: unknown = signal.reason
      const expired = reason instanceof DOMException && reason.name === 'TimeoutError'
      cell.tell({
        type: 'cancel',
        code: expired ? ErrorCode.Expired : ErrorCode.Cancelled,
        message: reason instanceof Error ? reason.message : 'nobody waits for the task any more',
      })
      timer = setTimeout(() => cell.kill(), this.#killGraceMs)
    }
    signal.addEventListener('abort', cancel, { once: true })
    try {
      cell.tell({ type: 'task', request: requestOf(task) })
      for (;;) {
        const news = await cell.next()
        switch (news.type) {
          case 'begun':
            begun = true
            cell.used = true
            this.#respawnMs = RESPAWN_MIN_MS
            break
          case 'piece':
            yield news.body
            cell.tell({ type: 'more' })
            break
          case 'done':
            over = true
            return news.body
          case 'failed':
            over = true
            throw new HandlerError(news.failure)
          case 'gone':
            over = true
            if (!begun && !signal.aborted) {
              // It has died of what it did before, or of nothing: this task was never begun.
              cell = await this.#take(signal)
              over = false
              cell.tell({ type: 'task', request: requestOf(task) })
              break
            }
            // A kill may come from outside, for want of memory say; an exit is the handler's own doing.
            throw new CellError(
              `the process that ran the task ended, ${howEnded(news)}; the handler must not exit, and must catch what its callbacks throw`,
              news.signal !== null,
            )
        }
      }
    } finally {
      // Left at a piece: nobody wants the rest.
      if (!over) {
        cancel()
        for (let news = await cell.next(); !isEnd(news); news = await cell.next()) cell.tell({ type: 'more' })
      }
      clearTimeout(timer)
      signal.removeEventListener('abort', cancel)
      this.#running--
      if (!cell.doomed) this.#keep(cell)
    }
  }

  async #take(signal: AbortSignal): Promise<Cell> {
    for (let cell = this.#idle.pop(); cell !== undefined; cell = this.#idle.pop()) {
      if (!cell.doomed) return cell
    }
    const cell = await new Promise<Cell | undefined>((resolve) => {
      const take = (given: Cell | undefined) => {
        this.#waiting.delete(take)
        signal.removeEventListener('abort', giveUp)
        resolve(given)
      }
      const giveUp = () => take(undefined)
      this.#waiting.add(take)
      signal.addEventListener('abort', giveUp, { once: true })
      if (signal.aborted || this.#closed) giveUp()
    })
    if (cell === undefined) throw new CellError('no process was free for the task in time', true)
    return cell
  }

  /** A process is free for the next task, or for one that waits. */
  #keep(cell: Cell): void {
    if (!cell.usable) {
      cell.usable = true
      void this.#replace(cell)
    }
    const [waiting] = this.#waiting
    if (waiting === undefined) this.#idle.push(cell)
    else waiting(cell)
  }

  /** Starts a process, again and again until one comes up. */
  async #spawn(): Promise<void> {
    while (!this.#closed) {
      const cell = new Cell(this.#url, this.#log)
      this.#cells.add(cell)
      const news = await cell.next()
      if (news.type === 'ready') {
        if (this.#closed) cell.kill()
        else this.#keep(cell)
        return
      }
      cell.kill()
      this.#cells.delete(cell)
      const why = whyUnusable(this.#url, news)
      await this.#pause(`a process for tasks did not come up: ${why}`)
    }
  }

  async #pause(why: string): Promise<void> {
    const retryMs = this.#respawnMs
    this.#respawnMs = Math.min(2 * retryMs, RESPAWN_MAX_MS)
    this.#log.error({ retryMs }, why)
    // A worker that has ended meanwhile does not wait for it.
    await pause(retryMs, undefined, { ref: false })
  }

  /** Sees to it that another takes the place of a process that has ended. */
  async #replace(cell: Cell): Promise<void> {
    await cell.ended
    this.#cells.delete(cell)
    const at = this.#idle.indexOf(cell)
    if (at >= 0) this.#idle.splice(at, 1)
    if (this.#closed) return
    if (cell.used) {
      this.#log.warn({ handler: this.#url }, 'a process for tasks has ended, another takes its place')
    } else
      await this.#pause(
        `a process for tasks has ended without one: handler = ${this.#url}: see what it does when it is loaded`,
      )
    await this.#spawn()
  }
}

/** The handler's own error, as it was there. */
class HandlerError extends Error {
  readonly code: string
  readonly retryable: boolean

  constructor({ code, message, retryable }: { code: string; message: string; retryable: boolean }) {
    super(message)
    this.code = code
    this.retryable = retryable
  }
}

function isEnd(news: News): boolean {
  return news.type === 'done' || news.type === 'failed' || news.type === 'gone'
}

function whyUnusable(url: string, news: News): string {
  if (news.type === 'unusable') return news.message
  const how = news.type === 'gone' ? `, ${howEnded(news)}` : ''
  return `handler = ${url}: its process ended while the module was loaded${how}`
}

function howEnded({ status, signal }: { status: number | null; signal: string | null }): string {
  return signal === null ? `with status ${status}` : `by ${signal}`
}

function requestOf(task: Task): Extract<ToChild, { type: 'task' }>['request'] {
  return {
    kind: Kind.Request,
    token: 0,
    id: task.id,
    attempt: task.attempt,
    timeLeftMs: Math.floor(task.timeLeftMs),
    priority: task.priority,
    flags: flagsOf(task),
    creditUpTo: 0,
    service: task.service,
    traceparent: task.traceparent,
    body: task.body,
  }
}
