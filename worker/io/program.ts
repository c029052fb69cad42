import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { basename, delimiter, join, resolve } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { ErrorCode } from '../../protocol/error-code.ts'
import { ConfigurationError } from '../../settings/configuration-error.ts'
import type { Context, Handler } from '../handler.ts'
import type { Task } from '../task.ts'
import { endGroup } from './process-group.ts'
import type { Workshop } from './workshop.ts'

/** So much of the end of stderr goes into an error reply, octets. */
const STDERR_TAIL = 2048
/** The last words may come after the exit, but not by more than this; ms. */
const LAST_WORDS_MS = 200

/** How a program ended. */
type Ending = { readonly error: Error } | { readonly status: number | null; readonly signal: string | null }

/** A program that did not end well. */
class ProgramError extends Error {
  override readonly name = 'ProgramError'
  readonly code = ErrorCode.TaskFailed
  readonly retryable: boolean

  constructor(message: string, retryable: boolean) {
    super(message)
    this.retryable = retryable
  }
}

/**
 * Runs a program for each task: the task's body is its stdin, what it writes to stdout is the result, a status other than
 * 0 an error with the end of its stderr. It leads a process group, which ends with the task.
 */
export class Program implements Workshop {
  readonly #file: string
  readonly #args: readonly string[]
  readonly #killGraceMs: number
  /** Process groups of the tasks under way. */
  readonly #groups = new Set<number>()
  /** Tasks whose end somebody waits for. */
  readonly #ends = new Set<Promise<void>>()

  /** @throws ConfigurationError when there is no such program */
  constructor(program: readonly string[], killGraceMs: number) {
    const [name = '', ...args] = program
    this.#file = findProgram(name)
    this.#args = args
    this.#killGraceMs = killGraceMs
  }

  readonly handler: Handler = (task, context) => this.#run(task, context)

  async open(): Promise<void> {}

  async close(graceMs: number): Promise<void> {
    const ends = [...this.#groups].map((pid) => endGroup(pid, graceMs))
    await Promise.all([...ends, ...this.#ends])
  }

  async *#run(task: Task, { signal }: Context): AsyncGenerator<Uint8Array, void, undefined> {
    const child = spawn(this.#file, this.#args, {
      // Its own process group, to be killed with whatever it has started.
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...variablesOf(task) },
    })
    const ended = endingOf(child)
    const { pid } = child
    if (pid === undefined) throw this.#failure(await ended, '')
    let end = () => {}
    const over = new Promise<void>((resolve) => {
      end = resolve
    })
    this.#groups.add(pid)
    this.#ends.add(over)
    const stderr = tailOf(child.stderr)
    const stderrClosed = once(child.stderr, 'close').catch(() => {})
    // A program need not read what it is given (EPIPE).
    child.stdin.on('error', () => {})
    child.stdin.end(task.body)
    let ending: Promise<void> | undefined
    const kill = () => {
      ending ??= endGroup(pid, this.#killGraceMs)
    }
    signal.addEventListener('abort', kill, { once: true })
    if (signal.aborted) kill()
    let reading = true
    let chunks = 0
    // Whoever is left when it has ended, in the background perhaps, still holds stdout. One that has left the group
    // even holds it for ever: when nothing comes any more, it is taken for the end.
    let watch: NodeJS.Timeout | undefined
    void ended.then(() => {
      kill()
      let seen = -1
      watch = setInterval(() => {
        if (reading && chunks === seen) child.stdout.push(null)
        seen = chunks
      }, LAST_WORDS_MS)
    })
    try {
      for await (const chunk of child.stdout) {
        chunks++
        reading = false
        yield chunk
        reading = true
      }
      const how = await ended
      await Promise.race([stderrClosed, pause(LAST_WORDS_MS, undefined, { ref: false })])
      if ('error' in how || how.status !== 0) throw this.#failure(how, stderr())
    } finally {
      signal.removeEventListener('abort', kill)
      kill()
      await ending
      await ended
      clearInterval(watch)
      child.stdout.destroy()
      child.stderr.destroy()
      this.#groups.delete(pid)
      this.#ends.delete(over)
      end()
    }
  }

  #failure(how: Ending, stderr: string): ProgramError {
    const name = basename(this.#file)
    if ('error' in how) {
      // Out of processes or memory, or the program is being replaced: passing troubles.
      return new ProgramError(`${name} could not be run: ${how.error.message}`, true)
    }
    const what =
      how.signal === null ? `${name} exited with status ${how.status}` : `${name} was ended by ${how.signal}`
    return new ProgramError(stderr === '' ? what : `${what}: ${stderr}`, false)
  }
}

/**
 * The file that a name on the command line means, found as a shell would.
 * @throws ConfigurationError
 */
export function findProgram(name: string): string {
  const candidates = name.includes('/')
    ? [resolve(name)]
    : (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, name))
  let there = ''
  for (const candidate of candidates) {
    if (!isFile(candidate)) continue
    if (isExecutable(candidate)) return candidate
    there = candidate
  }
  if (there !== '') {
    throw new ConfigurationError(`program = "${name}": ${there} may not be executed; try chmod +x ${there}`)
  }
  const where = name.includes('/')
    ? `${candidates[0]} is ${existsSync(resolve(name)) ? 'a folder' : 'not there'}`
    : 'it is in no folder of PATH'
  throw new ConfigurationError(
    `program = "${name}": ${where}; give the path of a program that can be executed`,
  )
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

function variablesOf(task: Task): Record<string, string> {
  const variables: Record<string, string> = {
    SPILLWAY_TASK_ID: task.id,
    SPILLWAY_ATTEMPT: String(task.attempt),
    SPILLWAY_TIME_LEFT_MS: String(Math.floor(task.timeLeftMs)),
    SPILLWAY_SERVICE: task.service,
  }
  // It is the client's to choose, and a NUL cannot be in an environment.
  if (task.traceparent !== '' && !task.traceparent.includes('\0')) variables.TRACEPARENT = task.traceparent
  return variables
}

function endingOf(child: ChildProcessWithoutNullStreams): Promise<Ending> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ error }))
    child.once('exit', (status, signal) => resolve({ status, signal }))
  })
}

/** Reads a stream to its end. @returns what gives the last of it so far */
function tailOf(stream: NodeJS.ReadableStream): () => string {
  let tail = Buffer.alloc(0)
  stream.on('data', (chunk: Buffer) => {
    const all = Buffer.concat([tail, chunk])
    tail = all.byteLength > STDERR_TAIL ? Buffer.from(all.subarray(-STDERR_TAIL)) : all
  })
  stream.on('error', () => {})
  return () => tail.toString('utf8').trim()
}
