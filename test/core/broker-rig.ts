/**
 * A broker's core with its surroundings played by hand: clients, workers and peers are actors with terse verbs, the
 * clock is a number, and all that the core sends lands in the inbox of whom it was sent to.
 */

import { Broker } from '../../broker/core/broker.ts'
import type { CoreConfig } from '../../broker/core/config.ts'
import type { BrokerEvent } from '../../broker/core/event.ts'
import type { Dialect, Link, LinkSocket, UndeliveredReason } from '../../broker/core/link.ts'
import type { BrokerPort } from '../../broker/core/port.ts'
import { decodePacked } from '../../protocol/decode.ts'
import { MessageEncoder } from '../../protocol/encode.ts'
import { unpacked } from '../../protocol/octets.ts'
import type {
  Hello,
  Message,
  PeerAddress,
  Partial as Piece,
  ReceivedFrom,
  Record,
  Reject,
  Reply,
  Request,
  ServiceCapacity,
  State,
  Token,
} from '../../protocol/record.ts'
import {
  EMPTY_BODY,
  Kind,
  PRIORITY_DEFAULT,
  type RejectReason,
  Role,
  VERSION_MAJOR,
  VERSION_MINOR,
} from '../../protocol/record.ts'

export const WEST_EPOCH = 1000

export const CONFIG: CoreConfig = {
  name: 'west',
  cloudfeAdvertised: 'tcp://west',
  statebeAdvertised: 'tcp://west-state',
  queueMax: 100,
  bodyMax: 1 << 20,
  servicesMax: 50,
  workersMax: 50,
  attemptsMax: 3,
  stockTaskTimeMs: 60_000,
  taskTimeMaxMs: 86_400_000,
  silentAttemptMs: 0,
  workerHeartbeatIntervalMs: 1000,
  workerLiveness: 3,
  stateIntervalMs: 500,
  stateCoalesceMs: 10,
  stateTtlMs: 1500,
  peerForgetMs: 60_000,
  peersMax: 50,
  policy: 'most-capacity',
  repliesMax: 100,
  repliesBytesMax: 1 << 20,
  replyAgeMaxMs: 60_000,
  retryBudgetRatio: 0.1,
  retryBudgetBurst: 100,
  retryBudgetPerSecond: 10,
  guestWaitMs: 0,
  busyRetryAfterMs: 100,
}

const encoder = new MessageEncoder()

/** As it comes over the wire to a broker: REQUEST and REPLY are passed on as octets, and written anew by the next message. */
export function packed(message: Message): Message {
  encoder.begin(message.from, message.to)
  for (const record of message.records) encoder.add(record)
  const decoded = decodePacked(encoder.finish(), 0, { bodyMax: Number.MAX_SAFE_INTEGER })
  if ('error' in decoded) throw new Error(decoded.error)
  return message.oversized === undefined ? decoded : { ...decoded, oversized: message.oversized }
}

/** Uniform in [0, 1), the same at each run (mulberry32). */
export function lottery(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let x = Math.imul(state ^ (state >>> 15), state | 1)
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61)
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
  }
}

export const text = (body: Uint8Array): string => Buffer.from(body).toString()
export const octets = (body: string): Uint8Array => Buffer.from(body)

/** Runs a machine up to a time, as a loop that is never late would. */
export function runUntil(
  machine: { timeout(now: number): void; nextTimeout(): number },
  from: number,
  to: number,
  before: (now: number) => void = () => {},
): void {
  let now = from
  for (let turns = 0; machine.nextTimeout() <= to; turns++) {
    if (turns > 1_000_000) throw new Error(`time stands still at ${now}`)
    now = Math.max(now, machine.nextTimeout())
    before(now)
    machine.timeout(now)
  }
  before(to)
  machine.timeout(to)
}

