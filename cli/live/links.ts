import type { Addresses } from '../process/addresses.ts'
import type { Hearsay } from './hearsay.ts'
import { LinkProxy, type Weather } from './link-proxy.ts'

const SOCKETS = ['cloudfe', 'statebe'] as const
/** What an address of a broker looks like on the wire. Five digits of port, here and there, so that one can stand for the other. */
const ADDRESS = Buffer.from('tcp://127.0.0.1:')
const PORT_DIGITS = 5
const PORT_MIN = 10_000

/** One address of one cluster, under all the ports it has: its own, and those of the proxies before it. */
interface Place {
  readonly cluster: number
  /** By the cluster that looks. */
  readonly ports: Map<number, number>
}

/**
 * Every way between two clusters, as a proxy for each cluster that looks at each address of each other. A cluster only
 * ever hears of the proxies: what brokers tell each other of addresses is translated on its way, as a NAT does for
 * protocols that speak of addresses, or a peer once learned by hearsay would be reached past the proxy.
 */
export class Links {
  readonly #proxies: { readonly from: number; readonly to: number; readonly proxy: LinkProxy }[] = []
  readonly #places = new Map<number, Place>()
  readonly #cloudfe: Map<number, string>[]

  /** @param hearsay listens in on all of them */
  static async between(addresses: readonly Addresses[], delayMs: number, hearsay: Hearsay): Promise<Links> {
    const links = new Links(addresses.length)
    for (const [to, own] of addresses.entries()) {
      for (const socket of SOCKETS) {
        const port = portOf(own[socket])
        const place: Place = { cluster: to, ports: new Map([[to, port]]) }
        links.#places.set(port, place)
        for (const from of addresses.keys()) {
          if (from === to) continue
          const proxy = await LinkProxy.before(port, {
            translate: (frames, direction) => links.#translate(frames, direction === 'outward' ? to : from),
            onConnection: () => (socket === 'cloudfe' ? hearsay.toCloudfe(from, to) : hearsay.toStatebe(to)),
          })
          links.#proxies.push({ from, to, proxy })
          links.#places.set(proxy.port, place)
          place.ports.set(from, proxy.port)
          if (socket === 'cloudfe') links.#cloudfe[from]?.set(to, proxy.address)
        }
      }
    }
    links.clear(delayMs)
    return links
  }

  private constructor(clusters: number) {
    this.#cloudfe = Array.from({ length: clusters }, () => new Map())
  }

  /** Where a cluster reaches the cloudfe of all others. */
  peersOf(cluster: number): string[] {
    return [...(this.#cloudfe[cluster]?.values() ?? [])]
  }

  /** What goes from one cluster to another, whoever made the connection. */
  setWeather(from: number, to: number, weather: Weather): void {
    for (const link of this.#proxies) {
      if (link.from === from && link.to === to) link.proxy.outward = weather
      if (link.from === to && link.to === from) link.proxy.inward = weather
    }
  }

  /** Every connection between two clusters breaks. */
  break(one: number, other: number): void {
    for (const { from, to, proxy } of this.#proxies) {
      if ((from === one && to === other) || (from === other && to === one)) proxy.break()
    }
  }

  /** The same fair weather everywhere. */
  clear(delayMs: number): void {
    for (const { proxy } of this.#proxies) proxy.weather = { kind: 'clear', delayMs }
  }

  async close(): Promise<void> {
    await Promise.all(this.#proxies.map(({ proxy }) => proxy.close()))
  }

  #translate(frames: Buffer, reader: number): void {
    for (let at = frames.indexOf(ADDRESS); at >= 0; at = frames.indexOf(ADDRESS, at + 1)) {
      const digits = at + ADDRESS.length
      const port = Number(frames.toString('latin1', digits, digits + PORT_DIGITS))
      const seen = this.#places.get(port)?.ports.get(reader)
      if (seen === undefined || seen === port) continue
      frames.write(String(seen), digits, 'latin1')
    }
  }
}

function portOf(address: string): number {
  const port = Number(address.slice(address.lastIndexOf(':') + 1))
  if (port < PORT_MIN) throw new Error(`${address}: a port of five digits was expected`)
  return port
}
