import {
  type Hello,
  Kind,
  type Message,
  type PeerAddress,
  type Record,
  RejectReason,
  Role,
  type State,
  type Token,
  VERSION_MAJOR,
} from '../../protocol/record.ts'
import type { Assignment } from './assignment.ts'
import type { Context } from './context.ts'
import type { Link } from './link.ts'
import { Offer, Peer } from './peer.ts'
import { digestWith } from './peer-list.ts'
import { SharedHeartbeat } from './shared-heartbeat.ts'

type HowMet = 'configured' | 'admin' | 'gossip' | 'hello'

/** Unanswered HELLOs after which a connection is made anew: what piled up in its pipe goes, names are resolved again. */
export const HELLOS_PER_CONNECTION = 20
/** Heartbeats from one comparison of whom we know with a peer's list to the next, at least. */
const BEATS_PER_COMPARISON = 4
/** Peers listed per heartbeat by these comparisons, about: what they cost must not grow with the number of peers. */
const LISTED_PER_BEAT = 32
/** Other addresses of known brokers, and brokers removed by the operator, that are remembered. */
const ALIASES_MAX = 10_000
/** Names of connections that are made once for all brokers of a process. */
const KEYS_SHARED = 4096
/** Up to so many peers, whoever is greeted is told all of them, whatever it knows. */
const TOLD_AT_ONCE = 64

const keys: string[] = []

/**
 * Short, since addresses may be longer than a routing id. The first ones are one text each for all brokers of a process: in a
 * simulation of a thousand there would be a million of them.
 */
function keyOf(connection: number): string {
  if (connection > KEYS_SHARED) return `peer-${connection}`
  for (let i = keys.length; i <= connection; i++) keys.push(`peer-${i}`)
  return keys[connection] ?? ''
}

/** cloudbe and statefe: who our peers are, whether they live, what they have to spare, what they hold of ours. */
export class Peers {
  readonly byAddress = new Map<string, Peer>()
  readonly byName = new Map<string, Peer>()
  readonly #context: Context
  readonly #byKey = new Map<string, Peer>()
  /** Further addresses of brokers that we know under another, or of ourselves. */
  readonly #aliases = new Set<string>()
  /** Names and addresses that the operator removed: neither gossip nor a greeting brings them back. */
  readonly #removed = new Set<string>()
  /** Peers by the addresses that the operator gave for them and that are not where we reach them. */
  readonly #elsewhere = new Map<string, Peer>()
  /** Addresses that the configuration names, as last read. */
  #inConfiguration: ReadonlySet<string> = new Set()
  #connections = 0
  /** Who is up has changed: our peers ought to know. */
  #newsToTell = false
  readonly #heartbeat = new SharedHeartbeat(true)
  /** Heartbeats since the last comparison, and how many comparisons there have been. */
  #beats = 0
  #comparisons = 0
  /** Whom we can vouch for, until that changes: a thousand peers that are all greeted get one list, not a thousand. */
  #up: readonly PeerAddress[] | null = null

  constructor(context: Context) {
    this.#context = context
  }

  // ---------------------------------------------------------------- membership

  /** @returns false when it is known already, or there are too many */
  add(address: string, how: HowMet, now: number): boolean {
    const { config, counters } = this.#context
    const byOperator = how === 'configured' || how === 'admin'
    const known = this.byAddress.get(address)
    if (known !== undefined) {
      if (byOperator) this.#configure(known, address)
      return false
    }
    if (byOperator) {
      if (this.#elsewhere.has(address)) return false
      this.#removed.delete(address)
      this.#aliases.delete(address)
    } else if (this.#removed.has(address) || this.#aliases.has(address)) return false
    if (this.byAddress.size >= config.peersMax) {
      counters.drop('peers_max')
      return false
    }
    this.#join(address, how, now)
    return true
  }

  #join(address: string, how: HowMet, now: number): void {
    const { port } = this.#context
    const peer = new Peer(address, this.#nextKey(), how === 'configured' || how === 'admin', now)
    this.byAddress.set(address, peer)
    this.#byKey.set(peer.link.key, peer)
    port.event({ type: 'peer-joining', address, how })
    port.connectPeer(peer.link, address)
    this.#greet(peer)
  }

  /** The operator knows it by that address as well. */
  #configure(peer: Peer, address: string): void {
    peer.configure(address)
    if (address !== peer.address) this.#elsewhere.set(address, peer)
  }

  /** It is gone from where we reached it; it may come back where the operator said it would be. */
  #tryConfigured(peer: Peer, now: number): void {
    for (const address of peer.configuredAs) {
      if (!this.byAddress.has(address)) this.#join(address, 'configured', now)
    }
  }

