import { randomFillSync } from 'node:crypto'
import { performance } from 'node:perf_hooks'
import { decodeRefusal } from '../../protocol/decode.ts'
import { type DecodeError, DecodeReason } from '../../protocol/decode-error.ts'
import type { Message, Partial, Record } from '../../protocol/record.ts'
import { codeOf } from '../../wire/drain.ts'
import { Client } from '../core/client.ts'
import type { ClientCoreConfig } from '../core/config.ts'
import type { Connection } from '../core/connection.ts'
import type { Outcome } from '../core/outcome.ts'
import type { ClientEvent, ClientPort } from '../core/port.ts'
import { ConnectionSocket, type SocketOwner } from './connection-socket.ts'
import type { PendingCall } from './pending-call.ts'

const NO_SOCKET =
  'no socket could be opened: this process has as many as it may (1023, or what its limit of open files allows); close clients that are done, or let one client send the tasks of many'

/** Puts real sockets and one timer around the core. */
export class ClientLoop implements ClientPort<PendingCall>, SocketOwner {
  readonly core: Client<PendingCall>
  /** Messages that could not be decoded, by reason. */
  readonly malformedByReason = new Map<string, number>()
  #closedSent = 0
  #closedReceived = 0
  readonly #config: ClientCoreConfig
  readonly #onEvent: (event: ClientEvent) => void
  readonly #sockets = new Map<Connection, ConnectionSocket>()
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
    if (this.core.closed) return
    this.core.timeout(performance.now())
    this.drained()
  }

  constructor(config: ClientCoreConfig, onEvent: (event: ClientEvent) => void) {
    this.#config = config
    this.#onEvent = onEvent
    this.core = new Client<PendingCall>(config, this, random32)
  }

  get messagesSent(): number {
    return [...this.#sockets.values()].reduce((sum, socket) => sum + socket.messagesSent, this.#closedSent)
  }

  get messagesReceived(): number {
    return [...this.#sockets.values()].reduce(
      (sum, socket) => sum + socket.messagesReceived,
      this.#closedReceived,
    )
  }

  submit(call: PendingCall): void {
    this.core.submit(call, performance.now())
    this.#scheduleFlush()
  }

  cancel(call: PendingCall): void {
    this.core.cancel(call)
    this.#scheduleFlush()
  }

  taken(call: PendingCall, attempt: number): void {
    this.core.taken(call, attempt)
    this.#scheduleFlush()
  }

  /** Ends everything outstanding, says goodbye and closes the sockets. */
  end(): void {
    this.core.close(performance.now())
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  // What the core wants done.

  open(connection: Connection): void {
    const { epoch, bodyMax } = this.#config
    try {
      this.#sockets.set(connection, new ConnectionSocket(connection, epoch, bodyMax, this))
    } catch (error) {
      if (codeOf(error) !== 'EMFILE') throw error
      // Nothing is read meanwhile, so that nothing else would keep the process alive until the calls' time is over.
      queueMicrotask(() => {
        this.core.unopened(connection, NO_SOCKET, performance.now())
        this.drained()
      })
    }
  }

  close(connection: Connection): void {
    const socket = this.#sockets.get(connection)
    if (socket === undefined) return
    this.#sockets.delete(connection)
    // What it was told last still leaves, where nothing is wrong with it.
    socket.close(this.core.closed || connection.calls === 0)
    this.#closedSent += socket.messagesSent
    this.#closedReceived += socket.messagesReceived
  }

  send(connection: Connection, record: Record): void {
    this.#sockets.get(connection)?.add(record)
  }

  settle(call: PendingCall, outcome: Outcome, now: number): void {
    call.ended(outcome, now)
  }

  partial(call: PendingCall, piece: Partial): void {
    call.piece(piece)
  }

  event(event: ClientEvent): void {
    this.#onEvent(event)
  }

  // What the sockets bring.

  get expectsAnswers(): boolean {
    return this.core.outstanding > 0
  }

  message(socket: ConnectionSocket, message: Message): void {
    this.core.receive(socket.connection, message, performance.now())
  }

  malformed(socket: ConnectionSocket, { error }: DecodeError, frames: readonly Uint8Array[]): void {
    this.malformedByReason.set(error, (this.malformedByReason.get(error) ?? 0) + 1)
    if (error !== DecodeReason.Version) return
    const refusal = decodeRefusal(frames[0])
    const message = refusal?.message ?? 'it speaks another version of the protocol'
    this.core.refused(socket.connection, refusal?.reason ?? 'version', message, performance.now())
  }

  /** A turn is over: what it brought forth leaves, and the timer is set to what comes next. */
  drained(): void {
    for (const socket of this.#sockets.values()) socket.flush()
    const next = this.core.nextTimeout()
    if (next >= this.#timerAt) return
    clearTimeout(this.#timer)
    this.#timerAt = next
    // A read stays pending while anything is outstanding and keeps the process alive; the timer need not.
    this.#timer = setTimeout(this.#timedOut, Math.max(0, Math.ceil(next - performance.now()))).unref()
  }

  #scheduleFlush(): void {
    if (this.#flushScheduled || this.core.closed) return
    this.#flushScheduled = true
    // A single call leaves at the end of this tick. With more about, callers are probably woken one by one by the
    // answers of one message: wait until all have had their say, so that their new calls travel together.
    if (this.core.outstanding <= 1) queueMicrotask(this.#flush)
    else setImmediate(this.#flush)
  }
}

const drawn = new Uint32Array(256)
let used = drawn.length

/** From the system's generator, many at a time: a call a number would cost more than the rest of a send. */
function random32(): number {
  if (used === drawn.length) {
    randomFillSync(drawn)
    used = 0
  }
  return drawn[used++] ?? 0
}
