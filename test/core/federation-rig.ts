/** Several brokers' cores that are connected to each other: what one sends another is handed, a millisecond later. */

import { Broker } from '../../broker/core/broker.ts'
import type { CoreConfig } from '../../broker/core/config.ts'
import type { BrokerEvent } from '../../broker/core/event.ts'
import type { Link } from '../../broker/core/link.ts'
import type { BrokerPort } from '../../broker/core/port.ts'
import type { Message, Record, State } from '../../protocol/record.ts'
import { Kind } from '../../protocol/record.ts'
import { CONFIG, lottery } from './broker-rig.ts'

const LATENCY_MS = 1

/** One life of a broker at an address. */
export class Site implements BrokerPort {
  readonly broker: Broker
  readonly events: BrokerEvent[] = []
  readonly subscriptions = new Set<string>()
  /** cloudbe: address by link key. */
  readonly connections = new Map<string, string>()
  readonly federation: Federation
  readonly address: string
  readonly epoch: number
  alive = true
  drainedTimes = 0
  outbox: { readonly link: Link; readonly record: Record }[] = []
  published: State[] = []
  /** What has left for clients and workers. */
  readonly local: { readonly link: Link; readonly record: Record }[] = []

  constructor(federation: Federation, name: string, address: string, epoch: number) {
    this.federation = federation
    this.address = address
    this.epoch = epoch
    const config: CoreConfig = {
      ...CONFIG,
      name,
      cloudfeAdvertised: address,
      statebeAdvertised: `${address}-state`,
      peerForgetMs: 10_000,
      peersMax: 100,
    }
    this.broker = new Broker(config, this, epoch, lottery(epoch), federation.now)
  }

  get name(): string {
    return this.broker.config.name
  }
  /** Names of the peers that are up, in order. */
  get up(): string[] {
    return [...this.broker.peers.byName.values()]
      .filter((p) => p.phase === 'up')
      .map((p) => p.name)
      .sort()
  }
  /** Addresses it keeps at all. */
  get addresses(): string[] {
    return [...this.broker.peers.byAddress.keys()].sort()
  }
  join(address: string): this {
    this.broker.addPeer(address, this.federation.now)
    return this
  }
  configure(...addresses: string[]): this {
    this.broker.setPeers(addresses, this.federation.now)
    return this
  }
  eventsOf(type: BrokerEvent['type']): BrokerEvent[] {
    return this.events.filter((event) => event.type === type)
  }

  send(link: Link, record: Record): void {
    this.outbox.push({ link, record })
  }
  publish(state: State): void {
    this.published.push(state)
  }
  connectPeer(link: Link, address: string): void {
    this.connections.set(link.key, address)
  }
  disconnectPeer(link: Link): void {
    this.connections.delete(link.key)
  }
  subscribe(address: string): void {
    this.subscriptions.add(address)
  }
  unsubscribe(address: string): void {
    this.subscriptions.delete(address)
  }
  event(event: BrokerEvent): void {
    this.events.push(event)
  }
  drained(): void {
    this.drainedTimes++
    this.federation.flush(this)
    this.alive = false
  }
}

export class Federation {
  now = 1000
  readonly sites: Site[] = []
  /** Further addresses that lead to a site, as names in a DNS do. */
  readonly alsoKnownAs = new Map<string, string>()
  /** Where messages are lost: from a site's name to another's. */
  readonly cut = new Set<string>()
  #epochs = 100
  #underWay: { readonly at: number; readonly deliver: () => void }[] = []

