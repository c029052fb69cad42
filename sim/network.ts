import type { Link } from '../broker/core/link.ts'
import { Kind, type Message, type Record, type Token } from '../protocol/record.ts'
import { EVERYBODY, type EventQueue, type Happening } from './event-queue.ts'
import { type Lane, Lanes } from './lanes.ts'
import { Listener, type Node } from './node.ts'
import { Random } from './random.ts'
import type { Distribution, LinkTerms } from './scenario.ts'

/** Kinds of connection, by the socket that accepts them. */
export type SocketName = 'localfe' | 'localbe' | 'cloudfe' | 'statebe'

export interface NetworkParameters {
  /** One way, between nodes of a cluster, and between clusters, ms. */
  readonly localMs: number
  readonly cloudMs: number
  /** Each link between clusters takes `cloudMs` times or divided by up to this, drawn once; 1: all are alike. */
  readonly cloudSpread: number
  /** How much longer a message takes at random, as a share of the above; half of it on average. Never reorders a connection. */
  readonly jitter: number
  readonly distribution: Distribution
  /** What a link carries, Mbit/s; 0: any amount at once. Within a cluster each connection is a link. */
  readonly localMbps: number
  readonly cloudMbps: number
  /** Links between clusters that are unlike the rest. */
  readonly links: readonly LinkTerms[]
  /** Messages that may be under way or unread on a connection, each way. */
  readonly highWater: number
  /** Between attempts to connect, ms; up to half of it more or less at random. */
  readonly reconnectMs: number
  /** A connection through which nothing can pass for so long breaks, ms; Infinity: it waits, as TCP does for minutes. */
  readonly silenceBreaksMs: number
  /** Freezes every record on its way, so that a core that writes into what it was handed throws. */
  readonly freezeRecords: boolean
}

/** Numbers for `Happening.mark`: what happened; the low bits say where: on which lane, or whose connection. */
const MARK = { delivery: 1 << 24, cut: 3 << 24, dial: 4 << 24, up: 5 << 24, silence: 6 << 24 }

/** The longest that a message takes beyond the least, as a multiple of `jitter`: a run must have an end. */
export const TAIL_MAX = 10

/** How much longer than the least a message may take, as a share of it. */
export function longest(p: { readonly jitter: number; readonly distribution: Distribution }): number {
  return 1 + p.jitter * (p.distribution === 'uniform' ? 1 : TAIL_MAX)
}

/** The end of a connection is noticed after so many times the way, at least and at most. */
const NOTICED_AFTER = 0.5
const NOTICED_BEFORE = 2

/**
 * What happens in one cluster is felt in another no sooner than after so long, ms: nothing is faster than the shortest way
 * between two, but that a connection is over may be noticed sooner.
 */
export function lookaheadMs(p: Pick<NetworkParameters, 'cloudMs' | 'cloudSpread' | 'links'>): number {
  const least = Math.min(p.cloudMs / p.cloudSpread, ...p.links.map(({ ms = Number.POSITIVE_INFINITY }) => ms))
  // A little less: the way is computed in another order elsewhere.
  return 0.99 * NOTICED_AFTER * least
}

/** Time in which a process that goes on has found what its kernel has accepted for it, one connection after the other, ms. */
const WAKES_WITHIN_MS = 20

/** Octets of a message's and of a record's fields, near enough: nothing is encoded only to be measured. */
const MESSAGE_OCTETS = 16
const RECORD_OCTETS = 48
const ENTRY_OCTETS = 16

export function octetsOf(message: Message): number {
  let octets = MESSAGE_OCTETS
  for (const record of message.records) {
    octets += RECORD_OCTETS
    switch (record.kind) {
      case Kind.Request:
      case Kind.Reply:
      case Kind.Partial:
        octets += record.body.byteLength
        break
      case Kind.State:
        octets += ENTRY_OCTETS * (record.services.length + record.received.length)
        break
      case Kind.Inventory:
        octets += ENTRY_OCTETS * record.tokens.length
        break
      case Kind.Hello:
        octets += ENTRY_OCTETS * record.peers.length
    }
  }
  return octets
}

