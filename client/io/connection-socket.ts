import { nanoid } from 'nanoid'
import type { DecodeError } from '../../protocol/decode-error.ts'
import type { Message, Record } from '../../protocol/record.ts'
import { type DealerOwner, PackingDealer } from '../../wire/packing-dealer.ts'
import type { Connection } from '../core/connection.ts'

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

/** One connection's DEALER: reads while somebody waits for an answer, and forgets what a broker's former life would get. */
export class ConnectionSocket implements DealerOwner {
  readonly connection: Connection
  readonly #owner: SocketOwner
  readonly #dealer: PackingDealer
  #knownTo = 0

  constructor(connection: Connection, epoch: number, bodyMax: number, owner: SocketOwner) {
    this.connection = connection
    this.#owner = owner
    this.#dealer = new PackingDealer(
      {
        endpoint: connection.endpoint.address,
        epoch,
        bodyMax,
        waitMs: PARK_AFTER_MS,
        unsentMax: UNSENT_MAX,
        // A routing id of its own each time: what a broker still has for an earlier socket must not come here.
        socket: { routingId: nanoid() },
      },
      this,
    )
  }

  /** Reads after `close` are not counted. */
  get messagesSent(): number {
    return this.#dealer.messagesSent
  }

  get messagesReceived(): number {
    return this.#dealer.messagesReceived
  }

  add(record: Record): void {
    const to = this.connection.epoch
    if (to !== this.#knownTo) {
      // A message to a broker's former life is dropped unread by its next: everything in it is sent again anyway.
      if (this.#knownTo !== 0) this.#dealer.forget()
      this.#knownTo = to
    }
    this.#dealer.add(record, to)
  }

  flush(): void {
    this.#dealer.flush()
  }

  /** Closes at once; with a farewell, what is in libzmq's hands gets a moment to leave. */
  close(farewell: boolean): void {
    this.#dealer.close(farewell ? FAREWELL_LINGER_MS : 0)
  }

  // What the DEALER brings.

  get expectant(): boolean {
    return this.#owner.expectsAnswers
  }

  message(message: Message): void {
    this.#owner.message(this, message)
  }

  malformed(error: DecodeError, frames: readonly Uint8Array[]): void {
    this.#owner.malformed(this, error, frames)
  }

  drained(): void {
    this.#owner.drained()
  }

  /** Out of the loop that caught it, to where an unhandled bug belongs. */
  fatal(error: unknown): void {
    setImmediate(() => {
      throw error
    })
  }
}
