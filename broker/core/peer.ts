import { Executor } from './executor.ts'
import { Link } from './link.ts'
import { type Candidate, NO_ROOM } from './routing.ts'
import type { Service } from './service.ts'

/**
 * Times begin as what no integer can be, so that V8 gives their fields a double's place, which each change is written into.
 * From 0 all peers that there are would be made over, one by one, when the first of them has a fraction.
 */
const UNSET_MS = Number.NEGATIVE_INFINITY

/** What one peer offers of one service. */
export class Offer implements Candidate {
  readonly peer: Peer
  readonly service: Service
  /** As last advertised. */
  free = 0
  total = 0
  /** Tasks that wait there for a worker, as last advertised. */
  queued = 0
  /**
   * It has turned a task away for want of room: what it says until then of its line is not heeded, but its next state after
   * that is, ms. Of whole numbers, which lie in the object itself.
   */
  fullUntil = 0
  /** The last state that had it. */
  stateSeq = -1
  /** Our tasks for this service that the peer had not seen when it advertised. */
  unseen = 0
  /** Scratch of the choice under way. */
  spare = 0
  room = NO_ROOM
  ageMs = UNSET_MS

  constructor(peer: Peer, service: Service) {
    this.peer = peer
    this.service = service
  }

  get roundTripMs(): number {
    return this.peer.roundTripMs
  }
}

const NOWHERE: readonly string[] = []
/** Never written to. */
const NOTHING: Offer[] = []
/** Offers beyond which one is looked up, and not looked for. */
const FEW = 8

/** Offers by their services' names. Nearly every peer has a handful: tables for them would be a third of what a peer takes. */
export class Offers {
  #all: Offer[] | null = null
  #byName: Map<string, Offer> | null = null

  get all(): readonly Offer[] {
    return this.#all ?? NOTHING
  }

