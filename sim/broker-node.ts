import { Broker } from '../broker/core/broker.ts'
import type { CoreConfig } from '../broker/core/config.ts'
import type { BrokerEvent } from '../broker/core/event.ts'
import { Link, type UndeliveredReason } from '../broker/core/link.ts'
import type { BrokerPort } from '../broker/core/port.ts'
import { ErrorCode } from '../protocol/error-code.ts'
import { type Heartbeat, Kind, type Message, type Record, type State } from '../protocol/record.ts'
import type { EventQueue } from './event-queue.ts'
import { type Network, Pipe } from './network.ts'
import { type Clock, Listener } from './node.ts'
import type { Watch } from './watch.ts'

/**
 * What one turn has for one link. Each is used again for another link in the next turn: between turns a link holds nothing but
 * the pipe that its messages go through, and a million links need no million batches.
 */
class Batch {
  link: Link | null = null
  records: Record[] | null = null
  /** The epoch that the records were said to. */
  to = 0
  /** Where the link's messages went last; looked up again when it has gone. */
  pipe: Pipe | null = null
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
  /** What others opened, by their routing ids; a link to a peer knows its own. */
  readonly #pipes: { readonly [socket in 'localfe' | 'localbe' | 'cloudfe']: Map<string, Pipe> } = {
    localfe: new Map(),
    localbe: new Map(),
    cloudfe: new Map(),
  }
  readonly #subscriptions = new Map<string, Pipe>()
  readonly #subscribers: Pipe[] = []
  /** What there is for links, the first so many. */
  readonly #batches: Batch[] = []
  #batchCount = 0
  /** The heartbeat that was sent last. */
  #beatAlone: Record[] = []
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
    if (pipe.socket === 'localfe') this.core.localfe(pipe.key, message, now, pipe.link)
    else if (pipe.socket === 'localbe') this.core.localbe(pipe.key, message, now, pipe.link)
    else this.core.cloudfe(pipe.key, message, now, pipe.link)
    this.endTurn(at)
  }

  override answered(pipe: Pipe, message: Message, at: number): void {
    const now = this.shows(at)
    if (pipe.socket === 'statebe') this.core.statefe(message, now)
    else {
      this.#watch.atBroker(this, 'cloudbe', pipe.name, message, at)
      this.core.cloudbe(pipe.name, message, now, pipe.opener instanceof Link ? pipe.opener : null)
    }
    this.endTurn(at)
  }

  override behind(socket: 'cloudfe' | 'localbe', key: string): Pipe | undefined {
    return this.#pipes[socket].get(key)
  }

  override joined(pipe: Pipe): void {
    if (pipe.socket === 'statebe') this.#subscribers.push(pipe)
    else this.#pipes[pipe.socket].set(pipe.key, pipe)
  }

  override lost(pipe: Pipe, at: number): void {
    if (pipe.socket === 'statebe') {
      const index = this.#subscribers.indexOf(pipe)
      if (index >= 0) this.#subscribers.splice(index, 1)
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
    const { outbox } = link
    const batch = outbox instanceof Batch ? outbox : this.#batchFor(link, outbox)
    if (batch.to !== link.epoch) this.#turnTo(link, batch)
    const { records } = batch
    if (records === null) batch.records = record.kind === Kind.Heartbeat ? this.#alone(record) : [record]
    else if (records.length === 1 && records[0] !== undefined) {
      // The second is often the last, and `push` would make room for sixteen more.
      batch.records = [records[0], record]
    } else records.push(record)
    if (record.kind === Kind.Request) this.#watch.requested(this, link, record)
    else if (record.kind === Kind.Reply && record.code === ErrorCode.Busy)
      this.#watch.turnedAway(this, record)
  }

  /** The correspondent is another life of itself from here on: what was said to the former one is not meant for it. */
  #turnTo(link: Link, batch: Batch): void {
    const { records, pipe, to } = batch
    if (records !== null) this.#transmit(link, pipe, to, records)
    batch.records = null
    batch.to = link.epoch
    batch.pipe = pipeOf(link)
    link.outbox = batch
  }

  /** A list of one is never written to: the same heartbeat to a thousand peers needs one list. */
  #alone(beat: Heartbeat): Record[] {
    if (this.#beatAlone[0] !== beat) this.#beatAlone = [beat]
    return this.#beatAlone
  }

  #batchFor(link: Link, outbox: unknown): Batch {
    let batch = this.#batches[this.#batchCount]
    if (batch === undefined) {
      batch = new Batch()
      this.#batches.push(batch)
    }
    this.#batchCount++
    batch.link = link
    batch.to = link.epoch
    // Not only when the turn ends: what else it reads from the same sender is from whoever it has an answer for now.
    batch.pipe = outbox instanceof Pipe ? outbox : this.#pipeTo(link)
    link.outbox = batch
    return batch
  }

  /** What somebody opened to us, as it stands now: from here on its messages are from whoever is behind the link. */
  #pipeTo(link: Link): Pipe | null {
    if (link.socket === 'cloudbe') return null
    const pipe = this.#pipes[link.socket].get(link.key) ?? null
    if (pipe !== null) pipe.link = link
    return pipe
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

  /** The cluster that one of cloudbe's links leads to. */
  clusterBehind(link: Link): number {
    return Number.parseInt(pipeOf(link)?.address.slice(CLUSTER_AT) ?? '', 10)
  }

  connectPeer(link: Link, address: string): void {
    const { name } = this.core.config
    const pipe = this.#network.dial(this, 'cloudfe', address, name, link.key, this.queue.time)
    pipe.opener = link
    link.outbox = pipe
  }

  disconnectPeer(link: Link): void {
    const pipe = pipeOf(link)
    if (pipe === null) return
    // What was said before goes out before.
    if (link.outbox instanceof Batch && link.outbox.records !== null) {
      const { records, to } = link.outbox
      link.outbox.records = null
      this.#transmit(link, pipe, to, records)
    }
    this.#network.close(pipe, this.queue.time)
    link.outbox = null
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
    const count = this.#batchCount
    for (let i = 0; i < count; i++) {
      const batch = this.#batches[i]
      if (batch === undefined) continue
      const { link, records, pipe, to } = batch
      batch.link = null
      batch.records = null
      batch.pipe = null
      if (link !== null && records !== null) this.#transmit(link, pipe, to, records)
    }
    this.#batchCount = 0
  }

  /** @param before the pipe that the link's messages went through last */
  #transmit(link: Link, before: Pipe | null, to: number, records: readonly Record[]): void {
    let pipe = before
    // What others opened is gone when it does not stand; what we opened is made anew by itself.
    if (link.socket !== 'cloudbe' && (pipe === null || pipe.bound !== this || !pipe.up))
      pipe = this.#pipeTo(link)
    link.outbox = pipe
    if (pipe === null) {
      this.#failed.push({ link, records, reason: 'unreachable' })
      return
    }
    const sent =
      link.socket === 'cloudbe'
        ? this.#network.sendOut(pipe, this.epoch, to, records, this.queue.time)
        : this.#network.sendBack(pipe, this.epoch, to, records, this.queue.time)
    if (!sent) this.#failed.push({ link, records, reason: 'full' })
  }
}

/** What a link's messages go through, whether a turn has something for it or not. */
function pipeOf({ outbox }: Link): Pipe | null {
  if (outbox instanceof Batch) return outbox.pipe
  return outbox instanceof Pipe ? outbox : null
}