export class Rig implements BrokerPort {
  readonly broker: Broker
  now = 10_000
  readonly states: State[] = []
  readonly events: BrokerEvent[] = []
  readonly subscriptions = new Set<string>()
  /** Addresses that cloudbe is connected to, and under which key now. */
  readonly connections = new Map<string, string>()
  drainedTimes = 0
  /** Hands the core the link by which it last wrote to whoever a message is from. */
  remembersLinks = false
  /** All that was sent, in order. */
  readonly wire: { readonly link: Link; readonly record: Record; readonly at: number }[] = []
  readonly #actors = new Map<string, Actor>()
  #inside = false

  constructor(config: { readonly [K in keyof CoreConfig]?: CoreConfig[K] } = {}, seed = 1) {
    this.broker = new Broker({ ...CONFIG, ...config }, this, WEST_EPOCH, lottery(seed), this.now)
    this.advance(0)
  }

  // ---------------------------------------------------------------- the port

  send(link: Link, record: Record): void {
    const kept = unpacked(record)
    this.wire.push({ link, record: kept, at: this.now })
    this.#actors.get(`${link.socket} ${link.key}`)?.take(kept, link)
  }
  publish(state: State): void {
    this.states.push(state)
  }
  connectPeer(link: Link, address: string): void {
    this.connections.set(address, link.key)
    for (const actor of this.#actors.values()) {
      if (actor instanceof PeerActor && actor.address === address) {
        actor.key = link.key
        this.#actors.set(`cloudbe ${link.key}`, actor)
        return
      }
    }
  }
  disconnectPeer(link: Link, address: string): void {
    if (this.connections.get(address) === link.key) this.connections.delete(address)
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
  }

  // ---------------------------------------------------------------- time and input

  advance(ms: number): this {
    const to = this.now + ms
    runUntil(this.broker, this.now, to, (now) => {
      this.now = now
    })
    return this
  }

  /** A message from `actor`. */
  feed(socket: LinkSocket, key: string, message: Message): void {
    if (this.#inside) throw new Error('the rig was called from within the port')
    this.#inside = true
    try {
      const sender = this.remembersLinks ? this.#actors.get(`${socket} ${key}`) : undefined
      if (socket === 'localfe' || socket === 'localbe')
        this.broker[socket](key, packed(message), this.now, sender?.link ?? null)
      else this.broker[socket](key, packed(message), this.now)
    } finally {
      this.#inside = false
    }
  }

  undelivered(link: Link, records: readonly Record[], reason: UndeliveredReason): void {
    this.broker.undelivered(link, records, reason, this.now)
  }

  // ---------------------------------------------------------------- actors

  client(key: string): ClientActor {
    return this.#actor(new ClientActor(this, key))
  }
  stockClient(key: string): StockClientActor {
    return this.#actor(new StockClientActor(this, key))
  }
  worker(
    key: string,
    offer: { slots?: number; services?: readonly string[]; epoch?: number } = {},
  ): WorkerActor {
    return this.#actor(new WorkerActor(this, key, offer))
  }
  stockWorker(key: string, dialect: 'ppp' | 'req'): StockWorkerActor {
    return this.#actor(new StockWorkerActor(this, key, dialect))
  }
  peer(name: string, epoch = 2000): PeerActor {
    const peer = new PeerActor(this, name, epoch)
    this.#actors.set(`peer ${name}`, peer)
    const connected = this.connections.get(peer.address)
    if (connected !== undefined) {
      peer.key = connected
      this.#actors.set(`cloudbe ${connected}`, peer)
    }
    return peer
  }
  guest(name: string, epoch = 2000): GuestActor {
    return this.#actor(new GuestActor(this, name, epoch))
  }
  #actor<A extends Actor>(actor: A): A {
    this.#actors.set(`${actor.socket} ${actor.key}`, actor)
    return actor
  }

  // ---------------------------------------------------------------- what to look at