/** What carries messages from one place to another: one leaves when those before it have left. */
interface Road {
  /** Least time that a message takes, ms. */
  readonly baseMs: number
  /** 0: it carries any amount at once. */
  readonly msPerOctet: number
  /** How much longer a message takes at random, as a share, and how that is distributed. */
  readonly jitter: number
  readonly distribution: Distribution
  /** When what has been put on it so far will have left. */
  freeAt: number
}

/** Work before a road that is no longer a message or two, ms. */
const CONGESTED_MS = 20

function roadOf(
  baseMs: number,
  mbps: number,
  { jitter, distribution }: Pick<NetworkParameters, 'jitter' | 'distribution'>,
): Road {
  const msPerOctet = mbps === 0 ? 0 : 8 / (mbps * 1000)
  return { baseMs, msPerOctet, jitter, distribution, freeAt: 0 }
}

/**
 * One connection as the socket that opens it sees it: it outlives breaks and is made anew by itself, until it is closed.
 * Each time it is up is a session; what was under way when a session ended is lost.
 */
export class Pipe {
  /** Each time it is up is another. */
  session: number
  up: boolean
  closed: boolean
  /** The clusters of its dialler, and of who accepted it last; EVERYBODY before anybody has. */
  readonly home: number
  there: number
  /** Towards the one that accepts it. */
  readonly out: Lane
  bound: Listener | null
  readonly dialler: Node
  /** Its dialler's. */
  readonly mark: number
  readonly socket: SocketName
  /** The routing id towards the other end. */
  readonly key: string
  /** By which the core of the one that accepted it has last written to the other end. */
  link: Link | null
  /** What its opener's core knows it by, where that is an object. */
  opener: object | null
  readonly lanes: Lanes
  /** What the lanes run along, if that is unlike the rest of its kind or can be full; null: as far as all, and carries any amount. */
  outRoad: Road | null
  backRoad: Road | null
  /** What its opener calls it. */
  readonly name: string
  readonly address: string
  /** Who accepted it last. */
  acceptor: Listener | null
  /** What was sent before the connection stood; it leaves when it does. */
  waiting: Message[] | null
  /** Its neighbours among the connections that its dialler has opened and not closed, the latest first. */
  nextDialled: Pipe | null
  previousDialled: Pipe | null
  /** And among those that who accepted it has accepted and that stand, the latest first. */
  nextAccepted: Pipe | null
  previousAccepted: Pipe | null

  /** In this order its fields lie: what each message needs first, since an object of many fields is several cache lines. */
  constructor(lanes: Lanes, socket: SocketName, dialler: Node, address: string, key: string, name: string) {
    this.session = 0
    this.up = false
    this.closed = false
    this.home = dialler.cluster
    this.there = EVERYBODY
    this.out = lanes.take()
    this.bound = null
    this.dialler = dialler
    this.mark = dialler.mark
    this.socket = socket
    this.key = key
    this.link = null
    this.opener = null
    this.lanes = lanes
    this.outRoad = null
    this.backRoad = null
    this.name = name
    this.address = address
    this.waiting = null
    this.nextDialled = null
    this.acceptor = null
    this.previousDialled = null
    this.nextAccepted = null
    this.previousAccepted = null
  }

  get back(): Lane {
    return this.out + 1
  }
}

/** A message on its way. */
export class Delivery implements Happening, Message {
  readonly pipe: Pipe
  readonly lane: Lane
  readonly session: number
  readonly from: number
  readonly to: number
  readonly records: readonly Record[]
  readonly oversized?: readonly Token[]

