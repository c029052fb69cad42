import { nanoid } from 'nanoid'
import { Dealer } from 'zeromq'
import { decodeMessage } from '../../protocol/decode.ts'
import type { DecodeError } from '../../protocol/decode-error.ts'
import { MessageEncoder } from '../../protocol/encode.ts'
import type { Message, Record } from '../../protocol/record.ts'
import type { Connection } from '../core/connection.ts'

/** A batch that has grown to this leaves without waiting for the end of the turn, octets. */
const BATCH_MAX = 64 * 1024
/** Messages read in a row before the event loop gets its turn: a drain never yields by itself. */
const DRAIN_MAX = 448
/**
 * Packed frames that do not fit into libzmq's own queue; beyond it messages are lost, and the calls' timeouts see to
 * it, octets. Large bodies do not count: they are kept by their calls in any case.
 */
const UNSENT_MAX = 64 * 1024 * 1024
/** How long a read may stay pending after the last call has ended: so long the process is kept from its exit, ms. */
const PARK_AFTER_MS = 250
/** Time for a farewell to leave, ms. */
const FAREWELL_LINGER_MS = 100

export interface SocketOwner {
  /** Whether an answer is still expected: if not, nothing is read, so that the process may end. */
  readonly expectsAnswers: boolean
  message(socket: ConnectionSocket, message: Message): void
  malformed(socket: ConnectionSocket, error: DecodeError, frames: readonly Uint8Array[]): void
  /** Everything that had arrived has been handed over. */
  drained(): void
}

/** One DEALER and its batch: packs what goes out in a turn, reads what comes in while somebody waits for it. */
export class ConnectionSocket {
  readonly connection: Connection
  /** Messages and octets, both ways; reads after `close` are not counted. */
  messagesSent = 0
  messagesReceived = 0
  readonly #owner: SocketOwner
  readonly #epoch: number
  readonly #limits: { readonly bodyMax: number }
  readonly #dealer: Dealer
  readonly #encoder = new MessageEncoder()
  /** A batch is under way, with this epoch of the receiver in its header. */
  #begun = false
  #knownTo = 0
  #unsent: Buffer[][] = []
  #unsentOctets = 0
  #writing = false
  #reading = false
  #closed = false

  constructor(connection: Connection, epoch: number, bodyMax: number, owner: SocketOwner) {
    this.connection = connection
    this.#owner = owner
    this.#epoch = epoch
    this.#limits = { bodyMax }
    // A routing id of its own each time: what a broker still has for an earlier socket must not come here.
    this.#dealer = new Dealer({
      routingId: nanoid(),
      linger: 0,
      sendTimeout: 0,
      receiveTimeout: PARK_AFTER_MS,
    })
    this.#dealer.connect(connection.endpoint.address)
  }

  add(record: Record): void {
    const to = this.connection.epoch
    if (to !== this.#knownTo) {
      // A message to a broker's former life is dropped unread by its next: everything in it is sent again anyway.
      if (this.#knownTo !== 0) this.#forget()
      else this.flush()
      this.#knownTo = to
    }
    if (!this.#begun) {
      this.#encoder.begin(this.#epoch, to)
      this.#begun = true
    }
    this.#encoder.add(record)
    if (this.#encoder.size >= BATCH_MAX) this.flush()
    if (!this.#reading) void this.#read()
  }

  flush(): void {
    if (!this.#begun) return
    this.#begun = false
    const frames = this.#encoder.finish()
    if (this.#closed) return
    this.messagesSent++
    if (this.#writing) this.#queue(frames)
    else this.#dealer.send(frames).catch((error: unknown) => this.#unsendable(frames, error))
  }

  /** Closes at once; with a farewell, what is in libzmq's hands gets a moment to leave. */
  close(farewell: boolean): void {
    if (this.#closed) return
    if (farewell) {
      this.flush()
      this.#dealer.linger = FAREWELL_LINGER_MS
    }
    this.#closed = true
    this.#unsent = []
    this.#dealer.close()
  }

  #unsendable(frames: Buffer[], error: unknown): void {
    if (this.#closed) return
    // Full. In that case, and only then, libzmq is asked to wait: a pending send makes every other call fail.
    if (codeOf(error) !== 'EAGAIN') throw error
    this.#queue(frames)
    if (!this.#writing) void this.#write()
  }

  #queue(frames: Buffer[]): void {
    const octets = frames[0]?.byteLength ?? 0
    if (this.#unsentOctets + octets > UNSENT_MAX) return
    this.#unsentOctets += octets
    this.#unsent.push(frames)
  }

  #forget(): void {
    this.#begun = false
    this.#unsent = []
    this.#unsentOctets = 0
  }

  async #write(): Promise<void> {
    this.#writing = true
    try {
      while (this.#unsent.length > 0) {
        const queued = this.#unsent
        let next = 0
        this.#dealer.sendTimeout = -1
        // Another array means that this one was forgotten meanwhile.
        for (; next < queued.length && this.#unsent === queued; next++) {
          const frames = queued[next]
          if (frames !== undefined) await this.#dealer.send(frames)
        }
        if (this.#unsent === queued) {
          this.#unsent = []
          this.#unsentOctets = 0
        }
      }
      this.#dealer.sendTimeout = 0
    } catch (error) {
      if (!this.#closed) throw error
    } finally {
      this.#writing = false
    }
  }

  async #read(): Promise<void> {
    this.#reading = true
    const dealer = this.#dealer
    try {
      while (!this.#closed) {
        let read = 0
        do {
          const frames = await receive(dealer)
          if (frames === undefined || this.#closed) break
          this.#received(frames)
        } while (!this.#closed && ++read < DRAIN_MAX && dealer.readable)
        this.#owner.drained()
        if (!this.#owner.expectsAnswers) break
        if (read === DRAIN_MAX) await new Promise((resolve) => setImmediate(resolve))
      }
    } finally {
      this.#reading = false
    }
  }

  #received(frames: readonly Uint8Array[]): void {
    this.messagesReceived++
    const message = decodeMessage(frames, 0, this.#limits)
    if ('error' in message) this.#owner.malformed(this, message, frames)
    else this.#owner.message(this, message)
  }
}

/** The next message; undefined when none came in time or the socket was closed meanwhile. */
async function receive(dealer: Dealer): Promise<Uint8Array[] | undefined> {
  try {
    return await dealer.receive()
  } catch (error) {
    const code = codeOf(error)
    if (code === 'EAGAIN' || code === 'EBADF' || code === 'ENOTSOCK') return undefined
    throw error
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}
