import { isUtf8 } from 'node:buffer'
import { once } from 'node:events'
import { Command, Option } from 'commander'
import type { RequestConfig } from '../client/config.ts'
import type { Piece, Reply, RequestOptions } from '../client/main.ts'
import {
  BusyError,
  Client,
  ConfigurationError,
  ExpiredError,
  SpillwayError,
  TimeoutError,
  UnavailableError,
} from '../client/main.ts'
import { linesOf } from './lines.ts'
import { resolveRequestConfig } from './request-config.ts'
import { RequestTally } from './request-tally.ts'

const Exit = {
  Ok: 0,
  Failed: 1,
  Usage: 2,
  Unreachable: 69,
  TimedOut: 75,
  Config: 78,
  Interrupted: 130,
  Terminated: 143,
} as const

/** Errors printed in full; further ones are only counted. */
const ERRORS_SHOWN = 20
/** In order: answers that wait for an earlier one, as multiples of the concurrency. */
const AHEAD = 16

interface Flags {
  readonly connect?: string[]
  readonly config?: string
  readonly timeout?: unknown
  readonly retries?: unknown
  readonly deadline?: unknown
  readonly priority?: unknown
  readonly service?: string
  readonly notIdempotent?: true
  readonly failFast?: true
  readonly lines?: true
  readonly concurrency?: unknown
  readonly unordered?: true
  readonly stream?: true
  readonly output: 'text' | 'json'
  readonly quiet?: true
}

/** `spillway request`: sends tasks and prints what comes back. */
export function requestCommand(): Command {
  return new Command('request')
    .description('send a task, or one for each line of stdin, and print the answer')
    .argument('[body]', 'the task; - reads it from stdin')
    .option('--connect <endpoint>', 'a broker’s localfe; may be given again: tried in this order', collect)
    .option('-c, --config <file>', 'YAML file with the same settings (connect, timeoutMs, retries, …)')
    .option('--timeout <ms>', 'silence after which a task is sent again (default: 2500)')
    .option('--retries <n>', 'unanswered tries in all (default: 3)')
    .option('--deadline <ms>', 'time for a task in all (default: timeout × retries)')
    .option('--priority <0-9>', '9 first, 0 last (default: 4)')
    .option('--service <name>', 'which workers may do it (default: those that name no service)')
    .option('--not-idempotent', 'never start a task twice; where it may have run, say UNKNOWN')
    .option('--fail-fast', 'fail at once when nobody anywhere serves the service')
    .option('--lines', 'make one task of each line of stdin')
    .option('--concurrency <n>', 'with --lines: tasks under way at once (default: 64)')
    .option('--unordered', 'with --lines: print answers as they come, not in the order of the lines')
    .option('--stream', 'print the pieces of a streamed answer as they arrive')
    .addOption(new Option('-o, --output <format>', 'text or json').choices(['text', 'json']).default('text'))
    .option('-q, --quiet', 'no progress bar and no summary on stderr')
    .addHelpText('after', EXAMPLES)
    .exitOverride((error) => process.exit(error.exitCode === 0 ? Exit.Ok : Exit.Usage))
    .action(async (body: string | undefined, flags: Flags, command: Command) => {
      const problem = misuse(body, flags)
      if (problem !== '') command.error(`error: ${problem}`, { exitCode: Exit.Usage })
      process.exitCode = await run(body, flags)
    })
}

const EXAMPLES = `
Examples:
  $ spillway request --connect tcp://127.0.0.1:5555 "hello"
  $ spillway request --connect tcp://127.0.0.1:5555 --service resize - < photo.jpg > small.jpg
  $ spillway request --connect tcp://127.0.0.1:5555 --lines --concurrency 200 -o json < urls.txt
  $ spillway request --connect tcp://a:5555 --connect tcp://b:5555 --timeout 1000 --retries 5 "hello"

Answers go to stdout, everything else to stderr. With --lines a failed task prints nothing in text; with -o json it
prints an object with "ok": false, and every object has the number of its "line".

Every setting may also come from the environment (SPILLWAY_CONNECT, SPILLWAY_TIMEOUT_MS, SPILLWAY_RETRIES, …,
SPILLWAY_CONFIG for the file) or the file; a flag wins over the environment, the environment over the file.

Exit status: 0 done; 1 a task failed; 2 usage; 69 no broker reached; 74 the answer could not be written; 75 timed out or
turned away after all tries; 78 bad configuration.`

function collect(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value]
}