  constructor(pipe: Pipe, lane: Lane, from: number, to: number, records: readonly Record[]) {
    this.pipe = pipe
    this.lane = lane
    this.session = pipe.session
    this.from = from
    this.to = to
    this.records = records
  }

  get mark(): number {
    return MARK.delivery | this.lane
  }

  /** The receiver's socket: what came to one is read in order, before or after what came to another. */
  get socket(): string {
    if (this.lane === this.pipe.out) return this.pipe.socket
    return this.pipe.socket === 'statebe' ? 'statefe' : 'cloudbe'
  }

  happen(at: number): void {
    const { pipe } = this
    if (this.session !== pipe.session || !pipe.up) return
    const node = this.lane === pipe.out ? pipe.bound : pipe.dialler
    if (node === null || node.postpone(this) || node.gathers(this, at)) return
    this.handTo(node, at)
  }

  /** The process reads it: what has arrived is read even when its connection is gone by then. */
  handTo(node: Node, at: number): void {
    const { pipe, lane } = this
    if (this.session === pipe.session) pipe.lanes.read(lane)
    if (lane !== pipe.out) {
      if (!pipe.closed) node.answered(pipe, this, at)
    } else if (node instanceof Listener) node.arrived(pipe, this, at)
  }
}

/** Something that happens to a pipe, unless its session has ended before. */
class PipeEvent implements Happening {
  readonly mark: number
  readonly pipe: Pipe
  readonly session: number
  readonly #action: (pipe: Pipe, at: number) => void

  constructor(mark: number, pipe: Pipe, action: (pipe: Pipe, at: number) => void) {
    this.mark = mark | pipe.mark
    this.pipe = pipe
    this.session = pipe.session
    this.#action = action
  }

  happen(at: number): void {
    if (this.session === this.pipe.session) this.#action(this.pipe, at)
  }
}

/** What is between two clusters, one way. */
interface Weather {
  blocked: boolean
  /** Factor on latency and bandwidth. */
  slow: number
  readonly road: Road
}

/**
 * Connections as ZeroMQ has them. Order holds within a connection, and only there. What was under way when one breaks
 * is lost without a word. A partition is silence: what is sent is held back and comes when it heals, if the connection
 * lasts so long. Whoever opened a connection opens it again; what it sends meanwhile waits, up to the high-water mark.
 */
export class Network {
  readonly parameters: NetworkParameters
  /** Messages that were sent, and those that were handed over or lost are not told apart here. */
  messages = 0
  /** Hears of every message as it leaves. */
  tap: ((pipe: Pipe, lane: Lane, message: Message) => void) | null = null
  /** Hears of a pipe that is full, and of a road with much before it: until when its messages are late or lost. */
  trouble: ((pipe: Pipe, until: number) => void) | null = null
  readonly #queue: EventQueue
  readonly #random: Random
  readonly #listeners = new Map<string, Listener>()
  /** Pipes that nobody listens for at present, by address. */
  readonly #waiters = new Map<string, Set<Pipe>>()
  /** Pipes that a stopped process's kernel has taken, and that wait for the process to go on. */
  readonly #knocking = new Map<Listener, Set<Pipe>>()
  /** Connections through which nothing gets any more, and neither end knows. */
  readonly #dead = new Set<Pipe>()
  /** Whoever has opened pipes and not closed them, which it lists itself; and pipes that were closed while they were up. */
  readonly #diallers = new Set<Node>()
  readonly #closing = new Set<Pipe>()
  readonly #weather = new Map<number, Weather>()
  #calm = true
  readonly #lanes = new Lanes()
  /** What waits for the end of a partition, by lane. */
  readonly #held = new Map<Lane, Delivery[]>()
  readonly #seed: number
  /** Whether links between clusters are all alike, and carry any amount. */
  readonly #alike: boolean

