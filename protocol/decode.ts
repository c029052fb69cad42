import { isUtf8 } from 'node:buffer'
import type { DecodeError, DecodeReason } from './decode-error.ts'
import { decodeError, DecodeReason as Reason } from './decode-error.ts'
import { ErrorCode } from './error-code.ts'
import {
  FLAG_SET,
  HEADER_SIZE,
  HIGH_WORD_LIMIT,
  isNative,
  OWN_FRAME,
  RECORD_HEADER_SIZE,
  RECORDS_MAX,
  WORD,
} from './native.ts'
import { PackedFrame, PackedReply, PackedRequest, type RecordOctets } from './octets.ts'
import type {
  Message,
  PeerAddress,
  ReceivedFrom,
  Record,
  Refuse,
  RejectReason,
  Reply,
  Request,
  Role,
  ServiceCapacity,
  Token,
} from './record.ts'
import {
  ADDRESS_MAX,
  EMPTY_BODY,
  ID_MAX,
  Kind,
  MESSAGE_MAX,
  PRIORITY_MAX,
  TRACEPARENT_MAX,
  VERSION_MAJOR,
} from './record.ts'

/** What a decoder will take from the other end. */
export interface DecodeLimits {
  /** Largest body, octets. */
  readonly bodyMax: number
}

/**
 * Reads a native message whose packed frame is `frames[first]`; what comes after it are its bodies. Never throws.
 *
 * Bodies are slices of the frames, not copies: whoever keeps a body keeps its frame, so a cache should copy small ones.
 * A body over the limit costs its own task only, never the others in the message: a REQUEST comes out with an empty
 * body and its token in `oversized`, a REPLY as a TOO_LARGE error, and a PARTIAL is left out, so that its reader sees a
 * gap.
 */
export function decodeMessage(
  frames: readonly Uint8Array[],
  first: number,
  limits: DecodeLimits,
): Message | DecodeError {
  const packed = frames[first]
  if (packed === undefined || !isNative(packed)) return decodeError(Reason.Magic)
  cursor.open(packed, frames, first + 1, limits.bodyMax)
  const result = cursor.message()
  cursor.close()
  return result
}

/**
 * The same for whoever passes tasks on: what comes out as REQUEST and REPLY are a `PackedRequest` and a `PackedReply`, which
 * the next call writes anew. It halves what a task leaves for the garbage collector, and takes a tenth less time.
 */
export function decodePacked(
  frames: readonly Uint8Array[],
  first: number,
  limits: DecodeLimits,
): Message | DecodeError {
  const packed = frames[first]
  if (packed === undefined || !isNative(packed)) return decodeError(Reason.Magic)
  cursor.open(packed, frames, first + 1, limits.bodyMax)
  const result = cursor.packedMessage()
  cursor.close()
  return result
}

/** Lets go of the message that was read last to be passed on: its frames would stay until the next comes. */
export function releasePacked(): void {
  cursor.releasePacked()
}

/** The major version of a native message, whatever it is; 0 when the frame is no native one. */
export function peekVersion(frame: Uint8Array | undefined): number {
  return isNative(frame) ? (frame?.[3] ?? 0) : 0
}

/** Reads the first REFUSE of a message of any major version; undefined when there is none to be read. */
export function decodeRefusal(frame: Uint8Array | undefined): Refuse | undefined {
  if (frame === undefined || !isNative(frame)) return undefined
  cursor.open(frame, NO_FRAMES, 0, 0)
  let refusal: Refuse | undefined
  if (cursor.seek(Kind.Refuse)) {
    const reason = cursor.text8()
    const message = cursor.text16(MESSAGE_MAX)
    if (cursor.failed === undefined) refusal = { kind: Kind.Refuse, reason, message }
  }
  cursor.close()
  return refusal
}

/** What every major version says first in its HELLO. */
export interface Introduction {
  readonly role: number
  readonly major: number
  readonly minor: number
  readonly epoch: number
  readonly name: string
}

/** Reads who sent a message of any major version, from its HELLO's frozen fields; undefined when it has none. */
export function decodeIntroduction(frame: Uint8Array | undefined): Introduction | undefined {
  if (frame === undefined || !isNative(frame)) return undefined
  cursor.open(frame, NO_FRAMES, 0, 0)
  let introduction: Introduction | undefined
  if (cursor.seek(Kind.Hello)) {
    const role = cursor.u8()
    const major = cursor.u8()
    const minor = cursor.u8()
    const epoch = cursor.u32()
    const name = cursor.text8()
    if (cursor.failed === undefined) introduction = { role, major, minor, epoch, name }
  }
  cursor.close()
  return introduction
}

