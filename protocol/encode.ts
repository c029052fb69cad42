import {
  COPIED_FRAME_MAX,
  FLAG_SET,
  HEADER_SIZE,
  INLINE_BODY_MAX,
  LIST_MAX,
  MAGIC_0,
  MAGIC_1,
  MAGIC_2,
  OWN_FRAME,
  RECORD_HEADER_SIZE,
  RECORDS_MAX,
  U32_MAX,
  WORD,
} from './native.ts'
import { copyOctets, type PackedFrame, type RecordOctets } from './octets.ts'
import type { PeerAddress, ReceivedFrom, Record, Reply, Request, ServiceCapacity, Token } from './record.ts'
import {
  ADDRESS_MAX,
  ID_MAX,
  Kind,
  MESSAGE_MAX,
  NAME_MAX,
  PRIORITY_MAX,
  TRACEPARENT_MAX,
  VERSION_MAJOR,
} from './record.ts'

const SCRATCH_SIZE = 64 * 1024
/** A scratch buffer that one huge message has blown up beyond this is let go again. */
const SCRATCH_KEPT_MAX = 4 * 1024 * 1024
/** More than any record takes, lists apart. The longest is REPLY with a full message and an inline body: about 9,000. */
const RECORD_ROOM = 16 * 1024
/** More than a record that is passed on takes besides its texts and its body. */
const PASSED_ON_ROOM = 64
/** More than one entry of any list takes. */
const ENTRY_ROOM = 1024

/**
 * Packs records for one receiver into one message. Reusable: `begin`, `add` any number of times, `finish`, and again.
 *
 * Numbers that do not fit saturate and texts that are too long are cut at a character, since both come from users; a
 * token or task id that is none, a body of 2 GiB and more, or more than {@link RECORDS_MAX} records are our own bugs
 * and throw.
 */
export class MessageEncoder {
  #bytes: Buffer
  #view: DataView
  #at = HEADER_SIZE
  #count = 0
  #bodies: Buffer[] = []
  #bodiesSize = 0
  /** Where the last record begins, and the octets of its body if they were packed. */
  #lastAt = 0
  #lastBody = 0

  /** @param size octets of room to begin with */
  constructor(size = SCRATCH_SIZE) {
    this.#bytes = Buffer.allocUnsafeSlow(Math.max(HEADER_SIZE, size))
    this.#view = viewOf(this.#bytes)
  }

  /** Octets that a message may have before it takes more memory. */
  get room(): number {
    return this.#bytes.length
  }

  /** Starts a message from an epoch to an epoch (0: not known yet), forgetting what was not finished. */
  begin(from: number, to: number): void {
    this.#bytes[0] = MAGIC_0
    this.#bytes[1] = MAGIC_1
    this.#bytes[2] = MAGIC_2
    this.#bytes[3] = VERSION_MAJOR
    this.#view.setUint32(4, from)
    this.#view.setUint32(8, to)
    this.#at = HEADER_SIZE
    this.#count = 0
    this.#bodies = []
    this.#bodiesSize = 0
  }

  /** Octets so far: the packed frame and the bodies that go in frames of their own. */
  get size(): number {
    return this.#at + this.#bodiesSize
  }

  /** Records so far. */
  get count(): number {
    return this.#count
  }

