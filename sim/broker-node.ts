import { Broker } from '../broker/core/broker.ts'
import type { CoreConfig } from '../broker/core/config.ts'
import type { BrokerEvent } from '../broker/core/event.ts'
import type { Link, LinkSocket, UndeliveredReason } from '../broker/core/link.ts'
import type { BrokerPort } from '../broker/core/port.ts'
import { ErrorCode } from '../protocol/error-code.ts'
import { Kind, type Message, type Record, type State } from '../protocol/record.ts'
import type { EventQueue } from './event-queue.ts'
import type { Network, Pipe } from './network.ts'
import { type Clock, Listener } from './node.ts'
import type { Watch } from './watch.ts'

/** What one turn has for one link. */
class Batch {
  records: Record[] | null = null
  /** Where the link's messages go; looked up again when it has gone. */
  pipe: Pipe | null = null
}

function batchOf(link: Link): Batch {
  if (link.outbox instanceof Batch) return link.outbox
  const batch = new Batch()
  link.outbox = batch
  return batch
}

/** Where an address has the cluster's number. */
const CLUSTER_AT = 'sim://c'.length

/** Where a cluster's broker listens. */
export function addresses(cluster: string) {
  return {
    localfe: `sim://${cluster}/localfe`,
    localbe: `sim://${cluster}/localbe`,
    cloudfe: `sim://${cluster}/cloudfe`,
    statebe: `sim://${cluster}/statebe`,
  } as const
}

