import type { BrokerStatus } from '../../broker/status.ts'
import { ErrorCode } from '../../protocol/error-code.ts'
import type { State } from '../../protocol/record.ts'
import type { Entry } from './ledger.ts'
import { Occupancy } from './occupancy.ts'
import { clusterOf, hostOf, isWorkers, pieceOf, servicesOf, taskAnswered } from './work.ts'

/** What is promised, in the words of the simulation. */
export const PROMISES = [
  'every request settles exactly once',
  'no answer to the wrong client',
  'no answer of the wrong task',
  'no answer out of thin air',
  'a stream is whole',
  'an error only when it is true',
  'a task runs only where its service is offered',
  'a task that is not idempotent never starts twice',
  'no slot holds two tasks',
  'no task is sent on by a borrower',
  'every queue stays within its bound',
  'capacity advertised never exceeds what is free',
  'no task waits while a local worker is free',
  'no task is lost while its client lives and any worker lives',
  'after faults end, all work drains and everybody agrees who is there',
  'when nothing is wrong, a task is done',
  'all tables are empty when all work is done',
  'no process ends by itself',
] as const
export type PromiseName = (typeof PROMISES)[number]

/** A promise that was not kept. */
export interface Breach {
  readonly promise: PromiseName
  /** As the ledger's clock has it, ms. */
  readonly at: number
  readonly task: string | null
  readonly detail: string
}

export interface JudgeTerms {
  /** Time after a fault in which its consequences may still show, ms. */
  readonly aftermathMs: number
  /** Tasks that may wait at a broker, those that came back to it included. */
  readonly queueBound: number
  /** That the workers of each cluster have. */
  readonly slots: number
}

/** A fault as far as it matters to what is promised. */
export interface Trouble {
  /** Clusters in which processes were hit; for a link, both its ends. */
  readonly clusters: readonly number[]
  readonly what: 'link' | 'clients' | 'broker or workers'
  readonly from: number
  /** Infinity while it lasts. */
  until: number
}

/** Whoever draws figures from what happened. */
export interface Observer {
  answered(at: number, latencyMs: number, from: number, ranIn: number): void
  failed(at: number): void
  /** A task whose worker was killed has been started again. */
  retaken(afterMs: number): void
}

/** That a broker has said that it has so much free, at some time from the one to the other. */
interface Claim {
  readonly cluster: number
  readonly service: string
  readonly free: number
  readonly from: number
  readonly until: number
}

/** That tasks waited at a broker, at some time from the one to the other. */
interface Wait {
  readonly cluster: number
  readonly service: string
  readonly tasks: number
  readonly from: number
  readonly until: number
}

/** What a worker has to do, by what it wrote down. */
interface Worker {
  running: number
  /** When it last began or ended a task. */
  changedAt: number
  slots: number
}

/** One task, as far as it is known: entries of several processes may come in any order. */
interface Errand {
  sentAt: number
  once: boolean
  /** 0: it is no stream. */
  pieces: number
  expected: string
  /** Of the attempt that is being read, how many pieces have come. */
  attempt: number
  read: number
  settledAt: number
  code: string
  starts: number
  /** The process of its last start. */
  lastHost: string
  /** Clusters, beside its own, that it was sent to or has started in. */
  executors: number[]
  abandoned: boolean
}

/** Breaches of each promise told apart; what comes beyond them is counted. */
const BREACHES_KEPT = 20
/** How far back it is known how many tasks ran in a cluster: claims that may be older are not judged, ms. */
const OCCUPANCY_KEPT_MS = 10_000

/**
 * Decides whether every promise was kept, by what clients and workers wrote down, what was seen on the way between clusters,
 * and what brokers say of themselves. Knows of no file, process or clock.
 */
export class Judge {
  readonly breaches: Breach[] = []
  readonly checked = new Map<PromiseName, number>(PROMISES.map((promise) => [promise, 0]))
  readonly broken = new Map<PromiseName, number>(PROMISES.map((promise) => [promise, 0]))
  /** By code; '' are results. */
  readonly outcomes = new Map<string, number>()
  sent = 0
  settled = 0
  starts = 0
  /** Pieces of streams that were read. */
  pieces = 0
  /** Times in which a process did not get to its work, though no fault had hit it or before it was told. */
  standstills = 0
  /** Answered tasks that had been started more than once. */
  startedAgain = 0
  /** Their client died before it was told. */
  abandoned = 0
  /** Answers by cluster that ran the task. */
  readonly ranIn = new Map<string, number>()
  readonly #terms: JudgeTerms
  readonly #observer: Observer | undefined
  readonly #errands = new Map<string, Errand>()
  /** Sent and not settled, by the life of the client process. */
  readonly #openOf = new Map<string, Set<Errand>>()
  readonly #workers = new Map<string, Worker>()
  readonly #occupancy = new Map<number, Occupancy>()
  /** To be compared with what ran, once all is read that was written by then. */
  #claims: Claim[] = []
  #waits: Wait[] = []
  readonly #troubles: Trouble[] = []
  /** Those lately over of them that hit brokers or workers. */
  #unsettling: Trouble[] = []
  /** Lives of processes that were killed, and when. */
  readonly #gone = new Map<string, number>()
  /** Tasks that were told an error for which something must have gone wrong, until all is known of when faults were. */
  readonly #toExcuse: string[] = []

