import { Dealer } from 'zeromq'
import { decodeMessage } from '../../protocol/decode.ts'
import type { DecodeError } from '../../protocol/decode-error.ts'
import { MessageEncoder } from '../../protocol/encode.ts'
import type { Message, Record } from '../../protocol/record.ts'

/** A batch that has grown to this leaves without waiting for the end of the turn, octets. */
const BATCH_MAX = 64 * 1024
/** Messages read in a row before the event loop gets its turn: a drain never yields by itself. */
const DRAIN_MAX = 448
/** Messages in libzmq's hands; what is more waits here. A broker never has more tasks with us than we have slots. */
const PIPE_MAX = 4096
/** Time for a farewell to leave, ms. */
const FAREWELL_LINGER_MS = 500
/** ZMTP's own heartbeats notice a host that vanished and connect anew, long before TCP would; ms. */
const PING_INTERVAL_MS = 5000

export interface SocketOptions {
  readonly endpoint: string
  /** The same for all connections of a process, so that the broker knows it again after a reconnection. */
  readonly routingId: string
  /** Of this process. */
  readonly epoch: number
  /** Largest task taken, octets. */
  readonly bodyMax: number
}

export interface SocketOwner {
  message(message: Message): void
  malformed(error: DecodeError, frames: readonly Uint8Array[]): void
  /** Everything that had arrived has been handed over. */
  drained(): void
  fatal(error: unknown): void
}

/** One DEALER and its batch: packs what goes out in a turn, reads what comes in. */
export class BrokerSocket {
  messagesSent = 0
  messagesReceived = 0
  readonly #owner: SocketOwner
  readonly #epoch: number
  readonly #limits: { readonly bodyMax: number }
  readonly #dealer: Dealer
  readonly #encoder = new MessageEncoder()
  /** A batch is under way, with this epoch of the receiver in its header. */
  #begun = false
  #to = 0
  /** Never dropped: answers are in it. Bounded by our slots, and by the credit of streams. */
  #unsent: Buffer[][] = []
  #writing = false
  /** Closes when the last has been handed over, or when this goes off. */
  #leaving: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: SocketOptions, owner: SocketOwner) {
    this.#owner = owner
    this.#epoch = options.epoch
    this.#limits = { bodyMax: options.bodyMax }
    this.#dealer = new Dealer({
      routingId: options.routingId,
      linger: 0,
      // Keeps libzmq from speaking ZMTP 1 or 2 with whatever answers at a wrong address.
      zapDomain: 'spillway',
      sendTimeout: 0,
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
    })
    this.#dealer.connect(options.endpoint)
    this.#read().catch((error: unknown) => owner.fatal(error))
  }

  add(record: Record, to: number): void {
    if (this.#begun && to !== this.#to) this.flush()
    if (!this.#begun) {
      this.#encoder.begin(this.#epoch, to)
      this.#begun = true
      this.#to = to
    }
    this.#encoder.add(record)
    if (this.#encoder.size >= BATCH_MAX) this.flush()
  }

  flush(): void {
    if (!this.#begun) return
    this.#begun = false
    const frames = this.#encoder.finish()
    if (this.#closed) return
    this.messagesSent++
    this.#unsent.push(frames)
    if (!this.#writing) this.#write().catch((error: unknown) => this.#owner.fatal(error))
  }

  /** Closes at once; with a farewell, what has been handed over gets a moment to leave. */
  close(farewell: boolean): void {
    if (this.#closed) return
    if (farewell) {
      this.flush()
      this.#dealer.linger = FAREWELL_LINGER_MS
      if (this.#writing) {
        this.#leaving = setTimeout(() => this.#shut(), FAREWELL_LINGER_MS)
        return
      }
    }
    this.#shut()
  }

  #shut(): void {
    clearTimeout(this.#leaving)
    if (this.#closed) return
    this.#closed = true
    this.#begun = false
    this.#unsent = []
    this.#dealer.close()
  }

  /** One at a time, since their order matters; the first is handed to libzmq before this returns. */
  async #write(): Promise<void> {
    this.#writing = true
    try {
      while (this.#unsent.length > 0) {
        const queued = this.#unsent
        this.#unsent = []
        for (const frames of queued) {
          if (this.#closed) return
          await this.#send(frames)
        }
      }
    } finally {
      this.#writing = false
      if (this.#leaving !== undefined) this.#shut()
    }
  }

  async #send(frames: Buffer[]): Promise<void> {
    try {
      await this.#dealer.send(frames)
    } catch (error) {
      if (this.#closed) return
      if (codeOf(error) !== 'EAGAIN') throw error
      await this.#sendWhenThereIsRoom(frames)
    }
  }

  /** Only when the pipe is full is libzmq asked to wait: any other send would fail meanwhile. */
  async #sendWhenThereIsRoom(frames: Buffer[]): Promise<void> {
    this.#dealer.sendTimeout = -1
    try {
      await this.#dealer.send(frames)
    } catch (error) {
      if (!this.#closed) throw error
    }
    if (!this.#closed) this.#dealer.sendTimeout = 0
  }

  async #read(): Promise<void> {
    const dealer = this.#dealer
    while (!this.#closed) {
      let read = 0
      do {
        const frames = await this.#receive()
        if (frames === undefined || this.#closed) return
        this.messagesReceived++
        const message = decodeMessage(frames, 0, this.#limits)
        if ('error' in message) this.#owner.malformed(message, frames)
        else this.#owner.message(message)
      } while (!this.#closed && ++read < DRAIN_MAX && dealer.readable)
      this.#owner.drained()
      if (read === DRAIN_MAX) await new Promise((resolve) => setImmediate(resolve))
    }
  }

  /** The next message; undefined when the socket was closed meanwhile. */
  async #receive(): Promise<Buffer[] | undefined> {
    try {
      return await this.#dealer.receive()
    } catch (error) {
      if (this.#closed) return undefined
      throw error
    }
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}
