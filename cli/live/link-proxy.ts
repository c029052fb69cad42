import { connect, createServer, type Server, type Socket } from 'node:net'
import type { Listener } from './hearsay.ts'
import { ZmtpFrames } from './zmtp-frames.ts'

/** How one direction of a link treats what goes through it. */
export type Weather =
  | { readonly kind: 'clear'; readonly delayMs: number }
  /** Silence: what is sent waits in the pipe and goes on when the cut is over, as TCP would have it. */
  | { readonly kind: 'cut' }

export interface LinkOptions {
  /** Changes what passes, in place, in either direction: whole frames, always. */
  readonly translate?: (frames: Buffer, direction: 'outward' | 'inward') => void
  /** Asked for each connection who listens in: told of every message. Its frames are views, valid while the call lasts. */
  readonly onConnection?: () => Listener
}

/**
 * A TCP proxy before one address of a broker, that can be slow or silent: no privileges needed. Outward is from who connects to
 * the broker, inward is from the broker back.
 */
export class LinkProxy {
  readonly #server: Server
  readonly #connections = new Set<{ readonly outward: Flow; readonly inward: Flow; end(): void }>()
  readonly #weather: { outward: Weather; inward: Weather } = { outward: CLEAR, inward: CLEAR }

  /** Listens on a free port of loopback, and passes everything on to a port there. */
  static async before(port: number, options: LinkOptions = {}): Promise<LinkProxy> {
    const proxy = new LinkProxy(port, options)
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once('error', reject).listen(0, '127.0.0.1', resolve)
    })
    return proxy
  }

  private constructor(port: number, { translate, onConnection }: LinkOptions) {
    this.#server = createServer((near) => {
      const far = connect(port, '127.0.0.1')
      const listener = onConnection?.()
      const connection = {
        outward: new Flow(near, far, this.#weather.outward, new ZmtpFrames(listener?.outward), (frames) =>
          translate?.(frames, 'outward'),
        ),
        inward: new Flow(far, near, this.#weather.inward, new ZmtpFrames(listener?.inward), (frames) =>
          translate?.(frames, 'inward'),
        ),
        end: () => {
          near.destroy()
          far.destroy()
          this.#connections.delete(connection)
        },
      }
      this.#connections.add(connection)
      for (const socket of [near, far]) {
        socket.setNoDelay().on('error', connection.end).on('close', connection.end)
      }
    })
  }

  get port(): number {
    const address = this.#server.address()
    if (address === null || typeof address === 'string') throw new Error('the proxy does not listen')
    return address.port
  }

  get address(): string {
    return `tcp://127.0.0.1:${this.port}`
  }

  /** Of both directions. */
  set weather(weather: Weather) {
    this.outward = weather
    this.inward = weather
  }

  set outward(weather: Weather) {
    this.#weather.outward = weather
    for (const { outward } of this.#connections) outward.change(weather)
  }

  set inward(weather: Weather) {
    this.#weather.inward = weather
    for (const { inward } of this.#connections) inward.change(weather)
  }

  /** Every connection breaks, with what was on its way. New ones are taken at once. */
  break(): void {
    for (const connection of [...this.#connections]) connection.end()
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.break()
    await closed
  }
}

const CLEAR: Weather = { kind: 'clear', delayMs: 0 }
/** Octets on their way over a slow link, beyond which no more is taken: the sender's pipe fills, as it would over a real one. */
const ON_THE_WAY_MAX = 4 * 1024 * 1024

/** One direction of a connection. Delays keep the order, since each piece is due no earlier than the one before. */
class Flow {
  readonly #from: Socket
  readonly #to: Socket
  readonly #frames: ZmtpFrames
  readonly #translate: (frames: Buffer) => void
  #weather: Weather
  #lastDue = 0
  #onTheWay = 0
  /** Who receives does not keep up. */
  #full = false

  constructor(
    from: Socket,
    to: Socket,
    weather: Weather,
    frames: ZmtpFrames,
    translate: (frames: Buffer) => void,
  ) {
    this.#from = from
    this.#to = to
    this.#weather = weather
    this.#frames = frames
    this.#translate = translate
    from.on('data', (piece) => this.#pass(piece))
    to.on('drain', () => {
      this.#full = false
      this.#flow()
    })
    this.#flow()
  }

  change(weather: Weather): void {
    this.#weather = weather
    this.#flow()
  }

  #flow(): void {
    if (this.#weather.kind === 'cut' || this.#full || this.#onTheWay > ON_THE_WAY_MAX) this.#from.pause()
    else this.#from.resume()
  }

  #pass(piece: Buffer): void {
    const frames = this.#frames.push(piece)
    if (frames.length === 0) return
    this.#translate(frames)
    const now = performance.now()
    const delay = this.#weather.kind === 'clear' ? this.#weather.delayMs : 0
    const due = Math.max(this.#lastDue, now + delay)
    this.#lastDue = due
    if (due <= now) {
      this.#write(frames)
      return
    }
    this.#onTheWay += frames.length
    setTimeout(() => {
      this.#onTheWay -= frames.length
      this.#write(frames)
    }, due - now)
  }

  #write(frames: Buffer): void {
    if (this.#to.writable && !this.#to.write(frames)) this.#full = true
    this.#flow()
  }
}