  constructor(terms: JudgeTerms, observer?: Observer) {
    this.#terms = terms
    this.#observer = observer
  }

  /** Tasks sent, not settled, of clients that live. */
  get open(): number {
    return this.sent - this.settled - this.abandoned
  }

  brokenCount(): number {
    let count = 0
    for (const broken of this.broken.values()) count += broken
    return count
  }

  // ---------------------------------------------------------------- faults

  troubleBegins(trouble: Omit<Trouble, 'until'>): Trouble {
    const begun: Trouble = { ...trouble, until: Number.POSITIVE_INFINITY }
    this.#troubles.push(begun)
    if (begun.what === 'broker or workers') this.#unsettling.push(begun)
    return begun
  }

  /** Nobody did anything to it, and yet a process did not get to its work: what comes of that is the machine's fault. */
  stoodStill(cluster: number, brokerOrWorkers: boolean, from: number, until: number): void {
    const what = brokerOrWorkers ? 'broker or workers' : 'clients'
    this.troubleBegins({ clusters: [cluster], what, from }).until = until
    this.standstills++
  }

  /** A life of a client or worker process was ended by us. */
  killed(host: string, at: number): void {
    this.#gone.set(host, at)
  }

  /**
   * Of a dead process all that it wrote has been read. Excuses what clients have left open, since nobody waits for it; what
   * workers had has ended with them.
   */
  excuse(host: string): void {
    for (const [name, { running }] of this.#workers) {
      if (hostOf(name) !== host) continue
      this.#workers.delete(name)
      this.#occupancyOf(clusterOf(name)).change(this.#gone.get(host) ?? 0, -running)
    }
    for (const errand of this.#openOf.get(host) ?? []) {
      errand.abandoned = true
      this.abandoned++
    }
    this.#openOf.delete(host)
  }

  /** A process ended that nobody had killed. */
  endedByItself(label: string, how: string, at: number): void {
    this.#breach('no process ends by itself', at, null, `${label} has ended with ${how}`)
  }

  processStarted(): void {
    this.#check('no process ends by itself')
  }

  // ---------------------------------------------------------------- what was written down

  entry(entry: Entry): void {
    if (entry.what === 'stood still') {
      this.stoodStill(clusterOf(entry.host), isWorkers(entry.host), entry.since, entry.at)
      return
    }
    const errand = this.#errandOf(entry.task)
    switch (entry.what) {
      case 'sent':
        this.sent++
        errand.sentAt = entry.at
        errand.expected = entry.expected
        errand.once = entry.once
        errand.pieces = entry.pieces
        this.#opened(entry.task, errand)
        break
      case 'piece':
        this.#piece(entry, errand)
        break
      case 'settled':
        this.#settle(entry, errand)
        break
      case 'started':
        this.#start(entry, errand)
        break
      case 'ended':
        this.#change(entry.worker, entry.at, -1)
        break
    }
  }

