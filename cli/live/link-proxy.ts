import { connect, createServer, type Server, type Socket } from 'node:net'

/** How a link treats what goes through it. */
export type Weather =
  | { readonly kind: 'clear'; readonly delayMs: number }
  /** Silence: what is sent waits in the pipe and goes on when the cut is over, as TCP would have it. */
  | { readonly kind: 'cut' }

/** A TCP proxy before one address of a broker, that can be slow or silent: no privileges needed. */
export class LinkProxy {
  readonly #server: Server
  readonly #flows = new Set<Flow>()
  #weather: Weather = { kind: 'clear', delayMs: 0 }

  /** Listens on a free port of loopback, and passes everything on to a port there. */
  static async before(port: number): Promise<LinkProxy> {
    const proxy = new LinkProxy(port)
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once('error', reject).listen(0, '127.0.0.1', resolve)
    })
    return proxy
  }

  private constructor(port: number) {
    this.#server = createServer((near) => {
      const far = connect(port, '127.0.0.1')
      const both = [new Flow(near, far, this.#weather), new Flow(far, near, this.#weather)]
      for (const flow of both) this.#flows.add(flow)
      const end = () => {
        near.destroy()
        far.destroy()
        for (const flow of both) this.#flows.delete(flow)
      }
      for (const socket of [near, far]) socket.setNoDelay().on('error', end).on('close', end)
    })
  }

  get address(): string {
    const address = this.#server.address()
    if (address === null || typeof address === 'string') throw new Error('the proxy does not listen')
    return `tcp://127.0.0.1:${address.port}`
  }

  set weather(weather: Weather) {
    this.#weather = weather
    for (const flow of this.#flows) flow.change(weather)
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    for (const flow of this.#flows) flow.from.destroy()
    await closed
  }
}

/** One direction of a connection. Delays keep the order, since each piece is due no earlier than the one before. */
class Flow {
  readonly from: Socket
  readonly #to: Socket
  #weather: Weather
  #lastDue = 0

  constructor(from: Socket, to: Socket, weather: Weather) {
    this.from = from
    this.#to = to
    this.#weather = weather
    from.on('data', (piece) => this.#pass(piece))
    this.change(weather)
  }

  change(weather: Weather): void {
    this.#weather = weather
    if (weather.kind === 'cut') this.from.pause()
    else this.from.resume()
  }

  #pass(piece: Uint8Array): void {
    const now = performance.now()
    const delay = this.#weather.kind === 'clear' ? this.#weather.delayMs : 0
    const due = Math.max(this.#lastDue, now + delay)
    this.#lastDue = due
    if (due <= now) this.#write(piece)
    else setTimeout(() => this.#write(piece), due - now)
  }

  #write(piece: Uint8Array): void {
    if (this.#to.writable) this.#to.write(piece)
  }
}
