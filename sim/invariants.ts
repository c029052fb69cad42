import type { BrokerEvent } from '../broker/core/event.ts'
import type { Link, LinkSocket } from '../broker/core/link.ts'
import { brokersTime } from '../client/core/client.ts'
import type { Outcome } from '../client/core/outcome.ts'
import type { ClientEvent } from '../client/core/port.ts'
import { ErrorCode } from '../protocol/error-code.ts'
import { Kind, type Message, type Partial, type Request, type State } from '../protocol/record.ts'
import type { Collector } from '../report/collector.ts'
import type { WorkerEvent } from '../worker/core/event.ts'
import { checkBooks } from './books.ts'
import { Breach } from './breach.ts'
import type { BrokerNode } from './broker-node.ts'
import type { ClientNode, SimCall } from './client-node.ts'
import { Behaviour, type Errand, HANDLER_ERROR, isAnswerTo, readWork, type Work } from './errand.ts'
import { OpenErrands } from './open-errands.ts'
import type { StartSink } from './waits.ts'
import type { Watch } from './watch.ts'
import type { WorkerNode } from './worker-node.ts'

export interface LedgerTerms {
  /** How far a node's clock may be off, as a share. */
  readonly drift: number
  /** Slots in the whole federation: so many tasks may come back to a queue that is full. */
  readonly slotsInAll: number
  /** Time after a fault in which its consequences may still show, ms. */
  readonly aftermathMs: number
  /** Every so many turns of a broker its books are checked whole; 1: every turn. */
  readonly checkBooksEvery: number
  readonly queueMax: number
  readonly attemptsMax: number
  readonly bodyMax: number
  /** Tries of a client that may go unanswered. */
  readonly retries: number
}

/** What a run is told of as it goes: for `sim replay`. */
export type Tracer = (at: number, who: string, what: string, task: number | null) => void

/** Time in which a cluster is not expected to do as well as it could. */
interface Trouble {
  /** Faults under way. */
  open: number
  /** When the last one ended, ms. */
  endedAt: number
}

/**
 * A ledger outside the brokers, written by clients and workers: what was asked, started, ended and answered. It is
 * checked at every entry against what is promised; a promise that was not kept ends the run.
 */
export class Ledger implements Watch {
  readonly open = new OpenErrands()
  /** Tasks that may not start twice, settled, and how often they had been started: a late start is one too many. */
  readonly #once = new Map<number, number>()
  readonly #terms: LedgerTerms
  readonly #troubles = new Map<number, Trouble>()
  #faults = 0
  #workersLost = 0
  #turns = 0
  submittedCount = 0
  settledCount = 0
  /** Clients died before these were settled. */
  abandonedCount = 0
  /** Not settled, their client alive. */
  owed = 0
  readonly outcomes = new Map<string, number>()
  starts = 0
  /** Sums over answered tasks, ms, for theory to be compared with: from submission to first start, and in all. */
  waitMs = 0
  waits = 0
  lent = 0
  /** Errands submitted before this are not in the sums above: the system was still filling. */
  measureFrom = 0
  tracer: Tracer | null = null
  /** Told of each task's first start. */
  onFirstStart: StartSink | null = null
  /** Gathers what a report shows, when one is wanted. */
  series: Collector | null = null
  /** Of tasks whose worker died under them, for the series: when. */
  readonly #diedAt = new Map<number, number>()
  /** How often was looked at what no other count tells. */
  forwarded = 0
  pieces = 0
  offersChecked = 0
  givenUp = 0
  /** Clusters' workers that live, for what they really have free. */
  readonly workers = new Map<number, Set<WorkerNode>>()
  #at = 0

  constructor(terms: LedgerTerms) {
    this.#terms = terms
  }

  // ---------------------------------------------------------------- faults

  get faults(): number {
    return this.#faults
  }

  /** Turns of brokers, after each of which its queues were looked at. */
  get turns(): number {
    return this.#turns
  }

  /** Tasks that may not start twice and have come to their end. */
  get onceCount(): number {
    return this.#once.size
  }

  /** A fault has begun in a cluster; -1: everywhere. */
  troubleBegins(cluster: number): void {
    this.#faults++
    const trouble = this.#troubles.get(cluster) ?? { open: 0, endedAt: 0 }
    trouble.open++
    this.#troubles.set(cluster, trouble)
  }

  troubleEnds(cluster: number, at: number): void {
    const trouble = this.#troubles.get(cluster)
    if (trouble === undefined) return
    trouble.open--
    trouble.endedAt = at
  }

  /** Was there trouble in the cluster since `from`, or shortly before? */
  #troubled(cluster: number, from: number): boolean {
    for (const which of [cluster, -1]) {
      const trouble = this.#troubles.get(which)
      if (trouble === undefined) continue
      if (trouble.open > 0 || trouble.endedAt + this.#terms.aftermathMs >= from) return true
    }
    return false
  }

  /** Its client is gone: nobody will hear of it. */
  abandoned(client: ClientNode, at: number): void {
    for (let errand = client.asked; errand !== null; errand = client.asked) {
      this.#strike(errand, client)
      errand.settledAt = at
      errand.code = 'CLIENT_GONE'
      this.abandonedCount++
      this.owed--
      this.#forget(errand)
    }
  }

  // ---------------------------------------------------------------- clients

