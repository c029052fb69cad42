/** The client library: tasks to a broker, answers back. Import as `spillway/client`. */

import { randomInt } from 'node:crypto'
import { hostname } from 'node:os'
import { nanoid } from 'nanoid'
import { bodyOf } from '../protocol/body.ts'
import { Flag, NAME_MAX, PRIORITY_MAX, TRACEPARENT_MAX } from '../protocol/record.ts'
import { ConfigurationError, notA } from '../settings/configuration-error.ts'
import { parseSettings } from '../settings/settings.ts'
import { type ClientConfig, clientSchema } from './config.ts'
import type { CallTerms } from './core/call.ts'
import type { ClientEvent } from './core/port.ts'
import { ClientLoop } from './io/client-loop.ts'
import { PendingReply } from './pending-reply.ts'
import type { Reply } from './reply.ts'
import { PendingStream, type ReplyStream } from './stream.ts'

export { ConfigurationError, type ConfigurationProblem } from '../settings/configuration-error.ts'
export type { ClientEvent } from './core/port.ts'
export {
  BusyError,
  ClosedError,
  ExpiredError,
  NoServiceError,
  PoisonError,
  SpillwayError,
  StreamBrokenError,
  TaskError,
  TimeoutError,
  TooLargeError,
  UnavailableError,
  UnknownError,
} from './errors.ts'
export { Piece, Reply } from './reply.ts'
export { ReplyStream } from './stream.ts'

export interface ClientOptions {
  /** Where brokers can be reached (their localfe): one address, or several in the order in which they are tried. */
  readonly connect: string | readonly string[]
  /** Default 2500 ms. See {@link RequestOptions}, as for the four below. */
  readonly timeoutMs?: number | undefined
  /** Default 3. */
  readonly retries?: number | undefined
  /** Default timeoutMs × retries. */
  readonly deadlineMs?: number | undefined
  /** Default 4. */
  readonly priority?: number | undefined
  /** Default '': the anonymous service. */
  readonly service?: string | undefined
  /** What brokers' logs call this client; by default host name and process id. */
  readonly name?: string | undefined
  /** Between questions whether the broker is there, while anything is outstanding, ms. Default 1000. */
  readonly heartbeatIntervalMs?: number | undefined
  /** Tasks under way at once; beyond it requests fail with BusyError at once. Default 100,000, at most 2^21. */
  readonly outstandingMax?: number | undefined
  /** Largest answer taken, octets; larger ones become TooLargeError. Default 64 MiB. */
  readonly bodyMax?: number | undefined
  /** Told of changes of state (a broker found, silent, restarted); never once a task. Must not throw. */
  readonly onEvent?: ((event: ClientEvent) => void) | undefined
}

export interface RequestOptions {
  /**
   * Silence about the task after which it is sent again, ms. The broker's "still waiting" or "still running" ends the
   * silence, so a task may run much longer than this, up to its deadline.
   */
  readonly timeoutMs?: number | undefined
  /**
   * Tries in all, in a row and unanswered, before the task fails. With 1 it is never sent again, and BUSY or DRAINING
   * fail it at once; otherwise the client waits as long as the broker says and tries again within the deadline.
   */
  readonly retries?: number | undefined
  /** Time for the task in all, ms; the broker drops it when it is over. Default timeoutMs × retries. */
  readonly deadlineMs?: number | undefined
  /** From 0 (last) to 9 (first). */
  readonly priority?: number | undefined
  /** False: never start it twice; where it may have run, fail with UnknownError instead. Default true. */
  readonly idempotent?: boolean | undefined
  /** Which workers may do it. */
  readonly service?: string | undefined
  /** Fail with NoServiceError at once when nobody anywhere serves the service. Default false: wait for somebody. */
  readonly failFast?: boolean | undefined
  /** W3C trace context, passed on to the worker unread. */
  readonly traceparent?: string | undefined
  /** Cancels the task, in the broker and the worker too; the request rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
}

export interface StreamOptions extends RequestOptions {
  /** Pieces on their way at once, from 1 to 65,535: more hide a longer way, fewer keep less in memory. Default 16. */
  readonly window?: number | undefined
  /** Begin anew, from index 0 of a higher attempt, when the stream breaks. Default false: StreamBrokenError. */
  readonly restart?: boolean | undefined
}

/** What a client has done so far; all but `outstanding` only grow. */
export interface ClientStats {
  readonly outstanding: number
  readonly submitted: number
  readonly succeeded: number
  readonly cancelled: number
  /** By code; handlers' own codes count as TASK_FAILED. */
  readonly failed: Readonly<Record<string, number>>
  readonly requestsSent: number
  readonly requestsResent: number
  readonly turnedAway: number
  readonly partials: number
  readonly connectionsOpened: number
  readonly brokerRestarts: number
  /** Answers to calls that have ended. */
  readonly late: number
  readonly dropped: Readonly<Record<string, number>>
  readonly malformed: Readonly<Record<string, number>>
  readonly messagesSent: number
  readonly messagesReceived: number
}

const WINDOW_DEFAULT = 16
const WINDOW_MAX = 65_535
const TIME_MAX = 2 ** 31 - 1

/**
 * Sends tasks to a broker and brings the answers back, all over one connection. Reliable as the guide's Lazy Pirate:
 * what is not answered is sent again under the same id, to the next broker if there are several.
 *
 * A client with nothing outstanding keeps no process alive (a moment after its last task failed or was cancelled, at
 * most), but it keeps its connection: `close()` it, or declare it with `await using`.
 */
export class Client {
  readonly #config: ClientConfig
  readonly #loop: ClientLoop