  constructor(parameters: NetworkParameters, queue: EventQueue, seed: number) {
    this.parameters = parameters
    this.#queue = queue
    this.#seed = seed
    this.#random = new Random(seed, 'network')
    const { cloudSpread, cloudMbps, links } = parameters
    this.#alike = cloudSpread === 1 && cloudMbps === 0 && links.length === 0
  }

  // ---------------------------------------------------------------- listening and connecting

  listen(address: string, node: Listener, at: number): void {
    this.#listeners.set(address, node)
    const waiters = this.#waiters.get(address)
    if (waiters === undefined) return
    this.#waiters.delete(address)
    for (const pipe of waiters) this.#redial(pipe, at)
  }

  dial(dialler: Node, socket: SocketName, address: string, key: string, name: string, at: number): Pipe {
    const pipe = new Pipe(this.#lanes, socket, dialler, address, key, name)
    if (dialler.dialled === null) this.#diallers.add(dialler)
    enlist(pipe)
    this.#attempt(pipe, at)
    return pipe
  }

  /** The opener closes it: what it has sent may still arrive, nothing comes back. */
  close(pipe: Pipe, at: number): void {
    if (pipe.closed) return
    pipe.closed = true
    pipe.waiting = null
    strike(pipe)
    if (pipe.dialler.dialled === null) this.#diallers.delete(pipe.dialler)
    this.#end(pipe, at)
  }

  /** The process is gone, and what it had in its hands with it; its sockets are closed by the kernel. */
  kill(node: Node, at: number): void {
    node.alive = false
    this.#diallers.delete(node)
    let first = node.dialled
    node.dialled = null
    // In the order in which they were opened.
    while (first !== null && first.nextDialled !== null) first = first.nextDialled
    for (let pipe = first; pipe !== null; pipe = pipe.previousDialled) {
      pipe.closed = true
      pipe.waiting = null
      this.#end(pipe, at)
    }
  }

  /** It was closed. */
  #end(pipe: Pipe, at: number): void {
    if (pipe.up) {
      this.#closing.add(pipe)
      this.#cutSoon(pipe, at)
    } else this.#forget(pipe)
  }

  /** One that others are connected to is gone. */
  killListener(node: Listener, addresses: readonly string[], at: number): void {
    for (const address of addresses) {
      if (this.#listeners.get(address) === node) this.#listeners.delete(address)
    }
    this.kill(node, at)
    for (const pipe of node.acceptedPipes()) this.#cutSoon(pipe, at)
    for (const pipe of this.#knocking.get(node) ?? []) this.#redial(pipe, at)
    this.#knocking.delete(node)
  }

  // ---------------------------------------------------------------- sending

  /** @returns false when its pipe is full */
  sendOut(pipe: Pipe, from: number, to: number, records: readonly Record[], at: number): boolean {
    if (pipe.closed) return true
    if (pipe.up) return this.#transmit(pipe, pipe.out, from, to, records, at)
    if (pipe.waiting === null) pipe.waiting = [{ from, to, records }]
    else if (pipe.waiting.length >= this.parameters.highWater) {
      this.trouble?.(pipe, at)
      return false
    } else pipe.waiting.push({ from, to, records })
    return true
  }

  /** From the one that accepted the connection. @returns false when its pipe is full */
  sendBack(pipe: Pipe, from: number, to: number, records: readonly Record[], at: number): boolean {
    return this.#transmit(pipe, pipe.back, from, to, records, at)
  }

  #transmit(
    pipe: Pipe,
    lane: Lane,
    from: number,
    to: number,
    records: readonly Record[],
    at: number,
  ): boolean {
    const lanes = this.#lanes
    if (lanes.pending(lane) >= this.parameters.highWater) {
      this.trouble?.(pipe, at)
      return false
    }
    lanes.sent(lane)
    this.messages++
    if (this.parameters.freezeRecords) for (const record of records) Object.freeze(record)
    const delivery = new Delivery(pipe, lane, from, to, records)
    this.tap?.(pipe, lane, delivery)
    if (lanes.blocked(lane)) {
      const held = this.#held.get(lane)
      if (held === undefined) this.#held.set(lane, [delivery])
      else held.push(delivery)
    } else this.#schedule(delivery, at)
    return true
  }

  #schedule(delivery: Delivery, at: number): void {
    const { lane, pipe } = delivery
    const road = lane === pipe.out ? pipe.outRoad : pipe.backRoad
    const lanes = this.#lanes
    let leaves = at
    if (road !== null && road.msPerOctet > 0) {
      if (road.freeAt > at) {
        leaves = road.freeAt
        if (leaves - at > CONGESTED_MS) this.trouble?.(pipe, leaves)
      }
      leaves += octetsOf(delivery) * road.msPerOctet * lanes.slow(lane)
      road.freeAt = leaves
    }
    const { jitter, distribution } = road ?? this.parameters
    const latencyMs = this.#latency(pipe, lane)
    const takes = jitter === 0 ? latencyMs : latencyMs * (1 + jitter * this.#extra(distribution))
    const arrives = Math.max(leaves + takes, lanes.lastAt(lane))
    lanes.arrives(lane, arrives)
    this.#queue.push(arrives, delivery, lane === pipe.out ? pipe.there : pipe.home)
  }

  /** From 0 to TAIL_MAX, a half on average. */
  #extra(distribution: Distribution): number {
    const random = this.#random
    switch (distribution) {
      case 'uniform':
        return random.uniform()
      case 'exponential':
        return Math.min(random.exponential(0.5), TAIL_MAX)
      case 'lognormal':
        return Math.min(0.5 * Math.exp(random.normal() - 0.5), TAIL_MAX)
    }
  }

