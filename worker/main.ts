/** The worker library: tasks from a broker, done by a handler. Import as `spillway/worker`. */

import { randomInt } from 'node:crypto'
import { hostname } from 'node:os'
import { ConfigurationError, notA } from '../settings/configuration-error.ts'
import { parseSettings } from '../settings/settings.ts'
import { type WorkerConfig, workerSchema } from './config.ts'
import type { Failure } from './core/assignment.ts'
import type { WorkerEvent } from './core/event.ts'
import type { Handler } from './handler.ts'
import { HandlerModule, moduleUrl } from './io/handler-module.ts'
import { Isolation } from './io/isolation.ts'
import { Program } from './io/program.ts'
import { drainOnSigterm } from './io/sigterm.ts'
import { WorkerLoop } from './io/worker-loop.ts'
import { inProcess, type Workshop } from './io/workshop.ts'
import { type Log, SILENT } from './log.ts'

export { ConfigurationError, type ConfigurationProblem } from '../settings/configuration-error.ts'
export type { WorkerEvent } from './core/event.ts'
export type { Context, Handler } from './handler.ts'
export type { Log } from './log.ts'
export { Task } from './task.ts'

export interface WorkerOptions {
  /** Where brokers take workers (their localbe): one address, or several in the order in which they are tried. */
  readonly connect: string | readonly string[]
  /**
   * Does the tasks: a function, or a module (a path or a URL) whose default export, or `handler`, is one. Either this or
   * `program`.
   */
  readonly handler?: Handler | string | URL | undefined
  /** A program and its arguments, run for each task: body on stdin, result on stdout. */
  readonly program?: readonly string[] | undefined
  /** Run the handler, which must be a module, in child processes: what blocks or crashes costs its own task only. */
  readonly isolate?: boolean | undefined
  /** Tasks at once, from 1 to 4096. Default 1. */
  readonly slots?: number | undefined
  /** What tasks it takes. Default `['']`: those that name no service. */
  readonly services?: readonly string[] | undefined
  /** What logs, replies and metrics call it; by default host name and process id. */
  readonly name?: string | undefined
  /** Between heartbeats, ms. Default 1000. */
  readonly heartbeatIntervalMs?: number | undefined
  /** Heartbeats of the broker that may be missed before it counts as gone. Default 3. */
  readonly liveness?: number | undefined
  /** Pause before a broker that is gone is tried again, ms: doubles from the first to the second. 1000 and 32,000. */
  readonly reconnectMinMs?: number | undefined
  readonly reconnectMaxMs?: number | undefined
  /** Largest task taken, octets; larger ones end with TOO_LARGE. Default 64 MiB. */
  readonly bodyMax?: number | undefined
  /** Answers kept while no broker can be reached, octets. Default 64 MiB. */
  readonly keptMax?: number | undefined
  /** Time for tasks under way when the worker drains, ms. Default 30,000. */
  readonly drainDeadlineMs?: number | undefined
  /** Time for a program or an isolated handler to end when its task is over, before it is killed, ms. Default 1000. */
  readonly killGraceMs?: number | undefined
  /** Where it logs changes of state, and its handlers what they like; a pino logger will do. Default: nowhere. */
  readonly log?: Log | undefined
  /** Told of changes of state (signed in, broker silent, draining …); never once a task. Must not throw. */
  readonly onEvent?: ((event: WorkerEvent) => void) | undefined
  /** Whether SIGTERM drains it before the process ends. Default true; false where the program handles the signal itself. */
  readonly drainOnSigterm?: boolean | undefined
}

/** What a worker has done so far; all but `running` and `signedIn` only grow. */
export interface WorkerStats {
  readonly signedIn: boolean
  /** Tasks under way, those that nobody waits for any more included. */
  readonly running: number
  readonly started: number
  readonly succeeded: number
  readonly failed: number
  readonly expired: number
  readonly cancelled: number
  readonly rejected: number
  readonly handedBack: number
  readonly orphaned: number
  readonly partials: number
  readonly answersDropped: number
  readonly requestsLost: number
  readonly connectionsOpened: number
  readonly brokerChanges: number
  readonly dropped: Readonly<Record<string, number>>
  readonly malformed: Readonly<Record<string, number>>
  readonly messagesSent: number
  readonly messagesReceived: number
}