/** What does not go together on the command line; empty when all does. */
function misuse(body: string | undefined, flags: Flags): string {
  if (flags.lines && body !== undefined && body !== '-')
    return '--lines takes its tasks from stdin: leave the body out'
  if (flags.lines && flags.stream)
    return '--lines and --stream do not go together: their pieces would be mixed up'
  if (!flags.lines && body === undefined) return 'give a body, - to read it from stdin, or --lines'
  return ''
}

async function run(body: string | undefined, flags: Flags): Promise<number> {
  let config: RequestConfig
  try {
    config = resolveRequestConfig(
      {
        connect: flags.connect,
        timeoutMs: flags.timeout,
        retries: flags.retries,
        deadlineMs: flags.deadline,
        priority: flags.priority,
        service: flags.service,
        idempotent: flags.notIdempotent ? false : undefined,
        failFast: flags.failFast,
        concurrency: flags.concurrency,
      },
      process.env,
      flags.config,
    )
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error
    complain(error.message)
    return Exit.Config
  }
  const { connect, timeoutMs, retries, deadlineMs, priority, service, concurrency } = config
  const client = new Client({
    connect,
    timeoutMs,
    retries,
    deadlineMs,
    priority,
    service,
    outstandingMax: Math.max(concurrency, 1),
  })
  const session = new Session(client, config, flags)
  try {
    return await session.run(body ?? '')
  } finally {
    session.end()
  }
}