  /** The operator removes a peer, by name or address. @returns false when there is none */
  remove(nameOrAddress: string, now: number): boolean {
    const peer =
      this.byName.get(nameOrAddress) ??
      this.byAddress.get(nameOrAddress) ??
      this.#elsewhere.get(nameOrAddress)
    if (peer === undefined) return false
    if (this.#removed.size < ALIASES_MAX) {
      this.#removed.add(peer.address)
      if (peer.name !== '') this.#removed.add(peer.name)
    }
    this.#context.port.send(peer.link, { kind: Kind.Disconnect, reason: 'removed by the operator' })
    this.#drop(peer, now)
    for (const address of peer.configuredAs) {
      const elsewhere = this.byAddress.get(address)
      if (elsewhere !== undefined) this.#drop(elsewhere, now)
    }
    this.#context.port.event({ type: 'peer-removed', peer: peer.label })
    // It was lost where we reached it, and tried where the operator had said it would be.
    const twin = this.#elsewhere.get(nameOrAddress)
    if (twin !== undefined) this.remove(twin.address, now)
    return true
  }

  /** The configuration names exactly these now; peers added by other means, or met, stay. */
  setConfigured(addresses: readonly string[], now: number): void {
    const wanted = new Set(addresses)
    for (const address of this.#inConfiguration) {
      if (wanted.has(address)) continue
      // Both, while one that is lost where we reached it is tried there as well.
      for (const peer of [this.#elsewhere.get(address), this.byAddress.get(address)]) {
        if (peer === undefined) continue
        peer.configureNoMore(address)
        if (this.#elsewhere.get(address) === peer) this.#elsewhere.delete(address)
        if (!peer.configured) this.remove(peer.address, now)
      }
    }
    this.#inConfiguration = wanted
    for (const address of wanted) this.add(address, 'configured', now)
  }

  /**
   * The peer that lives while another broker says hello under its name. Two such take the connection to our cloudfe from each
   * other, and find us silent again and again. A restart looks the same until the former life is heard long after the new one.
   */
  twinOf({ name }: Hello, epoch: number, now: number): Peer | null {
    const peer = this.byName.get(name)
    if (peer === undefined || peer.phase !== 'up' || peer.link.epoch === epoch) return null
    if (peer.rival !== epoch) {
      peer.rival = epoch
      peer.rivalAt = now
    }
    return peer.heardAt - peer.rivalAt > this.#context.config.stateTtlMs ? peer : null
  }

  /** The operator wants nothing to do with the broker of that name. */
  isRemoved(name: string): boolean {
    return this.#removed.size > 0 && this.#removed.has(name)
  }

  /** Somebody said hello on cloudfe: what it knows and where it is. */
  met(hello: Hello, now: number): void {
    if (this.#removed.has(hello.name)) return
    this.#consider({ name: hello.name, cloudfe: hello.cloudfe }, 'hello', now)
    this.#hear(hello, now)
  }

  /** Whom it vouches for. @returns whether we are among them */
  #hear(hello: Hello, now: number): boolean {
    const { name, cloudfeAdvertised } = this.#context.config
    const { peers } = hello
    // It knows whom we know, we and it itself included.
    if (
      peers.length > TOLD_AT_ONCE &&
      digestWith(peers, hello.name, hello.cloudfe) ===
        digestWith(this.#everybodyUp(), name, cloudfeAdvertised)
    ) {
      return true
    }
    let amongThem = false
    for (const candidate of peers) {
      if (candidate.name === name) amongThem = true
      else this.#consider(candidate, 'gossip', now)
    }
    return amongThem
  }

  #consider(candidate: PeerAddress, how: HowMet, now: number): void {
    const { name, cloudfe } = candidate
    if (name === '' || cloudfe === '' || name === this.#context.config.name || this.#removed.has(name)) return
    const known = this.byName.get(name)
    // A peer that is lost where we knew it may have moved; one that is there has two addresses, and one is enough.
    if (known !== undefined && known.phase !== 'lost') return
    this.add(cloudfe, how, now)
  }

  /**
   * Peers that we can vouch for, as the broker of that name is to be told. Each time one of many comes up, everybody is told
   * of all of them with the next heartbeat: until then only that we know it. A thousand that meet would else make a thousand
   * lists each, for a thousand others to go through.
   */
  upAddresses(to: string): readonly PeerAddress[] {
    if (!this.#newsToTell || this.byName.size <= TOLD_AT_ONCE) return this.#everybodyUp()
    const peer = this.byName.get(to)
    return peer?.phase === 'up' ? [{ name: peer.name, cloudfe: peer.advertised }] : []
  }

  #everybodyUp(): readonly PeerAddress[] {
    if (this.#up !== null) return this.#up
    const up: PeerAddress[] = []
    for (const peer of this.byName.values()) {
      if (peer.phase === 'up') up.push({ name: peer.name, cloudfe: peer.advertised })
    }
    this.#up = up
    return up
  }

  // ---------------------------------------------------------------- cloudbe

  receive(key: string, message: Message, now: number, known: Link | null): void {
    const { counters, epoch } = this.#context
    const owner = known === null ? null : known.owner
    const peer = owner instanceof Peer ? owner : this.#byKey.get(key)
    if (peer === undefined) {
      counters.drop('unknown_peer')
      return
    }
    const first = message.records[0]
    if (first === undefined) return
    if (
      message.to !== epoch &&
      !(message.to === 0 && (first.kind === Kind.Hello || first.kind === Kind.Refuse))
    ) {
      counters.drop('stale_epoch')
      this.#greet(peer)
      return
    }
    if (peer.link.epoch !== message.from && first.kind !== Kind.Hello && first.kind !== Kind.Refuse) {
      // Another life of it has begun, and it has not introduced itself yet.
      counters.drop('no_hello')
      this.#greet(peer)
      return
    }
    peer.heardAt = now
    const tookTasks = peer.phase === 'up' && !peer.blocked
    peer.blocked = false
    const { records, from } = message
    this.#record(peer, first, from, now)
    for (let i = 1; i < records.length; i++) {
      const record = records[i]
      // What came before may have ended this connection.
      if (record === undefined || peer.link.key !== key || peer.link.owner === null) return
      this.#record(peer, record, from, now)
    }
    if (!tookTasks && peer.phase === 'up') {
      // It takes tasks again, and its next state may be an interval away.
      for (const { service } of peer.offers.all) this.#context.scheduler.pump(service, now)
    }
  }

  #record(peer: Peer, record: Record, from: number, now: number): void {
    const { config, counters, scheduler, port } = this.#context
    switch (record.kind) {
      case Kind.Reply: {
        const assignment = this.#assignment(peer, record.token)
        // Only what matches counts, or an answer that came twice would hide one that was lost.
        if (assignment !== null) peer.answered++
        if (assignment === null || !scheduler.reply(assignment, record, now)) counters.lateReplies++
        break
      }
      case Kind.Partial: {
        const assignment = this.#assignment(peer, record.token)
        if (assignment !== null && scheduler.partial(assignment, record, now)) counters.partialsForwarded++
        else counters.partialsDropped++
        break
      }
      case Kind.Pending: {
        const assignment = this.#assignment(peer, record.token)
        if (assignment !== null) scheduler.streamedSoFar(assignment, record.partials, now)
        break
      }
      case Kind.Reject: {
        peer.acknowledge(record.received, false)
        const assignment = this.#assignment(peer, record.token)
        if (assignment === null) {
          counters.lateReplies++
          break
        }
        peer.answered++
        const service = assignment.task?.service
        if (record.reason <= RejectReason.NoService) {
          counters.rejectsReceived++
          const offer = peer.offers.get(service?.name ?? '')
          if (offer !== undefined) {
            offer.free = record.free
            // Where none is free more wait than it lets wait. Its next state may say that this is a line in which a task would
            // start in time: it reckons otherwise, and the two would go on like that at every state.
            offer.queued = record.free > 0 ? 0 : Number.POSITIVE_INFINITY
            if (record.free === 0) offer.fullUntil = Math.ceil(now) + config.guestWaitMs
          }
          if (record.reason === RejectReason.Draining) peer.draining = true
        }
        scheduler.reject(assignment, record, now)
        // An abandoned attempt brings no task back, but perhaps news of room.
        if (service !== undefined) scheduler.pump(service, now)
        break
      }
      case Kind.Heartbeat:
        peer.missing = Math.max(0, record.sent - peer.answered)
        // With every heartbeat until an inventory comes: the question and the answer may be lost as well.
        if (peer.missing > 0) port.send(peer.link, { kind: Kind.Audit, sent: peer.sent })
        else peer.answered = record.sent
        if (peer.beatSentAt > 0) {
          peer.measured(now - peer.beatSentAt)
          peer.beatSentAt = 0
        }
        break
      case Kind.State:
        if (record.name === peer.name) this.state(record, now)
        else counters.drop('out_of_place')
        break
      case Kind.Inventory:
        this.#reconcile(peer, record.received, record.tokens, now)
        break
      case Kind.Hello:
        this.#hello(peer, record, from, now)
        break
      case Kind.Disconnect:
        this.#left(peer, record.reason, now)
        break
      case Kind.Refuse:
        if (peer.phase !== 'refused') {
          port.event({ type: 'refused-by', who: peer.label, reason: record.reason, message: record.message })
          if (peer.phase === 'up' || peer.phase === 'suspect') this.#lose(peer, 'it refuses us', now)
          peer.phase = 'refused'
          this.#up = null
        }
        break
      default:
        counters.drop('out_of_place')
    }
  }

  #hello(peer: Peer, hello: Hello, from: number, now: number): void {
    const { config, epoch, port } = this.#context
    peer.hellos = 0
    if (hello.name === config.name && from === epoch) {
      // We have called ourselves.
      this.#alias(peer.address)
      this.#drop(peer, now)
      return
    }
    if (hello.role !== Role.Broker || hello.major !== VERSION_MAJOR || hello.name === config.name) {
      this.#refuse(peer, hello, now)
      return
    }
    if (this.#removed.has(hello.name)) {
      if (!peer.configured) {
        this.#drop(peer, now)
        return
      }
      // The operator has thought better of it.
      this.#removed.delete(hello.name)
    }
    const other = this.byName.get(hello.name)
    if (other !== undefined && other !== peer) {
      if ((other.phase === 'up' || other.phase === 'suspect') && other.link.epoch === from) {
        // The same broker under a second address.
        for (const address of peer.configuredAs) this.#configure(other, address)
        this.#alias(peer.address)
        this.#drop(peer, now)
        // It hears and answers whoever connected last under our name, which was not the connection that stays: that is deaf by now.
        this.#reconnect(other)
        this.#greet(other)
        return
      }
      for (const address of other.configuredAs) this.#configure(peer, address)
      this.#drop(other, now)
    }
    if (peer.name !== '' && peer.name !== hello.name) {
      // Somebody else lives at this address now.
      peer.resetCounts()
      this.#giveUpAll(peer, now)
      this.byName.delete(peer.name)
      this.#up = null
      peer.link.epoch = 0
    }
    const restarted = peer.link.epoch !== 0 && peer.link.epoch !== from
    if (restarted) {
      // Counts first: with what the former life had to spare it would be given its own tasks again.
      peer.resetCounts()
      const tasksTakenBack = this.#giveUpAll(peer, now)
      // It may not know us: what we said to its former life it has not heard.
      this.#newsToTell = true
      port.event({ type: 'peer-restarted', peer: hello.name, epoch: from, tasksTakenBack })
    }
    peer.name = hello.name
    peer.link.epoch = from
    const advertised = hello.cloudfe === '' ? peer.address : hello.cloudfe
    if (peer.advertised !== advertised) {
      peer.advertised = advertised
      this.#up = null
    }
    if (other !== peer) this.byName.set(peer.name, peer)
    this.#subscribe(peer, hello.statebe)
    if (peer.phase !== 'up') {
      const sameLife = peer.phase !== 'joining' && !restarted
      peer.phase = 'up'
      this.#up = null
      peer.draining = false
      this.#newsToTell = true
      port.event({ type: 'peer-up', peer: peer.name, epoch: from, address: peer.address })
      this.#compare(peer, hello)
      // What was on the wire when the connection broke is lost; its inventory tells what.
      if (sameLife) port.send(peer.link, { kind: Kind.Audit, sent: peer.sent })
    }
    this.#context.wheel.set(peer, now + config.stateTtlMs)
    peer.knowsUs = this.#hear(hello, now)
  }

  #refuse(peer: Peer, hello: Hello, now: number): void {
    const { config, port } = this.#context
    if (peer.phase === 'refused') return
    const reason = hello.name === config.name ? 'name-taken' : hello.role === Role.Broker ? 'version' : 'role'
    const message =
      reason === 'name-taken'
        ? `the broker at ${peer.address} is called ${config.name} as well; give each cluster a name of its own`
        : reason === 'version'
          ? `it speaks protocol version ${hello.major}, we speak ${VERSION_MAJOR}; upgrade the older one`
          : `${peer.address} is not a broker's cloudfe`
    port.send(peer.link, { kind: Kind.Refuse, reason, message })
    port.event({ type: 'peer-refused', peer: hello.name, address: peer.address, reason, message })
    // Whoever was there before will not answer there any more.
    if (peer.phase === 'up' || peer.phase === 'suspect') this.#lose(peer, 'we refuse who is there now', now)
    peer.phase = 'refused'
    this.#up = null
  }

  /** Values that all brokers ought to share. */
  #compare(peer: Peer, hello: Hello): void {
    const { config, port } = this.#context
    const pairs: [string, number, number][] = [
      ['bodyMax', config.bodyMax, hello.bodyMax],
      ['stateIntervalMs', config.stateIntervalMs, hello.heartbeatIntervalMs],
    ]
    for (const [field, ours, theirs] of pairs) {
      if (ours !== theirs) port.event({ type: 'peer-mismatch', peer: peer.name, field, ours, theirs })
    }
  }