  get(service: string): Offer | undefined {
    if (this.#byName !== null) return this.#byName.get(service)
    for (const offer of this.all) if (offer.service.name === service) return offer
    return undefined
  }

  /** Its service must have none yet. */
  add(offer: Offer): void {
    // With a place for this one only; `push` onto an empty array makes room for 17.
    if (this.#all === null) this.#all = [offer]
    else this.#all.push(offer)
    if (this.#byName !== null) this.#byName.set(offer.service.name, offer)
    else if (this.all.length > FEW) this.#byName = new Map(this.all.map((one) => [one.service.name, one]))
  }

  delete(offer: Offer): void {
    const index = this.all.indexOf(offer)
    if (index >= 0) this.#all?.splice(index, 1)
    this.#byName?.delete(offer.service.name)
  }
}

/**
 * joining: connected, no HELLO yet. up: heard within the TTL. suspect: its connection broke, a heartbeat's time is left
 * for it to come back. lost: silent, its tasks taken back. refused: it, or we, will not talk.
 */
export type PeerPhase = 'joining' | 'up' | 'suspect' | 'lost' | 'refused'

/** A peer as the one who runs our tasks: cloudbe to it, statefe from it. In the wheel it waits for the end of its silence. */
export class Peer extends Executor {
  /** Its cloudfe, as we connect to it. */
  readonly address: string
  /** The addresses that the operator gave for it; while there is any it is never forgotten. */
  configuredAs: readonly string[] = NOWHERE
  /** Empty until its HELLO. */
  name = ''
  /** Replaced at each new connection, since a routing id may not be used twice on one socket. */
  link: Link
  phase: PeerPhase = 'joining'
  /** Its cloudfe as it advertises it: what others are told. */
  advertised = ''
  statebe = ''
  /** Since when it has been silent, for forgetting it; ms. */
  heardAt = UNSET_MS
  /** Its last HELLO did not count us among its peers: with the next heartbeat we introduce ourselves. */
  knowsUs = true
  /** HELLOs sent on this connection without an answer. */
  hellos = 0
  /** Epoch and first HELLO, ms, of who says hello under its name while it is up; epoch 0: nobody. */
  rival = 0
  rivalAt = UNSET_MS
  /** The log has been told that it never answered. */
  unreached = false

  /** Of its last state. */
  stateSeq = -1
  stateAt = Number.NEGATIVE_INFINITY
  /** Heartbeats in a row, while it was up, at which its state was missing or too old. */
  beatsStateless = 0
  draining = false
  queueDepth = 0
  inFlight = 0
  readonly offers = new Offers()
  /** It gets no task until it has been heard from again: our pipe to it is full. */
  blocked = false

  /** REQUESTs sent in its present epoch; of these, those it has said it received; final answers received. */
  sent = 0
  seen = 0
  answered = 0
  /** Answers it says it has sent beyond those, until an INVENTORY makes up for them. */
  missing = 0
  /** What it had seen when we last beat, and since how many heartbeats it has seen no more though there was more. */
  seenAtBeat = 0
  beatsUnseen = 0
  /** A CANCEL did not leave: until an INVENTORY has come it may hold what nobody waits for. */
  missedCancel = false
  /** The offers that sends `seen + 1` to `sent` counted against; `#head` is where `seen` is. */
  #onTheirWay = NOTHING
  #head = 0

  /** Smoothed as TCP does (RFC 6298, 1/8), ms. */
  roundTripMs = UNSET_MS
  /** When the heartbeat under measurement left; 0: none. */
  beatSentAt = UNSET_MS
  lent = 0

  /** @param key routing id of the first connection */
  constructor(address: string, key: string, configured: boolean, now: number) {
    super()
    this.address = address
    if (configured) this.configuredAs = [address]
    this.heardAt = now
    this.roundTripMs = 0
    this.beatSentAt = 0
    this.link = new Link('cloudbe', key)
    this.link.owner = this
  }

  get configured(): boolean {
    return this.configuredAs.length > 0
  }

  configure(address: string): void {
    if (!this.configuredAs.includes(address)) this.configuredAs = [...this.configuredAs, address]
  }

  configureNoMore(address: string): void {
    this.configuredAs = this.configuredAs.filter((other) => other !== address)
  }

  get label(): string {
    return this.name === '' ? this.address : this.name
  }

  /** A fresh alias for a fresh connection; the epoch is kept, so that a restart is still recognised. */
  renewLink(key: string): Link {
    const link = new Link('cloudbe', key)
    link.epoch = this.link.epoch
    this.link.owner = null
    link.owner = this
    this.link = link
    this.hellos = 0
    return link
  }

  /** May it be sent a task now, as far as its liveness goes? */
  takesTasks(now: number, stateTtlMs: number): boolean {
    return this.phase === 'up' && !this.draining && !this.blocked && now - this.stateAt < stateTtlMs
  }

  /** With each heartbeat. @returns for how many of them it has told of none of the tasks that are on their way to it */
  countUnseen(): number {
    const waits = this.seen < this.sent && this.seen === this.seenAtBeat
    this.seenAtBeat = this.seen
    this.beatsUnseen = waits ? this.beatsUnseen + 1 : 0
    return this.beatsUnseen
  }

  /** Spends one of the peer's slots: its next state is a round trip away, and without this the whole backlog would
   *  leave on the strength of one number. */
  spend(offer: Offer): void {
    this.sent++
    this.lent++
    offer.unseen++
    // With a place for this one only, as above.
    if (this.#onTheirWay === NOTHING) this.#onTheirWay = [offer]
    else this.#onTheirWay.push(offer)
  }

  /** An offer is new, perhaps anew: what is on its way for its service counts against it, and not against the one that is gone. */
  recount(offer: Offer): void {
    for (let at = this.#head; at < this.#onTheirWay.length; at++) {
      if (this.#onTheirWay[at]?.service.name !== offer.service.name) continue
      this.#onTheirWay[at] = offer
      offer.unseen++
    }
  }

  /** The peer says how many of our REQUESTs it has received. Unless a state says so, what it has free is older news: a
   *  slot spent on the way is then a slot taken there. */
  acknowledge(received: number, byState: boolean): void {
    const upTo = Math.min(received, this.sent)
    while (this.seen < upTo) {
      const offer = this.#onTheirWay[this.#head]
      this.#head++
      this.seen++
      if (offer === undefined) continue
      offer.unseen--
      if (!byState && offer.free > 0) offer.free--
    }
    if (this.#head > 64 && this.#head * 2 > this.#onTheirWay.length) {
      this.#onTheirWay = this.#onTheirWay.slice(this.#head)
      this.#head = 0
    }
  }

  /** Its epoch changed: both sides count from nothing. */
  resetCounts(): void {
    this.sent = 0
    this.seen = 0
    this.answered = 0
    this.missing = 0
    this.missedCancel = false
    this.beatSentAt = 0
    this.#onTheirWay = NOTHING
    this.#head = 0
    this.stateSeq = -1
    this.stateAt = Number.NEGATIVE_INFINITY
    this.beatsStateless = 0
    for (const offer of this.offers.all) {
      offer.unseen = 0
      offer.free = 0
    }
  }

  measured(roundTripMs: number): void {
    this.roundTripMs =
      this.roundTripMs === 0 ? roundTripMs : this.roundTripMs + (roundTripMs - this.roundTripMs) / 8
  }
}