/** One run of the command. */
class Session {
  readonly #client: Client
  readonly #options: RequestOptions
  readonly #concurrency: number
  readonly #flags: Flags
  #interrupted: number | undefined
  #errorsShown = 0
  readonly #onSigint = () => this.#interrupt(Exit.Interrupted)
  readonly #onSigterm = () => this.#interrupt(Exit.Terminated)
  readonly #onStdoutError = (error: Error) => {
    if (!('code' in error) || error.code !== 'EPIPE') return
    // Whoever read has had enough (`| head`): nothing is left to be done, and nothing is wrong.
    void this.#client.close()
    process.exit(Exit.Ok)
  }

  constructor(client: Client, config: RequestConfig, flags: Flags) {
    this.#client = client
    this.#flags = flags
    this.#concurrency = config.concurrency
    this.#options = { idempotent: config.idempotent, failFast: config.failFast }
    process.on('SIGINT', this.#onSigint)
    process.on('SIGTERM', this.#onSigterm)
    // Before that of all verbs, which ends the process.
    process.stdout.prependListener('error', this.#onStdoutError)
  }

  end(): void {
    process.off('SIGINT', this.#onSigint)
    process.off('SIGTERM', this.#onSigterm)
    // A pending read of stdin would keep the process from ending.
    process.stdin.destroy()
    void this.#client.close()
  }

  async run(body: string): Promise<number> {
    try {
      if (this.#flags.lines) return await this.#lines()
      const task = body === '-' ? await wholeOf(process.stdin) : body
      return this.#flags.stream ? await this.#stream(task) : await this.#single(task)
    } catch (error) {
      // Whatever an interruption tears down on its way out is no news.
      if (this.#interrupted !== undefined) return this.#interrupted
      throw error
    }
  }

  async #single(task: Uint8Array | string): Promise<number> {
    try {
      const reply = await this.#client.request(task, this.#options)
      if (this.#flags.output === 'json') await printJson(described(reply))
      else await print(reply.body, process.stdout.isTTY === true && !endsLine(reply.body))
      return Exit.Ok
    } catch (error) {
      return await this.#failed(error)
    }
  }

  async #stream(task: Uint8Array | string): Promise<number> {
    const json = this.#flags.output === 'json'
    try {
      const stream = this.#client.stream(task, this.#options)
      let last: Uint8Array = new Uint8Array(0)
      for await (const piece of stream) {
        if (json) await printJson(describedPiece(piece))
        else await print(piece.body, false)
        last = piece.body
      }
      const final = await stream.final
      if (json) await printJson({ final: true, ...described(final) })
      else
        await print(
          final.body,
          process.stdout.isTTY === true && !endsLine(final.body.length > 0 ? final.body : last),
        )
      return Exit.Ok
    } catch (error) {
      return await this.#failed(error)
    }
  }

  async #lines(): Promise<number> {
    const tally = new RequestTally()
    if (process.stderr.isTTY === true && !this.#flags.quiet) tally.showBar()
    const codes = new Set<number>()
    const inOrder = !this.#flags.unordered
    let underWay = 0
    let unprinted = 0
    let number = 0
    let wake = nothing
    // In order: an answer is printed when the one before it has been, which the last link of this chain tells.
    let printed = Promise.resolve()
    let fault: unknown
    let unreachable = false
    const show = async (answer: Promise<Reply>, line: number) => {
      try {
        const reply = await answer
        tally.succeeded(reply)
        if (this.#flags.output === 'json') await printJson({ line, ...described(reply) })
        else await print(reply.body, true)
      } catch (error) {
        tally.hasFailed()
        codes.add(await this.#failed(error, line))
      } finally {
        unprinted--
        wake()
      }
    }
    const broken = (error: unknown) => {
      fault ??= error
    }
    const change = () => new Promise<void>((resolve) => (wake = resolve))
    const ended = () => {
      underWay--
      wake()
    }
    try {
      for await (const task of linesOf(process.stdin)) {
        tally.read()
        const line = ++number
        const answer = this.#client.request(task, this.#options)
        underWay++
        unprinted++
        answer.then(ended, (error: unknown) => {
          if (error instanceof UnavailableError) unreachable = true
          ended()
        })
        if (inOrder) printed = printed.then(() => show(answer, line)).catch(broken)
        else show(answer, line).catch(broken)
        while (underWay >= this.#concurrency || unprinted >= this.#concurrency * AHEAD) await change()
        if (fault !== undefined) break
        // Nobody is there: every further line would only wait as long for the same news.
        if (unreachable && tally.done === 0) break
      }
      while (unprinted > 0) await change()
      if (fault !== undefined) throw fault
    } finally {
      tally.hideBar()
    }
    if (this.#errorsShown > ERRORS_SHOWN) complain(`… and ${this.#errorsShown - ERRORS_SHOWN} more errors`)
    if (!this.#flags.quiet) process.stderr.write(`${tally.summary()}\n`)
    const [only] = codes
    return only === undefined ? Exit.Ok : codes.size === 1 ? only : Exit.Failed
  }

  /** Says what went wrong. @returns the exit status for it */
  async #failed(error: unknown, line?: number): Promise<number> {
    if (this.#interrupted !== undefined) return this.#interrupted
    if (!(error instanceof SpillwayError)) throw error
    const { code, message, retryable, taskId, cluster, worker, attempts } = error
    if (this.#flags.output === 'json') {
      const where = line === undefined ? {} : { line }
      await printJson({
        ...where,
        ok: false,
        id: taskId,
        code,
        message,
        retryable,
        cluster,
        worker,
        attempts,
      })
    } else if (++this.#errorsShown <= ERRORS_SHOWN) {
      complain(`${line === undefined ? '' : `line ${line}: `}${code}: ${message}`)
    }
    if (error instanceof UnavailableError) return Exit.Unreachable
    const late = error instanceof TimeoutError || error instanceof ExpiredError || error instanceof BusyError
    return late ? Exit.TimedOut : Exit.Failed
  }

  #interrupt(status: number): void {
    // Twice: at once.
    if (this.#interrupted !== undefined) process.exit(status)
    this.#interrupted = status
    // Ends what is under way, and the broker is told that nobody waits for it.
    void this.#client.close()
    process.stdin.destroy()
  }
}

function described(reply: Reply): object {
  const { taskId, cluster, worker, attempts, queuedMs, runMs, totalMs } = reply
  const rounded = Math.round(totalMs * 1000) / 1000
  return {
    ok: true,
    id: taskId,
    ...readable(reply.body),
    cluster,
    worker,
    attempts,
    queuedMs,
    runMs,
    totalMs: rounded,
  }
}

function describedPiece(piece: Piece): object {
  const { index, attempt, cluster, worker } = piece
  return { index, attempt, ...readable(piece.body), cluster, worker }
}

/** As text where it is one, otherwise in base64 under another name. */
function readable(body: Uint8Array): object {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  return isUtf8(bytes) ? { body: bytes.toString('utf8') } : { bodyBase64: bytes.toString('base64') }
}

async function printJson(value: object): Promise<void> {
  await write(`${JSON.stringify(value)}\n`)
}

async function print(body: Uint8Array, newline: boolean): Promise<void> {
  if (newline) await write(Buffer.concat([body, Buffer.from('\n')]))
  else if (body.length > 0) await write(body)
}

/** While stdout takes nothing more: one wait for all who wait, as Node takes many listeners for a leak. */
let drained: Promise<unknown> | undefined

async function write(chunk: Uint8Array | string): Promise<void> {
  if (process.stdout.write(chunk)) return
  drained ??= once(process.stdout, 'drain').finally(() => {
    drained = undefined
  })
  await drained
}

function complain(message: string): void {
  process.stderr.write(`spillway request: ${message}\n`)
}

function endsLine(body: Uint8Array): boolean {
  return body.length > 0 && body[body.length - 1] === 0x0a
}

async function wholeOf(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const all: Uint8Array[] = []
  for await (const chunk of chunks) all.push(chunk)
  return Buffer.concat(all)
}

function nothing(): void {}