  get lastState(): State {
    const state = this.states.at(-1)
    if (state === undefined) throw new Error('nothing has been published')
    return state
  }
  capacity(service = ''): ServiceCapacity | undefined {
    return this.lastState.services.find((s) => s.service === service)
  }
  eventsOf<T extends BrokerEvent['type']>(type: T): (BrokerEvent & { readonly type: T })[] {
    return this.events.filter((event): event is BrokerEvent & { readonly type: T } => event.type === type)
  }
  /** The peer that a cloudbe link leads to, or has led to. */
  nameBehind(key: string): string {
    const actor = this.#actors.get(`cloudbe ${key}`)
    return actor instanceof PeerActor ? actor.name : ''
  }
  free(service = ''): number {
    return this.broker.scheduler.services.byName.get(service)?.free ?? 0
  }
}

abstract class Actor {
  readonly rig: Rig
  readonly socket: LinkSocket
  key: string
  link: Link | null = null
  /** All that has come, in order. */
  readonly inbox: Record[] = []

  constructor(rig: Rig, socket: LinkSocket, key: string) {
    this.rig = rig
    this.socket = socket
    this.key = key
  }

  take(record: Record, link: Link): void {
    this.link = link
    this.inbox.push(record)
  }

  got<K extends Kind>(kind: K): (Record & { readonly kind: K })[] {
    return this.inbox.filter((record): record is Record & { readonly kind: K } => record.kind === kind)
  }

  /** The broker's link to this actor; there is one once it has been sent something. */
  get itsLink(): Link {
    if (this.link === null) throw new Error(`nothing has been sent to ${this.key}`)
    return this.link
  }
}

type RequestFields = { readonly [K in keyof Request]?: Request[K] }
type ReplyFields = { readonly [K in keyof Reply]?: Reply[K] }

export function aRequest(fields: RequestFields): Request {
  return {
    kind: Kind.Request,
    token: 1,
    id: 'task',
    attempt: 1,
    timeLeftMs: 10_000,
    priority: PRIORITY_DEFAULT,
    flags: 0,
    creditUpTo: 0,
    service: '',
    traceparent: '',
    body: octets(fields.id ?? 'task'),
    ...fields,
  }
}

export function aReply(fields: ReplyFields): Reply {
  return {
    kind: Kind.Reply,
    token: 1,
    code: '',
    retryable: false,
    retryAfterMs: 0,
    attempts: 1,
    queuedUs: 0,
    runUs: 1000,
    partials: 0,
    cluster: '',
    worker: '',
    message: '',
    body: EMPTY_BODY,
    ...fields,
  }
}

export function aHello(fields: { readonly [K in keyof Hello]?: Hello[K] }): Hello {
  return {
    kind: Kind.Hello,
    role: Role.Broker,
    name: 'somebody',
    epoch: 1,
    major: VERSION_MAJOR,
    minor: VERSION_MINOR,
    heartbeatIntervalMs: 500,
    bodyMax: 1 << 20,
    cloudfe: '',
    statebe: '',
    peers: [],
    ...fields,
  }
}

export class ClientActor extends Actor {
  epoch = 500
  #tokens = 0

  constructor(rig: Rig, key: string) {
    super(rig, 'localfe', key)
  }

  say(...records: Record[]): this {
    this.rig.feed('localfe', this.key, { from: this.epoch, to: 0, records })
    return this
  }
  /** @returns the token, a new one unless given */
  request(fields: RequestFields): Token {
    const token = fields.token ?? ++this.#tokens
    this.say(aRequest({ ...fields, token }))
    return token
  }
  cancel(token: Token): void {
    this.say({ kind: Kind.Cancel, token })
  }
  /** Another process behind the same routing id. */
  restart(epoch: number): this {
    this.epoch = epoch
    this.#tokens = 0
    return this
  }
  get replies(): Reply[] {
    return this.got(Kind.Reply)
  }
  get codes(): string[] {
    return this.replies.map((reply) => reply.code)
  }
  get reply(): Reply {
    const [reply, another] = this.replies
    if (reply === undefined || another !== undefined) {
      throw new Error(`${this.key} has ${this.replies.length} replies, not one`)
    }
    return reply
  }
  get pieces(): Piece[] {
    return this.got(Kind.Partial)
  }
}

