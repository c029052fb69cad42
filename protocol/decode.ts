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
  }

  message(): Message | DecodeError {
    const view = this.#view
    if (view.getUint8(3) !== VERSION_MAJOR) return decodeError(Reason.Version)
    const from = view.getUint32(4)
    const to = view.getUint32(8)
    if (from === 0) return decodeError(Reason.Number)
    const size = view.byteLength
    const records: Record[] = []
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
      if (record !== undefined) records.push(record)
      at = end
    }
    if (this.#nextFrame < this.#frames.length) return decodeError(Reason.ExtraFrames)
    const oversized = this.#oversized
    return oversized === undefined ? { from, to, records } : { from, to, records, oversized }
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
        const body = this.#body()
        if (this.#excess > 0) return undefined
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
    const id = this.#id()
    const service = this.text8()
    const traceparent = this.#traceparent()
    const body = this.#body()
    if (this.#excess > 0) {
      if (this.#oversized === undefined) this.#oversized = [token]
      else this.#oversized.push(token)
    }
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
    const body = this.#body()
    if (this.#excess > 0) {
      retryable = false
      code = ErrorCode.TooLarge
      message = `The reply has ${this.#excess} octets, and ${this.#bodyMax} are taken here: raise bodyMax, or reply in pieces.`
    }
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

  #id(): string {
    const length = this.u8()
    const start = this.#at
    if (start + length > this.#end) {
      this.#fail(Reason.Truncated)
      return ''
    }
    if (length < 1 || length > ID_MAX) {
      this.#fail(Reason.Id)
      return ''
    }
    const end = start + length
    const view = this.#view
    for (let at = start; at < end; at++) {
      const octet = view.getUint8(at)
      if (octet < 0x21 || octet > 0x7e) {
        this.#fail(Reason.Id)
        return ''
      }
    }
    this.#at = end
    return this.#frame.toString('latin1', start, end)
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

  /** Nearly always new, so it goes past the cache of names. */
  #traceparent(): string {
    const length = this.u8()
    if (length === 0) return ''
    if (length > TRACEPARENT_MAX) {
      this.#fail(Reason.Text)
      return ''
    }
    return this.#utf8(this.#at, this.#at + length)
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

  /** A body, inline or the next frame. One over the limit comes out empty, its length in `#excess`. */
  #body(): Uint8Array {
    this.#excess = 0
    const announced = this.u32()
    if (announced === 0) return EMPTY_BODY
    if (announced < OWN_FRAME) {
      const start = this.#at
      const end = start + announced
      if (end > this.#end) {
        this.#fail(Reason.Truncated)
        return EMPTY_BODY
      }
      this.#at = end
      if (announced > this.#bodyMax) {
        this.#excess = announced
        return EMPTY_BODY
      }
      return this.#frame.subarray(start, end)
    }
    const frame = this.#frames[this.#nextFrame]
    if (frame === undefined) {
      this.#fail(Reason.BodyFrameMissing)
      return EMPTY_BODY
    }
    const length = announced - OWN_FRAME
    if (frame.length !== length) {
      this.#fail(Reason.Length)
      return EMPTY_BODY
    }
    this.#nextFrame++
    if (length > this.#bodyMax) {
      this.#excess = length
      return EMPTY_BODY
    }
    return frame
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