  /** Appends a record. Its body may be referenced until the message has left: do not write to it again. */
  add(record: Record): void {
    if (this.#count >= RECORDS_MAX) throw new RangeError(`a message takes ${RECORDS_MAX} records`)
    this.#room(roomFor(record))
    const start = this.#at
    this.#lastAt = start
    this.#lastBody = 0
    this.#bytes[start] = record.kind
    this.#at = start + RECORD_HEADER_SIZE
    switch (record.kind) {
      case Kind.Request:
        this.#request(record)
        break
      case Kind.Reply:
        this.#reply(record)
        break
      case Kind.Partial:
        this.#token(record.token)
        this.#u32(record.index)
        this.#u32(record.attempt)
        this.#text8(record.cluster, NAME_MAX)
        this.#text8(record.worker, NAME_MAX)
        this.#body(record.body)
        break
      case Kind.Reject:
        this.#token(record.token)
        this.#u8(record.reason)
        this.#u32(record.free)
        this.#counter(record.received)
        this.#text8(record.worker, NAME_MAX)
        break
      case Kind.Credit:
        this.#token(record.token)
        this.#u32(record.upTo)
        break
      case Kind.Cancel:
        this.#token(record.token)
        break
      case Kind.Heartbeat:
        this.#flag(record.ask)
        this.#counter(record.sent)
        break
      case Kind.Pending:
        this.#token(record.token)
        this.#flag(record.running)
        this.#u32(record.attempt)
        this.#u32(record.partials)
        break
      case Kind.Hello:
        this.#u8(record.role)
        this.#u8(record.major)
        this.#u8(record.minor)
        this.#u32(record.epoch)
        this.#text8(record.name, NAME_MAX)
        this.#u32(record.heartbeatIntervalMs)
        this.#u32(record.bodyMax)
        this.#text16(record.cloudfe, ADDRESS_MAX)
        this.#text16(record.statebe, ADDRESS_MAX)
        this.#peers(record.peers)
        break
      case Kind.Ready:
        this.#u32(record.slots)
        this.#names(record.services)
        break
      case Kind.Inventory:
        this.#counter(record.received)
        this.#tokens(record.tokens)
        break
      case Kind.Audit:
        this.#counter(record.sent)
        break
      case Kind.State:
        this.#text8(record.name, NAME_MAX)
        this.#u32(record.epoch)
        this.#counter(record.seq)
        this.#flag(record.draining)
        this.#u32(record.inFlight)
        this.#u32(record.queueDepth)
        this.#text16(record.cloudfe, ADDRESS_MAX)
        this.#capacities(record.services)
        this.#received(record.received)
        break
      case Kind.Disconnect:
        this.#text8(record.reason, NAME_MAX)
        break
      case Kind.Refuse:
        this.#text8(record.reason, NAME_MAX)
        this.#text16(record.message, MESSAGE_MAX)
        break
    }
    this.#view.setUint32(start + 1, this.#at - start - RECORD_HEADER_SIZE)
    this.#count++
  }

  // The two of every task apart from the others: together in one function they are too large for the compiler to take in
  // what they call.

  #request(record: Request): void {
    this.#token(record.token)
    const view = this.#view
    const at = this.#at
    view.setUint32(at, saturated(record.attempt))
    view.setUint32(at + 4, saturated(record.timeLeftMs))
    view.setUint8(at + 8, Math.max(0, Math.min(record.priority, PRIORITY_MAX)))
    view.setUint8(at + 9, record.flags)
    view.setUint32(at + 10, saturated(record.creditUpTo))
    this.#at = at + 14
    if (record.octets !== undefined) {
      this.#requestTail(record.octets)
      return
    }
    this.#id(record.id)
    this.#text8(record.service, NAME_MAX)
    this.#text8(record.traceparent, TRACEPARENT_MAX)
    this.#body(record.body)
  }

