import { performance } from 'node:perf_hooks'
import { nanoid } from 'nanoid'
import { decodeIntroduction, decodeRefusal, peekVersion } from '../../protocol/decode.ts'
import { type DecodeError, DecodeReason } from '../../protocol/decode-error.ts'
import type { Message, Record, Request } from '../../protocol/record.ts'
import { VERSION_MAJOR } from '../../protocol/record.ts'
import { type DealerOwner, PackingDealer } from '../../wire/packing-dealer.ts'
import type { Failure } from '../core/assignment.ts'
import type { WorkerCoreConfig } from '../core/config.ts'
import type { WorkerEvent } from '../core/event.ts'
import type { WorkerPort } from '../core/port.ts'
import { Worker } from '../core/worker.ts'
import type { Handler } from '../handler.ts'
import type { Log } from '../log.ts'
import { Run, type RunOwner } from './run.ts'
import { runHandler } from './run-handler.ts'

/** Handlers that return at once may add up: what they have answered after this leaves before the next starts, ms. */
const TURN_MAX_MS = 2
/** Messages in libzmq's hands; what is more waits with us. A broker never has more tasks with us than we have slots. */
const PIPE_MAX = 4096
/** Time for a farewell to leave, ms. From 500 on the end of the process is held up so long that zeromq.js says so on stderr. */
const FAREWELL_LINGER_MS = 400
/** ZMTP's own heartbeats notice a host that vanished and connect anew, long before TCP would; ms. */
const PING_INTERVAL_MS = 5000
/** Longest that a timer of Node's can be set to, ms. */
const TIMER_MAX_MS = 2 ** 31 - 1

export interface LoopOptions {
  readonly core: WorkerCoreConfig
  readonly log: Log
  readonly onEvent: (event: WorkerEvent) => void
  readonly onStopped: (error: Failure | undefined) => void
  /** A bug of ours, or of libzmq. */
  readonly onFatal: (error: unknown) => void
}