export class StockClientActor extends Actor {
  constructor(rig: Rig, key: string) {
    super(rig, 'localfe', key)
  }
  request(body: string): void {
    this.rig.broker.stockRequest(this.key, [EMPTY_BODY], `stock-${body}`, octets(body), this.rig.now)
  }
  get replies(): Reply[] {
    return this.got(Kind.Reply)
  }
}

/** Something that runs tasks: what it holds, by token. */
abstract class Executor extends Actor {
  readonly holds = new Map<Token, Request>()
  /** Ids in the order in which they came. */
  readonly started: string[] = []
  /** REQUESTs received, final answers sent. */
  received = 0
  answered = 0

  override take(record: Record, link: Link): void {
    super.take(record, link)
    if (record.kind !== Kind.Request) return
    this.received++
    this.holds.set(record.token, record)
    this.started.push(record.id)
  }

  /** The token of the task with that id, or of the only one it holds. */
  token(id?: string): Token {
    for (const [token, request] of this.holds) if (id === undefined || request.id === id) return token
    throw new Error(`${this.key} does not hold ${id ?? 'anything'}`)
  }

  abstract say(...records: Record[]): this

  reply(fields: ReplyFields & { readonly id?: string } = {}): this {
    const { id, ...rest } = fields
    const token = fields.token ?? this.token(id)
    const body = octets(`done ${this.holds.get(token)?.id ?? ''}`)
    this.holds.delete(token)
    this.answered++
    return this.say(aReply({ body, ...rest, token }))
  }

  reject(reason: RejectReason, fields: { readonly [K in keyof Reject]?: Reject[K] } = {}): this {
    const token = fields.token ?? this.token()
    this.holds.delete(token)
    this.answered++
    return this.say({
      kind: Kind.Reject,
      reason,
      free: 0,
      received: this.received,
      worker: '',
      ...fields,
      token,
    })
  }

  piece(index: number, id?: string): this {
    return this.say({
      kind: Kind.Partial,
      token: this.token(id),
      index,
      attempt: 1,
      cluster: '',
      worker: '',
      body: octets(`piece ${index}`),
    })
  }

  heartbeat(): this {
    return this.say({ kind: Kind.Heartbeat, ask: false, sent: this.answered })
  }

  inventory(received = this.received): this {
    return this.say({ kind: Kind.Inventory, received, tokens: [...this.holds.keys()] })
  }

  disconnect(): this {
    return this.say({ kind: Kind.Disconnect, reason: 'leaving' })
  }
}

export class WorkerActor extends Executor {
  readonly name: string
  epoch: number
  slots: number
  services: readonly string[]

  constructor(
    rig: Rig,
    key: string,
    offer: { slots?: number; services?: readonly string[]; epoch?: number },
  ) {
    super(rig, 'localbe', key)
    this.name = key
    this.slots = offer.slots ?? 1
    this.services = offer.services ?? ['']
    this.epoch = offer.epoch ?? 3000
  }

  say(...records: Record[]): this {
    this.rig.feed('localbe', this.key, { from: this.epoch, to: WEST_EPOCH, records })
    return this
  }

  hello(): Hello {
    return aHello({ role: Role.Worker, name: this.name, epoch: this.epoch, heartbeatIntervalMs: 1000 })
  }

  ready(slots = this.slots): this {
    this.slots = slots
    return this.say(this.hello(), { kind: Kind.Ready, slots, services: this.services })
  }

  vanish(): this {
    const heartbeat: Record = { kind: Kind.Heartbeat, ask: false, sent: 0 }
    this.rig.undelivered(this.itsLink, [heartbeat], 'unreachable')
    return this
  }
}

export class StockWorkerActor extends Executor {
  readonly dialect: Dialect

