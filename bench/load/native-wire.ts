/**
 * The native dialect as a load generator speaks it: records are templates made once by the real encoder, of which only what
 * differs from task to task is written anew, and only what is needed is read. It costs a tenth of the full codec, so that the
 * broker under test is what is measured; a test holds it against the codec.
 */

import { MessageEncoder } from '../../protocol/encode.ts'
import {
  COPIED_FRAME_MAX,
  HEADER_SIZE,
  INLINE_BODY_MAX,
  OWN_FRAME,
  RECORD_HEADER_SIZE,
} from '../../protocol/native.ts'
import { EMPTY_BODY, Kind, type Record, type Reply, type Request } from '../../protocol/record.ts'

const encoder = new MessageEncoder()

/** One message of ordinary records. */
export function encodeRecords(from: number, to: number, records: readonly Record[]): Buffer[] {
  encoder.begin(from, to)
  for (const record of records) encoder.add(record)
  return encoder.finish()
}

/** Where a record's body length and body begin is where its template ends. */
export class RecordTemplate {
  readonly bytes: Buffer
  /** Offset of the task's id; -1 in a reply. */
  readonly idAt: number

  /** @param record its body has to be empty */
  constructor(record: Request | Reply) {
    const frame = encodeRecords(1, 0, [record])[0]
    if (frame === undefined || record.body.length > 0) throw new Error('a template has no body of its own')
    this.bytes = frame.subarray(HEADER_SIZE)
    this.idAt = record.kind === Kind.Request ? this.bytes.indexOf(record.id, 0, 'latin1') : -1
  }
}

/** Octets that a message may have before it is full. */
const MESSAGE_SOFT_MAX = 65_536
const HEX = Buffer.from('0123456789abcdef', 'latin1')

/** A message under way: a copy of the template for each task, with its token, its id's last eight digits, and its body. */
export class PackedMessage {
  readonly #template: RecordTemplate
  #bytes = Buffer.allocUnsafeSlow(MESSAGE_SOFT_MAX + 2 * INLINE_BODY_MAX)
  #at = HEADER_SIZE
  #bodies: Buffer[] = []
  #bodiesSize = 0
  /** Octets of the last task's body, if they are packed. */
  #lastBody = 0
  /** Tasks so far. */
  count = 0

  constructor(template: RecordTemplate) {
    this.#template = template
  }

  get full(): boolean {
    return this.#at + this.#bodiesSize >= MESSAGE_SOFT_MAX
  }

  /**
   * Appends the octets `start` to `end` of `body`. A large body goes as a frame of its own, by reference.
   * @param idSuffix written into the id's last eight characters; of no account in a reply
   */
  add(tokenHigh: number, tokenLow: number, idSuffix: number, body: Buffer, start: number, end: number): void {
    const { bytes, idAt } = this.#template
    const into = this.#bytes
    const at = this.#at
    const length = end - start
    into.set(bytes, at)
    into.writeUInt32BE(tokenHigh, at + RECORD_HEADER_SIZE)
    into.writeUInt32BE(tokenLow, at + RECORD_HEADER_SIZE + 4)
    if (idAt >= 0) {
      const last = at + idAt + ID_SIZE - 1
      for (let i = 0; i < 8; i++) into[last - i] = HEX[(idSuffix >>> (4 * i)) & 15] ?? 0
    }
    const bodyAt = at + bytes.length
    if (length > INLINE_BODY_MAX) {
      into.writeUInt32BE(length + OWN_FRAME, bodyAt - 4)
      into.writeUInt32BE(bytes.length - RECORD_HEADER_SIZE, at + 1)
      this.#bodies.push(body.subarray(start, end))
      this.#bodiesSize += length
      this.#at = bodyAt
      this.#lastBody = 0
    } else {
      into.writeUInt32BE(length, bodyAt - 4)
      into.writeUInt32BE(bytes.length - RECORD_HEADER_SIZE + length, at + 1)
      body.copy(into, bodyAt, start, end)
      this.#at = bodyAt + length
      this.#lastBody = length
    }
    this.count++
  }