const NO_FRAMES: readonly Uint8Array[] = []
const NO_TOKENS: readonly Token[] = []
const NO_NAMES: readonly string[] = []
const EMPTY_FRAME = Buffer.alloc(0)
const EMPTY_VIEW = new DataView(EMPTY_FRAME.buffer, EMPTY_FRAME.byteOffset, 0)

/** Octets of what comes first in a REQUEST and in a REPLY: token, numbers and flags. */
const REQUEST_FIXED = 22
const REPLY_FIXED = 29

/** Slots of the cache of names, a power of two. */
const NAMES_CACHED = 1024

/** Of longer messages each further record is made for itself, and left to the garbage collector. */
const RECORDS_KEPT = 1024

/** Records of one kind of the last message that was read to be passed on, to be written anew for the next. */
class KeptRecords<T extends PackedRequest | PackedReply> {
  readonly #kept: T[] = []
  #used = 0
  readonly #make: () => T

  constructor(make: () => T) {
    this.#make = make
  }

  next(): T {
    const used = this.#used
    if (used === RECORDS_KEPT) return this.#make()
    this.#used = used + 1
    const kept = this.#kept[used]
    if (kept !== undefined) return kept
    const made = this.#make()
    this.#kept.push(made)
    return made
  }

  /** Lets go of the last message's frames, or they would stay until a message as long comes again. */
  clear(): void {
    for (let i = 0; i < this.#used; i++) this.#kept[i]?.octets.clear()
    this.#used = 0
  }
}

/**
 * Reads fields one after the other. The first failure sticks in `failed`: reads after it give 0 or '', so that a record
 * is read straight through and checked once.
 */
class Cursor {
  failed: DecodeReason | undefined = undefined
  #frame: Buffer = EMPTY_FRAME
  #view: DataView = EMPTY_VIEW
  #at = 0
  /** Where the payload of the record under way ends. */
  #end = 0
  #frames: readonly Uint8Array[] = NO_FRAMES
  #nextFrame = 0
  #bodyMax = 0
  /** Octets of the body last read when it was over the limit, else 0. */
  #excess = 0
  #oversized: Token[] | undefined = undefined
  /** Where the body last read begins, how long it is, and the frame it is if it is one by itself. */
  #bodyAt = 0
  #bodyLength = 0
  #ownFrame: Uint8Array | null = null
  /** Set while a message is read to be passed on. */
  #packedFrame: PackedFrame | null = null
  readonly #requests = new KeptRecords(() => new PackedRequest())
  readonly #replies = new KeptRecords(() => new PackedReply())
  /**
   * Names of services, clusters and workers, by a hash of their octets: few ones come again and again, and finding one
   * here costs less than making a string anew. A name that is hashed to a slot in use replaces it.
   */
  readonly #names: string[] = new Array<string>(NAMES_CACHED).fill('')

  open(packed: Uint8Array, frames: readonly Uint8Array[], nextFrame: number, bodyMax: number): void {
    this.failed = undefined
    this.#frame = Buffer.isBuffer(packed)
      ? packed
      : Buffer.from(packed.buffer, packed.byteOffset, packed.byteLength)
    this.#view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength)
    this.#at = HEADER_SIZE
    this.#end = packed.length
    this.#frames = frames
    this.#nextFrame = nextFrame
    this.#bodyMax = bodyMax
    this.#oversized = undefined
  }

  /** Lets the frames go. */
  close(): void {
    this.#frame = EMPTY_FRAME
    this.#view = EMPTY_VIEW
    this.#frames = NO_FRAMES
    this.#oversized = undefined
    this.#ownFrame = null
    this.#packedFrame = null
  }

  releasePacked(): void {
    this.#requests.clear()
    this.#replies.clear()
  }

