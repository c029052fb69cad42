import { Dealer, type SocketOptions } from 'zeromq'
import { decodeMessage } from '../protocol/decode.ts'
import type { DecodeError } from '../protocol/decode-error.ts'
import { MessageEncoder } from '../protocol/encode.ts'
import { Kind, type Message, type Record } from '../protocol/record.ts'
import { codeOf, drain, type Reader } from './drain.ts'
import { needsIpv6 } from './ipv6.ts'

/** A batch that has grown to this leaves without waiting for the end of the turn, octets. */
const BATCH_MAX = 64 * 1024
/** Up to so many records it is not cut after a CANCEL: the cores take those that are repeated, and the question after them, for one message. */
const UNCUT_MAX = 32_768

export interface DealerOptions {
  readonly endpoint: string
  /** Of this process. */
  readonly epoch: number
  /** Largest body taken, octets. */
  readonly bodyMax: number
  /** How long a read, or a send that there is no room for, may stay pending before the owner is asked whether it expects anything, ms; -1: for ever. */
  readonly waitMs: number
  /** Packed frames that may wait here when libzmq's own queue is full; what is more is lost. Octets. */
  readonly unsentMax: number
  /** Beside those that every one of ours has. */
  readonly socket: SocketOptions<Dealer>
}

export interface DealerOwner {
  message(message: Message): void
  malformed(error: DecodeError, frames: readonly Uint8Array[]): void
  /** Everything that had arrived has been handed over. */
  drained(): void
  /** Whether anything may still come: if not, nothing is read, so that the process may end. */
  readonly expectant: boolean
  /** A bug of ours, or of libzmq. */
  fatal(error: unknown): void
}

/** One DEALER and its batch: packs what goes out in a turn, reads what comes in. */
export class PackingDealer implements Reader {
  messagesSent = 0
  messagesReceived = 0
  closed = false
  readonly #owner: DealerOwner
  readonly #options: DealerOptions
  readonly #dealer: Dealer
  readonly #encoder = new MessageEncoder()
  /** A batch is under way, with this epoch of the receiver in its header. */
  #begun = false
  #to = 0
  #unsent: Buffer[][] = []
  #unsentOctets = 0
  #writing = false
  #reading = false
  /** Closes when the last has been handed over, or when this goes off. */
  #leaving: NodeJS.Timeout | undefined

  constructor(options: DealerOptions, owner: DealerOwner) {
    this.#owner = owner
    this.#options = options
    this.#dealer = new Dealer({
      linger: 0,
      sendTimeout: 0,
      ipv6: needsIpv6(options.endpoint),
      // Keeps libzmq from speaking ZMTP 1 or 2 with whatever answers at a wrong address.
      zapDomain: 'spillway',
      ...options.socket,
    })
    this.#dealer.connect(options.endpoint)
  }

  /** Reads from here on, for as long as the owner expects anything. What is sent starts it as well. */
  read(): void {
    if (this.#reading || this.closed) return
    this.#reading = true
    drain(this.#dealer, this.#options.waitMs, this).then(
      () => {
        this.#reading = false
        // Its answer may have brought about the next call already. A batch under way starts the reading itself: a send
        // costs less while no read is pending.
        if (!this.#begun && this.expectant) this.read()
      },
      (error: unknown) => this.#owner.fatal(error),
    )
  }

  /** @param to the receiver's epoch, 0 when unknown */
  add(record: Record, to: number): void {
    // What comes after a HELLO is to be in one message with it: its answer is taken for an answer to all of that.
    if (this.#begun && (to !== this.#to || record.kind === Kind.Hello)) this.flush()
    if (!this.#begun) {
      this.#encoder.begin(this.#options.epoch, to)
      this.#begun = true
      this.#to = to
    }
    this.#encoder.add(record)
    if (this.#encoder.size < BATCH_MAX) return
    if (record.kind !== Kind.Cancel || this.#encoder.count >= UNCUT_MAX) this.flush()
  }

  flush(): void {
    if (!this.#begun) return
    this.#begun = false
    const frames = this.#encoder.finish()
    if (this.closed) return
    this.messagesSent++
    const octets = frames[0]?.byteLength ?? 0
    if (this.#unsentOctets + octets <= this.#options.unsentMax) {
      this.#unsentOctets += octets
      this.#unsent.push(frames)
    }
    if (!this.#writing) this.#write().catch((error: unknown) => this.#owner.fatal(error))
    this.read()
  }

  /** Drops what has not been handed to libzmq yet. */
  forget(): void {
    this.#begun = false
    this.#unsent = []
    this.#unsentOctets = 0
  }

  /** Closes at once, or gives what has been handed over a moment to leave. @param lingerMs 0: at once */
  close(lingerMs: number): void {
    if (this.closed || this.#leaving !== undefined) return
    if (lingerMs > 0) {
      this.flush()
      this.#dealer.linger = lingerMs
      if (this.#writing) {
        this.#leaving = setTimeout(() => this.#shut(), lingerMs)
        return
      }
    }
    this.#shut()
  }

  #shut(): void {
    clearTimeout(this.#leaving)
    if (this.closed) return
    this.closed = true
    this.forget()
    this.#dealer.close()
  }

  /** One at a time, since their order matters; the first is handed to libzmq before this returns. */
  async #write(): Promise<void> {
    this.#writing = true
    try {
      for (let frames = this.#unsent.shift(); frames !== undefined; frames = this.#unsent.shift()) {
        await this.#send(frames)
        if (this.closed) return
        this.#unsentOctets = Math.max(0, this.#unsentOctets - (frames[0]?.byteLength ?? 0))
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
      if (this.closed) return
      if (codeOf(error) !== 'EAGAIN') throw error
      await this.#sendWhenThereIsRoom(frames)
    }
  }

  /** Only when the pipe is full is libzmq asked to wait: any other send would fail meanwhile. */
  async #sendWhenThereIsRoom(frames: Buffer[]): Promise<void> {
    this.#dealer.sendTimeout = this.#options.waitMs
    for (;;) {
      try {
        await this.#dealer.send(frames)
        break
      } catch (error) {
        if (this.closed) return
        if (codeOf(error) !== 'EAGAIN') throw error
      }
      // A send that stays pending keeps the process from its end, as a receive does.
      if (!this.#owner.expectant) {
        this.forget()
        break
      }
    }
    if (!this.closed) this.#dealer.sendTimeout = 0
  }

  // What the socket brings.

  message(frames: Buffer[]): void {
    this.messagesReceived++
    const message = decodeMessage(frames, 0, this.#options)
    if ('error' in message) this.#owner.malformed(message, frames)
    else this.#owner.message(message)
  }

  drained(): void {
    this.#owner.drained()
  }

  get expectant(): boolean {
    return this.#owner.expectant
  }
}