  #opened(task: string, errand: Errand): void {
    const host = hostOf(task)
    const open = this.#openOf.get(host)
    if (open === undefined) this.#openOf.set(host, new Set([errand]))
    else open.add(errand)
  }

  /** Pieces are in the same file as what was sent, after it, and before the end. */
  #piece(entry: Extract<Entry, { what: 'piece' }>, errand: Errand): void {
    const { at, task, client, attempt, index, piece } = entry
    this.pieces++
    if (errand.settledAt >= 0) {
      this.#breach('every request settles exactly once', at, task, `piece ${index} came after the end`)
      return
    }
    if (!task.startsWith(`${client}.`)) {
      this.#breach('no answer to the wrong client', at, task, `${client} got piece ${index}`)
      return
    }
    this.#check('no answer of the wrong task')
    if (piece !== pieceOf(errand.expected, index) && errand.pieces > 0) {
      const right = pieceOf(errand.expected, index)
      this.#breach('no answer of the wrong task', at, task, `${piece} instead of ${right}`)
    }
    this.#check('a stream is whole')
    const next = attempt > errand.attempt ? 0 : errand.read
    if (attempt < errand.attempt || index !== next || index >= errand.pieces) {
      this.#breach(
        'a stream is whole',
        at,
        task,
        `piece ${index} of attempt ${attempt} after ${errand.read} of ${errand.pieces} pieces of attempt ${errand.attempt}`,
      )
    }
    errand.attempt = attempt
    errand.read = Math.max(next, index + 1)
  }

  #settle(entry: Extract<Entry, { what: 'settled' }>, errand: Errand): void {
    const { at, task, client, code, ranIn, answer } = entry
    this.#check('every request settles exactly once')
    if (errand.settledAt >= 0) {
      this.#breach('every request settles exactly once', at, task, 'it was settled before')
      return
    }
    this.settled++
    this.#openOf.get(hostOf(task))?.delete(errand)
    errand.settledAt = at
    errand.code = code
    this.outcomes.set(code, (this.outcomes.get(code) ?? 0) + 1)
    this.#check('no answer to the wrong client')
    // A client writes down what it has been told of its own tasks: whose an answer was, only the answer itself can say.
    const answered = code === '' ? (taskAnswered(answer) ?? task) : task
    if (!task.startsWith(`${client}.`) || !answered.startsWith(`${client}.`)) {
      this.#breach('no answer to the wrong client', at, task, `${client} was told, of ${answered}`)
    }
    if (code !== '') {
      this.#observer?.failed(at)
      this.#judgeError(at, task, code, errand)
      return
    }
    // What was to be answered is in the same file, before this.
    this.#check('no answer of the wrong task')
    if (answer !== errand.expected) {
      this.#breach('no answer of the wrong task', at, task, `${answer} instead of ${errand.expected}`)
    }
    if (errand.pieces > 0) {
      this.#check('a stream is whole')
      if (errand.read !== errand.pieces) {
        const came = `${errand.read} of ${errand.pieces} pieces, and then the end`
        this.#breach('a stream is whole', at, task, came)
      }
    }
    this.ranIn.set(ranIn, (this.ranIn.get(ranIn) ?? 0) + 1)
    this.#observer?.answered(at, at - errand.sentAt, clusterOf(task), indexOfCluster(ranIn))
  }

  #judgeError(at: number, task: string, code: string, errand: Errand): void {
    this.#check('an error only when it is true')
    const wrong = (why: string) => this.#breach('an error only when it is true', at, task, `${code}, ${why}`)
    if (code === ErrorCode.Unknown) {
      if (!errand.once) wrong('though it may run twice')
      else this.#toExcuse.push(task)
    } else if (code === ErrorCode.StreamBroken) {
      if (errand.pieces === 0) wrong('though it is no stream')
      else this.#toExcuse.push(task)
    } else wrong('though it had time and tries enough')
  }

  #start(entry: Extract<Entry, { what: 'started' }>, errand: Errand): void {
    const { at, task, worker, slots, once, service } = entry
    this.starts++
    errand.starts++
    if (errand.starts === 2) this.startedAgain++
    this.#check('no slot holds two tasks')
    const { running } = this.#change(worker, at, 1, slots)
    if (running > slots) {
      this.#breach('no slot holds two tasks', at, task, `${worker} runs ${running} in ${slots} slots`)
    }
    this.#check('a task runs only where its service is offered')
    if (!servicesOf(clusterOf(worker)).includes(service)) {
      const what = `${worker} started it as one of "${service}"`
      this.#breach('a task runs only where its service is offered', at, task, what)
    }
    if (once) {
      this.#check('a task that is not idempotent never starts twice')
      if (errand.starts > 1) {
        this.#breach(
          'a task that is not idempotent never starts twice',
          at,
          task,
          `started by ${worker}, and before that by a worker of ${errand.lastHost}`,
        )
      }
    }
    const died = this.#gone.get(errand.lastHost)
    if (died !== undefined && at > died) this.#observer?.retaken(at - died)
    errand.lastHost = hostOf(worker)
    this.#ran(errand, task, clusterOf(worker))
  }

  /** A worker has a task more, or less. */
  #change(name: string, at: number, by: number, slots = 1): Worker {
    let worker = this.#workers.get(name)
    if (worker === undefined) {
      worker = { running: 0, changedAt: at, slots }
      this.#workers.set(name, worker)
    }
    worker.running += by
    worker.changedAt = at
    this.#occupancyOf(clusterOf(name)).change(at, by)
    return worker
  }

  #occupancyOf(cluster: number): Occupancy {
    let occupancy = this.#occupancy.get(cluster)
    if (occupancy === undefined) {
      occupancy = new Occupancy()
      this.#occupancy.set(cluster, occupancy)
    }
    return occupancy
  }

  /** A task was seen on its way from one cluster to another. */
  relayed(task: string, from: number, to: number, at: number): void {
    this.#check('no task is sent on by a borrower')
    if (clusterOf(task) !== from) {
      this.#breach(
        'no task is sent on by a borrower',
        at,
        task,
        `c${from} sent it to c${to}, and had it from a peer`,
      )
    }
    this.#ran(this.#errandOf(task), task, to)
  }

  #ran(errand: Errand, task: string, cluster: number): void {
    if (cluster !== clusterOf(task) && !errand.executors.includes(cluster)) errand.executors.push(cluster)
  }

  #errandOf(task: string): Errand {
    let errand = this.#errands.get(task)
    if (errand === undefined) {
      errand = {
        sentAt: -1,
        once: false,
        pieces: 0,
        expected: '',
        attempt: 0,
        read: 0,
        settledAt: -1,
        code: '',
        starts: 0,
        lastHost: '',
        executors: [],
        abandoned: false,
      }
      this.#errands.set(task, errand)
    }
    return errand
  }

  // ---------------------------------------------------------------- brokers

  /** What a broker says of itself while the run goes on. @param askedAt when it was asked: what it says is no older */
  heard(status: BrokerStatus, askedAt: number, at: number): void {
    const cluster = indexOfCluster(status.name)
    for (const { service, free, queued } of status.services) {
      this.#claims.push({ cluster, service, free, from: askedAt, until: at })
      this.#check('no task waits while a local worker is free')
      if (queued > 0 && free > 0) {
        const what = `${queued} wait at ${status.name} for "${service}", and ${free} slots are free, as it says itself`
        this.#breach('no task waits while a local worker is free', at, null, what)
      }
      if (queued > 0) this.#waits.push({ cluster, service, tasks: queued, from: askedAt, until: at })
    }
    this.#check('every queue stays within its bound')
    const waiting = status.queued + status.deferred
    if (waiting > this.#terms.queueBound) {
      this.#breach(
        'every queue stays within its bound',
        at,
        null,
        `${waiting} wait at ${status.name}, the bound is ${this.#terms.queueBound}`,
      )
    }
  }

  /** A broker tells others what it has free. @param since it cannot have said so before @param at it was heard */
  advertised(cluster: number, { services }: State, since: number, at: number): void {
    for (const { service, free } of services) {
      // Whoever has nothing free advertises nothing too much.
      if (free > 0) this.#claims.push({ cluster, service, free, from: since, until: at })
    }
  }

  /**
   * Compares what brokers have said with what ran. Everything has been read that was written by then.
   *
   * What a broker has free is what it knows to be free: a task is written down as started after its broker has sent it, and
   * as ended before its broker hears of that. So at whatever moment it counted, no more was free than the slots that are there
   * less the tasks that ran at that moment; and when it was no one knows but that it was between two others, no more than
   * the slots less the fewest tasks that ran at any moment between. Where workers have just been killed or frozen, a broker
   * counts what is not there until it notices: that is not judged.
   */
  compare(readUntil: number): void {
    const known = ({ until }: { readonly until: number }) => until <= readUntil
    const unknown = ({ until }: { readonly until: number }) => until > readUntil
    for (const claim of this.#claims.filter(known)) this.#judgeClaim(claim)
    for (const wait of this.#waits.filter(known)) this.#judgeWait(wait)
    this.#claims = this.#claims.filter(unknown)
    this.#waits = this.#waits.filter(unknown)
    const forgotten = readUntil - OCCUPANCY_KEPT_MS
    for (const occupancy of this.#occupancy.values()) occupancy.forget(forgotten)
    this.#unsettling = this.#unsettling.filter(({ until }) => until + this.#terms.aftermathMs >= forgotten)
  }

  #judgeClaim({ cluster, service, free, from, until }: Claim): void {
    const fewest = this.#occupancyOf(cluster).fewest(from, until)
    if (fewest === null || this.#isUnsettled(cluster, from, until)) return
    const promise = 'capacity advertised never exceeds what is free'
    this.#check(promise)
    const slots = servicesOf(cluster).includes(service) ? this.#terms.slots : 0
    if (free <= Math.max(0, slots - fewest)) return
    const what = `c${cluster} says that ${free} slots of "${service}" are free; it has ${slots}, and never ran fewer than ${fewest} tasks in the ${(until - from).toFixed(1)} ms in which it can have counted`
    this.#breach(promise, until, null, what)
  }

  /** A worker that has been idle for so long that whatever was on its way to or from it has arrived ought to get what waits. */
  #judgeWait({ cluster, service, tasks, from, until }: Wait): void {
    const since = from - this.#terms.aftermathMs
    if (!servicesOf(cluster).includes(service) || this.#isUnsettled(cluster, since, until)) return
    for (const [name, { running, slots, changedAt }] of this.#workers) {
      if (clusterOf(name) !== cluster || running >= slots || changedAt > since) continue
      const what = `${tasks} wait at c${cluster} for "${service}", and ${name} has been idle for ${seconds(until - changedAt)}`
      this.#breach('no task waits while a local worker is free', until, null, what)
      return
    }
  }

  /** Whether a cluster's broker may at that time have known something else of its workers than they knew themselves. */
  #isUnsettled(cluster: number, from: number, until: number): boolean {
    const { aftermathMs } = this.#terms
    return this.#unsettling.some(
      (trouble) =>
        trouble.clusters.includes(cluster) && trouble.from <= until && trouble.until + aftermathMs >= from,
    )
  }

  // ---------------------------------------------------------------- the end

  /** The work that was to drain has drained, or what has not. @param missing in words; empty: all is well */
  drained(missing: readonly string[], at: number): void {
    this.#conclude('after faults end, all work drains and everybody agrees who is there', missing, at)
  }

  tablesEmpty(missing: readonly string[], at: number): void {
    this.#conclude('all tables are empty when all work is done', missing, at)
  }

  /** Of the tasks that were sent when nothing was wrong any more. */
  lastTasksDone(missing: readonly string[], at: number): void {
    this.#conclude('when nothing is wrong, a task is done', missing, at)
  }

  #conclude(promise: PromiseName, missing: readonly string[], at: number): void {
    this.#check(promise)
    for (const what of missing) this.#breach(promise, at, null, what)
  }

  /** Everything has been read: what is still open is lost, and what was answered must have been started. */
  finish(at: number): void {
    for (const host of this.#gone.keys()) this.excuse(host)
    for (const task of this.#toExcuse) this.#judgeExcuse(task)
    for (const [task, errand] of this.#errands) {
      if (errand.sentAt < 0) {
        this.#breach('no answer out of thin air', at, task, 'nobody has sent it')
        continue
      }
      if (errand.abandoned) continue
      this.#check('no task is lost while its client lives and any worker lives')
      if (errand.settledAt < 0) {
        const started = errand.starts === 0 ? 'never started' : `started ${errand.starts} times`
        this.#breach(
          'no task is lost while its client lives and any worker lives',
          at,
          task,
          `sent ${seconds(at - errand.sentAt)} before the end, ${started}, never answered`,
        )
      } else if (errand.code === '') {
        this.#check('no answer out of thin air')
        if (errand.starts === 0) {
          this.#breach('no answer out of thin air', errand.settledAt, task, 'answered, but never started')
        }
      }
    }
  }

  /** UNKNOWN and STREAM_BROKEN are right answers only when something went wrong on the task's way. */
  #judgeExcuse(task: string): void {
    const errand = this.#errandOf(task)
    const origin = clusterOf(task)
    // Given away, surely, but on a connection that broke before anybody had read it: nobody knows to whom.
    const nowhere = errand.starts === 0 && errand.executors.length === 0
    const hit = this.#troubles.some(({ clusters, what, from, until }) => {
      if (from > errand.settledAt || until + this.#terms.aftermathMs < errand.sentAt) return false
      const onWay = (cluster: number) => cluster === origin || errand.executors.includes(cluster)
      if (nowhere) return what !== 'link' || clusters.includes(origin)
      return what === 'link' ? errand.executors.length > 0 && clusters.every(onWay) : clusters.some(onWay)
    })
    if (hit) return
    const way = [origin, ...errand.executors].map((cluster) => `c${cluster}`).join(', ')
    this.#breach(
      'an error only when it is true',
      errand.settledAt,
      task,
      `${errand.code}, but nothing went wrong in ${way}`,
    )
  }

  // ---------------------------------------------------------------- books

  #check(promise: PromiseName): void {
    this.checked.set(promise, (this.checked.get(promise) ?? 0) + 1)
  }

  #breach(promise: PromiseName, at: number, task: string | null, detail: string): void {
    const before = this.broken.get(promise) ?? 0
    this.broken.set(promise, before + 1)
    if (before < BREACHES_KEPT) this.breaches.push({ promise, at, task, detail })
  }
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}

/** Clusters are called by their index: `c0`. */
function indexOfCluster(name: string): number {
  return Number(name.slice(1))
}