  #reply(record: Reply): void {
    this.#token(record.token)
    const view = this.#view
    const at = this.#at
    view.setUint8(at, record.retryable ? FLAG_SET : 0)
    view.setUint32(at + 1, saturated(record.retryAfterMs))
    view.setUint32(at + 5, saturated(record.attempts))
    view.setUint32(at + 9, saturated(record.queuedUs))
    view.setUint32(at + 13, saturated(record.runUs))
    view.setUint32(at + 17, saturated(record.partials))
    this.#at = at + 21
    this.#text8(record.code, NAME_MAX)
    this.#text8(record.cluster, NAME_MAX)
    this.#text8(record.worker, NAME_MAX)
    this.#text16(record.message, MESSAGE_MAX)
    if (record.octets === undefined) this.#body(record.body)
    else this.#bodyOf(record.octets)
  }

  /** Id, service, traceparent and body as they came. */
  #requestTail(octets: RecordOctets): void {
    const { frame, bodyAt, bodyLength } = octets
    if (frame === null) throw new RangeError('the record was let go of')
    const inside = octets.ownFrame === null && bodyLength <= INLINE_BODY_MAX
    const from = octets.idAt - 1
    const end = inside ? bodyAt + bodyLength : bodyAt - 4
    this.#octets(frame, from, end)
    if (inside) this.#lastBody = bodyLength
    else this.#body(octets.body)
  }

  #bodyOf(octets: RecordOctets): void {
    const { frame, bodyAt, bodyLength } = octets
    if (frame === null || octets.ownFrame !== null || bodyLength > INLINE_BODY_MAX) {
      this.#body(octets.body)
      return
    }
    this.#view.setUint32(this.#at, bodyLength)
    this.#at += 4
    if (bodyLength > 0) this.#octets(frame, bodyAt, bodyAt + bodyLength)
    this.#lastBody = bodyLength
  }

  #octets(frame: PackedFrame, from: number, end: number): void {
    copyOctets(frame, from, end, this.#bytes, this.#view, this.#at)
    this.#at += end - from
  }

  /**
   * The message's frames: a fresh packed frame, then large bodies by reference, or a small one copied. The scratch buffer itself is
   * never handed out, since libzmq reads a frame after `send` has returned.
   */
  finish(): Buffer[] {
    if (this.#at > COPIED_FRAME_MAX) this.#makeSmall()
    const packed = Buffer.allocUnsafe(this.#at)
    this.#bytes.copy(packed, 0, 0, this.#at)
    const frames = this.#bodies
    frames.unshift(packed)
    this.#bodies = []
    this.#bodiesSize = 0
    this.#at = HEADER_SIZE
    this.#count = 0
    if (this.#bytes.length > SCRATCH_KEPT_MAX) this.#scratch(SCRATCH_SIZE)
    return frames
  }

  /**
   * The message of a small task by itself leaves in two small frames, if one would be a large one: with one request at a
   * time that saves a broker two of six wake-ups, and either end one of three.
   */
  #makeSmall(): void {
    const length = this.#lastBody
    const bodyAt = this.#at - length
    if (this.#count === 0 || length === 0 || length > COPIED_FRAME_MAX || bodyAt > COPIED_FRAME_MAX) return
    const body = Buffer.allocUnsafe(length)
    this.#bytes.copy(body, 0, bodyAt, this.#at)
    this.#bodies.push(body)
    this.#view.setUint32(bodyAt - 4, length + OWN_FRAME)
    this.#view.setUint32(this.#lastAt + 1, bodyAt - this.#lastAt - RECORD_HEADER_SIZE)
    this.#at = bodyAt
  }

  /** Makes sure that so many octets more fit. */
  #room(octets: number): void {
    if (this.#at + octets > this.#bytes.length) this.#scratch(2 * (this.#at + octets))
  }

  #scratch(size: number): void {
    const grown = Buffer.allocUnsafeSlow(size)
    this.#bytes.copy(grown, 0, 0, this.#at)
    this.#bytes = grown
    this.#view = viewOf(grown)
  }

  #u8(value: number): void {
    this.#view.setUint8(this.#at, value)
    this.#at += 1
  }

  #flag(set: boolean): void {
    this.#view.setUint8(this.#at, set ? FLAG_SET : 0)
    this.#at += 1
  }

  #u16(value: number): void {
    this.#view.setUint16(this.#at, value)
    this.#at += 2
  }

  #u32(value: number): void {
    this.#view.setUint32(this.#at, saturated(value))
    this.#at += 4
  }

  #counter(value: number): void {
    const clamped = value > 0 ? Math.min(value, Number.MAX_SAFE_INTEGER) : 0
    this.#view.setUint32(this.#at, clamped / WORD)
    this.#view.setUint32(this.#at + 4, clamped)
    this.#at += 8
  }

  #token(token: Token): void {
    if (!Number.isSafeInteger(token) || token < 0) throw new RangeError(`${token} is no token`)
    this.#view.setUint32(this.#at, token / WORD)
    this.#view.setUint32(this.#at + 4, token)
    this.#at += 8
  }

  #id(id: string): void {
    const length = id.length
    if (length < 1 || length > ID_MAX) throw new RangeError(`a task id has 1 to ${ID_MAX} characters`)
    const bytes = this.#bytes
    let at = this.#at
    bytes[at++] = length
    for (let i = 0; i < length; i++) {
      const code = id.charCodeAt(i)
      if (code < 0x21 || code > 0x7e) throw new RangeError('a task id is printable ASCII')
      bytes[at++] = code
    }
    this.#at = at
  }

  #text8(text: string, max: number): void {
    const start = this.#at + 1
    const length = this.#text(text, start, max)
    this.#bytes[start - 1] = length
    this.#at = start + length
  }

  #text16(text: string, max: number): void {
    const start = this.#at + 2
    const length = this.#text(text, start, max)
    this.#view.setUint16(start - 2, length)
    this.#at = start + length
  }

  /** Writes at most `max` octets of UTF-8 and says how many. Most texts are ASCII, for which a loop beats any call. */
  #text(text: string, start: number, max: number): number {
    const length = text.length
    if (length === 0) return 0
    if (length <= max) {
      const bytes = this.#bytes
      let i = 0
      for (; i < length; i++) {
        const code = text.charCodeAt(i)
        if (code > 0x7f) break
        bytes[start + i] = code
      }
      if (i === length) return length
    }
    // One UTF-16 unit is at least one octet, so more units than `max` can never fit.
    const encoded = Buffer.from(length > max ? text.slice(0, max) : text, 'utf8')
    let cut = encoded.length
    if (cut > max) {
      cut = max
      while (cut > 0 && ((encoded[cut] ?? 0) & 0xc0) === 0x80) cut--
    }
    encoded.copy(this.#bytes, start, 0, cut)
    return cut
  }

  #body(body: Uint8Array): void {
    const length = body.length
    if (length > INLINE_BODY_MAX) {
      if (length >= OWN_FRAME) throw new RangeError('a body has less than 2 GiB')
      this.#view.setUint32(this.#at, length + OWN_FRAME)
      this.#at += 4
      this.#bodies.push(
        Buffer.isBuffer(body) ? body : Buffer.from(body.buffer, body.byteOffset, body.byteLength),
      )
      this.#bodiesSize += length
      return
    }
    this.#view.setUint32(this.#at, length)
    this.#at += 4
    if (length > 0) this.#bytes.set(body, this.#at)
    this.#at += length
    this.#lastBody = length
  }

  #names(names: readonly string[]): void {
    const count = Math.min(names.length, LIST_MAX)
    this.#u16(count)
    for (const name of count < names.length ? names.slice(0, count) : names) {
      this.#room(ENTRY_ROOM)
      this.#text8(name, NAME_MAX)
    }
  }

  #peers(peers: readonly PeerAddress[]): void {
    const count = Math.min(peers.length, LIST_MAX)
    this.#u16(count)
    for (const peer of count < peers.length ? peers.slice(0, count) : peers) {
      this.#room(ENTRY_ROOM)
      this.#text8(peer.name, NAME_MAX)
      this.#text16(peer.cloudfe, ADDRESS_MAX)
    }
  }

  /** An inventory that was cut would tell the requester that the rest is lost: its count has 32 bits. */
  #tokens(tokens: readonly Token[]): void {
    this.#room(4 + 8 * tokens.length)
    this.#u32(tokens.length)
    for (const token of tokens) this.#token(token)
  }

  #capacities(services: readonly ServiceCapacity[]): void {
    const count = Math.min(services.length, LIST_MAX)
    this.#u16(count)
    for (const capacity of count < services.length ? services.slice(0, count) : services) {
      this.#room(ENTRY_ROOM)
      this.#text8(capacity.service, NAME_MAX)
      this.#u32(capacity.free)
      this.#u32(capacity.total)
      this.#u32(capacity.queued)
    }
  }

  #received(received: readonly ReceivedFrom[]): void {
    // The capacities before may have left less room than an entry takes for the count itself.
    this.#room(ENTRY_ROOM)
    const count = Math.min(received.length, LIST_MAX)
    this.#u16(count)
    for (const entry of count < received.length ? received.slice(0, count) : received) {
      this.#room(ENTRY_ROOM)
      this.#text8(entry.peer, NAME_MAX)
      this.#u32(entry.epoch)
      this.#counter(entry.count)
    }
  }
}

/** At least what a record takes; lists make room for themselves. */
function roomFor(record: Record): number {
  if (record.kind === Kind.Request && record.octets !== undefined) {
    const { idAt, bodyAt, bodyLength } = record.octets
    return PASSED_ON_ROOM + (bodyAt - idAt) + Math.min(bodyLength, INLINE_BODY_MAX)
  }
  if (record.kind === Kind.Reply && record.octets !== undefined) {
    const { code, cluster, worker, message, octets } = record
    const units = code.length + cluster.length + worker.length + message.length
    return PASSED_ON_ROOM + 3 * units + Math.min(octets.bodyLength, INLINE_BODY_MAX)
  }
  return RECORD_ROOM
}

/** As 32 bits hold it. A fraction is dropped by what writes it: a budget must not grow on its way. */
function saturated(value: number): number {
  return value > 0 ? Math.min(value, U32_MAX) : 0
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
