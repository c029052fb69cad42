import { MessageEncoder } from '../../protocol/encode.ts'
import { Kind, type Record } from '../../protocol/record.ts'
import { writeStockHeartbeat, writeStockReply, writeStockRequest } from '../../protocol/stock.ts'
import type { Link } from '../core/link.ts'

/** Octets of records that travel in one message at most; what is larger is cut into several. */
const MESSAGE_SOFT_MAX = 65_536

/** What one turn has for one link. */
class Batch {
  readonly routingId: Buffer
  records: Record[] = []

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

/** Sends one message. `records` are what is in it, for the case that it does not leave. */
export type Transmit = (link: Link, frames: Uint8Array[], records: readonly Record[]) => void

/**
 * Gathers what the core sends during a turn and packs it when the turn ends: one message a link, however many tasks.
 * An idle broker's turn has one record in it, so low load pays nothing for the packing.
 */
export class Outbox {
  readonly #epoch: number
  readonly #transmit: Transmit
  readonly #encoder = new MessageEncoder()
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
      line.records[line.count] = record
      line.count++
      return
    }
    const batch = batchOf(link)
    if (batch.records.length === 0) this.#dirty[this.#dirtyCount++] = link
    batch.records.push(record)
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
      const batch = batchOf(link)
      const records = batch.records
      batch.records = []
      this.#pack(link, batch.routingId, records)
    }
    this.#spare = dirty
  }

  #pack(link: Link, routingId: Buffer, records: Record[]): void {
    const encoder = this.#encoder
    let from = 0
    encoder.begin(this.#epoch, link.epoch)
    for (let i = 0; i < records.length; i++) {
      const record = records[i]
      if (record === undefined) continue
      encoder.add(record)
      if (encoder.size < MESSAGE_SOFT_MAX || i === records.length - 1) continue
      this.#transmit(link, [routingId, ...encoder.finish()], records.slice(from, i + 1))
      from = i + 1
      encoder.begin(this.#epoch, link.epoch)
    }
    this.#transmit(link, [routingId, ...encoder.finish()], from === 0 ? records : records.slice(from))
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
          [record],
        )
        return
      case Kind.Heartbeat:
        if (link.dialect === 'ppp')
          this.#transmit(link, writeStockHeartbeat(batchOf(link).routingId), [record])
        return
      case Kind.Reply: {
        // A Lazy Pirate that hears nothing sends again, which is what a retryable error asks for. It takes whatever it
        // hears for the answer, so an error is put into words only when asking again is pointless.
        if (record.code !== '' && record.retryable) return
        const body = record.code === '' ? record.body : errorText(record.code, record.message)
        this.#transmit(link, writeStockReply(link.envelope, body), [record])
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