/** The worker cannot go on; an operator has to do something. Its code says what: VERSION. */
export class WorkerError extends Error {
  override readonly name = 'WorkerError'
  readonly code: string

  constructor({ code, message }: Failure) {
    super(message)
    this.code = code
  }
}

/**
 * Takes tasks from a broker and has a handler do them, as many at once as it has slots, all over one connection. It
 * starts by itself, keeps looking for a broker when there is none, and keeps its process alive until it is stopped.
 *
 * On SIGTERM it drains before the process ends, unless told otherwise; `await using` drains as well. A handler that
 * blocks the event loop for longer than the broker's patience (3 s by default) makes the broker believe that this
 * worker is dead: use `isolate` for such.
 */
export class Worker {
  /** What logs and replies call it. */
  readonly name: string
  /**
   * Fulfilled when the worker has stopped and nothing of it runs any more; rejected with a WorkerError when it cannot go
   * on, or a ConfigurationError when its handler cannot be loaded. Unless somebody looks at this or at `ready()`, that ends the
   * process as an unhandled rejection.
   */
  readonly stopped: Promise<void>
  readonly #config: WorkerConfig
  readonly #workshop: Workshop
  readonly #loop: WorkerLoop
  readonly #log: Log
  readonly #onEvent: (event: WorkerEvent) => void
  readonly #signedIn: Promise<void>
  #resolveSignedIn: () => void = () => {}
  #resolveStopped: () => void = () => {}
  #rejectStopped: (reason: unknown) => void = () => {}
  #ending = false
  #forgetSigterm: () => void = () => {}

