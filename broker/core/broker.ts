import type { Machine } from '../../protocol/machine.ts'
import {
  type Hello,
  Kind,
  type Message,
  type Partial,
  type PeerAddress,
  type ReceivedFrom,
  type Record,
  type Reject,
  type Reply,
  Role,
  type ServiceCapacity,
  type State,
  type Token,
  VERSION_MAJOR,
  VERSION_MINOR,
} from '../../protocol/record.ts'
import { Assignment } from './assignment.ts'
import { Client } from './client.ts'
import { Clients } from './clients.ts'
import type { CoreConfig } from './config.ts'
import type { Context } from './context.ts'
import { Counters } from './counters.ts'
import { Guest } from './guest.ts'
import { Guests } from './guests.ts'
import { Timings } from './histogram.ts'
import { type Dialect, Link, type LinkSocket, type UndeliveredReason } from './link.ts'
import { Peer } from './peer.ts'
import { Peers } from './peers.ts'
import type { BrokerPort } from './port.ts'
import { Scheduler } from './scheduler.ts'
import { Task } from './task.ts'
import { type Timed, TimingWheel } from './timing-wheel.ts'
import { Worker } from './worker.ts'
import { printable, Workers } from './workers.ts'

/** Up to so many peers are told of capacity as often as the configuration allows; twice as many half as often. */
const PEERS_TOLD_AT_ONCE = 8

/** More services than this in a state, and it is not sent along with answers. */
const SERVICES_TOLD_MAX = 16

const FOREIGNERS_MAX = 1000

/** From a worker's broken connection to the question who is still there, ms: by then the socket has let go of it. */
const PROBE_MS = 5
/** Between two such questions, ms for each worker that is asked: or a thousand that leave one by one, or somebody who only connects
 *  and disconnects, would have us do nothing else. */
const PROBE_MS_A_WORKER = 0.05

const NOBODY: readonly PeerAddress[] = []
const NO_SERVICES: readonly ServiceCapacity[] = []

function isAnswer(record: Record): record is Reply | Reject | Partial {
  return record.kind === Kind.Reply || record.kind === Kind.Reject || record.kind === Kind.Partial
}

/**
 * The broker: messages from its sockets in, by the sockets' names, and the time with them; effects out through the port.
 *
 * The caller must
 * 1. call `timeout` no later than `nextTimeout()` says;
 * 2. carry out what comes out of the port in order, and hand back what could not be sent with `undelivered`;
 * 3. never call in from within the port.
 */
export class Broker implements Machine {
  readonly counters = new Counters()
  readonly timings = new Timings()
  readonly scheduler: Scheduler
  readonly clients: Clients
  readonly workers: Workers
  readonly guests: Guests
  readonly peers: Peers
  readonly config: CoreConfig
  readonly epoch: number
  readonly startedAt: number

  readonly #port: BrokerPort
  readonly #wheel: TimingWheel
  readonly #due: Timed[] = []
  #stateSeq = 0
  /** What a peer was last greeted with. */
  #helloSaid: Hello | null = null
  #servicesPublished = 0
  #publishedAt = Number.NEGATIVE_INFINITY
  /** Last call of `timeout`: at least every state or heartbeat interval, unless we stood still. */
  #ranAt = Number.NEGATIVE_INFINITY
  #workersBeatAt = Number.POSITIVE_INFINITY
  #peersBeatAt = Number.POSITIVE_INFINITY
  #deferredAt = Number.POSITIVE_INFINITY
  /** Workers' connections have broken: time to ask who is still there. */
  #probeAt = Number.POSITIVE_INFINITY
  #probedAt = Number.NEGATIVE_INFINITY
  /** Who of another version has been told to the log. */
  readonly #foreigners = new Set<string>()
  #drainBy = Number.POSITIVE_INFINITY
  #left = false

