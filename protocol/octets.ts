import { EMPTY_BODY, Kind, type Record, type Reply, type Request, type Token } from './record.ts'

/** A packed frame and its numbers; one a message. */
export class PackedFrame {
  readonly octets: Buffer
  readonly view: DataView

  constructor(octets: Buffer) {
    this.octets = octets
    this.view = new DataView(octets.buffer, octets.byteOffset, octets.byteLength)
  }
}

/** A frame so many times as large as what is wanted of it is not worth a copy. */
const DETACHED_SHARE = 4

/**
 * Where the id and the body of a REQUEST, or the body of a REPLY, lie in the frame they came in: whoever passes them on
 * copies the octets, and neither a string nor a Buffer is made of them. Nowhere while `frame` is null.
 */
export class RecordOctets {
  frame: PackedFrame | null = null
  /** In a REQUEST service and traceparent follow, each after its length, and then the body's length. */
  idAt = 0
  idLength = 0
  bodyAt = 0
  bodyLength = 0
  /** The body, if it is a frame by itself. */
  ownFrame: Uint8Array | null = null
  /** The id's hash as the one who looks tasks up by it has worked it out; 0: not yet. */
  idHash = 0

  copy(from: RecordOctets): void {
    this.frame = from.frame
    this.idAt = from.idAt
    this.idLength = from.idLength
    this.bodyAt = from.bodyAt
    this.bodyLength = from.bodyLength
    this.ownFrame = from.ownFrame
    this.idHash = from.idHash
  }

  /** Takes its own octets out of a frame that is mostly others', which would else be kept for as long as this is. */
  detach(): void {
    const { frame, idAt, bodyAt, bodyLength } = this
    if (frame === null) return
    // From the id's length to the end of the body, or to that of its length.
    const from = idAt - 1
    const end = this.ownFrame === null ? bodyAt + bodyLength : bodyAt
    if ((end - from) * DETACHED_SHARE >= frame.octets.length) return
    const own = Buffer.allocUnsafe(end - from)
    frame.octets.copy(own, 0, from, end)
    this.frame = new PackedFrame(own)
    this.idAt = 1
    this.bodyAt = bodyAt - from
  }

  /** Lets the frames go. */
  clear(): void {
    this.frame = null
    this.ownFrame = null
  }

  get id(): string {
    return this.frame?.octets.toString('latin1', this.idAt, this.idAt + this.idLength) ?? ''
  }

  /** Is it of the same task as that one? */
  hasIdOf(other: RecordOctets): boolean {
    const { idLength } = this
    if (other.idLength !== idLength || this.frame === null || other.frame === null) return false
    const mine = this.frame.view
    const theirs = other.frame.view
    for (let i = 0; i < idLength; i++)
      if (mine.getUint8(this.idAt + i) !== theirs.getUint8(other.idAt + i)) return false
    return true
  }

  get traceparent(): string {
    const octets = this.frame?.octets
    if (octets === undefined) return ''
    const serviceAt = this.idAt + this.idLength
    const at = serviceAt + 1 + (octets[serviceAt] ?? 0)
    return octets.toString('utf8', at + 1, at + 1 + (octets[at] ?? 0))
  }

  /** Made anew each time. */
  get body(): Uint8Array {
    if (this.ownFrame !== null) return this.ownFrame
    if (this.frame === null || this.bodyLength === 0) return EMPTY_BODY
    return this.frame.octets.subarray(this.bodyAt, this.bodyAt + this.bodyLength)
  }
}

/** A REQUEST that is written anew for each that goes by: {@link unpacked} gives one to keep. */
export class PackedRequest implements Request {
  readonly kind = Kind.Request
  token: Token = 0
  attempt = 0
  timeLeftMs = 0
  priority = 0
  flags = 0
  creditUpTo = 0
  service = ''
  octets = new RecordOctets()

  get id(): string {
    return this.octets.id
  }

  get traceparent(): string {
    return this.octets.traceparent
  }

  get body(): Uint8Array {
    return this.octets.body
  }
}

/** A REPLY that is written anew for each that goes by: {@link unpacked} gives one to keep. */
export class PackedReply implements Reply {
  readonly kind = Kind.Reply
  token: Token = 0
  code = ''
  retryable = false
  retryAfterMs = 0
  attempts = 0
  queuedUs = 0
  runUs = 0
  partials = 0
  cluster = ''
  worker = ''
  message = ''
  octets = new RecordOctets()

  get body(): Uint8Array {
    return this.octets.body
  }
}

/** The record as an object of its own, to keep; the record itself when it is one. */
export function unpacked(record: Record): Record {
  if (record.kind === Kind.Request) return unpackedRequest(record)
  if (record.kind === Kind.Reply) return unpackedReply(record)
  return record
}

export function unpackedRequest(request: Request): Request {
  if (request.octets === undefined) return request
  const { kind, token, id, attempt, timeLeftMs, priority, flags } = request
  const { creditUpTo, service, traceparent, body } = request
  return {
    kind,
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

export function unpackedReply(reply: Reply): Reply {
  if (reply.octets === undefined) return reply
  const { kind, token, code, retryable, retryAfterMs, attempts, queuedUs, runUs } = reply
  const { partials, cluster, worker, message, body } = reply
  return {
    kind,
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

/** So many octets are copied by a loop: `set` has to be called, and given a view of its own, which costs as much. */
const LOOPED_MAX = 256

/** Copies octets `from` to `end` of a frame to where `octets` and its `view` have room for them. */
export function copyOctets(
  frame: PackedFrame,
  from: number,
  end: number,
  octets: Uint8Array,
  view: DataView,
  to: number,
): void {
  if (end - from > LOOPED_MAX) {
    octets.set(frame.octets.subarray(from, end), to)
    return
  }
  // Four at a time: each step has its checks, whatever it carries.
  const source = frame.view
  let at = from
  let into = to
  for (; at + 4 <= end; at += 4, into += 4) view.setInt32(into, source.getInt32(at, true), true)
  for (; at < end; at++, into++) view.setInt8(into, source.getInt8(at))
}