  /** @throws ConfigurationError naming the option that is wrong */
  constructor(options: WorkerOptions) {
    const {
      handler,
      program,
      log = SILENT,
      onEvent = () => {},
      drainOnSigterm: drains = true,
      ...rest
    } = options
    this.#config = parseSettings(workerSchema, rest)
    if (typeof onEvent !== 'function') throw notA('onEvent', onEvent, 'a function')
    if (!isLog(log)) throw notA('log', log, 'a logger with debug, info, warn and error')
    this.#log = log
    this.#onEvent = onEvent
    this.name = this.#config.name || `${hostname()}:${process.pid}`
    this.#workshop = workshopFor(handler, program, this.#config, log)
    this.#signedIn = new Promise((resolve) => {
      this.#resolveSignedIn = resolve
    })
    this.stopped = new Promise((resolve, reject) => {
      this.#resolveStopped = resolve
      this.#rejectStopped = reject
    })
    const { connect, slots, services, heartbeatIntervalMs, liveness } = this.#config
    const { reconnectMinMs, reconnectMaxMs, bodyMax, keptMax } = this.#config
    this.#loop = new WorkerLoop(
      {
        core: {
          name: this.name,
          epoch: randomInt(1, 2 ** 32),
          endpoints: connect,
          slots,
          services,
          heartbeatIntervalMs,
          liveness,
          reconnectMinMs,
          reconnectMaxMs,
          bodyMax,
          keptMax,
        },
        log,
        onEvent: (event) => this.#tell(event),
        onStopped: (error) => void this.#end(error === undefined ? undefined : new WorkerError(error)),
        onFatal: (error) => {
          void this.#end(error)
          this.#loop.stop()
        },
      },
      this.#workshop.handler,
    )
    if (drains) this.#forgetSigterm = drainOnSigterm(() => this.drain())
    void this.#begin()
  }

  /** Fulfilled when a broker has signed it in for the first time. Rejects when it has stopped before that. */
  async ready(): Promise<void> {
    const stopped = this.stopped.then(() => {
      throw new Error('the worker was stopped before a broker had signed it in')
    })
    await Promise.race([this.#signedIn, stopped])
  }

  /**
   * Takes no more tasks, finishes those under way, hands back to the broker what is unfinished after `deadlineMs`, and
   * ends. Called again, it hands back at once. Never rejects for a worker that ends well.
   */
  async drain(deadlineMs: number = this.#config.drainDeadlineMs): Promise<void> {
    if (!(deadlineMs >= 0))
      throw new ConfigurationError(`deadlineMs = ${deadlineMs}: expected a number of at least 0`)
    this.#loop.drain(deadlineMs)
    await this.stopped
  }

  /** Hands back what runs, and ends. */
  async stop(): Promise<void> {
    await this.drain(0)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain()
  }

  get stats(): WorkerStats {
    const { core, malformedByReason, messagesSent, messagesReceived } = this.#loop
    const { counters } = core
    return {
      signedIn: core.signedIn,
      running: core.running + core.orphans,
      started: counters.started,
      succeeded: counters.succeeded,
      failed: counters.failed,
      expired: counters.expired,
      cancelled: counters.cancelled,
      rejected: counters.rejected,
      handedBack: counters.handedBack,
      orphaned: counters.orphaned,
      partials: counters.partials,
      answersDropped: counters.answersDropped,
      requestsLost: counters.requestsLost,
      connectionsOpened: counters.connectionsOpened,
      brokerChanges: counters.brokerChanges,
      dropped: Object.fromEntries(counters.dropped),
      malformed: Object.fromEntries(malformedByReason),
      messagesSent,
      messagesReceived,
    }
  }

  async #begin(): Promise<void> {
    try {
      await this.#workshop.open()
      this.#loop.begin()
    } catch (error) {
      await this.#end(error)
    }
  }

  #tell(event: WorkerEvent): void {
    if (event.type === 'signed-in') this.#resolveSignedIn()
    logEvent(this.#log, event)
    // Not before the core has done what it is about: whoever is told may call us, and we would call the core in its middle.
    queueMicrotask(() => this.#onEvent(event))
  }

  async #end(error: unknown): Promise<void> {
    if (this.#ending) return
    this.#ending = true
    await this.#workshop.close(this.#config.killGraceMs)
    // Not earlier: a second signal would end the process before what runs in others has ended.
    this.#forgetSigterm()
    if (error === undefined) this.#resolveStopped()
    else this.#rejectStopped(error)
  }
}

function workshopFor(
  handler: Handler | string | URL | undefined,
  program: readonly string[] | undefined,
  { isolate, slots, killGraceMs }: WorkerConfig,
  log: Log,
): Workshop {
  if ((handler === undefined) === (program === undefined)) {
    throw new ConfigurationError('handler: expected either a handler or a program to do the tasks')
  }
  if (program !== undefined) {
    if (isolate)
      throw new ConfigurationError(
        'isolate = true: a program runs in a process of its own anyway; leave it out',
      )
    return new Program(program, killGraceMs)
  }
  if (typeof handler === 'function') {
    if (!isolate) return inProcess(handler)
    throw new ConfigurationError(
      'isolate = true: a function cannot be taken to another process; give the path of a module that exports it',
    )
  }
  if (typeof handler !== 'string' && !(handler instanceof URL)) {
    throw new ConfigurationError('handler: expected a function, or the path or URL of a module')
  }
  const url = moduleUrl(handler)
  return isolate ? new Isolation(url, slots, killGraceMs, log) : new HandlerModule(url)
}

/** One without would throw where it is first needed, in the middle of something else. */
function isLog(log: Log | null): boolean {
  return [log?.debug, log?.info, log?.warn, log?.error].every((level) => typeof level === 'function')
}

function logEvent(log: Log, event: WorkerEvent): void {
  const { type, ...fields } = event
  switch (event.type) {
    case 'connecting':
      log.info(fields, 'connecting')
      break
    case 'signed-in':
      log.info(fields, 'signed in')
      break
    case 'broker-changed':
      log.warn(fields, 'the broker is another, or has restarted: what it had us do is cancelled')
      break
    case 'broker-silent':
      log.warn(fields, 'nothing is heard of the broker: check that it runs and that this is its localbe')
      break
    case 'disconnected':
      log.warn(fields, 'the broker says goodbye: signing in again')
      break
    case 'refused':
      log.error(fields, 'the broker refuses this worker')
      break
    case 'answers-dropped':
      log.error(
        fields,
        'no broker is there and keptMax is reached: an answer is lost, its task will run again',
      )
      break
    case 'draining':
      log.info(fields, 'draining: no more tasks')
      break
    case 'stopped':
      log.info(fields, 'stopped')
      break
    default:
      log.info(fields, type)
  }
}