  /** cloudbe's connection to a peer broke. If it is dead we want its tasks back soon; if only the network hiccuped we do
   *  not want to run hundreds of them twice. One heartbeat's time decides. */
  disconnected(key: string, now: number): void {
    const peer = this.#byKey.get(key)
    if (peer === undefined || peer.phase !== 'up') return
    peer.phase = 'suspect'
    peer.beatSentAt = 0
    this.#up = null
    this.#greet(peer)
    this.#context.wheel.set(peer, now + this.#context.config.stateIntervalMs)
  }

  /** A message to it did not leave: it never got what was in it. */
  undelivered(key: string, records: readonly Record[], reason: 'unreachable' | 'full', now: number): void {
    const peer = this.#byKey.get(key)
    if (peer === undefined) return
    for (const record of records) {
      if (record.kind === Kind.Cancel) peer.missedCancel = true
      if (record.kind !== Kind.Request) continue
      const assignment = this.#assignment(peer, record.token)
      if (assignment === null) continue
      peer.blocked = true
      this.#context.scheduler.takeBack(assignment, 'undelivered', now)
    }
    if (reason === 'unreachable') this.disconnected(key, now)
  }

  /** One round of heartbeats, greetings and forgetting. */
  beat(now: number): void {
    const { config, port } = this.#context
    const news = this.#newsToTell
    this.#newsToTell = false
    const all = [...this.byAddress.values()]
    const compared = this.#nextCompared(all)
    for (const peer of all) {
      if (peer.phase === 'up') {
        if (news || !peer.knowsUs || peer.hellos > 0 || peer === compared)
          port.send(peer.link, this.#context.helloPeer(peer.name))
        port.send(peer.link, this.#heartbeat.with(peer.sent))
        // Its states tell for so long what it has received; they may all have been lost.
        const unseenForMs = peer.countUnseen() * config.stateIntervalMs
        if (peer.missedCancel || unseenForMs > 2 * config.stateTtlMs)
          port.send(peer.link, { kind: Kind.Audit, sent: peer.sent })
        if (peer.beatSentAt === 0) peer.beatSentAt = now
        // One of its two ports is open to us and the other is not: all looks well, and no task ever goes there.
        if (now - peer.stateAt < config.stateTtlMs) peer.beatsStateless = 0
        else if (++peer.beatsStateless === HELLOS_PER_CONNECTION)
          port.event({ type: 'peer-stateless', peer: peer.name, address: peer.statebe })
        continue
      }
      const silentForMs = now - peer.heardAt
      if (!peer.configured && silentForMs >= config.peerForgetMs) {
        this.#drop(peer, now)
        port.event({ type: 'peer-forgotten', peer: peer.label, silentForMs })
        continue
      }
      // One that refuses us, or that we refuse, is asked now and then: each time costs a line in both logs.
      if (peer.phase === 'refused' && ++peer.hellos < HELLOS_PER_CONNECTION) continue
      if (peer.hellos >= HELLOS_PER_CONNECTION) {
        if (peer.phase === 'joining' && !peer.unreached) {
          peer.unreached = true
          port.event({ type: 'peer-unreached', address: peer.address })
        }
        this.#reconnect(peer)
      }
      this.#greet(peer)
    }
  }

  /**
   * Now and then one peer after the other is told whom we know, and says whom it knows. Without it two brokers that were cut
   * off for so long that they have forgotten each other would not meet again: to all others that is no news (seed 3126).
   */
  #nextCompared(all: readonly Peer[]): Peer | null {
    this.#beats++
    if (this.#beats < Math.max(BEATS_PER_COMPARISON, all.length / LISTED_PER_BEAT)) return null
    this.#beats = 0
    for (let i = 0; i < all.length; i++) {
      const peer = all[this.#comparisons++ % all.length]
      if (peer?.phase === 'up') return peer
    }
    return null
  }

  /** It was we who did not listen: everybody's silence begins anew. What they had to spare is old news all the same. */
  excuse(now: number): void {
    for (const peer of this.byName.values()) {
      peer.rival = 0
      if (peer.phase === 'up') peer.heardAt = now
    }
  }

  /** Its timer has gone off: is it still there? */
  check(peer: Peer, now: number): void {
    const { config, wheel } = this.#context
    if (this.byAddress.get(peer.address) !== peer) return
    if (peer.phase === 'suspect') {
      this.#lose(peer, 'its connection broke', now)
      return
    }
    if (peer.phase !== 'up') return
    const due = peer.heardAt + config.stateTtlMs
    if (now >= due) this.#lose(peer, `silent for ${Math.round(now - peer.heardAt)} ms`, now)
    else wheel.set(peer, due)
  }

  // ---------------------------------------------------------------- statefe

  state(state: State, now: number): void {
    const { config, counters, epoch, scheduler } = this.#context
    const peer = this.byName.get(state.name)
    if (peer === undefined) {
      if (state.name !== config.name) counters.drop('state_unknown_peer')
      return
    }
    if (state.epoch !== peer.link.epoch) {
      // It has restarted, or this is its last word from before: HELLO tells which.
      counters.drop('state_epoch')
      // Once: its states come by the hundred, and the heartbeats repeat a greeting that has gone unanswered.
      if (peer.hellos === 0) this.#greet(peer)
      return
    }
    if (state.seq <= peer.stateSeq) {
      counters.drop('state_old')
      return
    }
    peer.stateSeq = state.seq
    peer.stateAt = now
    peer.draining = state.draining
    peer.queueDepth = state.queueDepth
    peer.inFlight = state.inFlight
    for (const { peer: name, epoch: theirs, count } of state.received) {
      if (theirs === epoch && name === config.name) peer.acknowledge(count, true)
    }
    for (const { service: name, free, total, queued } of state.services) {
      let offer = peer.offers.get(name)
      if (offer === undefined) {
        const service = scheduler.services.open(name)
        if (service === null) {
          counters.drop('services_max')
          continue
        }
        offer = new Offer(peer, service)
        peer.offers.add(offer)
        peer.recount(offer)
        service.offers.push(offer)
      }
      offer.stateSeq = state.seq
      offer.free = state.draining ? 0 : free
      offer.total = total
      offer.queued = free === 0 && now < offer.fullUntil ? Number.POSITIVE_INFINITY : queued
      if (offer.service.queue.length > 0) scheduler.pump(offer.service, now)
    }
    // Rarely is there one that it no longer has.
    for (const offer of peer.offers.all) {
      if (offer.stateSeq === state.seq) continue
      for (const old of [...peer.offers.all]) if (old.stateSeq !== state.seq) this.#withdraw(peer, old)
      break
    }
  }

  #withdraw(peer: Peer, offer: Offer): void {
    peer.offers.delete(offer)
    const { service } = offer
    const index = service.offers.indexOf(offer)
    if (index >= 0) service.offers.splice(index, 1)
    this.#context.scheduler.services.release(service)
  }

  // ---------------------------------------------------------------- loss

  /** Silent or cut off: its tasks run again elsewhere, but it may come back and be the first to answer. */
  #lose(peer: Peer, reason: string, now: number): void {
    const { scheduler, port, counters } = this.#context
    peer.phase = 'lost'
    this.#up = null
    peer.beatSentAt = 0
    this.#newsToTell = true
    let tasksTakenBack = 0
    const unknownBefore = counters.tasksSettled.get('UNKNOWN') ?? 0
    for (const a of peer.heldNewestFirst()) {
      if (scheduler.abandon(a, 'peerLost', now)) tasksTakenBack++
    }
    const tasksUnknown = (counters.tasksSettled.get('UNKNOWN') ?? 0) - unknownBefore
    for (const offer of peer.offers.all) offer.free = 0
    port.event({ type: 'peer-lost', peer: peer.label, reason, tasksTakenBack, tasksUnknown })
    this.#reconnect(peer)
    this.#greet(peer)
    this.#tryConfigured(peer, now)
  }

  #left(peer: Peer, reason: string, now: number): void {
    this.#newsToTell = true
    peer.phase = 'lost'
    this.#up = null
    peer.resetCounts()
    this.#giveUpAll(peer, now)
    this.#context.port.event({ type: 'peer-left', peer: peer.label, reason })
    if (!peer.configured) {
      this.#drop(peer, now)
      return
    }
    peer.link.epoch = 0
    this.#context.wheel.clear(peer)
    this.#reconnect(peer)
    this.#tryConfigured(peer, now)
  }

