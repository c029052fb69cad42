import { Call, type CallTerms } from '../client/core/call.ts'
import { Client } from '../client/core/client.ts'
import type { ClientCoreConfig } from '../client/core/config.ts'
import type { Connection } from '../client/core/connection.ts'
import type { ClientCounters } from '../client/core/counters.ts'
import type { Outcome } from '../client/core/outcome.ts'
import type { ClientEvent, ClientPort } from '../client/core/port.ts'
import type { Message, Partial, Record } from '../protocol/record.ts'
import type { Errand } from './errand.ts'
import type { EventQueue } from './event-queue.ts'
import type { Network, Pipe } from './network.ts'
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

/** One socket of a client and what this turn has for it. */
class Wire {
  readonly connection: Connection
  readonly pipe: Pipe
  records: Record[] | null = null
  /** The one that was opened before, while it is open. */
  next: Wire | null

  constructor(connection: Connection, pipe: Pipe, next: Wire | null) {
    this.connection = connection
    this.pipe = pipe
    this.next = next
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
  /** The latest of those that are open; nearly always the only one. */
  #wires: Wire | null = null
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
    for (let wire = this.#wires; wire !== null; wire = wire.next) {
      if (wire.pipe !== pipe) continue
      const { counters } = this.core
      const late = counters.late
      this.core.receive(wire.connection, message, this.shows(at))
      if (counters.late !== late) this.#watch.unasked(this, message, at)
      this.endTurn(at)
      return
    }
  }

  open(connection: Connection): void {
    const key = `${this.name}~${this.#opened++}`
    const pipe = this.#network.dial(this, 'localfe', connection.endpoint.address, key, key, this.queue.time)
    this.#wires = new Wire(connection, pipe, this.#wires)
  }

  close(connection: Connection): void {
    let later: Wire | null = null
    for (let wire = this.#wires; wire !== null; wire = wire.next) {
      if (wire.connection === connection) {
        if (later === null) this.#wires = wire.next
        else later.next = wire.next
        this.#network.close(wire.pipe, this.queue.time)
        return
      }
      later = wire
    }
  }

  send(connection: Connection, record: Record): void {
    for (let wire = this.#wires; wire !== null; wire = wire.next) {
      if (wire.connection !== connection) continue
      if (wire.records === null) wire.records = [record]
      else wire.records.push(record)
      return
    }
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
    for (let wire = this.#wires; wire !== null; wire = wire.next) {
      const { records } = wire
      if (records === null) continue
      wire.records = null
      // A DEALER whose pipe is full drops it: the calls' own timeouts see to it.
      this.#network.sendOut(wire.pipe, this.epoch, wire.connection.epoch, records, at)
    }
    this.rest(at)
  }
}
