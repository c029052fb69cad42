import { Flag, Kind, type Message, type Record, type Request } from '../protocol/record.ts'
import { Assignment, type Failure } from '../worker/core/assignment.ts'
import type { WorkerCoreConfig } from '../worker/core/config.ts'
import type { WorkerCounters } from '../worker/core/counters.ts'
import type { WorkerEvent } from '../worker/core/event.ts'
import type { WorkerPort } from '../worker/core/port.ts'
import { Worker } from '../worker/core/worker.ts'
import { answerTo, Behaviour, HANDLER_ERROR, readWork, type Work } from './errand.ts'
import type { EventQueue, Happening } from './event-queue.ts'
import type { Network, Pipe } from './network.ts'
import { type Clock, Node } from './node.ts'
import type { Watch } from './watch.ts'
import type { Supply } from './workforce.ts'

const RUN_MARK = 7 << 24
/** A handler that heeds its signal ends this soon, ms. */
const HEEDS_WITHIN_MS = 1

/** A handler at work: it ends, or puts out its next piece, when its time has come. */
export class Run extends Assignment implements Happening {
  readonly mark: number
  readonly worker: WorkerNode
  readonly work: Work | null
  over = false
  /** When its next step is due; Infinity when none is. */
  stepAt = 0
  /** It has a piece ready and no credit. */
  waits = false
  previous: Run | null = null
  next: Run | null = null

  constructor(worker: WorkerNode, request: Request, now: number) {
    super(request, now)
    this.mark = RUN_MARK | worker.mark
    this.worker = worker
    this.work = readWork(request.body)
  }

  happen(at: number): void {
    if (this.over || at < this.stepAt || this.worker.postpone(this)) return
    // What was scheduled before a signal came is void.
    this.stepAt = Number.POSITIVE_INFINITY
    this.worker.progress(this, at)
  }
}

export type WorkerCore = Worker<Run>

/** A worker's core with a simulated socket and handlers around it. */
export class WorkerNode extends Node implements WorkerPort<Run> {
  readonly core: WorkerCore
  readonly epoch: number
  readonly slots: number
  readonly services: readonly string[]
  /** Virtual time of its start, ms. */
  bornAt = 0
  /** Where its free slots count, a service each; nowhere once it is dead. */
  supplies: readonly Supply[] = []
  /** Handlers that would go on if they did not hang; null: none hangs. */
  #hanging: Run[] | null = null
  /** Sends each answer twice. */
  repeats = false
  readonly #network: Network
  readonly #watch: Watch
  readonly #diedOfTask: (worker: WorkerNode, at: number) => void
  /** Handlers at work, in the order of their start; each knows its neighbours. */
  #firstRun: Run | null = null
  #lastRun: Run | null = null
  #running = 0
  #pipe: Pipe | null = null
  #records: Record[] | null = null
  /** The receiver's epoch in the header of what is gathered. */
  #to = 0

  constructor(
    queue: EventQueue,
    network: Network,
    watch: Watch,
    number: number,
    cluster: number,
    clock: Clock,
    config: WorkerCoreConfig,
    random: () => number,
    counters: WorkerCounters,
    diedOfTask: (worker: WorkerNode, at: number) => void,
  ) {
    super(queue, number, config.name, cluster, clock)
    this.#network = network
    this.#watch = watch
    this.#diedOfTask = diedOfTask
    this.epoch = config.epoch
    this.slots = config.slots
    this.services = config.services
    this.core = new Worker(config, this, random, counters)
  }

  begin(at: number): void {
    this.bornAt = at
    this.core.start(this.shows(at))
    this.endTurn(at)
  }

  /** Handlers at work. */
  get running(): number {
    return this.#running
  }