  constructor(rig: Rig, key: string, dialect: 'ppp' | 'req') {
    super(rig, 'localbe', key)
    this.dialect = dialect
  }
  say(): this {
    throw new Error('a stock worker has no records')
  }
  ready(): this {
    this.rig.broker.stockReady(this.key, this.dialect, this.rig.now)
    return this
  }
  override heartbeat(): this {
    this.rig.broker.stockHeartbeat(this.key, this.rig.now)
    return this
  }
  done(token = this.token()): this {
    const body = octets(`done ${this.holds.get(token)?.id ?? ''}`)
    this.holds.delete(token)
    this.rig.broker.stockReply(this.key, this.dialect, token, body, this.rig.now)
    return this
  }
}

/** A peer as the one who runs our tasks. */
export class PeerActor extends Executor {
  readonly name: string
  readonly address: string
  epoch: number
  seq = 0
  statebe: string

  constructor(rig: Rig, name: string, epoch: number) {
    super(rig, 'cloudbe', '')
    this.name = name
    this.address = `tcp://${name}`
    this.statebe = `tcp://${name}-state`
    this.epoch = epoch
  }

  say(...records: Record[]): this {
    return this.sayTo(WEST_EPOCH, ...records)
  }
  sayTo(to: number, ...records: Record[]): this {
    this.rig.feed('cloudbe', this.key, { from: this.epoch, to, records })
    return this
  }
  /** Connects, if nobody has yet. */
  connect(): this {
    this.rig.broker.addPeer(this.address, this.rig.now)
    return this
  }
  hello(fields: { readonly name?: string; readonly peers?: readonly PeerAddress[] } = {}): this {
    return this.say(
      aHello({
        name: this.name,
        epoch: this.epoch,
        cloudfe: this.address,
        statebe: this.statebe,
        ...fields,
      }),
    )
  }
  /** Free slots of the anonymous service, or capacities in full. */
  state(
    free: number | readonly ServiceCapacity[],
    fields: { readonly [K in keyof State]?: State[K] } = {},
  ): this {
    const services =
      typeof free === 'number' ? [{ service: '', free, total: Math.max(free, 10), queued: 0 }] : free
    const received: ReceivedFrom[] = [{ peer: 'west', epoch: WEST_EPOCH, count: this.received }]
    const state: State = {
      kind: Kind.State,
      name: this.name,
      epoch: this.epoch,
      seq: this.seq++,
      draining: false,
      inFlight: 0,
      queueDepth: 0,
      cloudfe: this.address,
      services,
      received,
      ...fields,
    }
    this.rig.broker.statefe({ from: this.epoch, to: 0, records: [state] }, this.rig.now)
    return this
  }
  /** Joined, up, and with so many slots free. */
  up(free: number): this {
    return this.connect().hello().state(free)
  }
  /** Another life of it begins. */
  restart(epoch: number): this {
    this.epoch = epoch
    this.holds.clear()
    this.received = 0
    this.answered = 0
    this.seq = 0
    return this
  }
  breakConnection(): this {
    this.rig.broker.peerDisconnected(this.key, this.rig.now)
    return this
  }
}

/** A peer as a customer. */
export class GuestActor extends Actor {
  epoch: number
  sent = 0

  constructor(rig: Rig, name: string, epoch: number) {
    super(rig, 'cloudfe', name)
    this.epoch = epoch
  }
  say(...records: Record[]): this {
    this.rig.feed('cloudfe', this.key, { from: this.epoch, to: WEST_EPOCH, records })
    return this
  }
  hello(fields: { readonly [K in keyof Hello]?: Hello[K] } = {}): this {
    const hello = aHello({
      name: this.key,
      epoch: this.epoch,
      cloudfe: `tcp://${this.key}`,
      statebe: `tcp://${this.key}-state`,
      ...fields,
    })
    this.rig.feed('cloudfe', this.key, { from: this.epoch, to: 0, records: [hello] })
    return this
  }
  request(fields: RequestFields): this {
    this.sent++
    return this.say(aRequest({ token: this.sent, ...fields }))
  }
  heartbeat(): this {
    return this.say({ kind: Kind.Heartbeat, ask: true, sent: this.sent })
  }
  get replies(): Reply[] {
    return this.got(Kind.Reply)
  }
  get rejects(): Reject[] {
    return this.got(Kind.Reject)
  }
}