  // ---------------------------------------------------------------- a connection's life

  #redial(pipe: Pipe, at: number, wait = this.parameters.reconnectMs * this.#random.between(0.5, 1.5)): void {
    const dial = new PipeEvent(MARK.dial, pipe, (p, now) => this.#attempt(p, now))
    this.#queue.push(at + wait, dial, pipe.home)
  }

  #attempt(pipe: Pipe, at: number): void {
    if (pipe.closed || pipe.up) return
    const listener = this.#listeners.get(pipe.address)
    if (listener === undefined || this.#isCut(pipe.dialler, listener)) {
      this.#await(pipe)
      return
    }
    if (listener.frozen) {
      this.#knock(pipe, listener)
      return
    }
    const roundTrip = 2 * this.#distance(pipe.dialler, listener)
    const up = new PipeEvent(MARK.up, pipe, (p, now) => this.#accept(p, listener, now))
    this.#queue.push(at + roundTrip, up, listener.cluster)
  }

  #await(pipe: Pipe): void {
    let waiters = this.#waiters.get(pipe.address)
    if (waiters === undefined) {
      waiters = new Set()
      this.#waiters.set(pipe.address, waiters)
    }
    waiters.add(pipe)
  }

  /** Its kernel accepts for it: it finds the connection when it goes on, before it has noticed the end of the one before. */
  #knock(pipe: Pipe, listener: Listener): void {
    const knocking = this.#knocking.get(listener)
    if (knocking === undefined) this.#knocking.set(listener, new Set([pipe]))
    else knocking.add(pipe)
  }

  /**
   * Concerns whoever accepts it alone: its opener finds it standing, and may be a little ahead of that moment or behind it, which
   * makes its first messages a little faster, no more. What its opener, or that of a connection in its way, has to do about it
   * waits until that is felt there.
   */
  #accept(pipe: Pipe, listener: Listener, at: number): void {
    const alone = this.#takes(pipe, listener) && this.#inTheWay(pipe, listener) === undefined
    if (alone || pipe.home === listener.cluster) {
      this.#establish(pipe, listener, at)
      return
    }
    const up = new PipeEvent(MARK.up, pipe, (p, now) => this.#establish(p, listener, now))
    this.#queue.push(at + lookaheadMs(this.parameters), up)
  }

  /** Whether it is still there, and both ends are at work. */
  #takes(pipe: Pipe, listener: Listener): boolean {
    return this.#listeners.get(pipe.address) === listener && !listener.frozen && !pipe.dialler.frozen
  }

  /**
   * Whoever comes under a routing id that is in use takes it over. Brokers and workers have routing ids of their own; all others
   * are used once.
   */
  #inTheWay({ socket, key }: Pipe, listener: Listener): Pipe | undefined {
    return socket === 'cloudfe' || socket === 'localbe' ? listener.behind(socket, key) : undefined
  }

  #establish(pipe: Pipe, listener: Listener, at: number): void {
    if (pipe.closed || pipe.up) return
    if (!this.#takes(pipe, listener)) {
      this.#await(pipe)
      if (this.#listeners.has(pipe.address)) this.#redial(pipe, at)
      return
    }
    pipe.session++
    pipe.up = true
    pipe.bound = listener
    if (pipe.acceptor !== listener) pipe.link = null
    pipe.acceptor = listener
    pipe.there = listener.cluster
    this.#empty(pipe)
    this.#setWeather(pipe)
    const other = this.#inTheWay(pipe, listener)
    if (other !== undefined) this.#cut(other, at)
    listener.accept(pipe)
    listener.joined(pipe)
    const waiting = pipe.waiting
    pipe.waiting = null
    if (waiting !== null)
      for (const { from, to, records } of waiting) this.#transmit(pipe, pipe.out, from, to, records, at)
  }

  /** One end is gone; until the other has noticed, it still reads what was sent and sends what nobody reads. */
  #cutSoon(pipe: Pipe, at: number): void {
    const noticed = at + this.#latency(pipe, pipe.back) * this.#random.between(NOTICED_AFTER, NOTICED_BEFORE)
    const cut = new PipeEvent(MARK.cut, pipe, (p, now) => {
      // Nor does the end of a connection get through a partition, or to a process that is stopped.
      if (this.#isBlockedAnyWay(p) || isStopped(p.bound))
        this.#cutSoon(p, now + this.#latency(p, p.back) + 50)
      else this.#cut(p, now)
    })
    this.#queue.push(noticed, cut, whose(pipe.home, pipe.there))
  }

  /** The connection breaks, and what was under way is lost. */
  #cut(pipe: Pipe, at: number): void {
    if (!pipe.up) return
    this.#sever(pipe, at)
    if (pipe.closed) {
      this.#forget(pipe)
      return
    }
    this.#redial(pipe, at)
    pipe.dialler.hungUp(pipe, at)
  }

  #sever(pipe: Pipe, at: number): void {
    const bound = pipe.bound
    pipe.up = false
    pipe.session++
    pipe.bound = null
    this.#dead.delete(pipe)
    this.#empty(pipe)
    if (bound === null) return
    bound.partFrom(pipe)
    bound.lost(pipe, at)
  }

  /** Breaks a connection as a middlebox would. */
  breakConnection(pipe: Pipe, at: number): void {
    this.#cut(pipe, at)
  }

  /** Nothing gets through a connection any more, as when a middlebox has forgotten it. @returns its session */
  goDead(pipe: Pipe, at: number): number {
    if (pipe.up) {
      this.#dead.add(pipe)
      this.weatherChanged(at)
    }
    return pipe.session
  }

  /**
   * Its opener has noticed that it is dead, and the other end has not: that one learns of it by the new connection, which is
   * there already when it looks what has become of the old one.
   */
  reopen(pipe: Pipe, session: number, at: number): void {
    const { bound, dialler } = pipe
    if (pipe.session !== session || !pipe.up || bound === null) return
    if (pipe.closed || dialler.frozen || bound.frozen || this.#isCut(dialler, bound)) {
      this.#cut(pipe, at)
      return
    }
    this.#sever(pipe, at)
    dialler.hungUp(pipe, at)
    this.#establish(pipe, bound, at)
  }

  /** Puts a message on a lane that nobody there has sent. */
  inject(pipe: Pipe, lane: Lane, message: Message, at: number): void {
    if (pipe.up) this.#transmit(pipe, lane, message.from, message.to, message.records, at)
  }

  #forget(pipe: Pipe): void {
    this.#closing.delete(pipe)
    this.#waiters.get(pipe.address)?.delete(pipe)
    for (const knocking of this.#knocking.values()) knocking.delete(pipe)
    this.#dead.delete(pipe)
    pipe.session++
    this.#lanes.giveBack(pipe.out)
  }

  // ---------------------------------------------------------------- weather

  /** Nothing gets from one cluster to the other any more, or again. */
  block(from: number, to: number, blocked: boolean): void {
    this.#between(from, to).blocked = blocked
  }

  slow(from: number, to: number, factor: number): void {
    this.#between(from, to).slow = factor
  }

  /** After `block`, `slow`, or a change of a node's isolation or frozenness: connections that exist feel it too. */
  weatherChanged(at: number): void {
    this.#calm = true
    for (const { blocked, slow } of this.#weather.values()) if (blocked || slow !== 1) this.#calm = false
    for (const { dialled } of this.#diallers)
      for (let pipe = dialled; pipe !== null; pipe = pipe.nextDialled) this.#feelWeather(pipe, at)
    for (const pipe of this.#closing) this.#feelWeather(pipe, at)
    for (const [listener, knocking] of this.#knocking) {
      if (listener.frozen) continue
      this.#knocking.delete(listener)
      for (const pipe of knocking) this.#redial(pipe, at, WAKES_WITHIN_MS * this.#random.uniform())
    }
    for (const [address, waiters] of this.#waiters) {
      if (!this.#listeners.has(address)) continue
      this.#waiters.delete(address)
      for (const pipe of waiters) this.#redial(pipe, at)
    }
  }

  #feelWeather(pipe: Pipe, at: number): void {
    if (!pipe.up) return
    const { silenceBreaksMs } = this.parameters
    const wasBlocked = this.#isBlockedAnyWay(pipe)
    this.#setWeather(pipe)
    const isBlocked = this.#isBlockedAnyWay(pipe)
    for (const lane of [pipe.out, pipe.back]) {
      const held = this.#held.get(lane)
      if (held === undefined || this.#lanes.blocked(lane)) continue
      this.#held.delete(lane)
      for (const delivery of held) this.#schedule(delivery, at)
    }
    if (isBlocked && !wasBlocked && silenceBreaksMs !== Number.POSITIVE_INFINITY) {
      const silence = new PipeEvent(MARK.silence, pipe, (p, now) => {
        if (this.#isBlockedAnyWay(p)) this.#cut(p, now)
      })
      this.#queue.push(at + silenceBreaksMs, silence, whose(pipe.home, pipe.there))
    }
  }

  #setWeather(pipe: Pipe): void {
    const { dialler, bound } = pipe
    if (bound === null) return
    const isolated = dialler.isolated || bound.isolated || this.#dead.has(pipe)
    const lanes = this.#lanes
    lanes.block(pipe.out, isolated || this.#isBlocked(dialler.cluster, bound.cluster))
    lanes.block(pipe.back, isolated || this.#isBlocked(bound.cluster, dialler.cluster))
    lanes.slowDown(pipe.out, this.#slowness(dialler.cluster, bound.cluster))
    lanes.slowDown(pipe.back, this.#slowness(bound.cluster, dialler.cluster))
    pipe.outRoad ??= this.#road(dialler.cluster, bound.cluster)
    pipe.backRoad ??= this.#road(bound.cluster, dialler.cluster)
  }

  #isBlockedAnyWay(pipe: Pipe): boolean {
    return this.#lanes.blocked(pipe.out) || this.#lanes.blocked(pipe.back)
  }

  /** What was on its way is lost. */
  #empty(pipe: Pipe): void {
    for (const lane of [pipe.out, pipe.back]) {
      this.#lanes.reset(lane)
      this.#held.delete(lane)
    }
  }

  /** null: it is like all of its kind, and carries any amount. */
  #road(from: number, to: number): Road | null {
    const { localMs, localMbps } = this.parameters
    if (from === to) return localMbps === 0 ? null : roadOf(localMs, localMbps, this.parameters)
    return this.#alike ? null : this.#between(from, to).road
  }

  #between(from: number, to: number): Weather {
    const key = from * 65536 + to
    let weather = this.#weather.get(key)
    if (weather === undefined) {
      const { cloudMs, cloudMbps, jitter, distribution, links } = this.parameters
      const terms = links.find((link) => link.from === from && link.to === to)
      weather = {
        blocked: false,
        slow: 1,
        road: roadOf(terms?.ms ?? cloudMs * this.#spread(from, to), terms?.mbps ?? cloudMbps, {
          jitter: terms?.jitter ?? jitter,
          distribution: terms?.distribution ?? distribution,
        }),
      }
      this.#weather.set(key, weather)
    }
    return weather
  }

  /** How far two clusters are from each other, compared with others: the same both ways. */
  #spread(from: number, to: number): number {
    const { cloudSpread } = this.parameters
    if (cloudSpread === 1) return 1
    const pair = `link ${Math.min(from, to)} ${Math.max(from, to)}`
    return new Random(this.#seed, pair).logBetween(1 / cloudSpread, cloudSpread)
  }

  #isBlocked(from: number, to: number): boolean {
    return !this.#calm && (this.#weather.get(from * 65536 + to)?.blocked ?? false)
  }

  #isCut(a: Node, b: Node): boolean {
    if (a.isolated || b.isolated) return true
    return this.#isBlocked(a.cluster, b.cluster) || this.#isBlocked(b.cluster, a.cluster)
  }

  /** One way, without jitter, ms: along a connection that stands, and between any two nodes. */
  #latency(pipe: Pipe, lane: Lane): number {
    const road = lane === pipe.out ? pipe.outRoad : pipe.backRoad
    const slow = this.#lanes.slow(lane)
    if (road !== null) return road.baseMs * slow
    return (pipe.home === pipe.there ? this.parameters.localMs : this.parameters.cloudMs) * slow
  }

  #distance(from: Node, to: Node): number {
    const { localMs, cloudMs } = this.parameters
    if (from.cluster === to.cluster) return localMs
    const baseMs = this.#alike ? cloudMs : this.#between(from.cluster, to.cluster).road.baseMs
    return baseMs * this.#slowness(from.cluster, to.cluster)
  }

  #slowness(from: number, to: number): number {
    return this.#calm ? 1 : (this.#weather.get(from * 65536 + to)?.slow ?? 1)
  }
}

/** The one cluster in which something happens to a connection; EVERYBODY: it has its ends in two. */
function whose(home: number, there: number): number {
  return home === there ? home : EVERYBODY
}

/** It lives, and notices nothing. */
function isStopped(node: Node | null): boolean {
  return node?.alive === true && node.frozen
}

function enlist(pipe: Pipe): void {
  const { dialler } = pipe
  pipe.nextDialled = dialler.dialled
  if (dialler.dialled !== null) dialler.dialled.previousDialled = pipe
  dialler.dialled = pipe
}

function strike(pipe: Pipe): void {
  const { dialler, nextDialled, previousDialled } = pipe
  if (previousDialled !== null) previousDialled.nextDialled = nextDialled
  else dialler.dialled = nextDialled
  if (nextDialled !== null) nextDialled.previousDialled = previousDialled
  pipe.nextDialled = null
  pipe.previousDialled = null
}