  /** Of the handlers at work, the work of the longest, ms. */
  get longestMs(): number {
    let longest = 0
    for (let run = this.#firstRun; run !== null; run = run.next)
      longest = Math.max(longest, run.work?.serviceMs ?? 0)
    return longest
  }

  /** Tasks that its core has on its books. */
  get held(): number {
    return this.core.running + this.core.orphans
  }

  kill(at: number): void {
    for (let run = this.#firstRun; run !== null; run = this.#firstRun) this.#end(run, 'died')
    this.#network.kill(this, at)
  }

  // ---------------------------------------------------------------- handlers

  /** From now on no handler gets anywhere: it takes tasks, beats, and answers nothing. */
  hang(): void {
    this.#hanging ??= []
  }

  goOn(at: number): void {
    const hanging = this.#hanging ?? []
    this.#hanging = null
    if (!this.alive) return
    for (const run of hanging) {
      run.stepAt = at
      this.queue.push(at, run, this.cluster)
    }
  }

  start(request: Request, now: number): Run {
    const run = new Run(this, request, now)
    run.previous = this.#lastRun
    if (this.#lastRun === null) this.#firstRun = run
    else this.#lastRun.next = run
    this.#lastRun = run
    this.#running++
    this.#watch.started(this, request.id, run.work, this.queue.time)
    this.#schedule(run, run.work === null ? 1 : run.work.serviceMs / (run.work.pieces + 1))
    return run
  }

  cancel(run: Run): void {
    // Every other handler has never heard of signals.
    const heeds = run.work !== null && run.work.number % 2 === 0
    if (heeds) this.#schedule(run, HEEDS_WITHIN_MS)
    else if (run.waits) {
      run.waits = false
      this.#schedule(run, HEEDS_WITHIN_MS)
    }
  }

  credit(run: Run): void {
    if (!run.waits || !run.hasCredit) return
    run.waits = false
    this.#schedule(run, 0)
  }

  /** The handler's next step is due. */
  progress(run: Run, at: number): void {
    if (this.#hanging !== null) {
      this.#hanging.push(run)
      return
    }
    const { work } = run
    const now = this.shows(at)
    if (work !== null && work.behaviour === Behaviour.Kills) {
      this.#watch.note(this.name, `dies of task ${work.number}`, at)
      this.kill(at)
      this.#diedOfTask(this, at)
      return
    }
    if (run.stopped !== undefined || work === null) {
      this.#end(run, 'cancelled')
      this.core.failed(run, { code: HANDLER_ERROR, message: 'stopped', retryable: false }, now)
    } else if (run.partials < work.pieces && (run.request.flags & Flag.Stream) !== 0) {
      if (run.hasCredit) {
        this.core.partial(run, answerTo(work, run.partials))
        this.#schedule(run, work.serviceMs / (work.pieces + 1))
      } else run.waits = true
    } else {
      this.#end(run, 'answered')
      if (work.behaviour === Behaviour.Fails) {
        this.core.failed(run, { code: HANDLER_ERROR, message: 'as it was told', retryable: false }, now)
      } else this.core.finished(run, answerTo(work, -1), now)
    }
    this.endTurn(at)
  }

  #schedule(run: Run, afterMs: number): void {
    run.stepAt = this.queue.time + afterMs
    this.queue.push(run.stepAt, run, this.cluster)
  }

  #end(run: Run, how: 'answered' | 'cancelled' | 'died'): void {
    const { previous, next } = run
    if (previous === null) this.#firstRun = next
    else previous.next = next
    if (next === null) this.#lastRun = previous
    else next.previous = previous
    this.#running--
    run.over = true
    this.#watch.ended(this, run.request.id, run.work, how, this.queue.time)
  }

  // ---------------------------------------------------------------- the broker

  protected override nextTimeout(): number {
    return this.core.nextTimeout()
  }

  protected override timeout(now: number, at: number): void {
    this.core.timeout(now)
    this.endTurn(at)
  }

  /** A DEALER is not told: it connects again by itself. */
  override hungUp(): void {}

  override answered(pipe: Pipe, message: Message, at: number): void {
    if (pipe !== this.#pipe) return
    this.core.receive(message, this.shows(at))
    this.endTurn(at)
  }

  open(endpoint: string): void {
    // The same for all connections of a process's life, as real workers have it.
    const key = `${this.name}~${this.epoch}`
    this.#pipe = this.#network.dial(this, 'localbe', endpoint, key, key, this.queue.time)
  }

  close(farewell: boolean): void {
    if (farewell) this.#flush()
    this.#records = null
    if (this.#pipe !== null) this.#network.close(this.#pipe, this.queue.time)
    this.#pipe = null
  }

  send(record: Record, to: number): void {
    if (this.#records !== null && this.#to !== to) this.#flush()
    this.#to = to
    if (this.#records === null) this.#records = [record]
    else this.#records.push(record)
  }

  event(event: WorkerEvent): void {
    this.#watch.workerSays(this, event, this.queue.time)
  }

  stopped(error: Failure | undefined): void {
    if (error !== undefined) this.#watch.note(this.name, `stops: ${error.message}`, this.queue.time)
  }

  protected override letOut(at: number): void {
    this.#flush()
    if (this.alive) this.rest(at)
  }

  #flush(): void {
    const records = this.#records
    if (records === null) return
    this.#records = null
    if (this.#pipe === null) return
    if (this.repeats) {
      for (const record of [...records]) if (record.kind === Kind.Reply) records.push({ ...record })
    }
    this.#network.sendOut(this.#pipe, this.epoch, this.#to, records, this.queue.time)
  }
}
