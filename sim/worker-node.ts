import { EMPTY_BODY, Kind, type Message, type Record, type Request } from '../protocol/record.ts'
import { answerTo, Behaviour, HANDLER_ERROR, readWork, type Work } from './errand.ts'
import type { EventQueue, Happening } from './event-queue.ts'
import { InterimWorker } from './interim-worker.ts'
import type { Network, Pipe } from './network.ts'
import { type Clock, Node } from './node.ts'
import type { Watch } from './watch.ts'

export type WorkerCore = InterimWorker

const RUN_MARK = 7 << 24

/** A handler at work: it ends, or puts out its next piece, when its time has come. */
class Run implements Happening {
  readonly mark: number
  readonly worker: WorkerNode
  readonly token: number
  readonly id: string
  readonly work: Work | null
  readonly startedAt: number
  stopped = false
  pieces = 0
  credit: number
  waits = false

  constructor(worker: WorkerNode, request: Request, startedAt: number) {
    this.mark = RUN_MARK | worker.mark
    this.worker = worker
    this.token = request.token
    this.id = request.id
    this.work = readWork(request.body)
    this.startedAt = startedAt
    this.credit = request.creditUpTo
  }

  happen(at: number): void {
    if (!this.stopped) this.worker.progress(this, at)
  }
}

/** A worker's core with simulated sockets and handlers around it. */
export class WorkerNode extends Node {
  readonly core: InterimWorker
  readonly slots: number
  readonly services: readonly string[]
  /** What its broker does not get to see for now, though it works. */
  mute = false
  /** Sends each answer twice. */
  repeats = false
  readonly #network: Network
  readonly #watch: Watch
  readonly #address: string
  readonly #diedOfTask: (worker: WorkerNode, at: number) => void
  readonly #runs = new Map<number, Run>()
  #pipe: Pipe | null = null
  #records: Record[] = []
  #opened = 0
  #at = 0

  constructor(
    queue: EventQueue,
    network: Network,
    watch: Watch,
    number: number,
    name: string,
    cluster: number,
    clock: Clock,
    config: { name: string; epoch: number; slots: number; services: readonly string[]; intervalMs: number; address: string },
    diedOfTask: (worker: WorkerNode, at: number) => void,
    at: number,
  ) {
    super(queue, number, name, cluster, clock)
    this.#network = network
    this.#watch = watch
    this.#address = config.address
    this.#diedOfTask = diedOfTask
    this.slots = config.slots
    this.services = config.services
    this.core = new InterimWorker(config, {
      open: () => {
        const key = `${this.name}~${this.#opened++}`
        this.#pipe = this.#network.dial(this, 'localbe', this.#address, key, key, this.#at)
      },
      close: () => {
        this.#flush()
        if (this.#pipe !== null) this.#network.close(this.#pipe, this.#at)
        this.#pipe = null
      },
      send: (record) => this.#records.push(record),
      start: (request) => {
        const run = new Run(this, request, this.#at)
        this.#runs.set(request.token, run)
        this.#watch.started(this, run.id, run.work, this.#at)
        this.#proceed(run)
      },
      cancel: (token) => this.#stop(token, 'cancelled'),
      credit: (token, upTo) => {
        const run = this.#runs.get(token)
        if (run === undefined) return
        run.credit = Math.max(run.credit, upTo)
        if (run.waits && run.pieces < run.credit) {
          run.waits = false
          this.queue.push(this.#at, run)
        }
      },
    })
    this.#at = at
    this.core.sign(clock.read(at))
    this.#endTurn(at)
  }

  /** Tasks that its core holds. */
  get held(): number {
    return this.core.held.size
  }

  get running(): number {
    return this.#runs.size
  }

  kill(at: number): void {
    this.#at = at
    for (const token of [...this.#runs.keys()]) this.#stop(token, 'died')
    this.#network.kill(this, [], at)
  }

  /** The handler's next step is due. */
  progress(run: Run, at: number): void {
    if (this.postpone(run)) return
    this.#at = at
    const { work } = run
    if (work !== null && work.behaviour === Behaviour.Kills) {
      this.#watch.note(this.name, `dies of task ${work.number}`, at)
      this.kill(at)
      this.#diedOfTask(this, at)
      return
    }
    if (work !== null && run.pieces < work.pieces) {
      if (run.pieces >= run.credit) {
        run.waits = true
        return
      }
      this.#records.push({
        kind: Kind.Partial,
        token: run.token,
        index: run.pieces,
        attempt: 1,
        cluster: '',
        worker: this.name,
        body: answerTo(work, run.pieces),
      })
      run.pieces++
      this.#proceed(run)
      this.#endTurn(at)
      return
    }
    this.#stop(run.token, 'answered')
    const fails = work === null || work.behaviour === Behaviour.Fails
    const body = work === null || fails ? EMPTY_BODY : answerTo(work, -1)
    this.core.finish(run.token, fails ? HANDLER_ERROR : '', body, (at - run.startedAt) * 1000, run.pieces)
    this.#endTurn(at)
  }
  #proceed(run: Run): void {
    const work = run.work
    const stepMs = work === null ? 1 : work.serviceMs / (work.pieces + 1)
    this.queue.push(this.#at + stepMs, run)
  }

  #stop(token: number, how: 'answered' | 'cancelled' | 'died'): void {
    const run = this.#runs.get(token)
    if (run === undefined) return
    this.#runs.delete(token)
    run.stopped = true
    this.#watch.ended(this, run.id, run.work, how, this.#at)
  }

  protected override nextTimeout(): number {
    return this.core.nextTimeout()
  }

  protected override timeout(now: number, at: number): void {
    this.#at = at
    this.core.timeout(now)
    this.#endTurn(at)
  }

  override arrived(): void {}
  override joined(): void {}
  override lost(): void {}
  override hungUp(): void {}

  override answered(pipe: Pipe, message: Message, at: number): void {
    if (pipe !== this.#pipe) return
    this.#at = at
    this.core.receive(message, this.clock.read(at))
    this.#endTurn(at)
  }

  #endTurn(at: number): void {
    this.#flush()
    this.rest(at)
  }

  #flush(): void {
    if (this.#records.length === 0) return
    const records = this.#records
    this.#records = []
    if (this.#pipe === null || this.mute) return
    if (this.repeats) for (const record of [...records]) if (record.kind === Kind.Reply) records.push({ ...record })
    this.#network.sendOut(this.#pipe, { from: this.core.config.epoch, to: this.core.brokerEpoch, records }, this.#at)
  }
}
