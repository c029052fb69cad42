import { Call, type CallTerms } from '../client/core/call.ts'
import { Client } from '../client/core/client.ts'
import type { ClientCoreConfig } from '../client/core/config.ts'
import { Connection } from '../client/core/connection.ts'
import type { ClientCounters } from '../client/core/counters.ts'
import type { Outcome } from '../client/core/outcome.ts'
import type { ClientEvent, ClientPort } from '../client/core/port.ts'
import type { Message, Partial, Record } from '../protocol/record.ts'
import type { Errand } from './errand.ts'
import type { EventQueue } from './event-queue.ts'
import { type Network, Pipe } from './network.ts'
import { type Clock, Node } from './node.ts'
import type { Watch } from './watch.ts'

export class SimCall extends Call {
  readonly errand: Errand
  /** Pieces of a stream seen in the attempt that is being read. */
  piecesAttempt = 0
  pieces = 0

  constructor(terms: CallTerms, errand: Errand) {
    super(terms)
    this.errand = errand
  }
}

/** A client's core with simulated sockets around it. */
export class ClientNode extends Node implements ClientPort<SimCall> {
  readonly core: Client<SimCall>
  readonly epoch: number
  /** The first of the errands it waits for, the ledger's own; each knows the next. */
  asked: Errand | null = null
  readonly #network: Network
  readonly #watch: Watch
  /** What this turn has so far for one of its connections. */
  #records: Record[] | null = null
  #to: Connection | null = null
  /** The epoch that it was said to. */
  #toEpoch = 0
  /** Streams of which the application takes a piece when the turn is over. */
  #pieces: SimCall[] | null = null
  #opened = 0

  constructor(
    queue: EventQueue,
    network: Network,
    watch: Watch,
    number: number,
    cluster: number,
    clock: Clock,
    config: ClientCoreConfig,
    random32: () => number,
    counters: ClientCounters,
  ) {
    super(queue, number, config.name, cluster, clock)
    this.#network = network
    this.#watch = watch
    this.epoch = config.epoch
    this.core = new Client(config, this, random32, counters)
  }

  submit(call: SimCall, at: number): void {
    this.#watch.submitted(this, call, at)
    this.core.submit(call, this.shows(at))
    this.endTurn(at)
  }

  kill(at: number): void {
    this.#network.kill(this, at)
  }

  protected override nextTimeout(): number {
    return this.core.nextTimeout()
  }

  protected override timeout(now: number, at: number): void {
    this.core.timeout(now)
    this.endTurn(at)
  }

  /** A DEALER is not told: it connects again by itself. */
  override hungUp(): void {}

  override answered(pipe: Pipe, message: Message, at: number): void {
    const connection = pipe.opener
    if (!(connection instanceof Connection)) return
    const { counters } = this.core
    const late = counters.late
    this.core.receive(connection, message, this.shows(at))
    if (counters.late !== late) this.#watch.unasked(this, message, at)
    this.endTurn(at)
  }

  open(connection: Connection): void {
    const key = `${this.name}~${this.#opened++}`
    const pipe = this.#network.dial(this, 'localfe', connection.endpoint.address, key, key, this.queue.time)
    pipe.opener = connection
    connection.outbox = pipe
  }

  close(connection: Connection): void {
    if (this.#to === connection) this.#records = null
    if (connection.outbox instanceof Pipe) this.#network.close(connection.outbox, this.queue.time)
  }

  send(connection: Connection, record: Record): void {
    if (this.#to !== connection || this.#toEpoch !== connection.epoch) {
      // As the real connection does it: what a broker's former life would get is forgotten, all of it is sent again anyway.
      if (this.#to === connection && this.#toEpoch !== 0) this.#records = null
      else this.#flush()
      this.#to = connection
      this.#toEpoch = connection.epoch
    }
    if (this.#records === null) this.#records = [record]
    else this.#records.push(record)
  }

  settle(call: SimCall, outcome: Outcome): void {
    this.#watch.settled(this, call, outcome, this.queue.time)
  }

  partial(call: SimCall, piece: Partial): void {
    this.#watch.piece(this, call, piece, this.queue.time)
    if (this.#pieces === null) this.#pieces = [call]
    else this.#pieces.push(call)
  }

  event(event: ClientEvent): void {
    this.#watch.clientSays(this, event)
  }

  protected override letOut(at: number): void {
    if (this.#pieces !== null) {
      const pieces = this.#pieces
      this.#pieces = null
      for (const call of pieces) this.core.taken(call, call.attempt)
    }
    this.#flush()
    this.rest(at)
  }

  #flush(): void {
    const records = this.#records
    const to = this.#to
    this.#records = null
    if (records === null || to === null || !(to.outbox instanceof Pipe)) return
    // A DEALER whose pipe is full drops it: the calls' own timeouts see to it.
    this.#network.sendOut(to.outbox, this.epoch, this.#toEpoch, records, this.queue.time)
  }
}