  /** As the real encoder does: the message of a small task by itself leaves in two small frames. */
  #makeSmall(): void {
    const length = this.#lastBody
    const bodyAt = this.#at - length
    if (this.count !== 1 || length === 0 || length > COPIED_FRAME_MAX || bodyAt > COPIED_FRAME_MAX) return
    this.#bodies.push(Buffer.from(this.#bytes.subarray(bodyAt, this.#at)))
    this.#bytes.writeUInt32BE(length + OWN_FRAME, bodyAt - 4)
    this.#bytes.writeUInt32BE(bodyAt - HEADER_SIZE - RECORD_HEADER_SIZE, HEADER_SIZE + 1)
    this.#at = bodyAt
  }

  /** The message's frames; a new message begins. */
  finish(from: number, to: number): Buffer[] {
    if (this.#at > COPIED_FRAME_MAX) this.#makeSmall()
    const packed = Buffer.allocUnsafe(this.#at)
    this.#bytes.copy(packed, 0, 0, this.#at)
    HEADER.copy(packed)
    packed.writeUInt32BE(from, 4)
    packed.writeUInt32BE(to, 8)
    const frames = [packed, ...this.#bodies]
    this.#bodies = []
    this.#bodiesSize = 0
    this.#at = HEADER_SIZE
    this.count = 0
    return frames
  }
}

const ID_SIZE = 21
const HEADER = Buffer.concat(encodeRecords(1, 0, []))

/** Tasks as a client sends them. @param idPrefix 13 characters that no other process has */
export function requestTemplate(idPrefix: string, timeLeftMs: number): RecordTemplate {
  return new RecordTemplate({
    kind: Kind.Request,
    token: 0,
    id: `${idPrefix}00000000`,
    attempt: 1,
    timeLeftMs,
    priority: 4,
    flags: 0,
    creditUpTo: 0,
    service: '',
    traceparent: '',
    body: EMPTY_BODY,
  })
}

/** Answers as a worker sends them. */
export function replyTemplate(worker: string): RecordTemplate {
  return new RecordTemplate({
    kind: Kind.Reply,
    token: 0,
    code: '',
    retryable: false,
    retryAfterMs: 0,
    attempts: 1,
    queuedUs: 0,
    runUs: 0,
    partials: 0,
    cluster: '',
    worker,
    message: '',
    body: EMPTY_BODY,
  })
}

/** Told of each record of a message, in order. `body` is to be read from `start` to `end`. */
export interface RecordReader {
  request(tokenHigh: number, tokenLow: number, body: Buffer, start: number, end: number): void
  /** @param ok false: the reply is an error */
  reply(tokenHigh: number, tokenLow: number, ok: boolean, body: Buffer, start: number, end: number): void
  /** Any other kind, with where its payload begins. */
  other(kind: number, frame: Buffer, at: number): void
}

/** Reads a message that is known to be well-formed. @returns the sender's epoch */
export function readPacked(frames: readonly Buffer[], reader: RecordReader): number {
  const packed = frames[0]
  if (packed === undefined) return 0
  const size = packed.length
  let nextFrame = 1
  let at = HEADER_SIZE
  while (at < size) {
    const kind = packed[at] ?? 0
    const payload = at + RECORD_HEADER_SIZE
    const end = payload + packed.readUInt32BE(at + 1)
    at = end
    if (kind !== Kind.Request && kind !== Kind.Reply) {
      reader.other(kind, packed, payload)
      continue
    }
    const high = packed.readUInt32BE(payload)
    const low = packed.readUInt32BE(payload + 4)
    let field: number
    let ok = true
    if (kind === Kind.Request) {
      field = payload + 22
      for (let text = 0; text < 3; text++) field += 1 + (packed[field] ?? 0)
    } else {
      field = payload + 29
      ok = packed[field] === 0
      for (let text = 0; text < 3; text++) field += 1 + (packed[field] ?? 0)
      field += 2 + packed.readUInt16BE(field)
    }
    const length = packed.readUInt32BE(field)
    let body = packed
    let start = field + 4
    let stop = start + length
    if (length >= OWN_FRAME) {
      body = frames[nextFrame++] ?? packed
      start = 0
      stop = length - OWN_FRAME
    }
    if (kind === Kind.Request) reader.request(high, low, body, start, stop)
    else reader.reply(high, low, ok, body, start, stop)
  }
  return packed.readUInt32BE(4)
}
