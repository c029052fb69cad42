import type { BrokerEvent } from '../broker/core/event.ts'
import type { Link, LinkSocket } from '../broker/core/link.ts'
import { brokersTime } from '../client/core/client.ts'
import type { Outcome } from '../client/core/outcome.ts'
import type { ClientEvent } from '../client/core/port.ts'
import { ErrorCode } from '../protocol/error-code.ts'
import { Kind, type Message, type Partial, type Reply, type Request, type State } from '../protocol/record.ts'
import type { Collector } from '../report/collector.ts'
import type { WorkerEvent } from '../worker/core/event.ts'
import { checkBooks } from './books.ts'
import { Breach } from './breach.ts'
import type { BrokerNode } from './broker-node.ts'
import type { ClientNode, SimCall } from './client-node.ts'
import { Behaviour, type Errand, HANDLER_ERROR, isAnswerTo, numberIn, readWork, type Work } from './errand.ts'
import type { NonsenseCounts } from './nonsense.ts'
import { OpenErrands } from './open-errands.ts'
import { place, Troubles } from './troubles.ts'
import type { StartSink } from './waits.ts'
import type { Watch } from './watch.ts'
import type { WorkerNode } from './worker-node.ts'
import { changeFree, type Workforce } from './workforce.ts'

export const NO_ANSWER_ASTRAY = 'no answer to the wrong client'

export interface LedgerTerms {
  /** How far a node's clock may be off, as a share. */
  readonly drift: number
  /** Time after a fault in which its consequences may still show, ms. */
  readonly aftermathMs: number
  /** Every so many turns of a broker its books are checked whole; 1: every turn. */
  readonly checkBooksEvery: number
  readonly queueMax: number
  readonly attemptsMax: number
  readonly bodyMax: number
  /** Tries of a client that may go unanswered, and how long it waits each time, ms. */
  readonly retries: number
  readonly timeoutMs: number
  /** Time in which a client has found its broker again after all is well, ms. */
  readonly clearMs: number
  /** The way to a broker and back may take longer than a client waits. */
  readonly slowPath: boolean
  /** Clusters whose brokers a cluster's clients know. */
  readonly endpointsOf: (cluster: number) => readonly number[]
}

/** What a run is told of as it goes: for `sim replay`. */
export type Tracer = (at: number, who: string, what: string, task: number | null) => void

/**
 * A ledger outside the brokers, written by clients and workers: what was asked, started, ended and answered. It is
 * checked at every entry against what is promised; a promise that was not kept ends the run.
 */
export class Ledger implements Watch {
  readonly open = new OpenErrands()
  /** Tasks that may not start twice, settled, and how often they had been started: a late start is one too many. */
  readonly #once = new Map<number, number>()
  readonly #terms: LedgerTerms
  readonly troubles = new Troubles()
  #turns = 0
  submittedCount = 0
  settledCount = 0
  /** Clients died before these were settled, or wanted them no more. */
  abandonedCount = 0
  /** Not settled, their client alive. */
  owed = 0
  readonly outcomes = new Map<string, number>()
  starts = 0
  /** Over answered tasks that started once, from submission to start, ms: a sum for theory to be compared with. */
  #waitMs = 0
  #waits = 0
  /** Tasks that a worker has done, and those of them done in another cluster. */
  #ran = 0
  #lent = 0
  tracer: Tracer | null = null
  /** Told of each task's first start. */
  onFirstStart: StartSink | null = null
  /** Gathers what a report shows, when one is wanted. */
  series: Collector | null = null
  /** Of tasks whose worker died under them, for the series: when. */
  readonly #diedAt = new Map<number, number>()
  /** How often was looked at what no other count tells. */
  unaskedCount = 0
  /** What was said that means nothing, by kind and what the decoder made of it. */
  readonly nonsense: NonsenseCounts = new Map()
  forwarded = 0
  pieces = 0
  offersChecked = 0
  givenUp = 0
  restarts = 0
  /** By cluster, for what its workers really have free. */
  readonly workforces = new Map<number, Workforce>()
  /** Clusters that have left, or are about to. */
  readonly left = new Set<number>()
  /** When a broker last told a client that it was too busy. */
  readonly #busyAt = new Map<number, number>()
  /** Virtual time of what happens now, ms. */
  readonly #now: { readonly time: number }

