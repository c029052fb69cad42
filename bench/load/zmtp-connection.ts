import { connect, type Socket } from 'node:net'

/** A message's frames. */
export type Frames = readonly Uint8Array[]

const GREETING_SIZE = 64
const MORE = 1
const LONG = 2
const COMMAND = 4

/**
 * One connection that speaks ZMTP 3.0 (RFC 23, mechanism NULL) over a plain socket. A ZeroMQ socket a connection would
 * cost a generator that pretends to be thousands of processes more than the broker it loads.
 */
export class ZmtpConnection {
  readonly #socket: Socket
  readonly #onMessage: (frames: Buffer[], connection: ZmtpConnection) => void
  readonly #onOpen: (connection: ZmtpConnection) => void
  #rest: Buffer = Buffer.alloc(0)
  #state: 'greeting' | 'ready' | 'open' = 'greeting'
  #outgoing: Buffer[] = []

  constructor(
    endpoint: string,
    type: 'REQ' | 'DEALER',
    onOpen: (connection: ZmtpConnection) => void,
    onMessage: (frames: Buffer[], connection: ZmtpConnection) => void,
  ) {
    const { hostname, port } = new URL(endpoint)
    this.#onOpen = onOpen
    this.#onMessage = onMessage
    this.#socket = connect({ host: hostname, port: Number(port), noDelay: true })
    this.#socket.on('data', (chunk) => this.#take(chunk))
    this.#socket.on('error', (error) => {
      throw error
    })
    const greeting = Buffer.alloc(GREETING_SIZE)
    greeting[0] = 0xff
    greeting[9] = 0x7f
    greeting[10] = 3
    greeting.write('NULL', 12, 'latin1')
    this.#socket.write(greeting)
    const value = Buffer.from(type, 'latin1')
    this.#socket.write(
      frame(
        Buffer.concat([
          Buffer.from('\x05READY\x0bSocket-Type\0\0\0', 'latin1'),
          Buffer.of(value.length),
          value,
        ]),
        COMMAND,
      ),
    )
  }

  /** Leaves with the next `flush`. */
  send(frames: Frames): void {
    for (const [i, part] of frames.entries()) {
      const last = i === frames.length - 1
      this.#outgoing.push(frame(part, last ? 0 : MORE))
    }
  }

  flush(): void {
    if (this.#outgoing.length === 0) return
    this.#socket.write(
      this.#outgoing.length === 1 ? (this.#outgoing[0] ?? '') : Buffer.concat(this.#outgoing),
    )
    this.#outgoing = []
  }

  #take(chunk: Buffer): void {
    const data = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    let at = 0
    if (this.#state === 'greeting') {
      if (data.length < GREETING_SIZE) {
        this.#rest = data
        return
      }
      at = GREETING_SIZE
      this.#state = 'ready'
    }
    let begin = at
    let frames: Buffer[] = []
    for (;;) {
      if (at + 2 > data.length) break
      const flags = data[at] ?? 0
      const long = (flags & LONG) !== 0
      if (long && at + 9 > data.length) break
      const length = long ? Number(data.readBigUInt64BE(at + 1)) : (data[at + 1] ?? 0)
      const from = at + (long ? 9 : 2)
      if (from + length > data.length) break
      at = from + length
      if ((flags & COMMAND) !== 0) {
        begin = at
        if (this.#state !== 'ready') continue
        this.#state = 'open'
        this.#onOpen(this)
        this.flush()
        continue
      }
      frames.push(data.subarray(from, at))
      if ((flags & MORE) !== 0) continue
      begin = at
      this.#onMessage(frames, this)
      frames = []
    }
    this.#rest = data.subarray(begin)
    this.flush()
  }
}

function frame(body: Uint8Array, flags: number): Buffer {
  const long = body.length > 255
  const framed = Buffer.allocUnsafe((long ? 9 : 2) + body.length)
  framed[0] = flags | (long ? LONG : 0)
  if (long) framed.writeBigUInt64BE(BigInt(body.length), 1)
  else framed[1] = body.length
  framed.set(body, long ? 9 : 2)
  return framed
}
