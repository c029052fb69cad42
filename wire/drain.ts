import { setImmediate as turn } from 'node:timers/promises'

/** Messages taken from one socket in one burst before the event loop gets its turn: a drain never yields by itself. */
const DRAIN_MAX = 448
/** The same for bursts that follow each other without a wait between them. More than zeromq.js lets pass by itself where each
 *  is a message or two: there another turn would cost a tenth of the throughput, and gain nothing. */
const UNYIELDING_MAX = 4096
/** Messages after which what came of them leaves, though more may be waiting. */
const FLUSH_EVERY = 64
/** So few messages in a row are asked for before they are taken: asking costs less than a receive that fails, as long as
 *  it is not done for each of many. */
const ASKED_MAX = 4

/** What is drained: any ZeroMQ socket that can receive. */
export interface Receiver {
  receiveTimeout: number
  readonly readable: boolean
  receive(): Promise<Buffer[]>
}

/** Who reads. */
export interface Reader {
  /** Nothing more is wanted: the socket is closed, or about to be. */
  readonly closed: boolean
  message(frames: Buffer[]): void
  /**
   * Everything that had arrived has been handed over, or so much that what came of it should leave now. Said after the last
   * message, too, though that may have closed it.
   */
  drained(): void
  /** Whether there is anything to wait for; asked after each burst, and after each wait of `waitMs` in vain. */
  readonly expectant: boolean
}

/**
 * Hands over all that arrives at a socket, and says after each burst that it is over: what comes of a message by itself
 * leaves at once, what comes of many leaves together. Ends when the reader is closed or expects nothing more.
 *
 * A wait is a receive that stays pending, which makes every send on the socket dearer (1.25 µs instead of 0.5), so there
 * is none while messages keep coming. The end of a long burst is a receive that fails, which costs as much as several
 * that do not, most of it for the stack of an error that nobody reads: it is made without one.
 *
 * @param waitMs how long a receive may stay pending; -1 for ever
 * @throws whatever libzmq says that is neither "nothing there" nor "closed"
 */
export async function drain(socket: Receiver, waitMs: number, reader: Reader): Promise<void> {
  socket.receiveTimeout = waitMs
  let sinceTurn = 0
  while (!reader.closed) {
    let taken = 0
    try {
      do {
        reader.message(await socket.receive())
        taken++
      } while (taken < ASKED_MAX && !reader.closed && socket.readable)
      if (taken === ASKED_MAX && !reader.closed) {
        socket.receiveTimeout = 0
        while (taken < DRAIN_MAX && !reader.closed) {
          reader.message(await receiveNow(socket))
          if (++taken % FLUSH_EVERY === 0) reader.drained()
        }
      }
    } catch (error) {
      if (!reader.closed && codeOf(error) !== 'EAGAIN') throw error
    }
    // Also of a reader that has been closed by what it was handed: what came of that may have to leave by another socket.
    if (taken > 0 || !reader.closed) reader.drained()
    if (reader.closed || !reader.expectant) return
    if (taken >= ASKED_MAX) socket.receiveTimeout = waitMs
    sinceTurn += taken
    if (taken < DRAIN_MAX && sinceTurn < UNYIELDING_MAX) continue
    sinceTurn = 0
    await turn()
  }
}

/** Rejects with EAGAIN when nothing is there: at a timeout of 0 zeromq.js decides, and makes the error, within the call. */
function receiveNow(socket: Receiver): Promise<Buffer[]> {
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 0
  try {
    return socket.receive()
  } finally {
    Error.stackTraceLimit = limit
  }
}

/** The name of a system error; '' for any other. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}