  constructor(terms: LedgerTerms, now: { readonly time: number }) {
    this.#terms = terms
    this.#now = now
  }

  get #at(): number {
    return this.#now.time
  }

  // ---------------------------------------------------------------- faults

  /** From the submission to the start, ms, of the tasks that were answered and started once. */
  get meanWaitMs(): number {
    return this.#waits === 0 ? 0 : this.#waitMs / this.#waits
  }

  /** Of the tasks that a worker has done, those that ran in another cluster, as the series count them; from 0 to 1. */
  get lentShare(): number {
    return this.#ran === 0 ? 0 : this.#lent / this.#ran
  }

  get faults(): number {
    return this.troubles.count
  }

  /** Turns of brokers, after each of which its queues were looked at. */
  get turns(): number {
    return this.#turns
  }

  /** Tasks that may not start twice and have come to their end. */
  get onceCount(): number {
    return this.#once.size
  }

  /** Was there trouble since then between a task's client and the brokers that it knows, at either end included? */
  #clientTroubled(errand: Errand, since: number): boolean {
    const { troubles } = this
    const { cluster, client } = errand
    if (troubles.touched(place.client(client), since) || troubles.touched(place.clients(cluster), since))
      return true
    for (const endpoint of this.#terms.endpointsOf(cluster)) {
      if (troubles.touched(place.broker(endpoint), since)) return true
      if (endpoint !== cluster && troubles.touched(place.link(cluster, endpoint), since)) return true
    }
    return false
  }

  /** Was there trouble, since it was submitted or shortly before, wherever the task has been? */
  #pathTroubled(errand: Errand): boolean {
    const { troubles } = this
    const since = errand.submittedAt - this.#terms.aftermathMs
    if (this.#clientTroubled(errand, since)) return true
    for (const key of errand.givenTo()) {
      const name = nameOf(key)
      if (troubles.touched(place.worker(name), since)) return true
      if (troubles.touched(place.workers(Number.parseInt(name.slice(1), 10)), since)) return true
    }
    for (const host of errand.lentTo ?? []) {
      if (troubles.touched(place.broker(host), since)) return true
      for (const entered of this.#terms.endpointsOf(errand.cluster)) {
        if (entered !== host && troubles.touched(place.link(entered, host), since)) return true
      }
    }
    return false
  }

  /** Its client is gone: nobody will hear of it. */
  abandoned(client: ClientNode, at: number): void {
    for (let errand = client.asked; errand !== null; errand = client.asked)
      this.#abandon(errand, client, 'CLIENT_GONE', at)
  }

  /** Its client does not want it any more: it must hear nothing more of it. */
  cancelled(client: ClientNode, { errand }: SimCall, at: number): void {
    this.tracer?.(at, client.name, 'cancels it', errand.number)
    this.#abandon(errand, client, 'CANCELLED', at)
  }

  #abandon(errand: Errand, client: ClientNode, code: string, at: number): void {
    this.#strike(errand, client)
    errand.settledAt = at
    errand.code = code
    this.abandonedCount++
    this.owed--
    this.#forget(errand)
  }

  // ---------------------------------------------------------------- clients

  submitted(client: ClientNode, call: SimCall, at: number): void {
    const { errand } = call
    this.submittedCount++
    this.owed++
    this.open.add(errand)
    errand.nextAsked = client.asked
    if (client.asked !== null) client.asked.previousAsked = errand
    client.asked = errand
    this.tracer?.(at, client.name, `submits ${describe(errand)}`, errand.number)
  }

  settled(client: ClientNode, call: SimCall, outcome: Outcome, at: number): void {
    const { errand } = call
    const { code } = outcome
    this.tracer?.(
      at,
      client.name,
      `is told ${code === '' ? 'OK' : `${code} (${outcome.message})`}`,
      errand.number,
    )
    if (errand.settled) {
      throw new Breach(
        'every request settles exactly once',
        at,
        errand.number,
        `settled with ${errand.code || 'OK'} at ${errand.settledAt.toFixed(3)} ms and again with ${code || 'OK'}`,
      )
    }
    // A core knows its own calls only, so this would take two that share a table; what a broker does wrong shows in `unasked`.
    if (errand.client !== client.name) {
      throw new Breach(NO_ANSWER_ASTRAY, at, errand.number, `${client.name} got it, ${errand.client} asked`)
    }
    if (outcome.kind === Kind.Reply && code === '') this.#answered(errand, call, outcome.body, at)
    else this.#judge(errand, code, at)
    // A handler that fails as it was told has done its work.
    if (code === '' || code === HANDLER_ERROR) {
      this.#ran++
      if (errand.ranIn !== errand.cluster) this.#lent++
      this.series?.answered(at, at - errand.submittedAt, errand.cluster, errand.ranIn)
    } else this.series?.failed(at)
    this.#strike(errand, client)
    errand.settledAt = at
    errand.code = code
    this.settledCount++
    this.owed--
    this.outcomes.set(code, (this.outcomes.get(code) ?? 0) + 1)
    this.#forget(errand)
  }

  #answered(errand: Errand, call: SimCall, body: Uint8Array, at: number): void {
    if (!isAnswerTo(body, errand.number, errand.size, -1)) {
      throw new Breach(
        'no answer of the wrong task',
        at,
        errand.number,
        'the answer is not the one to this task',
      )
    }
    if (errand.starts === 0) {
      throw new Breach('no answer out of thin air', at, errand.number, 'answered, but never started')
    }
    if (errand.behaviour !== Behaviour.Answers) {
      throw new Breach(
        'no answer of the wrong task',
        at,
        errand.number,
        'answered, though its handler cannot',
      )
    }
    if (errand.streams && call.pieces !== errand.pieces) {
      throw new Breach(
        'a stream is whole',
        at,
        errand.number,
        `its reader got ${call.pieces} of ${errand.pieces} pieces and then the end`,
      )
    }
    if (errand.starts === 1) {
      this.#waitMs += errand.firstStartAt - errand.submittedAt
      this.#waits++
    }
  }

  /** Was this error the right answer? */
  #judge(errand: Errand, code: string, at: number): void {
    const wrong = (why: string): never => {
      throw new Breach(`${code} only when it is true`, at, errand.number, why)
    }
    const age = at - errand.submittedAt
    const timeUp = age >= errand.deadlineMs * (1 - 2 * this.#terms.drift) - 5
    switch (code) {
      case HANDLER_ERROR:
        if (errand.behaviour !== Behaviour.Fails) wrong('the handler did not fail')
        if (errand.starts === 0) wrong('it was never started')
        return
      case ErrorCode.Expired:
        if (age < brokersTime(errand.deadlineMs) * (1 - 2 * this.#terms.drift) - 5)
          wrong(`told after ${age.toFixed(1)} ms of ${errand.deadlineMs}`)
        return
      case 'TIMEOUT':
      case 'UNAVAILABLE':
        if (!timeUp) this.#judgeSilence(errand, age, at, wrong)
        return
      case ErrorCode.Unknown:
        if (errand.mayRunTwice) wrong('it may run twice: it ought to')
        if (!this.#terms.slowPath && !this.#pathTroubled(errand)) wrong('nothing has failed on its way')
        return
      case ErrorCode.StreamBroken:
        if (!errand.streams) wrong('it is no stream')
        if (!this.#terms.slowPath && !this.#pathTroubled(errand)) wrong('nothing has failed on its way')
        return
      case ErrorCode.Poison:
        if (errand.workersLost < this.#terms.attemptsMax) {
          wrong(`only ${errand.workersLost} workers were lost with it`)
        }
        if (!errand.mayRunTwice) wrong('it was not to be started twice')
        return
      case ErrorCode.Draining:
        if (!this.#terms.endpointsOf(errand.cluster).some((cluster) => this.left.has(cluster)))
          wrong('no broker that its client knows has left')
        return
      case ErrorCode.NoService:
        if (!errand.failsFast) wrong('its client would have waited')
        if (this.#servedThroughout(errand)) wrong('workers of its own cluster serve it')
        return
      case ErrorCode.Busy:
        if (
          !this.#terms
            .endpointsOf(errand.cluster)
            .some((c) => (this.#busyAt.get(c) ?? -1) >= errand.submittedAt)
        )
          wrong('no broker that its client knows was too busy')
        return
      case ErrorCode.TooLarge:
        if (errand.size <= this.#terms.bodyMax) wrong(`its body has ${errand.size} octets`)
        return
      default:
        wrong('nobody may be told so')
    }
  }

  /** Nobody has answered its client: was there silence? */
  #judgeSilence(errand: Errand, age: number, at: number, wrong: (why: string) => never): void {
    const { retries, timeoutMs, drift, clearMs, slowPath } = this.#terms
    const waitMs = timeoutMs * (1 - 2 * drift) - 5
    if (age < waitMs) wrong(`given up after ${age.toFixed(1)} ms, less than one timeout`)
    // A single try cannot learn that its broker is only busy.
    if (retries === 1 || slowPath) return
    const silentMs = retries * timeoutMs * (1 + 2 * drift)
    const since = Math.max(errand.submittedAt, at - silentMs) - clearMs
    if (this.#clientTroubled(errand, since)) return
    wrong(
      `nothing was wrong between client and broker since ${since.toFixed(1)} ms, and ${age.toFixed(1)} ms of ${errand.deadlineMs} are over`,
    )
  }

  /** Whether all brokers that its client knows have had workers for it all along. */
  #servedThroughout(errand: Errand): boolean {
    const since = errand.submittedAt - this.#terms.aftermathMs
    return this.#terms.endpointsOf(errand.cluster).every((cluster) => {
      if (this.troubles.touched(place.broker(cluster), since)) return false
      if (this.troubles.touched(place.someWorker(cluster), since)) return false
      for (const worker of this.workforces.get(cluster)?.members ?? []) {
        if (worker.services.includes(errand.service) && worker.bornAt < since) return true
      }
      return false
    })
  }

  piece(client: ClientNode, call: SimCall, piece: Partial, at: number): void {
    const { errand } = call
    this.tracer?.(at, client.name, `gets piece ${piece.index} of attempt ${call.attempt}`, errand.number)
    if (errand.settled) {
      throw new Breach('every request settles exactly once', at, errand.number, 'a piece came after the end')
    }
    if (!isAnswerTo(piece.body, errand.number, errand.size, piece.index)) {
      throw new Breach(
        'no answer of the wrong task',
        at,
        errand.number,
        `piece ${piece.index} is of another task`,
      )
    }
    this.pieces++
    if (call.piecesAttempt !== call.attempt) {
      call.piecesAttempt = call.attempt
      call.pieces = 0
    }
    if (piece.index !== call.pieces) {
      throw new Breach(
        'a stream is whole',
        at,
        errand.number,
        `piece ${piece.index} after ${call.pieces} others`,
      )
    }
    call.pieces++
  }

  /**
   * A client's core drops what it has not asked for, and so an answer that a broker sent astray would harm nobody here: but
   * somebody has read what was meant for another.
   */
  unasked(client: ClientNode, { records }: Message, at: number): void {
    for (const record of records) {
      if (record.kind !== Kind.Reply && record.kind !== Kind.Partial) continue
      this.unaskedCount++
      const errand = this.open.get(numberIn(record.body))
      if (errand === undefined || errand.client === client.name) continue
      throw new Breach(
        NO_ANSWER_ASTRAY,
        at,
        errand.number,
        `it was told to ${client.name}, ${errand.client} asked`,
      )
    }
  }

  clientSays(client: ClientNode, event: ClientEvent): void {
    this.tracer?.(this.#at, client.name, JSON.stringify(event), null)
  }

  // ---------------------------------------------------------------- brokers

  atBroker(broker: BrokerNode, socket: LinkSocket, key: string, message: Message, at: number): void {
    if (this.tracer !== null) {
      for (const record of message.records) {
        const what = `${socket} from ${key}: ${summary(record)}`
        this.tracer(at, broker.name, what, record.kind === Kind.Request ? numberOf(record.id) : null)
      }
    }
    if (socket !== 'localfe') return
    for (const record of message.records) {
      if (record.kind !== Kind.Request) continue
      this.open.get(numberOf(record.id))?.enters(broker.cluster)
    }
  }

  requested(broker: BrokerNode, link: Link, request: Request): void {
    this.tracer?.(
      this.#at,
      broker.name,
      `${link.socket} to ${link.key}: ${summary(request)}`,
      numberOf(request.id),
    )
    broker.givenOut(request.service)
    const errand = this.open.get(numberOf(request.id))
    if (link.socket !== 'cloudbe') {
      errand?.given(link.key)
      return
    }
    this.forwarded++
    errand?.lent(broker.clusterBehind(link))
    if (errand !== undefined && !errand.entered(broker.cluster)) {
      throw new Breach(
        'no task is sent on by a borrower',
        this.#at,
        errand.number,
        `${broker.name} had it from a peer and sent it to ${link.key}`,
      )
    }
  }

  turnedAway(broker: BrokerNode, reply: Reply): void {
    this.#busyAt.set(broker.cluster, this.#at)
    const { waiting } = broker.core.scheduler
    if (waiting < this.#terms.queueMax) {
      throw new Breach(
        'BUSY only when it is true',
        this.#at,
        null,
        `${waiting} tasks wait at ${broker.name}, ${this.#terms.queueMax} may: ${reply.message}`,
      )
    }
  }

  published(broker: BrokerNode, state: State): void {
    this.tracer?.(this.#at, broker.name, summary(state), null)
    const workforce = this.workforces.get(broker.cluster)
    if (workforce === undefined) return
    const since = this.#at - this.#terms.aftermathMs
    // What has just died or been cut off is counted until that is noticed.
    if (this.troubles.touched(place.broker(broker.cluster), since)) return
    if (this.troubles.touched(place.someWorker(broker.cluster), since)) return
    this.offersChecked += state.services.length
    for (const { service, free } of state.services) {
      const really = workforce.free(service)
      if (free > really) {
        throw new Breach(
          'capacity advertised never exceeds what is free',
          this.#at,
          null,
          `${broker.name} offers ${free} slots of "${service}", ${really} are free`,
        )
      }
    }
  }

  brokerSays(broker: BrokerNode, event: BrokerEvent): void {
    this.tracer?.(this.#at, broker.name, JSON.stringify(event), null)
    if (event.type === 'worker-lost') {
      this.givenUp++
      for (const errand of this.open.values()) if (errand.wasGivenTo(event.key)) errand.workersLost++
      const since = this.#at - this.#terms.aftermathMs
      const excused = [
        place.worker(event.worker),
        place.workers(broker.cluster),
        place.broker(broker.cluster),
      ]
      if (!excused.some((where) => this.troubles.touched(where, since)))
        throw new Breach(
          'nobody who lives is given up',
          this.#at,
          null,
          `${broker.name} lost ${event.worker}: ${event.reason}`,
        )
    } else if (event.type === 'peer-lost') {
      this.givenUp++
      const since = this.#at - this.#terms.aftermathMs
      const other = Number.parseInt(event.peer.slice(1), 10)
      const excused = [place.broker(broker.cluster), place.broker(other), place.link(broker.cluster, other)]
      // Of one that it has never heard it knows the address only.
      if (Number.isNaN(other) || excused.some((where) => this.troubles.touched(where, since))) return
      throw new Breach(
        'nobody who lives is given up',
        this.#at,
        null,
        `${broker.name} lost ${event.peer}: ${event.reason}`,
      )
    }
  }

  afterBroker(broker: BrokerNode, at: number): void {
    const { scheduler } = broker.core
    // A new task waits only below the bound; beyond it are those that were given out and have come back.
    const bound = this.#terms.queueMax + broker.outMost
    if (scheduler.waiting > bound) {
      throw new Breach(
        'every queue stays within its bound',
        at,
        null,
        `${scheduler.queued} wait at ${broker.name}, ${scheduler.deferred} for the retry budget; the bound is ${bound}`,
      )
    }
    if (++this.#turns % this.#terms.checkBooksEvery === 0) checkBooks(broker, at)
  }

  // ---------------------------------------------------------------- workers

  started(worker: WorkerNode, id: string, work: Work | null, at: number): void {
    this.starts++
    changeFree(worker, -1)
    const number = work === null ? numberOf(id) : work.number
    this.tracer?.(at, worker.name, 'starts it', number)
    if (worker.running > worker.slots) {
      throw new Breach(
        'no slot holds two tasks',
        at,
        number,
        `${worker.name} runs ${worker.running} in ${worker.slots} slots`,
      )
    }
    if (number !== numberOf(id)) {
      throw new Breach(
        'no answer of the wrong task',
        at,
        number,
        `it came with the body of task ${numberOf(id)}`,
      )
    }
    const errand = this.open.get(number)
    if (errand === undefined) {
      const before = this.#once.get(number)
      if (before !== undefined && before > 0) this.#startedTwice(number, at)
      if (before !== undefined) this.#once.set(number, before + 1)
      return
    }
    errand.starts++
    errand.running++
    if (errand.firstStartAt < 0) {
      errand.firstStartAt = at
      this.onFirstStart?.(errand.cluster, worker.cluster, errand.submittedAt, at)
    }
    errand.ranIn = worker.cluster
    if (errand.starts === 1) return
    if (!errand.mayRunTwice) this.#startedTwice(number, at)
    this.restarts++
    if (!this.#terms.slowPath && !this.#pathTroubled(errand)) {
      throw new Breach('no task starts twice without a cause', at, number, 'nothing has failed on its way')
    }
    const diedAt = this.#diedAt.get(number)
    if (diedAt === undefined) return
    // One cluster may be a little ahead of another.
    this.series?.retaken(Math.max(0, at - diedAt))
    this.#diedAt.delete(number)
  }

  #startedTwice(number: number, at: number): never {
    throw new Breach('a task that is not idempotent never starts twice', at, number, 'it was started again')
  }

  ended(
    worker: WorkerNode,
    _id: string,
    work: Work | null,
    how: 'answered' | 'cancelled' | 'died',
    at: number,
  ): void {
    this.tracer?.(at, worker.name, `ends it: ${how}`, work?.number ?? null)
    changeFree(worker, 1)
    const errand = work === null ? undefined : this.open.get(work.number)
    if (errand === undefined) return
    errand.running--
    if (how === 'died' && this.series !== null && !errand.settled) this.#diedAt.set(errand.number, at)
    this.#forget(errand)
  }

  workerSays(worker: WorkerNode, event: WorkerEvent, at: number): void {
    this.tracer?.(at, worker.name, JSON.stringify(event), null)
  }

  note(who: string, what: string, at: number): void {
    this.tracer?.(at, who, what, null)
  }

  /** The client waits for it no more. */
  #strike(errand: Errand, client: ClientNode): void {
    const { nextAsked, previousAsked } = errand
    if (previousAsked !== null) previousAsked.nextAsked = nextAsked
    else client.asked = nextAsked
    if (nextAsked !== null) nextAsked.previousAsked = previousAsked
    errand.nextAsked = null
    errand.previousAsked = null
  }

  #forget(errand: Errand): void {
    if (!errand.settled || errand.running > 0) return
    this.open.delete(errand.number)
    if (!errand.mayRunTwice) this.#once.set(errand.number, errand.starts)
  }
}

/** A worker's name, of the key of its connection. */
function nameOf(key: string): string {
  const end = key.indexOf('~')
  return end < 0 ? key : key.slice(0, end)
}

/** Tasks' ids are their numbers; a stream that was begun anew has something behind it. */
export function numberOf(id: string): number {
  return Number.parseInt(id, 10)
}

function describe(errand: Errand): string {
  const flags = [
    errand.mayRunTwice ? '' : 'once',
    errand.streams ? `stream of ${errand.pieces}` : '',
    errand.behaviour === Behaviour.Fails ? 'fails' : errand.behaviour === Behaviour.Kills ? 'kills' : '',
  ].filter((flag) => flag !== '')
  return `task ${errand.number} (${errand.serviceMs.toFixed(1)} ms of work, ${errand.deadlineMs} ms of time${flags.length > 0 ? `, ${flags.join(', ')}` : ''})`
}

const KINDS = new Map<number, string>(Object.entries(Kind).map(([name, kind]) => [kind, name.toUpperCase()]))

export function summary(record: Message['records'][number]): string {
  const name = KINDS.get(record.kind) ?? '?'
  const { kind: _, ...rest } = record
  const text = JSON.stringify(rest, (_key, value: unknown) => {
    if (value instanceof Uint8Array) return `${value.byteLength} octets`
    return value
  })
  const work = record.kind === Kind.Request ? readWork(record.body) : null
  return `${name}${work === null ? '' : ` of task ${work.number}`} ${text}`
}