  /** @throws ConfigurationError naming the option that is wrong */
  constructor(options: ClientOptions) {
    const { onEvent, ...rest } = options
    this.#config = parseSettings(clientSchema, rest)
    if (onEvent !== undefined && typeof onEvent !== 'function') throw notA('onEvent', onEvent, 'a function')
    this.#loop = new ClientLoop(
      {
        name: this.#config.name || `${hostname()}:${process.pid}`,
        epoch: randomInt(1, 2 ** 32),
        endpoints: this.#config.connect,
        heartbeatIntervalMs: this.#config.heartbeatIntervalMs,
        outstandingMax: this.#config.outstandingMax,
        bodyMax: this.#config.bodyMax,
      },
      // Not before the core has done what it is about: whoever is told may call us, and we would call the core in its middle.
      onEvent === undefined ? () => {} : (event) => queueMicrotask(() => onEvent(event)),
    )
  }

  /**
   * Has a task done. The body is a string (sent as UTF-8), octets (sent as they are: do not write to them before the
   * answer is there), or anything else that JSON can hold.
   *
   * Rejects with a {@link SpillwayError}, with the signal's reason, or with a ConfigurationError for an option out of range.
   */
  request(body: unknown, options: RequestOptions = NO_OPTIONS): Promise<Reply> {
    try {
      const signal = signalOf(options)
      if (signal?.aborted) return Promise.reject(signal.reason)
      const call = new PendingReply(this.#terms(body, options, 0, 0))
      if (signal !== undefined) call.listen(signal, () => this.#loop.cancel(call))
      this.#loop.submit(call)
      return call.promise
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /**
   * Has a task done that answers piece by piece. The task starts at once; the pieces are read with `for await`.
   *
   * @throws ConfigurationError for an option out of range, or the signal's reason when it has fired already
   */
  stream(body: unknown, options: StreamOptions = NO_OPTIONS): ReplyStream {
    const { restart = false, window = WINDOW_DEFAULT } = options
    const signal = signalOf(options)
    signal?.throwIfAborted()
    check('window', window, 1, WINDOW_MAX)
    if (restart && options.idempotent === false) {
      throw new ConfigurationError(
        'restart = true: starts a task again, which idempotent: false forbids; leave one of them out',
      )
    }
    const flags = Flag.Stream | (restart ? Flag.RestartStream : 0)
    const call = new PendingStream(this.#terms(body, options, flags, window), this.#loop)
    if (signal !== undefined) call.listen(signal)
    this.#loop.submit(call)
    return call.stream
  }

  get stats(): ClientStats {
    const { counters, outstanding } = this.#loop.core
    return {
      outstanding,
      submitted: counters.submitted,
      succeeded: counters.succeeded,
      cancelled: counters.cancelled,
      failed: Object.fromEntries(counters.failed),
      requestsSent: counters.requestsSent,
      requestsResent: counters.requestsResent,
      turnedAway: counters.turnedAway,
      partials: counters.partials,
      connectionsOpened: counters.connectionsOpened,
      brokerRestarts: counters.brokerRestarts,
      late: counters.late,
      dropped: Object.fromEntries(counters.dropped),
      malformed: Object.fromEntries(this.#loop.malformedByReason),
      messagesSent: this.#loop.messagesSent,
      messagesReceived: this.#loop.messagesReceived,
    }
  }

  /** Rejects what is outstanding with ClosedError, tells the broker and closes the connection. Twice is once. */
  async close(): Promise<void> {
    this.#loop.end()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #terms(body: unknown, options: RequestOptions, flags: number, window: number): CallTerms {
    const config = this.#config
    const timeoutMs = options.timeoutMs ?? config.timeoutMs
    const retries = options.retries ?? config.retries
    const deadlineMs = options.deadlineMs ?? config.deadlineMs ?? Math.min(timeoutMs * retries, TIME_MAX)
    const priority = options.priority ?? config.priority
    const service = options.service ?? config.service
    check('timeoutMs', timeoutMs, 1, TIME_MAX)
    check('retries', retries, 1, 1000)
    check('deadlineMs', deadlineMs, 1, TIME_MAX)
    check('priority', priority, 0, PRIORITY_MAX)
    const traceparent = options.traceparent ?? ''
    checkText('service', service, NAME_MAX)
    checkText('traceparent', traceparent, TRACEPARENT_MAX)
    return {
      id: nanoid(),
      body: octets(body),
      service,
      priority,
      flags:
        flags |
        (options.idempotent === false ? Flag.NotIdempotent : 0) |
        (options.failFast === true ? Flag.FailFast : 0),
      traceparent,
      timeoutMs,
      retries,
      deadlineMs,
      window,
    }
  }
}

const NO_OPTIONS: RequestOptions = {}

/** By hand, since a schema's parse for every task would cost more than all the rest. */
function check(name: string, value: unknown, min: number, max: number): void {
  if (typeof value === 'number' && value >= min && value <= max) return
  throw notA(name, value, `a number from ${min} to ${max}`)
}

/** No text at all would end the encoder in the middle of a message that others' tasks are in; a longer one would be cut. */
function checkText(name: string, value: unknown, max: number): void {
  if (typeof value === 'string' && (3 * value.length <= max || Buffer.byteLength(value) <= max)) return
  throw notA(name, value, `a text of at most ${max} octets`)
}

/** Null, which other libraries take for none, is none here as well. */
function signalOf({ signal }: RequestOptions): AbortSignal | undefined {
  if (signal === undefined || signal === null) return undefined
  if (typeof signal.addEventListener === 'function') return signal
  throw notA('signal', signal, 'an AbortSignal')
}

function octets(body: unknown): Uint8Array {
  const made = bodyOf(body)
  if (made === undefined)
    throw new ConfigurationError('body: expected octets, a string or something JSON can hold')
  return made
}