/** A broker's core with simulated sockets around it. */
export class BrokerNode extends Listener implements BrokerPort {
  readonly core: Broker
  readonly epoch: number
  /** The most tasks that were given out at once, of each service, and their sum. */
  readonly #outMost = new Map<string, number>()
  outMost = 0
  /** Set when it has drained and said goodbye. */
  left = false
  readonly #network: Network
  readonly #watch: Watch
  readonly #pipes: { readonly [socket in LinkSocket]: Map<string, Pipe> } = {
    localfe: new Map(),
    localbe: new Map(),
    cloudfe: new Map(),
    cloudbe: new Map(),
  }
  readonly #subscriptions = new Map<string, Pipe>()
  readonly #subscribers = new Set<Pipe>()
  /** Links that something is for, the first so many: an array that is emptied throws its memory away. */
  readonly #dirty: (Link | null)[] = []
  #dirtyCount = 0
  readonly #failed: { link: Link; records: readonly Record[]; reason: UndeliveredReason }[] = []

  constructor(
    queue: EventQueue,
    network: Network,
    watch: Watch,
    number: number,
    name: string,
    cluster: number,
    clock: Clock,
    config: CoreConfig,
    epoch: number,
    random: () => number,
    at: number,
  ) {
    super(queue, number, name, cluster, clock)
    this.#network = network
    this.#watch = watch
    this.epoch = epoch
    this.core = new Broker(config, this, epoch, random, this.shows(at))
    const { localfe, localbe, cloudfe, statebe } = addresses(config.name)
    for (const address of [localfe, localbe, cloudfe, statebe]) network.listen(address, this, at)
    this.rest(at)
  }

  addPeers(peers: readonly string[], at: number): void {
    this.core.setPeers(peers, this.shows(at))
    this.endTurn(at)
  }

  drain(deadlineMs: number, at: number): void {
    this.core.drain(deadlineMs, this.shows(at))
    this.endTurn(at)
  }

  kill(at: number): void {
    const { localfe, localbe, cloudfe, statebe } = addresses(this.core.config.name)
    this.#network.killListener(this, [localfe, localbe, cloudfe, statebe], at)
  }

  // ---------------------------------------------------------------- what comes in

  protected override nextTimeout(): number {
    return this.core.nextTimeout()
  }

  protected override timeout(now: number, at: number): void {
    this.core.timeout(now)
    this.endTurn(at)
  }

  override arrived(pipe: Pipe, message: Message, at: number): void {
    if (pipe.socket === 'statebe') return
    const now = this.shows(at)
    this.#watch.atBroker(this, pipe.socket, pipe.key, message, at)
    if (pipe.socket === 'localfe') this.core.localfe(pipe.key, message, now)
    else if (pipe.socket === 'localbe') this.core.localbe(pipe.key, message, now)
    else this.core.cloudfe(pipe.key, message, now)
    this.endTurn(at)
  }

  override answered(pipe: Pipe, message: Message, at: number): void {
    const now = this.shows(at)
    if (pipe.socket === 'statebe') this.core.statefe(message, now)
    else {
      this.#watch.atBroker(this, 'cloudbe', pipe.name, message, at)
      this.core.cloudbe(pipe.name, message, now)
    }
    this.endTurn(at)
  }

  override behind(key: string): Pipe | undefined {
    return this.#pipes.cloudfe.get(key)
  }

  override joined(pipe: Pipe): void {
    if (pipe.socket === 'statebe') this.#subscribers.add(pipe)
    else this.#pipes[pipe.socket].set(pipe.key, pipe)
  }

  override lost(pipe: Pipe, at: number): void {
    if (pipe.socket === 'statebe') {
      this.#subscribers.delete(pipe)
      return
    }
    const pipes = this.#pipes[pipe.socket]
    if (pipes.get(pipe.key) === pipe) pipes.delete(pipe.key)
    if (pipe.socket !== 'localbe' || !this.alive) return
    this.core.workerDisconnected(this.shows(at))
    if (!this.frozen) this.rest(at)
  }

  override hungUp(pipe: Pipe, at: number): void {
    if (pipe.socket !== 'cloudfe' || !this.alive || this.frozen) return
    this.core.peerDisconnected(pipe.name, this.shows(at))
    this.endTurn(at)
  }

  // ---------------------------------------------------------------- what goes out

  send(link: Link, record: Record): void {
    const batch = batchOf(link)
    if (batch.records === null) {
      this.#dirty[this.#dirtyCount++] = link
      batch.records = [record]
    } else if (batch.records.length === 1 && batch.records[0] !== undefined) {
      // The second is often the last, and `push` would make room for sixteen more.
      batch.records = [batch.records[0], record]
    } else batch.records.push(record)
    if (record.kind === Kind.Request) this.#watch.requested(this, link, record)
    else if (record.kind === Kind.Reply && record.code === ErrorCode.Busy)
      this.#watch.turnedAway(this, record)
  }

  /** A task of that service is given to a worker or a peer. It may come back in the same turn. */
  givenOut(name: string): void {
    const service = this.core.scheduler.services.byName.get(name)
    if (service === undefined) return
    const out = service.tasks - service.waiting - service.deferred
    const most = this.#outMost.get(name) ?? 0
    if (out <= most) return
    this.#outMost.set(name, out)
    this.outMost += out - most
  }

  publish(state: State): void {
    this.#watch.published(this, state)
    const records = [state]
    // What a subscriber's pipe does not take, it misses.
    for (const pipe of this.#subscribers)
      this.#network.sendBack(pipe, this.epoch, 0, records, this.queue.time)
  }

  /** The cluster that one of cloudbe's connections leads to. */
  clusterBehind(key: string): number {
    return Number.parseInt(this.#pipes.cloudbe.get(key)?.address.slice(CLUSTER_AT) ?? '', 10)
  }

  connectPeer(link: Link, address: string): void {
    const pipe = this.#network.dial(
      this,
      'cloudfe',
      address,
      this.core.config.name,
      link.key,
      this.queue.time,
    )
    this.#pipes.cloudbe.set(link.key, pipe)
  }

  disconnectPeer(link: Link): void {
    const pipe = this.#pipes.cloudbe.get(link.key)
    if (pipe === undefined) return
    // What was said before goes out before.
    if (link.outbox instanceof Batch && link.outbox.records !== null) {
      const { records } = link.outbox
      link.outbox.records = null
      this.#transmit(link, link.outbox, records)
    }
    this.#pipes.cloudbe.delete(link.key)
    this.#network.close(pipe, this.queue.time)
  }

  subscribe(address: string): void {
    if (this.#subscriptions.has(address)) return
    const pipe = this.#network.dial(this, 'statebe', address, this.name, address, this.queue.time)
    this.#subscriptions.set(address, pipe)
  }

  unsubscribe(address: string): void {
    const pipe = this.#subscriptions.get(address)
    if (pipe === undefined) return
    this.#subscriptions.delete(address)
    this.#network.close(pipe, this.queue.time)
  }

  event(event: BrokerEvent): void {
    this.#watch.brokerSays(this, event)
  }

  drained(): void {
    this.left = true
  }

  protected override letOut(at: number): void {
    this.#flush()
    while (this.#failed.length > 0) {
      const failed = this.#failed.splice(0)
      for (const { link, records, reason } of failed) {
        this.core.undelivered(link, records, reason, this.shows(at))
      }
      this.#flush()
    }
    this.#watch.afterBroker(this, at)
    if (this.left) {
      this.kill(at)
      return
    }
    this.rest(at)
  }

  #flush(): void {
    const dirty = this.#dirty
    for (let i = 0; i < this.#dirtyCount; i++) {
      const link = dirty[i] ?? null
      if (link === null) continue
      dirty[i] = null
      const batch = batchOf(link)
      const { records } = batch
      if (records === null) continue
      batch.records = null
      this.#transmit(link, batch, records)
    }
    this.#dirtyCount = 0
  }

  #transmit(link: Link, batch: Batch, records: readonly Record[]): void {
    let pipe = batch.pipe
    if (pipe === null || pipe.bound !== this || !pipe.up) {
      pipe = this.#pipes[link.socket].get(link.key) ?? null
      // What others opened stays in place while it stands; what we opened may be replaced under its name.
      batch.pipe = pipe
    }
    if (pipe === null) {
      this.#failed.push({ link, records, reason: 'unreachable' })
      return
    }
    const sent =
      link.socket === 'cloudbe'
        ? this.#network.sendOut(pipe, this.epoch, link.epoch, records, this.queue.time)
        : this.#network.sendBack(pipe, this.epoch, link.epoch, records, this.queue.time)
    if (!sent) this.#failed.push({ link, records, reason: 'full' })
  }
}