  /**
   * @param epoch random, 1 to 2^32 - 1, drawn anew at each start
   * @param random uniform in [0, 1); the core has no randomness of its own
   */
  constructor(config: CoreConfig, port: BrokerPort, epoch: number, random: () => number, now: number) {
    this.config = config
    this.epoch = epoch
    this.startedAt = now
    this.#port = port
    this.#wheel = new TimingWheel(now)
    const seed = Math.floor(random() * 2 ** 32) | 0
    this.scheduler = new Scheduler(config, port, this.#wheel, this.counters, this.timings, random, seed, now)
    const context: Context = {
      config,
      epoch,
      seed,
      port,
      counters: this.counters,
      wheel: this.#wheel,
      scheduler: this.scheduler,
      helloLocal: () => this.#hello('local', NOBODY),
      helloPeer: (to) => this.#helloPeer(to),
    }
    this.clients = new Clients(context)
    this.workers = new Workers(context)
    this.peers = new Peers(context)
    this.guests = new Guests(context, this.peers)
    this.#ranAt = now
    this.#publishedAt = now - config.stateIntervalMs
    this.#workersBeatAt = now + config.workerHeartbeatIntervalMs
    this.#peersBeatAt = now + config.stateIntervalMs
  }

  get draining(): boolean {
    return this.scheduler.draining
  }

  // ---------------------------------------------------------------- what arrives
  // Once it has said goodbye the broker is deaf: an answer would bring it back to life for whoever hears it.

  /**
   * @param link by which this core last wrote to the sender, whether that has left or waits for the end of the turn, if the
   * caller knows: saves looking it up by its key. Whoever gives it once for a key gives it always, until the connection ends.
   */
  localfe(key: string, message: Message, now: number, link: Link | null = null): void {
    if (this.#left) return
    this.clients.receive(key, message, now, link)
    this.#settle(now)
  }

  /** @param link as for `localfe` */
  localbe(key: string, message: Message, now: number, link: Link | null = null): void {
    if (this.#left) return
    this.workers.receive(key, message, now, link)
    this.#settle(now)
  }

  /** @param link as for `localfe` */
  cloudfe(key: string, message: Message, now: number, link: Link | null = null): void {
    if (this.#left) return
    this.guests.receive(key, message, now, link)
    this.#settle(now)
  }

  /** @param link as for `localfe` */
  cloudbe(key: string, message: Message, now: number, link: Link | null = null): void {
    if (this.#left) return
    this.peers.receive(key, message, now, link)
    this.#settle(now)
  }

  statefe(message: Message, now: number): void {
    if (this.#left) return
    for (const record of message.records) {
      if (record.kind === Kind.State) this.peers.state(record, now)
      else this.counters.drop('out_of_place')
    }
    this.#settle(now)
  }

  /** @param id for the logs and for native workers, which every task's id must reach: random, made by the caller */
  stockRequest(
    key: string,
    envelope: readonly Uint8Array[],
    id: string,
    body: Uint8Array,
    now: number,
  ): void {
    if (this.#left) return
    this.clients.stockRequest(key, envelope, id, body, now)
    this.#settle(now)
  }

  stockReady(key: string, dialect: Dialect, now: number): void {
    if (this.#left) return
    this.workers.stockReady(key, dialect, now)
    this.#settle(now)
  }

  stockHeartbeat(key: string, now: number): void {
    if (this.#left) return
    this.workers.stockHeartbeat(key, now)
    this.#settle(now)
  }

  stockReply(key: string, dialect: Dialect, token: Token, body: Uint8Array, now: number): void {
    if (this.#left) return
    this.workers.stockReply(key, dialect, token, body, now)
    this.#settle(now)
  }

  /** Somebody speaks another major version: it is told in words that all versions understand, and so is the log. */
  foreignVersion(socket: LinkSocket, key: string, major: number, name: string): void {
    const message = `${this.config.name} speaks protocol version ${VERSION_MAJOR}, you speak ${major}; upgrade the older one`
    this.#port.send(new Link(socket, key), { kind: Kind.Refuse, reason: 'version', message })
    this.counters.drop('version')
    // Once: it asks twice a second, for as long as an upgrade takes.
    const stranger = `${socket} ${name} ${major}`
    if (this.#foreigners.has(stranger) || this.#foreigners.size >= FOREIGNERS_MAX) return
    this.#foreigners.add(stranger)
    const event = { key: name === '' ? printable(key) : name, reason: 'version', message }
    if (socket === 'localfe') this.#port.event({ type: 'client-refused', ...event })
    else if (socket === 'localbe') this.#port.event({ type: 'worker-refused', ...event })
    else
      this.#port.event({
        type: 'peer-refused',
        peer: event.key,
        address: socket,
        reason: 'version',
        message,
      })
  }

  /** What the caller was given to send and could not. Workers' and peers' tasks are taken back; answers are kept for
   *  whoever asks again. */
  undelivered(link: Link, records: readonly Record[], reason: UndeliveredReason, now: number): void {
    if (this.#left) return
    switch (link.socket) {
      case 'localbe': {
        const worker = this.workers.byKey.get(link.key)
        if (worker !== undefined && worker.link === link)
          this.workers.undelivered(worker, records, reason, now)
        break
      }
      case 'cloudbe':
        this.peers.undelivered(link.key, records, reason, now)
        break
      default: {
        const to = link.socket === 'localfe' ? this.clients.find(link) : this.guests.byName.get(link.key)
        const taskOf = (token: Token): Task | undefined => {
          // Another life of it may have given the same token to another task.
          if (to === undefined || to.link.epoch !== link.epoch) return undefined
          return to instanceof Guest ? to.tasks.get(token) : to.task(token)
        }
        for (const { kind, token } of records.filter(isAnswer)) {
          if (kind !== Kind.Partial) {
            this.counters.repliesUndeliverable++
            continue
          }
          const task = taskOf(token)
          if (task === undefined) continue
          // To a reader that cannot be reached a stream begun anew would go the same way, again and again.
          if (link.socket === 'localfe' && reason === 'unreachable') this.scheduler.readerLost(task, now)
          else this.scheduler.pieceLost(task, now)
        }
      }
    }
    this.#settle(now)
  }

  /** The connection behind a cloudbe link broke. */
  peerDisconnected(key: string, now: number): void {
    if (this.#left) return
    this.peers.disconnected(key, now)
    this.#settle(now)
  }

  /** Some worker's connection broke, nobody knows whose: sending to all of them tells. A moment later, when the socket has
   *  let go of it. */
  workerDisconnected(now: number): void {
    if (this.#probeAt !== Number.POSITIVE_INFINITY) return
    this.#probeAt = Math.max(now + PROBE_MS, this.#probedAt + PROBE_MS_A_WORKER * this.workers.byKey.size)
  }

  // ---------------------------------------------------------------- what the operator wants

  addPeer(address: string, now: number): boolean {
    if (this.#left) return false
    const added = this.peers.add(address, 'admin', now)
    this.#settle(now)
    return added
  }

  removePeer(nameOrAddress: string, now: number): boolean {
    if (this.#left) return false
    const removed = this.peers.remove(nameOrAddress, now)
    this.#settle(now)
    return removed
  }

  setPeers(addresses: readonly string[], now: number): void {
    if (this.#left) return
    this.peers.setConfigured(addresses, now)
    this.#settle(now)
  }

  /** Take nothing new, finish what is under way, hand what waits to peers, and leave: at once when that is done, at the
   *  latest after `deadlineMs`. Asked again, a shorter deadline counts. */
  drain(deadlineMs: number, now: number): void {
    this.#drainBy = Math.min(this.#drainBy, now + deadlineMs)
    if (!this.scheduler.draining) {
      this.scheduler.draining = true
      this.scheduler.capacityChanged = true
      const { queued, running } = this.scheduler
      this.#port.event({ type: 'draining', deadlineMs, queued, inFlight: running })
      for (const service of this.scheduler.services.byName.values()) this.scheduler.turnAway(service)
      this.#publish(now)
    }
    this.#settle(now)
  }

  // ---------------------------------------------------------------- time

  timeout(now: number): void {
    if (this.#left) return
    // We stood still ourselves (a stopped process, a laptop asleep): what the others said meanwhile lies unread in the
    // sockets, and nobody is dead for not having been heard.
    if (
      now - this.#ranAt >
      2 * Math.min(this.config.stateIntervalMs, this.config.workerHeartbeatIntervalMs)
    ) {
      this.clients.excuse(now)
      this.workers.excuse(now)
      this.peers.excuse(now)
      this.guests.excuse(now)
    }
    this.#ranAt = now
    const due = this.#due
    this.#wheel.advance(now, due)
    for (const timed of due) {
      if (timed instanceof Task) {
        if (!timed.settled) this.scheduler.timeUp(timed, now)
      } else if (timed instanceof Assignment) {
        if (timed.executor instanceof Worker) this.workers.checkSilent(timed, timed.executor, now)
      } else if (timed instanceof Worker) this.workers.check(timed, now)
      else if (timed instanceof Peer) this.peers.check(timed, now)
      else if (timed instanceof Guest) this.guests.check(timed, now)
      else if (timed instanceof Client) this.clients.check(timed, now)
    }
    due.length = 0
    if (now >= this.#workersBeatAt || now >= this.#probeAt) {
      if (now >= this.#probeAt) this.#probedAt = now
      this.#probeAt = Number.POSITIVE_INFINITY
      if (now >= this.#workersBeatAt) this.#workersBeatAt = now + this.config.workerHeartbeatIntervalMs
      this.workers.beat()
    }
    if (now >= this.#peersBeatAt) {
      this.#peersBeatAt = now + this.config.stateIntervalMs
      this.peers.beat(now)
      this.scheduler.ledger.expire(now)
    }
    if (now >= this.#deferredAt) this.#deferredAt = this.scheduler.releaseDeferred(now)
    this.#settle(now)
  }

  nextTimeout(): number {
    if (this.#left) return Number.POSITIVE_INFINITY
    const state =
      this.#publishedAt + (this.scheduler.capacityChanged ? this.#coalesceMs : this.config.stateIntervalMs)
    return Math.min(
      this.#wheel.next(),
      this.#workersBeatAt,
      this.#peersBeatAt,
      this.#deferredAt,
      this.#probeAt,
      this.#drainBy,
      state,
    )
  }

  /** With more peers each state is held back for longer, so that telling of local tasks does not cost more with each. */
  get #coalesceMs(): number {
    const { stateCoalesceMs, stateIntervalMs } = this.config
    const share = Math.max(1, this.peers.byName.size / PEERS_TOLD_AT_ONCE)
    return Math.min(stateIntervalMs, stateCoalesceMs * share)
  }

  /** What every input may have brought about: capacity to publish, a failed task to defer, the end of draining. */
  #settle(now: number): void {
    if (this.#left) return
    // Reckoned as `nextTimeout` does: a difference is rounded otherwise, and a caller that comes exactly then would be sent back to
    // the same moment for ever.
    if (now >= this.#publishedAt + this.config.stateIntervalMs) this.#publish(now)
    else if (this.scheduler.capacityChanged && now >= this.#publishedAt + this.#coalesceMs) {
      if (this.#capacityDiffers()) this.#publish(now)
      else this.scheduler.capacityChanged = false
    }
    if (this.scheduler.firstGuestToTell !== null) this.#tellGuests()
    if (this.#deferredAt === Number.POSITIVE_INFINITY && this.scheduler.deferred > 0) {
      this.#deferredAt = this.scheduler.releaseDeferred(now)
    }
    if (this.scheduler.draining && (this.scheduler.unsettled === 0 || now >= this.#drainBy)) this.#leave(now)
    this.scheduler.endTurn()
  }

  // ---------------------------------------------------------------- state

  #capacityDiffers(): boolean {
    let served = 0
    for (const service of this.scheduler.services.byName.values()) {
      if (
        service.free !== service.publishedFree ||
        service.slots !== service.publishedSlots ||
        service.waiting !== service.publishedWaiting
      ) {
        return true
      }
      if (service.slots > 0) served++
    }
    // One that nobody serves any more may be forgotten already.
    if (served !== this.#servicesPublished) return true
    for (const guest of this.guests.counted) if (guest.received !== guest.published) return true
    return false
  }

  /**
   * A slot that a guest's task has left is news that its sender waits for, with a backlog: a state rides with the answer,
   * or the slot would stay idle for as long as states are coalesced. Everybody else hears of it when it is published.
   */
  #tellGuests(): void {
    const { scheduler } = this
    // Without a change since the last publication that one left with this very turn. A state of many services would
    // outweigh the answers: those wait.
    const tells = scheduler.capacityChanged && scheduler.services.byName.size <= SERVICES_TOLD_MAX
    const services = tells ? this.#capacities() : NO_SERVICES
    let guest = scheduler.firstGuestToTell
    scheduler.firstGuestToTell = null
    while (guest !== null) {
      const { name, link, received, nextToTell } = guest
      if (tells)
        this.#port.send(link, this.#state(services, [{ peer: name, epoch: link.epoch, count: received }]))
      guest.toTell = false
      guest.nextToTell = null
      guest = nextToTell
    }
  }

  #publish(now: number): void {
    const { scheduler, config } = this
    this.#publishedAt = now
    scheduler.capacityChanged = false
    for (const service of scheduler.services.byName.values()) {
      service.publishedFree = service.free
      service.publishedSlots = service.slots
      service.publishedWaiting = service.waiting
    }
    const services = this.#capacities()
    this.#servicesPublished = services.length
    const received: ReceivedFrom[] = []
    for (const guest of this.guests.counted) {
      if (guest.received !== guest.published) {
        guest.published = guest.received
        // A state may be lost on its way: the count is repeated for a while after it has last changed.
        guest.publishUntil = now + 2 * config.stateTtlMs
      }
      if (now <= guest.publishUntil)
        received.push({ peer: guest.name, epoch: guest.link.epoch, count: guest.received })
      else this.guests.counted.delete(guest)
    }
    this.#port.publish(this.#state(services, received))
  }

  #capacities(): ServiceCapacity[] {
    const { scheduler } = this
    const services: ServiceCapacity[] = []
    for (const service of scheduler.services.byName.values()) {
      if (service.slots === 0) continue
      services.push({
        service: service.name,
        free: scheduler.draining ? 0 : service.free,
        total: service.slots,
        queued: service.waiting,
      })
    }
    return services
  }

  #state(services: readonly ServiceCapacity[], received: readonly ReceivedFrom[]): State {
    const { scheduler, config } = this
    return {
      kind: Kind.State,
      name: config.name,
      epoch: this.epoch,
      seq: this.#stateSeq++,
      draining: scheduler.draining,
      inFlight: scheduler.running,
      queueDepth: scheduler.queued,
      cloudfe: config.cloudfeAdvertised,
      services,
      received,
    }
  }

  #helloPeer(to: string): Hello {
    const peers = this.peers.upAddresses(to)
    // Whoever is told the same gets the same.
    if (this.#helloSaid?.peers !== peers) this.#helloSaid = this.#hello('peer', peers)
    return this.#helloSaid
  }

  #hello(to: 'local' | 'peer', peers: readonly PeerAddress[]): Hello {
    const { config } = this
    const peer = to === 'peer'
    return {
      kind: Kind.Hello,
      role: Role.Broker,
      name: config.name,
      epoch: this.epoch,
      major: VERSION_MAJOR,
      minor: VERSION_MINOR,
      heartbeatIntervalMs: peer ? config.stateIntervalMs : config.workerHeartbeatIntervalMs,
      bodyMax: config.bodyMax,
      cloudfe: peer ? config.cloudfeAdvertised : '',
      statebe: peer ? config.statebeAdvertised : '',
      peers,
    }
  }

  // ---------------------------------------------------------------- leaving

  #leave(now: number): void {
    const leftUndone = this.scheduler.failAll(now)
    const goodbye = { kind: Kind.Disconnect, reason: `${this.config.name} leaves` } as const
    for (const { link } of this.workers.byKey.values()) {
      if (link.dialect === 'native') this.#port.send(link, goodbye)
    }
    for (const { link } of this.guests.byName.values()) this.#port.send(link, goodbye)
    for (const { link, phase } of this.peers.byName.values())
      if (phase === 'up') this.#port.send(link, goodbye)
    this.#publish(now)
    this.#left = true
    this.#port.event({ type: 'drained', leftUndone })
    this.#port.drained()
  }
}