/** Puts a real socket, real handlers and one timer around the core. */
export class WorkerLoop implements WorkerPort<Run>, DealerOwner, RunOwner {
  readonly core: Worker<Run>
  readonly log: Log
  /** Messages that could not be decoded, by reason. */
  readonly malformedByReason = new Map<string, number>()
  readonly #options: LoopOptions
  readonly #handler: Handler
  readonly #routingId = nanoid()
  #socket: PackingDealer | undefined
  #closedSent = 0
  #closedReceived = 0
  /** Came in with the message at hand; started when the core has finished with it. */
  #toStart: Run[] = []
  /** Messages are being read: what comes of them leaves when all have been. */
  #reading = false
  #flushedAt = 0
  #flushScheduled = false
  #timer: NodeJS.Timeout | undefined
  #timerAt = Number.POSITIVE_INFINITY
  readonly #flush = () => {
    this.#flushScheduled = false
    this.drained()
  }
  readonly #timedOut = () => {
    this.#timerAt = Number.POSITIVE_INFINITY
    // After what has arrived has been read: a process that was busy for seconds must not take its own silence for
    // the broker's.
    setImmediate(this.#advance)
  }
  readonly #advance = () => {
    this.core.timeout(performance.now())
    this.drained()
  }

  constructor(options: LoopOptions, handler: Handler) {
    this.#options = options
    this.#handler = handler
    this.log = options.log
    this.core = new Worker<Run>(options.core, this, Math.random)
  }

  get messagesSent(): number {
    return this.#closedSent + (this.#socket?.messagesSent ?? 0)
  }

  get messagesReceived(): number {
    return this.#closedReceived + (this.#socket?.messagesReceived ?? 0)
  }

  begin(): void {
    this.core.start(performance.now())
    this.drained()
  }

  drain(deadlineMs: number): void {
    this.core.drain(deadlineMs, performance.now())
    this.drained()
  }

  stop(): void {
    this.core.stop()
    this.drained()
  }

  // What handlers bring.

  get replyMax(): number {
    return this.core.replyMax
  }

  finished(run: Run, body: Uint8Array): void {
    this.core.finished(run, body, performance.now())
    this.#scheduleFlush()
  }

  failed(run: Run, failure: Failure): void {
    this.core.failed(run, failure, performance.now())
    this.#scheduleFlush()
  }

  partial(run: Run, body: Uint8Array): void {
    this.core.partial(run, body)
    this.#scheduleFlush()
  }

  // What the core wants done.

  open(endpoint: string): void {
    const { epoch, bodyMax } = this.#options.core
    this.#socket = new PackingDealer(
      {
        endpoint,
        epoch,
        bodyMax,
        waitMs: -1,
        // Answers are never dropped. They are bounded by our slots, and by the credit of streams.
        unsentMax: Number.POSITIVE_INFINITY,
        socket: {
          // The same for all connections of a process, so that the broker knows it again after a reconnection.
          routingId: this.#routingId,
          sendHighWaterMark: PIPE_MAX,
          receiveHighWaterMark: PIPE_MAX,
          reconnectInterval: 100,
          reconnectMaxInterval: 1000,
          tcpKeepalive: 1,
          tcpKeepaliveIdle: 30,
          tcpKeepaliveInterval: 10,
          tcpKeepaliveCount: 3,
          heartbeatInterval: PING_INTERVAL_MS,
          heartbeatTimeout: 2 * PING_INTERVAL_MS,
        },
      },
      this,
    )
    this.#socket.read()
  }

  close(farewell: boolean): void {
    const socket = this.#socket
    if (socket === undefined) return
    this.#socket = undefined
    socket.close(farewell ? FAREWELL_LINGER_MS : 0)
    this.#closedSent += socket.messagesSent
    this.#closedReceived += socket.messagesReceived
  }

  send(record: Record, to: number): void {
    this.#socket?.add(record, to)
  }

  start(request: Request, now: number): Run {
    const run = new Run(request, now, this)
    this.#toStart.push(run)
    return run
  }

  cancel(run: Run, why: Failure): void {
    run.stop(why)
  }

  credit(run: Run): void {
    run.wake()
  }

  event(event: WorkerEvent): void {
    this.#options.onEvent(event)
  }

  stopped(error: Failure | undefined): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#options.onStopped(error)
  }

  // What the socket brings.

  /** A broker may have a task for us at any time. */
  get expectant(): boolean {
    return true
  }

  message(message: Message): void {
    const arrivedAt = performance.now()
    if (!this.#reading) {
      this.#reading = true
      this.#flushedAt = arrivedAt
    }
    this.core.receive(message, arrivedAt)
    if (this.#toStart.length === 0) return
    const runs = this.#toStart
    this.#toStart = []
    for (const run of runs) {
      runHandler(this.#handler, run)
      const now = performance.now()
      if (now - this.#flushedAt < TURN_MAX_MS) continue
      this.#flushedAt = now
      this.#socket?.flush()
    }
  }

  malformed({ error }: DecodeError, frames: readonly Uint8Array[]): void {
    this.malformedByReason.set(error, (this.malformedByReason.get(error) ?? 0) + 1)
    if (error !== DecodeReason.Version) return
    const refusal = decodeRefusal(frames[0])
    if (refusal !== undefined) {
      this.core.refused(refusal.reason, refusal.message, performance.now())
      return
    }
    const who = decodeIntroduction(frames[0])?.name ?? 'the broker'
    const message = `${who} speaks version ${peekVersion(frames[0])} of the protocol, this worker ${VERSION_MAJOR}: install the same major version on both sides`
    this.core.refused('version', message, performance.now())
  }

  /** A turn is over: what it brought forth leaves, and the timer is set to what comes next. */
  drained(): void {
    this.#reading = false
    this.#socket?.flush()
    if (this.core.stopped) return
    const next = this.core.nextTimeout()
    if (next >= this.#timerAt) return
    clearTimeout(this.#timer)
    this.#timerAt = next
    const inMs = Math.ceil(next - performance.now())
    this.#timer = setTimeout(this.#timedOut, Math.max(0, Math.min(inMs, TIMER_MAX_MS)))
  }

  fatal(error: unknown): void {
    this.#options.onFatal(error)
  }

  #scheduleFlush(): void {
    if (this.#flushScheduled || this.#reading || this.core.stopped) return
    this.#flushScheduled = true
    // The only task's answer leaves at the end of this tick; with more about, those that end together travel together.
    if (this.core.running === 0) queueMicrotask(this.#flush)
    else setImmediate(this.#flush)
  }
}