  packedMessage(): Message | DecodeError {
    this.#requests.clear()
    this.#replies.clear()
    const frame = new PackedFrame(this.#frame)
    this.#packedFrame = frame
    this.#view = frame.view
    return this.message()
  }

  message(): Message | DecodeError {
    const view = this.#view
    if (view.getUint8(3) !== VERSION_MAJOR) return decodeError(Reason.Version)
    const from = view.getUint32(4)
    const to = view.getUint32(8)
    if (from === 0) return decodeError(Reason.Number)
    const size = view.byteLength
    const records = new Array<Record>(this.#count())
    let read = 0
    let seen = 0
    let at = HEADER_SIZE
    while (at < size) {
      if (++seen > RECORDS_MAX) return decodeError(Reason.TooManyRecords)
      if (at + RECORD_HEADER_SIZE > size) return decodeError(Reason.Truncated)
      const kind = view.getUint8(at)
      const end = at + RECORD_HEADER_SIZE + view.getUint32(at + 1)
      if (end > size) return decodeError(Reason.Truncated)
      this.#at = at + RECORD_HEADER_SIZE
      this.#end = end
      const record = this.#record(kind)
      if (this.failed !== undefined) return decodeError(this.failed)
      if (record !== undefined) records[read++] = record
      at = end
    }
    if (read < records.length) records.length = read
    if (this.#nextFrame < this.#frames.length) return decodeError(Reason.ExtraFrames)
    const oversized = this.#oversized
    return oversized === undefined ? { from, to, records } : { from, to, records, oversized }
  }

  /** Records in the frame, as far as they are whole: an array that is made for so many takes a third of one that grows. */
  #count(): number {
    const view = this.#view
    const size = view.byteLength
    let count = 0
    let at = HEADER_SIZE
    while (at + RECORD_HEADER_SIZE <= size && count < RECORDS_MAX) {
      at += RECORD_HEADER_SIZE + view.getUint32(at + 1)
      count++
    }
    return count
  }

  /** Goes to the payload of the first record of a kind. False when there is none. */
  seek(kind: Kind): boolean {
    const view = this.#view
    const size = view.byteLength
    let at = HEADER_SIZE
    while (at + RECORD_HEADER_SIZE <= size) {
      const end = at + RECORD_HEADER_SIZE + view.getUint32(at + 1)
      if (end > size) return false
      if (view.getUint8(at) === kind) {
        this.#at = at + RECORD_HEADER_SIZE
        this.#end = end
        return true
      }
      at = end
    }
    return false
  }

  /** The record under way; undefined for an unknown kind, one that is left out, and after a failure. */
  #record(kind: number): Record | undefined {
    switch (kind) {
      case Kind.Request:
        return this.#request()
      case Kind.Reply:
        return this.#reply()
      case Kind.Partial: {
        const token = this.#token()
        const index = this.u32()
        const attempt = this.u32()
        const cluster = this.text8()
        const worker = this.text8()
        this.#findBody()
        if (this.#excess > 0) return undefined
        const body = this.#body()
        return { kind: Kind.Partial, token, index, attempt, cluster, worker, body }
      }
      case Kind.Reject: {
        const token = this.#token()
        const reason = this.#rejectReason()
        const free = this.u32()
        const received = this.#counter()
        const worker = this.text8()
        return { kind: Kind.Reject, token, reason, free, received, worker }
      }
      case Kind.Credit: {
        const token = this.#token()
        const upTo = this.u32()
        return { kind: Kind.Credit, token, upTo }
      }
      case Kind.Cancel:
        return { kind: Kind.Cancel, token: this.#token() }
      case Kind.Heartbeat: {
        const ask = this.#flag()
        const sent = this.#counter()
        return { kind: Kind.Heartbeat, ask, sent }
      }
      case Kind.Pending: {
        const token = this.#token()
        const running = this.#flag()
        const attempt = this.u32()
        const partials = this.u32()
        return { kind: Kind.Pending, token, running, attempt, partials }
      }
      case Kind.Hello: {
        const role = this.#role()
        const major = this.u8()
        const minor = this.u8()
        const epoch = this.#epoch()
        const name = this.text8()
        const heartbeatIntervalMs = this.u32()
        const bodyMax = this.u32()
        const cloudfe = this.text16(ADDRESS_MAX)
        const statebe = this.text16(ADDRESS_MAX)
        const peers = this.#peers()
        return {
          kind: Kind.Hello,
          role,
          name,
          epoch,
          major,
          minor,
          heartbeatIntervalMs,
          bodyMax,
          cloudfe,
          statebe,
          peers,
        }
      }
      case Kind.Ready: {
        const slots = this.u32()
        const services = this.#serviceNames()
        return { kind: Kind.Ready, slots, services }
      }
      case Kind.Inventory: {
        const received = this.#counter()
        const tokens = this.#tokens()
        return { kind: Kind.Inventory, received, tokens }
      }
      case Kind.Audit:
        return { kind: Kind.Audit, sent: this.#counter() }
      case Kind.State: {
        const name = this.text8()
        const epoch = this.#epoch()
        const seq = this.#counter()
        const draining = this.#flag()
        const inFlight = this.u32()
        const queueDepth = this.u32()
        const cloudfe = this.text16(ADDRESS_MAX)
        const services = this.#capacities()
        const received = this.#receivedFrom()
        return {
          kind: Kind.State,
          name,
          epoch,
          seq,
          draining,
          inFlight,
          queueDepth,
          cloudfe,
          services,
          received,
        }
      }
      case Kind.Disconnect:
        return { kind: Kind.Disconnect, reason: this.text8() }
      case Kind.Refuse: {
        const reason = this.text8()
        const message = this.text16(MESSAGE_MAX)
        return { kind: Kind.Refuse, reason, message }
      }
      default:
        return undefined
    }
  }

  // The two of every task apart from the others: together in one function they are too large for the compiler to take in
  // what they call. What is of fixed length in them is checked for room once.

  #request(): Request | undefined {
    const view = this.#view
    const at = this.#at
    if (at + REQUEST_FIXED > this.#end) {
      this.#fail(Reason.Truncated)
      return undefined
    }
    const high = view.getUint32(at)
    if (high >= HIGH_WORD_LIMIT) this.#fail(Reason.Token)
    const token = high * WORD + view.getUint32(at + 4)
    const attempt = view.getUint32(at + 8)
    const timeLeftMs = view.getUint32(at + 12)
    const priority = view.getUint8(at + 16)
    if (priority > PRIORITY_MAX) this.#fail(Reason.Number)
    const flags = view.getUint8(at + 17)
    const creditUpTo = view.getUint32(at + 18)
    this.#at = at + REQUEST_FIXED
    const idLength = this.#id()
    const idAt = this.#at - idLength
    const service = this.text8()
    const traceparentAt = this.#at + 1
    const traceparentLength = this.#traceparent()
    this.#findBody()
    if (this.failed !== undefined) return undefined
    if (this.#excess > 0) {
      if (this.#oversized === undefined) this.#oversized = [token]
      else this.#oversized.push(token)
    }
    if (this.#packedFrame !== null) {
      const request = this.#requests.next()
      request.token = token
      request.attempt = attempt
      request.timeLeftMs = timeLeftMs
      request.priority = priority
      request.flags = flags
      request.creditUpTo = creditUpTo
      request.service = service
      request.octets.idAt = idAt
      request.octets.idLength = idLength
      request.octets.idHash = 0
      this.#refer(request.octets, this.#packedFrame)
      return request
    }
    const id = this.#frame.toString('latin1', idAt, idAt + idLength)
    const traceparent =
      traceparentLength === 0
        ? ''
        : this.#frame.toString('utf8', traceparentAt, traceparentAt + traceparentLength)
    const body = this.#body()
    return {
      kind: Kind.Request,
      token,
      id,
      attempt,
      timeLeftMs,
      priority,
      flags,
      creditUpTo,
      service,
      traceparent,
      body,
    }
  }

  #reply(): Reply | undefined {
    const view = this.#view
    const at = this.#at
    if (at + REPLY_FIXED > this.#end) {
      this.#fail(Reason.Truncated)
      return undefined
    }
    const high = view.getUint32(at)
    if (high >= HIGH_WORD_LIMIT) this.#fail(Reason.Token)
    const token = high * WORD + view.getUint32(at + 4)
    let retryable = (view.getUint8(at + 8) & FLAG_SET) !== 0
    const retryAfterMs = view.getUint32(at + 9)
    const attempts = view.getUint32(at + 13)
    const queuedUs = view.getUint32(at + 17)
    const runUs = view.getUint32(at + 21)
    const partials = view.getUint32(at + 25)
    this.#at = at + REPLY_FIXED
    let code = this.text8()
    const cluster = this.text8()
    const worker = this.text8()
    let message = this.text16(MESSAGE_MAX)
    this.#findBody()
    if (this.failed !== undefined) return undefined
    if (this.#excess > 0) {
      retryable = false
      code = ErrorCode.TooLarge
      message = `The reply has ${this.#excess} octets, and ${this.#bodyMax} are taken here: raise bodyMax, or reply in pieces.`
    }
    if (this.#packedFrame !== null) {
      const reply = this.#replies.next()
      reply.token = token
      reply.code = code
      reply.retryable = retryable
      reply.retryAfterMs = retryAfterMs
      reply.attempts = attempts
      reply.queuedUs = queuedUs
      reply.runUs = runUs
      reply.partials = partials
      reply.cluster = cluster
      reply.worker = worker
      reply.message = message
      this.#refer(reply.octets, this.#packedFrame)
      return reply
    }
    const body = this.#body()
    return {
      kind: Kind.Reply,
      token,
      code,
      retryable,
      retryAfterMs,
      attempts,
      queuedUs,
      runUs,
      partials,
      cluster,
      worker,
      message,
      body,
    }
  }

  /** The first failure is the reason; nothing after it can be read. */
  #fail(reason: DecodeReason): void {
    if (this.failed === undefined) this.failed = reason
    this.#at = this.#end
  }

  u8(): number {
    const at = this.#at
    if (at + 1 > this.#end) {
      this.#fail(Reason.Truncated)
      return 0
    }
    this.#at = at + 1
    return this.#view.getUint8(at)
  }

  #u16(): number {
    const at = this.#at
    if (at + 2 > this.#end) {
      this.#fail(Reason.Truncated)
      return 0
    }
    this.#at = at + 2
    return this.#view.getUint16(at)
  }

  u32(): number {
    const at = this.#at
    if (at + 4 > this.#end) {
      this.#fail(Reason.Truncated)
      return 0
    }
    this.#at = at + 4
    return this.#view.getUint32(at)
  }

  #flag(): boolean {
    return (this.u8() & FLAG_SET) !== 0
  }