  submitted(client: ClientNode, call: SimCall, at: number): void {
    this.#at = at
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
    if (errand.client !== client.name) {
      throw new Breach(
        'no answer to the wrong client',
        at,
        errand.number,
        `${client.name} got it, ${errand.client} asked`,
      )
    }
    if (outcome.kind === Kind.Reply && code === '') this.#answered(errand, call, outcome.body, at)
    else this.#judge(errand, code, at)
    if (this.series !== null) {
      // A handler that fails as it was told has done its work.
      if (code === '' || code === HANDLER_ERROR)
        this.series.answered(at, at - errand.submittedAt, errand.cluster, errand.ranIn)
      else this.series.failed(at)
    }
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
    if (errand.submittedAt >= this.measureFrom && errand.starts === 1) {
      this.waitMs += errand.firstStartAt - errand.submittedAt
      this.waits++
      if (errand.ranIn !== errand.cluster) this.lent++
    }
  }

  /** Was this error the right answer? */
  #judge(errand: Errand, code: string, at: number): void {
    const wrong = (why: string): never => {
      throw new Breach(`${code} only when it is true`, at, errand.number, why)
    }
    const age = at - errand.submittedAt
    const timeUp = age >= errand.deadlineMs * (1 - 2 * this.#terms.drift) - 5
    const ownTrouble = this.#troubled(errand.cluster, errand.submittedAt)
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
        // A single try cannot learn that its broker is only busy.
        if (this.#terms.retries === 1 && code === 'TIMEOUT') return
        if (!timeUp && !ownTrouble) {
          wrong(`no trouble in its cluster, and ${age.toFixed(1)} ms of ${errand.deadlineMs} are over`)
        }
        return
      case ErrorCode.Unknown:
        if (errand.mayRunTwice) wrong('it may run twice: it ought to')
        if (this.#faults === 0) wrong('nothing has failed')
        return
      case ErrorCode.StreamBroken:
        if (!errand.streams) wrong('it is no stream')
        if (this.#faults === 0) wrong('nothing has failed')
        return
      case ErrorCode.Poison:
        if (this.#workersLost < this.#terms.attemptsMax) {
          wrong(`only ${this.#workersLost} workers were lost in the whole run`)
        }
        if (!errand.mayRunTwice) wrong('it was not to be started twice')
        return
      case ErrorCode.Draining:
        if (this.#faults === 0) wrong('no broker has left')
        return
      case ErrorCode.NoService:
        if (!errand.failsFast) wrong('its client would have waited')
        return
      case ErrorCode.Busy:
        return
      case ErrorCode.TooLarge:
        if (errand.size <= this.#terms.bodyMax) wrong(`its body has ${errand.size} octets`)
        return
      default:
        wrong('nobody may be told so')
    }
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

  clientSays(client: ClientNode, event: ClientEvent): void {
    this.tracer?.(this.#at, client.name, JSON.stringify(event), null)
  }

  // ---------------------------------------------------------------- brokers

  atBroker(broker: BrokerNode, socket: LinkSocket, key: string, message: Message, at: number): void {
    this.#at = at
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
    if (link.socket !== 'cloudbe') return
    this.forwarded++
    const errand = this.open.get(numberOf(request.id))
    if (errand !== undefined && !errand.entered(broker.cluster)) {
      throw new Breach(
        'no task is sent on by a borrower',
        this.#at,
        errand.number,
        `${broker.name} had it from a peer and sent it to ${link.key}`,
      )
    }
  }

  published(broker: BrokerNode, state: State): void {
    this.tracer?.(this.#at, broker.name, summary(state), null)
    const workers = this.workers.get(broker.cluster)
    if (workers === undefined || this.#troubled(broker.cluster, this.#at)) return
    // A hundred times a second and broker: where there are many workers, now and then is often enough.
    if (workers.size > 50 && state.seq % 16 !== 0) return
    this.offersChecked += state.services.length
    for (const { service, free } of state.services) {
      let really = 0
      for (const worker of workers) {
        if (worker.services.includes(service)) really += Math.max(0, worker.slots - worker.running)
      }
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
      this.#workersLost++
      this.givenUp++
      if (!this.#troubled(broker.cluster, this.#at))
        throw new Breach(
          'nobody who lives is given up',
          this.#at,
          null,
          `${broker.name} lost ${event.worker}: ${event.reason}`,
        )
    } else if (event.type === 'peer-lost') {
      this.givenUp++
      if (this.#faults > 0) return
      throw new Breach(
        'nobody who lives is given up',
        this.#at,
        null,
        `${broker.name} lost ${event.peer}: ${event.reason}`,
      )
    }
  }

  afterBroker(broker: BrokerNode, at: number): void {
    this.#at = at
    const { scheduler } = broker.core
    const bound = this.#terms.queueMax + this.#terms.slotsInAll
    if (scheduler.queued + scheduler.deferred > bound) {
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
    this.#at = at
    this.starts++
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
    const diedAt = this.#diedAt.get(number)
    if (diedAt === undefined) return
    this.series?.retaken(at - diedAt)
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
    const errand = work === null ? undefined : this.open.get(work.number)
    if (errand === undefined) return
    errand.running--
    if (how === 'died' && this.series !== null && !errand.settled) this.#diedAt.set(errand.number, at)
    this.#forget(errand)
  }

  workerSays(worker: WorkerNode, event: WorkerEvent, at: number): void {
    this.#at = at
    this.tracer?.(at, worker.name, JSON.stringify(event), null)
  }

  note(who: string, what: string, at: number): void {
    this.#at = at
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
