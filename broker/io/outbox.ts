import { MessageEncoder } from '../../protocol/encode.ts'
import { unpacked } from '../../protocol/octets.ts'
import { Kind, type Record } from '../../protocol/record.ts'
import { writeStockHeartbeat, writeStockReply, writeStockRequest } from '../../protocol/stock.ts'
import type { Link } from '../core/link.ts'

/** Octets of records that travel in one message at most; what is larger is cut into several. */
const MESSAGE_SOFT_MAX = 65_536

const NO_RECORDS: Record[] = []

/** What one turn has for one link. */
class Batch {
  readonly routingId: Buffer
  /** It is among the links that this turn has something for. */
  dirty = false
  records: Record[] = NO_RECORDS
  /** Once tasks are passed on, which cannot wait as records: what has been packed so far. */
  encoder: MessageEncoder | null = null
  /** The receiver's epoch in the message under way. */
  to = 0

  constructor(link: Link) {
    this.routingId = Buffer.from(link.key, 'latin1')
  }
}

function batchOf(link: Link): Batch {
  if (link.outbox instanceof Batch) return link.outbox
  const batch = new Batch(link)
  link.outbox = batch
  return batch
}

/**
 * What one turn has for stock workers, or for stock clients: two arrays in step, of which the first `count` are in use. An
 * array whose length is set to 0 throws its memory away, and makes it anew with the next push.
 */
class StockLine {
  readonly links: (Link | null)[] = []
  readonly records: (Record | null)[] = []
  count = 0
}

/** Octets that an encoder has room for at first. */
const ENCODER_SIZE = 4096
/** How many wait for the next turn that passes tasks on: a turn may answer a thousand clients. Few of those that have grown. */
const ENCODERS_KEPT = 1024
const GROWN = 4 * ENCODER_SIZE
const GROWN_KEPT = 64

/** Sends one message. `record` is what is in it, for the case that it does not leave; null: what the frames say. */
export type Transmit = (link: Link, frames: Uint8Array[], record: Record | null) => void

/**
 * Gathers what the core sends during a turn and packs it when the turn ends: one message a link, however many tasks.
 * An idle broker's turn has one record in it, so low load pays nothing for the packing.
 */
export class Outbox {
  readonly #epoch: number
  readonly #transmit: Transmit
  readonly #encoder = new MessageEncoder()
  /** Those that no link has. */
  readonly #encoders: MessageEncoder[] = []
  /** Links that this turn has something for, the first `#dirtyCount`. */
  #dirty: (Link | null)[] = []
  #dirtyCount = 0
  /** What is added while they are sent waits for the next flush. */
  #spare: (Link | null)[] = []
  /** One record a message, in the order they came; by socket, so that its sends follow each other. */
  readonly #toStockWorkers = new StockLine()
  readonly #toStockClients = new StockLine()

  constructor(epoch: number, transmit: Transmit) {
    this.#epoch = epoch
    this.#transmit = transmit
  }