  start(name: string, address = `tcp://${name}`): Site {
    const site = new Site(this, name, address, ++this.#epochs)
    this.sites.push(site)
    return site
  }

  kill(site: Site): void {
    site.alive = false
    for (const other of this.sites) {
      if (!other.alive) continue
      for (const [key, address] of [...other.connections]) {
        if (this.resolve(address) === site.address) other.broker.peerDisconnected(key, this.now)
      }
    }
  }

  resolve(address: string): string {
    return this.alsoKnownAs.get(address) ?? address
  }

  at(address: string): Site | undefined {
    return this.sites.find((site) => site.alive && site.address === this.resolve(address))
  }

  flush(from: Site): void {
    const batches = new Map<Link, Record[]>()
    for (const { link, record } of from.outbox) {
      if (link.socket === 'localfe' || link.socket === 'localbe') from.local.push({ link, record })
      const batch = batches.get(link)
      if (batch === undefined) batches.set(link, [record])
      else batch.push(record)
    }
    from.outbox = []
    for (const [link, records] of batches) {
      const message: Message = { from: from.epoch, to: link.epoch, records }
      if (link.socket === 'cloudbe') {
        const address = from.connections.get(link.key)
        if (address !== undefined) this.#request(from, link.key, address, message)
      } else if (link.socket === 'cloudfe') this.#answer(from, link.key, message)
    }
    for (const state of from.published) {
      const message: Message = { from: from.epoch, to: 0, records: [state] }
      for (const to of this.sites) {
        if (to.subscriptions.has(`${from.address}-state`) && !this.#isCut(from, to)) {
          this.#later(() => {
            if (to.alive) to.broker.statefe(message, this.now)
          })
        }
      }
    }
    from.published = []
  }

  #request(from: Site, key: string, address: string, message: Message): void {
    this.#later(() => {
      const to = this.at(address)
      if (to === undefined || this.#isCut(from, to)) return
      const claim = `${to.epoch} ${from.name}`
      const connection = `${claim} ${from.epoch} ${key}`
      // What comes by a connection that another has claimed the id from, its own broker's or not, is not read any more.
      const latest = this.#latest.get(claim)
      if (this.#claimed.has(connection) && (latest?.site !== from || latest.key !== key)) return
      this.#claimed.add(connection)
      this.#latest.set(claim, { site: from, key })
      to.broker.cloudfe(from.name, message, this.now)
      this.flush(to)
    })
  }

  /** A ROUTER hands a routing id to the connection that claimed it last. */
  readonly #latest = new Map<string, { readonly site: Site; readonly key: string }>()

  /** Connections that have had their routing id at some time. */
  readonly #claimed = new Set<string>()

  #answer(from: Site, name: string, message: Message): void {
    const route = this.#latest.get(`${from.epoch} ${name}`)
    this.#later(() => {
      if (route === undefined || !route.site.alive || this.#isCut(from, route.site)) return
      if (route.site.connections.has(route.key)) route.site.broker.cloudbe(route.key, message, this.now)
    })
  }

  #isCut(from: Site, to: Site): boolean {
    return this.cut.has(`${from.name} ${to.name}`)
  }

  #later(deliver: () => void): void {
    this.#underWay.push({ at: this.now + LATENCY_MS, deliver })
  }

  advance(ms: number): this {
    const to = this.now + ms
    for (let turns = 0; ; turns++) {
      if (turns > 1_000_000) throw new Error(`time stands still at ${this.now}`)
      for (const site of this.sites) if (site.outbox.length + site.published.length > 0) this.flush(site)
      const alive = this.sites.filter((site) => site.alive)
      const next = Math.min(
        this.#underWay[0]?.at ?? to + 1,
        ...alive.map((site) => site.broker.nextTimeout()),
      )
      if (next > to) break
      this.now = Math.max(this.now, next)
      while ((this.#underWay[0]?.at ?? to + 1) <= this.now) this.#underWay.shift()?.deliver()
      for (const site of alive) if (site.broker.nextTimeout() <= this.now) site.broker.timeout(this.now)
    }
    this.now = to
    return this
  }

  /** REFUSEs under way or delivered are events at their receivers; counted here for all. */
  refusals(): number {
    return this.sites.reduce((sum, site) => sum + site.eventsOf('peer-refused').length, 0)
  }
}

export const WORKER_EPOCH = 9000

/** A worker of a site that beats whenever it is asked to. */
export function signIn(site: Site, key: string, slots: number): void {
  site.broker.localbe(
    key,
    {
      from: WORKER_EPOCH,
      to: 0,
      records: [
        {
          kind: Kind.Hello,
          role: 2,
          name: key,
          epoch: WORKER_EPOCH,
          major: 1,
          minor: 0,
          heartbeatIntervalMs: 600_000,
          bodyMax: 1 << 20,
          cloudfe: '',
          statebe: '',
          peers: [],
        },
        { kind: Kind.Ready, slots, services: [''] },
      ],
    },
    site.federation.now,
  )
}