  /** Eight octets, below 2^53. */
  #whole(reason: DecodeReason): number {
    const high = this.u32()
    const low = this.u32()
    if (high >= HIGH_WORD_LIMIT) {
      this.#fail(reason)
      return 0
    }
    return high * WORD + low
  }

  #token(): Token {
    return this.#whole(Reason.Token)
  }

  #counter(): number {
    return this.#whole(Reason.Number)
  }

  #epoch(): number {
    const epoch = this.u32()
    if (epoch === 0) this.#fail(Reason.Number)
    return epoch
  }

  #role(): Role {
    const role = this.u8()
    if (role === 1 || role === 2 || role === 3) return role
    this.#fail(Reason.Number)
    return 1
  }

  #rejectReason(): RejectReason {
    const reason = this.u8()
    if (reason === 1 || reason === 2 || reason === 3 || reason === 4 || reason === 5) return reason
    this.#fail(Reason.Number)
    return 1
  }

  /** Passes over an id. @returns its length */
  #id(): number {
    const length = this.u8()
    const start = this.#at
    if (start + length > this.#end) {
      this.#fail(Reason.Truncated)
      return 0
    }
    if (length < 1 || length > ID_MAX) {
      this.#fail(Reason.Id)
      return 0
    }
    const end = start + length
    const view = this.#view
    for (let at = start; at < end; at++) {
      const octet = view.getUint8(at)
      if (octet < 0x21 || octet > 0x7e) {
        this.#fail(Reason.Id)
        return 0
      }
    }
    this.#at = end
    return length
  }

  /** A name of up to 255 octets. */
  text8(): string {
    const length = this.u8()
    if (length === 0) return ''
    const start = this.#at
    const end = start + length
    if (end > this.#end) {
      this.#fail(Reason.Truncated)
      return ''
    }
    const view = this.#view
    let hash = length
    let high = 0
    for (let at = start; at < end; at++) {
      const octet = view.getUint8(at)
      hash = (Math.imul(hash, 31) + octet) | 0
      high |= octet
    }
    if (high > 0x7f) return this.#utf8(start, end)
    this.#at = end
    const slot = (hash ^ (hash >>> 15)) & (NAMES_CACHED - 1)
    const cached = this.#names[slot]
    if (cached !== undefined && cached.length === length) {
      let i = 0
      while (i < length && cached.charCodeAt(i) === view.getUint8(start + i)) i++
      if (i === length) return cached
    }
    const name = this.#frame.toString('latin1', start, end)
    this.#names[slot] = name
    return name
  }

  /** Passes over a traceparent. @returns its length */
  #traceparent(): number {
    const length = this.u8()
    if (length === 0) return 0
    const start = this.#at
    const end = start + length
    if (length > TRACEPARENT_MAX) this.#fail(Reason.Text)
    else if (end > this.#end) this.#fail(Reason.Truncated)
    else if (!isUtf8(this.#frame.subarray(start, end))) this.#fail(Reason.Utf8)
    else this.#at = end
    return length
  }

  text16(max: number): string {
    const length = this.#u16()
    if (length === 0) return ''
    if (length > max) {
      this.#fail(Reason.Text)
      return ''
    }
    return this.#utf8(this.#at, this.#at + length)
  }

  #utf8(start: number, end: number): string {
    if (end > this.#end) {
      this.#fail(Reason.Truncated)
      return ''
    }
    if (!isUtf8(this.#frame.subarray(start, end))) {
      this.#fail(Reason.Utf8)
      return ''
    }
    this.#at = end
    return this.#frame.toString('utf8', start, end)
  }

  /** Passes over a body, inline or the next frame. One over the limit counts as empty, its length in `#excess`. */
  #findBody(): void {
    this.#excess = 0
    this.#bodyLength = 0
    this.#ownFrame = null
    const announced = this.u32()
    const start = this.#at
    this.#bodyAt = start
    if (announced === 0) return
    if (announced < OWN_FRAME) {
      const end = start + announced
      if (end > this.#end) {
        this.#fail(Reason.Truncated)
        return
      }
      this.#at = end
      if (announced > this.#bodyMax) this.#excess = announced
      else this.#bodyLength = announced
      return
    }
    const frame = this.#frames[this.#nextFrame]
    if (frame === undefined) {
      this.#fail(Reason.BodyFrameMissing)
      return
    }
    const length = announced - OWN_FRAME
    if (frame.length !== length) {
      this.#fail(Reason.Length)
      return
    }
    this.#nextFrame++
    if (length > this.#bodyMax) this.#excess = length
    else {
      this.#ownFrame = frame
      this.#bodyLength = length
    }
  }

  /** The body that was found. */
  #body(): Uint8Array {
    if (this.#ownFrame !== null) return this.#ownFrame
    if (this.#bodyLength === 0) return EMPTY_BODY
    return this.#frame.subarray(this.#bodyAt, this.#bodyAt + this.#bodyLength)
  }

  #refer(octets: RecordOctets, frame: PackedFrame): void {
    octets.frame = frame
    octets.bodyAt = this.#bodyAt
    octets.bodyLength = this.#bodyLength
    octets.ownFrame = this.#ownFrame
  }

  #peers(): readonly PeerAddress[] {
    const count = this.#u16()
    const peers: PeerAddress[] = []
    for (let i = 0; i < count && this.failed === undefined; i++) {
      const name = this.text8()
      const cloudfe = this.text16(ADDRESS_MAX)
      peers.push({ name, cloudfe })
    }
    return peers
  }

  #serviceNames(): readonly string[] {
    const count = this.#u16()
    if (count === 0) return NO_NAMES
    const names: string[] = []
    for (let i = 0; i < count && this.failed === undefined; i++) names.push(this.text8())
    return names
  }

  #tokens(): readonly Token[] {
    const count = this.u32()
    if (count === 0) return NO_TOKENS
    const tokens: Token[] = []
    for (let i = 0; i < count && this.failed === undefined; i++) tokens.push(this.#token())
    return tokens
  }

  #capacities(): readonly ServiceCapacity[] {
    const count = this.#u16()
    const capacities: ServiceCapacity[] = []
    for (let i = 0; i < count && this.failed === undefined; i++) {
      const service = this.text8()
      const free = this.u32()
      const total = this.u32()
      const queued = this.u32()
      capacities.push({ service, free, total, queued })
    }
    return capacities
  }

  #receivedFrom(): readonly ReceivedFrom[] {
    const count = this.#u16()
    const received: ReceivedFrom[] = []
    for (let i = 0; i < count && this.failed === undefined; i++) {
      const peer = this.text8()
      const epoch = this.u32()
      const counted = this.#counter()
      received.push({ peer, epoch, count: counted })
    }
    return received
  }
}

/** One for all messages: a message is read to its end before the next is begun. */
const cursor = new Cursor()