  add(link: Link, record: Record): void {
    if (link.dialect !== 'native') {
      const line = link.socket === 'localbe' ? this.#toStockWorkers : this.#toStockClients
      line.links[line.count] = link
      line.records[line.count] = unpacked(record)
      line.count++
      return
    }
    const batch = batchOf(link)
    if (!batch.dirty) {
      batch.dirty = true
      batch.to = link.epoch
      this.#dirty[this.#dirtyCount++] = link
    } else if (batch.to !== link.epoch) this.#turnTo(link, batch)
    if (batch.encoder !== null) this.#encode(link, batch, batch.encoder, record)
    else if ((record.kind === Kind.Request || record.kind === Kind.Reply) && record.octets !== undefined) {
      const encoder = this.#encoders.pop() ?? new MessageEncoder(ENCODER_SIZE)
      batch.encoder = encoder
      encoder.begin(this.#epoch, batch.to)
      const { records } = batch
      batch.records = NO_RECORDS
      for (const before of records) this.#encode(link, batch, encoder, before)
      this.#encode(link, batch, encoder, record)
    } else if (batch.records.length === 0) batch.records = [record]
    else batch.records.push(record)
  }

  #encode(link: Link, batch: Batch, encoder: MessageEncoder, record: Record): void {
    if (encoder.size >= MESSAGE_SOFT_MAX) {
      this.#transmit(link, [batch.routingId, ...encoder.finish()], null)
      encoder.begin(this.#epoch, batch.to)
    }
    encoder.add(record)
  }

  /**
   * The correspondent has turned out to be another life of itself in the middle of the turn. The core counts what was said to the
   * former one as lost with it: under the new epoch the next would take a task that it was never given.
   */
  #turnTo(link: Link, batch: Batch): void {
    const { encoder, records } = batch
    if (encoder === null) {
      batch.records = NO_RECORDS
      this.#pack(link, batch, records)
    } else {
      this.#transmit(link, [batch.routingId, ...encoder.finish()], null)
      encoder.begin(this.#epoch, link.epoch)
    }
    batch.to = link.epoch
  }

  flush(): void {
    this.#flushStock(this.#toStockWorkers)
    this.#flushStock(this.#toStockClients)
    const count = this.#dirtyCount
    if (count === 0) return
    const dirty = this.#dirty
    this.#dirty = this.#spare
    this.#dirtyCount = 0
    for (let i = 0; i < count; i++) {
      const link = dirty[i] ?? null
      if (link === null) continue
      dirty[i] = null
      this.#flush(link, batchOf(link))
    }
    this.#spare = dirty
  }

  /** The turn has nothing more for this one, which will be out of reach when it ends: what there is leaves now. */
  flushLast(link: Link): void {
    if (!(link.outbox instanceof Batch) || !link.outbox.dirty) return
    const at = this.#dirty.indexOf(link)
    if (at >= 0) this.#dirty[at] = null
    this.#flush(link, link.outbox)
  }

  #flush(link: Link, batch: Batch): void {
    const { records, encoder, routingId } = batch
    batch.dirty = false
    batch.records = NO_RECORDS
    batch.encoder = null
    if (encoder === null) {
      this.#pack(link, batch, records)
      return
    }
    this.#transmit(link, [routingId, ...encoder.finish()], null)
    const kept = encoder.room > GROWN ? GROWN_KEPT : ENCODERS_KEPT
    if (this.#encoders.length < kept) this.#encoders.push(encoder)
  }

  #pack(link: Link, { routingId, to }: Batch, records: readonly Record[]): void {
    const encoder = this.#encoder
    encoder.begin(this.#epoch, to)
    for (const record of records) {
      if (encoder.size >= MESSAGE_SOFT_MAX) {
        this.#transmit(link, [routingId, ...encoder.finish()], null)
        encoder.begin(this.#epoch, to)
      }
      encoder.add(record)
    }
    this.#transmit(link, [routingId, ...encoder.finish()], null)
  }

  #flushStock(line: StockLine): void {
    const { links, records } = line
    for (let i = 0; i < line.count; i++) {
      const link = links[i] ?? null
      const record = records[i] ?? null
      links[i] = null
      records[i] = null
      if (link !== null && record !== null) this.#stock(link, record)
    }
    line.count = 0
  }

  /** Stock dialects know four things: a request, an answer, a heartbeat, silence. */
  #stock(link: Link, record: Record): void {
    switch (record.kind) {
      case Kind.Request:
        if (link.dialect === 'native') return
        this.#transmit(
          link,
          writeStockRequest(link.dialect, batchOf(link).routingId, record.token, record.body),
          record,
        )
        return
      case Kind.Heartbeat:
        if (link.dialect === 'ppp') this.#transmit(link, writeStockHeartbeat(batchOf(link).routingId), record)
        return
      case Kind.Reply: {
        // A Lazy Pirate that hears nothing sends again, which is what a retryable error asks for. It takes whatever it
        // hears for the answer, so an error is put into words only when asking again is pointless.
        if (record.code !== '' && record.retryable) return
        const body = record.code === '' ? record.body : errorText(record.code, record.message)
        this.#transmit(link, writeStockReply(link.envelope, body), record)
        return
      }
      default:
        return
    }
  }
}

function errorText(code: string, message: string): Uint8Array {
  return Buffer.from(`ERROR ${code} ${message}`)
}