  /** It will not answer any more. @returns how many tasks were waiting for it */
  #giveUpAll(peer: Peer, now: number): number {
    let tasks = 0
    for (const a of peer.heldNewestFirst()) {
      if (a.task?.current === a) tasks++
      this.#context.scheduler.takeBack(a, 'peerLost', now)
    }
    return tasks
  }

  #drop(peer: Peer, now: number): void {
    const { port, wheel } = this.#context
    if (peer.phase === 'up') this.#newsToTell = true
    peer.phase = 'lost'
    this.#up = null
    this.byAddress.delete(peer.address)
    this.#byKey.delete(peer.link.key)
    peer.link.owner = null
    if (this.byName.get(peer.name) === peer) this.byName.delete(peer.name)
    wheel.clear(peer)
    this.#giveUpAll(peer, now)
    for (const offer of [...peer.offers.all]) this.#withdraw(peer, offer)
    for (const address of peer.configuredAs) {
      if (this.#elsewhere.get(address) === peer) this.#elsewhere.delete(address)
    }
    this.#subscribe(peer, '')
    port.disconnectPeer(peer.link, peer.address)
  }

  #reconnect(peer: Peer): void {
    const { port } = this.#context
    this.#byKey.delete(peer.link.key)
    port.disconnectPeer(peer.link, peer.address)
    const link = peer.renewLink(this.#nextKey())
    this.#byKey.set(link.key, peer)
    port.connectPeer(link, peer.address)
  }

  /** statefe follows the peer's statebe. */
  #subscribe(peer: Peer, statebe: string): void {
    if (peer.statebe === statebe) return
    const { port } = this.#context
    if (peer.statebe !== '') port.unsubscribe(peer.statebe)
    peer.statebe = statebe
    if (statebe !== '') port.subscribe(statebe)
  }

  #greet(peer: Peer): void {
    peer.hellos++
    this.#context.port.send(peer.link, this.#context.helloPeer(peer.name))
  }

  /** Never used twice, since libzmq would abort. */
  #nextKey(): string {
    return keyOf(++this.#connections)
  }

  #alias(address: string): void {
    if (this.#aliases.size < ALIASES_MAX) this.#aliases.add(address)
  }

  #assignment(peer: Peer, token: Token): Assignment | null {
    const assignment = this.#context.scheduler.assignments.find(token)
    return assignment !== null && assignment.executor === peer ? assignment : null
  }

  /** What the peer should hold and does not was lost on the way; what it holds for nobody, it may drop. */
  #reconcile(peer: Peer, received: number, tokens: readonly Token[], now: number): void {
    const { scheduler, port } = this.#context
    peer.acknowledge(received, false)
    peer.answered += peer.missing
    peer.missing = 0
    peer.missedCancel = false
    const held = new Set(tokens)
    let tasksLost = 0
    for (const a of peer.heldNewestFirst()) {
      if (held.delete(a.token)) {
        scheduler.renewCredit(a)
        continue
      }
      if (a.number > received) continue
      if (a.task?.current === a) tasksLost++
      scheduler.takeBack(a, 'inventory', now)
    }
    for (const token of held) port.send(peer.link, { kind: Kind.Cancel, token })
    if (tasksLost > 0) port.event({ type: 'inventory', executor: peer.label, tasksLost })
  }
}
