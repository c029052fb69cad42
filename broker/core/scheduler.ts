import { ErrorCode } from '../../protocol/error-code.ts'
import { PackedReply, PackedRequest } from '../../protocol/octets.ts'
import {
  EMPTY_BODY,
  Flag,
  Kind,
  type Partial,
  type Reject,
  RejectReason,
  type Reply,
  type Request,
  type Token,
} from '../../protocol/record.ts'
import { type Assignment, AssignmentTable } from './assignment.ts'
import type { CoreConfig } from './config.ts'
import type { Counters } from './counters.ts'
import type { Guest } from './guest.ts'
import type { Timings } from './histogram.ts'
import { type Offer, Peer } from './peer.ts'
import type { BrokerPort } from './port.ts'
import { RetryBudget } from './retry-budget.ts'
import { NO_ROOM, POLICIES, type Policy, TUNING } from './routing.ts'
import { type Service, Services } from './service.ts'
import type { Task } from './task.ts'
import { TaskLedger } from './task-ledger.ts'
import { TaskPool } from './task-pool.ts'
import type { TimingWheel } from './timing-wheel.ts'
import type { Worker } from './worker.ts'

/** Why an attempt came back without an answer. */
export type TakenBack =
  | 'workerLost'
  | 'peerLost'
  | 'silent'
  | 'inventory'
  | 'undelivered'
  | 'handedBack'
  | 'notStarted'

/** Why a task ends without a result, as its client is told. */
export interface Failure {
  readonly code: string
  readonly retryable: boolean
  readonly retryAfterMs: number
  readonly message: string
}

const U32_MAX = 0xffffffff
/** So many tasks may wait and keep the messages they came in, 64 KiB each by our own clients: a copy takes time. */
const FRAMES_KEPT = 1024
/** So many times as long as a peer's task may be expected to wait it does wait, when the expectation proves wrong. */
const GUEST_WAITS = 2

/**
 * Gives tasks to free local workers, least recently used first; else to the peer that the policy picks; else lets them
 * wait, by priority and age. A worker that comes free gets the first in line, a peer the first or, if the policy balances, the
 * last. Takes them back when an executor fails, and sees to it that each ends once.
 */
export class Scheduler {
  readonly services: Services
  readonly ledger: TaskLedger
  readonly assignments: AssignmentTable
  readonly pool = new TaskPool()
  /** Tasks that wait in any queue. */
  queued = 0
  /** Tasks of peers that run here, or wait for a worker here. */
  guestTasks = 0
  /** No new task is taken; what waits still goes to workers and peers. */
  draining = false
  /**
   * Guests whose tasks have left a slot that they may know nothing of yet, chained through themselves: a Set was half a
   * microsecond for each turn to go through.
   */
  firstGuestToTell: Guest | null = null
  /** Capacity has changed since somebody last looked. */
  capacityChanged = true

  readonly #config: CoreConfig
  readonly #port: BrokerPort
  readonly #wheel: TimingWheel
  readonly #counters: Counters
  readonly #timings: Timings
  readonly #random: () => number
  readonly #policy: Policy
  readonly #here: { waitMs: number; runMs: number; load: number; readonly guestWaitMs: number }
  readonly #budget: RetryBudget
  /** Failed tasks that wait for the retry budget, oldest first. */
  readonly #deferred = new Set<Task>()
  /** What is passed on as it came is sent as these, written anew each time. */
  readonly #packedRequest = new PackedRequest()
  readonly #packedReply = new PackedReply()

  constructor(
    config: CoreConfig,
    port: BrokerPort,
    wheel: TimingWheel,
    counters: Counters,
    timings: Timings,
    random: () => number,
    seed: number,
    now: number,
  ) {
    this.#config = config
    this.#port = port
    this.#wheel = wheel
    this.#counters = counters
    this.#timings = timings
    this.#random = random
    this.#policy = POLICIES[config.policy](config.tuning ?? TUNING)
    this.#here = { waitMs: 0, runMs: 0, load: 1, guestWaitMs: config.guestWaitMs }
    this.services = new Services(config.servicesMax)
    this.ledger = new TaskLedger(config.repliesMax, config.repliesBytesMax, config.replyAgeMaxMs, seed)
    this.assignments = new AssignmentTable(random)
    this.#budget = new RetryBudget(
      config.retryBudgetRatio,
      config.retryBudgetBurst,
      config.retryBudgetPerSecond,
      now,
    )
  }

  get deferred(): number {
    return this.#deferred.size
  }

  /** Tasks that wait: in a queue, or for the retry budget. What the queue's bound is about. */
  get waiting(): number {
    return this.queued + this.#deferred.size
  }

  /** Tasks of our own clients and of peers that are not settled. */
  get unsettled(): number {
    return this.queued + this.#deferred.size + this.#running
  }

  /** Tasks with an attempt under way, here or at a peer. */
  get running(): number {
    return this.#running
  }
  #running = 0

  // ---------------------------------------------------------------- arrivals

  /** A new task of one of our clients. It is registered, and started, queued, or refused. */
  submit(task: Task, now: number): void {
    const service = task.service
    service.tasks++
    service.arrived()
    this.#wheel.set(task, task.deadline)
    this.#budget.earn()
    if (this.#mayPass(service) && this.#start(task, now)) return
    if ((task.flags & Flag.FailFast) !== 0 && !this.#served(service, now)) {
      this.fail(task, noService(service.name), now)
      return
    }
    if (this.waiting >= this.#config.queueMax) {
      this.#counters.busy++
      this.fail(task, busy(this.#config), now)
      return
    }
    service.queue.push(task)
    this.#queuedOne(task)
  }

  /**
   * May a new task start before those that wait? Where more wait than may, since failed ones have come back, those of its
   * service come first: or the new ones would fail in their turn, and pile up beyond any bound.
   */
  #mayPass(service: Service): boolean {
    if (service.queue.length > 0 && !this.#policy.balances) return false
    return this.waiting <= this.#config.queueMax || service.waiting + service.deferred === 0
  }

  /**
   * A peer's task: it runs now, or soon, or not at all, and it is never sent on.
   * @returns why it was turned away, or null when it has started or waits
   */
  host(task: Task, now: number): RejectReason | null {
    const service = task.service
    if (this.draining) return RejectReason.Draining
    if (service.workers === 0) return RejectReason.NoService
    const waits = service.leastRecentlyUsed === null || service.waiting > 0 || this.assignments.full
    // Sent back it would lose a round trip: where slots are freed by the millisecond it had better wait for one.
    if (waits && (this.waiting >= this.#config.queueMax || !this.#startsSoon(service, now)))
      return RejectReason.Full
    service.tasks++
    this.guestTasks++
    if (waits) {
      this.#wheel.set(task, Math.min(task.deadline, now + GUEST_WAITS * this.#config.guestWaitMs))
      service.guests.push(task)
      this.#queuedOne(task)
    } else {
      this.#wheel.set(task, task.deadline)
      this.#start(task, now)
    }
    return null
  }

  #startsSoon(service: Service, now: number): boolean {
    const { guestWaitMs } = this.#config
    return guestWaitMs > 0 && service.waitMs(service.waiting, now) <= guestWaitMs
  }

  /** No worker here will come for the peers' tasks that wait: they go back, not started. */
  turnAway(service: Service): void {
    const reason = this.draining ? RejectReason.Draining : RejectReason.NoService
    for (let task = service.guests.head; task !== null; task = service.guests.head) {
      if (task.guest === null) return
      this.#counters.rejectsSent++
      this.#giveBackToGuest(task, task.guest, reason, '')
    }
  }

  #start(task: Task, now: number): boolean {
    if (this.assignments.full) return false
    const local = task.service.leastRecentlyUsed
    if (local !== null) {
      this.#assign(task, local.worker, now)
      return true
    }
    if (task.guest !== null) return false
    const offer = this.#choose(task.service, task.service.waiting, now)
    if (offer === null) return false
    this.#lend(task, offer, now)
    return true
  }

  /** Starts whatever waits for `service` and can be started. */
  pump(service: Service, now: number): void {
    while (!this.assignments.full) {
      const local = service.leastRecentlyUsed
      if (local !== null) {
        const task = service.next
        if (task === null) return
        this.#dequeue(task)
        this.#assign(task, local.worker, now)
        continue
      }
      const { queue } = service
      // The last in line has most to gain. Where nobody works they all wait alike, and it is the first one's turn.
      const task = this.#policy.balances && service.slots > 0 ? queue.tail : queue.head
      if (task === null) return
      const offer = this.#choose(service, service.waiting - 1, now)
      if (offer === null) return
      this.#dequeue(task)
      this.#lend(task, offer, now)
    }
  }

  #queuedOne(task: Task): void {
    this.queued++
    // A message may be a task that waits for an hour and a thousand that are done at once.
    if (this.queued > FRAMES_KEPT) task.octets?.detach()
  }

  #dequeue(task: Task): void {
    const { queue, guests } = task.service
    if (task.guest === null) queue.remove(task)
    else guests.remove(task)
    this.queued--
  }

  /** A worker has a free slot: of all that wait for its services, the first by priority, then by age. */
  pumpWorker(worker: Worker, now: number): void {
    if (this.queued === 0) return
    while (worker.free > 0 && !this.assignments.full) {
      let next: Task | null = null
      for (let membership = worker.serves; membership !== null; membership = membership.other) {
        const head = membership.service.next
        if (head === null) continue
        if (
          next === null ||
          head.priority > next.priority ||
          (head.priority === next.priority && head.arrivedAt < next.arrivedAt)
        ) {
          next = head
        }
      }
      if (next === null) return
      this.#dequeue(next)
      // Not `worker` as such: another that is free for the same service may have waited longer.
      this.#assign(next, next.service.leastRecentlyUsed?.worker ?? worker, now)
    }
  }

  #assign(task: Task, worker: Worker, now: number): void {
    worker.sent++
    const assignment = this.assignments.open(task, worker, worker.sent, now)
    worker.hold(assignment)
    this.slotsChanged(worker)
    task.current = assignment
    task.starts++
    task.streamed = 0
    this.#running++
    if (!worker.beatsWhileWorking) {
      const limit = this.#config.silentAttemptMs || (task.deadline - now) / 2
      this.#wheel.set(assignment, Math.min(now + limit, task.deadline))
    }
    this.#port.send(worker.link, this.#request(task, assignment.token, now))
  }

  #lend(task: Task, offer: Offer, now: number): void {
    const peer = offer.peer
    peer.spend(offer)
    const assignment = this.assignments.open(task, peer, peer.sent, now)
    peer.hold(assignment)
    task.current = assignment
    task.starts++
    task.streamed = 0
    this.#running++
    this.#port.send(peer.link, this.#request(task, assignment.token, now))
  }

  #request(task: Task, token: Token, now: number): Request {
    const attempt = Math.min(task.starts, 255)
    const timeLeftMs = Math.max(1, Math.min(U32_MAX, Math.ceil(task.deadline - now)))
    const { octets, priority, flags, creditUpTo } = task
    const service = task.service.name
    if (octets === null) {
      const { id, traceparent, body } = task
      return {
        kind: Kind.Request,
        token,
        id,
        attempt,
        timeLeftMs,
        priority,
        flags,
        creditUpTo,
        service,
        traceparent,
        body,
      }
    }
    const request = this.#packedRequest
    request.token = token
    request.attempt = attempt
    request.timeLeftMs = timeLeftMs
    request.priority = priority
    request.flags = flags
    request.creditUpTo = creditUpTo
    request.service = service
    request.octets = octets
    return request
  }

  /** @param ahead tasks that wait here before the one that is to go */
  #choose(service: Service, ahead: number, now: number): Offer | null {
    const offers = this.#some(service.offers)
    if (offers.length === 0) return null
    const ttl = this.#config.stateTtlMs
    for (const offer of offers) {
      const { peer, free, unseen, queued } = offer
      const takes = peer.takesTasks(now, ttl)
      offer.spare = takes ? Math.max(0, free - unseen) : 0
      offer.room = takes && offer.total > 0 ? free - unseen - queued : NO_ROOM
      offer.ageMs = now - peer.stateAt
    }
    this.#here.waitMs = service.waitMs(ahead, now)
    this.#here.runMs = service.runMs
    this.#here.load = service.load
    return offers[this.#policy.choose(offers, this.#random, this.#here)] ?? null
  }

  /** Of many peers a few in a row, from anywhere: a choice must not cost more the more there are. */
  #some(offers: readonly Offer[]): readonly Offer[] {
    const { looksAt } = this.#policy
    if (offers.length <= looksAt) return offers
    const from = Math.floor(this.#random() * offers.length)
    this.#weighed.length = 0
    for (let i = 0; i < looksAt; i++) {
      const offer = offers[(from + i) % offers.length]
      if (offer !== undefined) this.#weighed.push(offer)
    }
    return this.#weighed
  }
  readonly #weighed: Offer[] = []

  #served(service: Service, now: number): boolean {
    if (service.slots > 0) return true
    return service.offers.some(
      (offer) => offer.total > 0 && offer.peer.takesTasks(now, this.#config.stateTtlMs),
    )
  }

  // ---------------------------------------------------------------- answers

  /** A final answer to one of our attempts. @returns false when nobody waited for it */
  reply(assignment: Assignment, reply: Reply, now: number): boolean {
    const task = assignment.task
    const executor = assignment.executor
    const counts = task?.current === assignment
    this.#close(assignment)
    if (task === null || task.settled) return false
    // The client was given none of an abandoned attempt's pieces, so its end is of no use to it.
    if (!counts && (reply.partials > 0 || task.streamed > 0)) return false
    const ranAtPeer = executor instanceof Peer
    const runMs = reply.runUs / 1000
    // What it has waited for at a peer counts as well.
    const queuedMs = assignment.startedAt - task.arrivedAt + (ranAtPeer ? reply.queuedUs / 1000 : 0)
    // A stock worker does not say.
    if (reply.runUs > 0) task.service.ran(runMs)
    else if (!ranAtPeer) task.service.ran(now - assignment.startedAt)
    if (task.guest !== null) this.#counters.tasksCompletedForPeers++
    else {
      if (ranAtPeer) this.#counters.tasksCompletedByPeers++
      else this.#counters.tasksCompletedLocal++
      const where = ranAtPeer ? 'peer' : 'local'
      this.#timings.queued[where].observeMs(queuedMs)
      this.#timings.run[where].observeMs(runMs)
      this.#timings.total[where].observeMs(now - task.arrivedAt)
    }
    const cluster = ranAtPeer ? executor.name : this.#config.name
    const worker = ranAtPeer ? reply.worker : executor.name
    this.#settle(task, this.#answer(task, reply, microseconds(queuedMs), cluster, worker), now)
    return true
  }

  #answer(task: Task, reply: Reply, queuedUs: number, cluster: string, worker: string): Reply {
    const { code, retryable, retryAfterMs, runUs, partials, message, octets } = reply
    const { token, starts: attempts } = task
    if (octets === undefined) {
      const { body } = reply
      return {
        kind: Kind.Reply,
        token,
        code,
        retryable,
        retryAfterMs,
        attempts,
        queuedUs,
        runUs,
        partials,
        cluster,
        worker,
        message,
        body,
      }
    }
    const answer = this.#packedReply
    answer.token = token
    answer.code = code
    answer.retryable = retryable
    answer.retryAfterMs = retryAfterMs
    answer.attempts = attempts
    answer.queuedUs = queuedUs
    answer.runUs = runUs
    answer.partials = partials
    answer.cluster = cluster
    answer.worker = worker
    answer.message = message
    answer.octets = octets
    return answer
  }

  /** A piece of a stream. @returns false when nobody waited for it or no credit was left for it */
  partial(assignment: Assignment, partial: Partial, now: number): boolean {
    const task = assignment.task
    if (task === null || task.settled || task.current !== assignment || !task.isStream) return false
    if (partial.index > task.streamed) {
      // Pieces were lost on the way, and nobody has them any more: this attempt will never be whole.
      this.#breakOff(task, assignment, now)
      return false
    }
    if (partial.index < task.streamed || partial.index >= task.creditUpTo) return false
    task.streamed++
    const executor = assignment.executor
    const ranAtPeer = executor instanceof Peer
    const piece: Partial = {
      kind: Kind.Partial,
      token: task.token,
      index: partial.index,
      attempt: task.starts,
      cluster: ranAtPeer ? executor.name : this.#config.name,
      worker: ranAtPeer ? partial.worker : executor.name,
      body: partial.body,
    }
    if (task.client !== null) this.#port.send(task.client.link, piece)
    else if (task.guest !== null) this.#port.send(task.guest.link, piece)
    return true
  }

  /** The executor says how many pieces it has sent: a link keeps order, so whatever has not come by now is lost. */
  streamedSoFar(assignment: Assignment, pieces: number, now: number): void {
    const { task } = assignment
    if (task === null || task.settled || task.current !== assignment || !task.isStream) return
    if (pieces > task.streamed) this.#breakOff(task, assignment, now)
  }

  /** The reader of a stream takes more. Cumulative: an old credit changes nothing, a repeated one makes up for one that
   *  was lost further on. */
  credit(task: Task, upTo: number): void {
    if (!task.isStream || upTo < task.creditUpTo) return
    task.creditUpTo = upTo
    if (task.current !== null) this.renewCredit(task.current)
  }

  /** Tells the executor once more how far its stream may go. */
  renewCredit(assignment: Assignment): void {
    const { task, executor, token } = assignment
    if (task === null || !task.isStream || executor.link.dialect !== 'native') return
    this.#port.send(executor.link, { kind: Kind.Credit, token, upTo: task.creditUpTo })
  }

  /** An executor turned the task away. It was never started there unless the reason says so. */
  reject(assignment: Assignment, reject: Reject, now: number): void {
    switch (reject.reason) {
      case RejectReason.WorkerLost:
        this.takeBack(assignment, 'workerLost', now, reject.worker)
        break
      case RejectReason.HandedBack:
        this.takeBack(assignment, 'handedBack', now)
        break
      default: {
        // Whoever has sent a piece has started it, whatever it says then.
        const started = assignment.task?.current === assignment && assignment.task.streamed > 0
        this.takeBack(assignment, started ? 'handedBack' : 'notStarted', now)
      }
    }
  }

  // ---------------------------------------------------------------- failures

  /**
   * An attempt is over without an answer: the task starts again elsewhere, or ends when it may not. `worker` names the
   * worker whose death it was.
   */
  takeBack(assignment: Assignment, why: TakenBack, now: number, worker = ''): void {
    if (!assignment.open) return
    const task = assignment.task
    const counts = task !== null && task.current === assignment
    this.#close(assignment)
    if (counts) this.#afterFailure(task, why, now, worker)
  }

  /**
   * The executor has been silent for too long, but may come back: the task is given to another as well, and should the
   * first answer after all, the first answer wins. A worker's slot stays taken meanwhile.
   * @returns false when the attempt goes on as it is
   */
  abandon(assignment: Assignment, why: 'silent' | 'peerLost', now: number): boolean {
    const task = assignment.task
    if (!assignment.open || task === null || task.current !== assignment || task.guest !== null) return false
    // A silent worker may only be slow: a task that must not start twice stays with it to the end of its time.
    if (why === 'silent' && !task.mayStartTwice) return false
    // Nor is it given to everybody: as many starts as may fail, and no more.
    if (why === 'silent' && (task.abandoned?.length ?? 0) >= this.#config.attemptsMax - 1) return false
    task.current = null
    this.#running--
    task.abandoned ??= []
    task.abandoned.push(assignment)
    this.#afterFailure(task, why, now, assignment.executor.name)
    return true
  }

  /** A piece of a stream did not leave here: nobody has it any more. */
  pieceLost(task: Task, now: number): void {
    if (task.current !== null) this.#breakOff(task, task.current, now)
  }

  /** The attempt goes on at its executor, but it is of no use any more. */
  #breakOff(task: Task, assignment: Assignment, now: number): void {
    task.current = null
    this.#running--
    this.#letGo(assignment)
    // A pipe that is too small for the stream stays so: not more starts than a failing task gets.
    if (task.guest === null && task.starts >= this.#config.attemptsMax) {
      this.fail(task, streamBroken('inventory'), now)
      return
    }
    this.#afterFailure(task, 'inventory', now, '')
  }

  /** The reader of a stream is gone: without it the stream would wait for credit, and its slot with it. */
  readerLost(task: Task, now: number): void {
    this.fail(
      task,
      {
        code: ErrorCode.StreamBroken,
        retryable: true,
        retryAfterMs: 0,
        message: 'its reader fell silent; read, or at least beat, more often, and start the stream again',
      },
      now,
    )
  }

  #afterFailure(task: Task, why: TakenBack, now: number, worker: string): void {
    const started = why !== 'notStarted' && why !== 'undelivered'
    if (task.guest !== null) {
      const reason =
        why === 'workerLost' ? RejectReason.WorkerLost : started ? RejectReason.HandedBack : RejectReason.Full
      this.#giveBackToGuest(task, task.guest, reason, worker)
      return
    }
    if (why === 'notStarted' || why === 'undelivered') {
      if (why === 'undelivered') this.#counters.redispatched.undelivered++
      task.starts--
      this.#restore(task, now)
      return
    }
    if (!task.mayStartTwice) {
      this.fail(task, unknown(why), now)
      return
    }
    if (task.streamed > 0 && !task.mayRestartStream) {
      this.fail(task, streamBroken(why), now)
      return
    }
    // Silence proves a death only where the operator has said how long a task may take; else the task may just be long.
    if (why === 'workerLost' || (why === 'silent' && this.#config.silentAttemptMs > 0)) {
      task.deaths ??= []
      task.deaths.push(worker)
      if (task.deaths.length >= this.#config.attemptsMax) {
        this.#port.event({ type: 'poison', task: task.id, service: task.service.name, workers: task.deaths })
        this.fail(task, poison(task.deaths), now)
        return
      }
    }
    if (now >= task.deadline) {
      // The executor was given up because the task's time is over: another start would be cancelled in the same breath.
      this.expire(task, now)
      return
    }
    this.#counters.redispatched[why]++
    if (this.#deferred.size === 0 && this.#budget.take(now)) this.#restore(task, now)
    else {
      this.#counters.redispatchDeferred++
      task.deferred = true
      task.service.deferred++
      this.#deferred.add(task)
    }
  }

  /** Back into the line, bound or no bound: it was let in once. */
  #restore(task: Task, now: number): void {
    task.service.queue.restore(task)
    this.#queuedOne(task)
    this.pump(task.service, now)
  }

  #giveBackToGuest(task: Task, guest: Guest, reason: RejectReason, worker: string): void {
    guest.answered++
    this.#port.send(guest.link, {
      kind: Kind.Reject,
      token: task.token,
      reason,
      free: this.draining ? 0 : task.service.free,
      received: guest.received,
      worker,
    })
    this.#forget(task)
  }

  /** Starts what the retry budget has come to allow. @returns when to come again */
  releaseDeferred(now: number): number {
    for (const task of this.#deferred) {
      if (!this.#budget.take(now)) return this.#budget.nextAt(now)
      this.#deferred.delete(task)
      task.deferred = false
      task.service.deferred--
      this.#restore(task, now)
    }
    return Number.POSITIVE_INFINITY
  }

  // ---------------------------------------------------------------- endings

  /** Its timer has gone off. */
  timeUp(task: Task, now: number): void {
    if (now >= task.deadline) this.expire(task, now)
    else if (task.guest !== null && task.queued) {
      // What runs here takes far longer than it used to, and where the task came from a worker may long be free.
      this.#counters.rejectsSent++
      this.#giveBackToGuest(task, task.guest, RejectReason.Full, '')
    } else this.#wheel.set(task, task.deadline)
  }

  /** The task's time is up. */
  expire(task: Task, now: number): void {
    const started = task.starts > 0
    if (task.current === null) this.#counters.expiredQueued++
    else this.#counters.expiredRunning++
    this.fail(
      task,
      {
        code: ErrorCode.Expired,
        retryable: task.mayStartTwice || !started,
        retryAfterMs: 0,
        message: started
          ? 'the time given was up before the task was done; give it more time, or look for what makes it slow'
          : 'the time given was up before a worker was free; add workers, or give the task more time',
      },
      now,
    )
  }

  /** The broker leaves and will not finish these: their owners learn what they can do. */
  failAll(now: number): number {
    const left: Task[] = [...this.#deferred]
    for (const { queue, guests } of this.services.byName.values()) {
      // One by one: as arguments of one call a hundred thousand are more than the stack takes.
      for (const task of queue) left.push(task)
      for (const task of guests) left.push(task)
    }
    for (const { task } of this.assignments.all()) if (task !== null) left.push(task)
    let failed = 0
    for (const task of left) {
      if (task.settled) continue
      failed++
      if (task.guest !== null) {
        const reason = task.queued ? RejectReason.Draining : RejectReason.HandedBack
        this.#giveBackToGuest(task, task.guest, reason, '')
      } else if (task.starts > 0 && !task.mayStartTwice) this.fail(task, unknown('handedBack'), now)
      else this.fail(task, draining(this.#config.name), now)
    }
    return failed
  }

  /**
   * Nobody waits for it any more: it leaves the queue, its worker is told, and nothing is answered. That one which must not start
   * twice has started is remembered all the same: a copy of it may be on another connection's way here.
   */
  cancel(task: Task, now: number): void {
    this.#counters.cancelled++
    if (task.starts > 0 && !task.mayStartTwice && task.ledgerEntry !== 0)
      this.ledger.answer(task, this.#failed(task, unknown('cancelled'), now), now)
    this.#forget(task)
    this.#counters.failed(ErrorCode.Cancelled)
  }

  /** Ends a task with an error. */
  fail(task: Task, failure: Failure, now: number): void {
    this.#settle(task, this.#failed(task, failure, now), now)
  }

  #failed(task: Task, failure: Failure, now: number): Reply {
    return {
      kind: Kind.Reply,
      token: task.token,
      code: failure.code,
      retryable: failure.retryable,
      retryAfterMs: failure.retryAfterMs,
      attempts: task.starts,
      queuedUs: microseconds(now - task.arrivedAt),
      runUs: 0,
      partials: task.streamed,
      cluster: this.#config.name,
      worker: '',
      message: failure.message,
      body: EMPTY_BODY,
    }
  }

  #settle(task: Task, reply: Reply, now: number): void {
    const { client, guest } = task
    if (guest !== null) {
      guest.answered++
      if (!guest.toTell) {
        guest.toTell = true
        guest.nextToTell = this.firstGuestToTell
        this.firstGuestToTell = guest
      }
      this.#port.send(guest.link, reply)
    } else {
      if (reply.code === '') this.#counters.tasksSettledOk++
      else this.#counters.failed(CODES.has(reply.code) ? reply.code : ErrorCode.TaskFailed)
      if (client !== null) this.#port.send(client.link, reply)
      // BUSY and the like are answers of the moment: asked again, the broker may say otherwise. What a worker has answered stays
      // so, whatever it is: or the task would run again for a client that only has not heard it.
      if (
        client?.link.dialect === 'native' &&
        ((reply.retryAfterMs === 0 && reply.code !== ErrorCode.NoService) || task.starts > 0)
      ) {
        this.ledger.answer(task, reply, now)
      }
    }
    this.#forget(task)
  }

  /** Takes a task out of every table, whatever it was at. */
  #forget(task: Task): void {
    task.settled = true
    this.#wheel.clear(task)
    if (task.queued) {
      this.#dequeue(task)
    }
    if (task.deferred) {
      task.deferred = false
      task.service.deferred--
      this.#deferred.delete(task)
    }
    if (task.current !== null) {
      this.#letGo(task.current)
      task.current = null
      this.#running--
    }
    if (task.abandoned !== null) {
      for (const assignment of task.abandoned) this.#letGo(assignment)
      task.abandoned = null
    }
    if (task.client !== null) {
      task.client.remove(task)
      this.ledger.remove(task)
    } else if (task.guest !== null) {
      task.guest.tasks.remove(task)
      this.guestTasks--
    }
    task.service.tasks--
    this.services.release(task.service)
    this.pool.giveBack(task)
  }

  /** What is over has been done with. */
  endTurn(): void {
    this.pool.endTurn()
    this.assignments.endTurn()
  }

  /** Nobody waits for this attempt: tell the executor. A worker's slot stays taken until it answers. */
  #letGo(assignment: Assignment): void {
    assignment.task = null
    const { executor } = assignment
    // To a peer that is away it would only pile up; what it still holds when it is back is cancelled by its inventory.
    const listens = executor instanceof Peer ? executor.phase === 'up' : executor.link.dialect === 'native'
    if (listens) this.#port.send(executor.link, { kind: Kind.Cancel, token: assignment.token })
    if (executor instanceof Peer) {
      executor.letGo(assignment)
      this.assignments.close(assignment)
    } else executor.unwanted++
  }

  /** The attempt is over at its executor: the slot is free again. */
  #close(assignment: Assignment): void {
    const { executor, task } = assignment
    this.#wheel.clear(assignment)
    executor.letGo(assignment)
    this.assignments.close(assignment)
    if (!(executor instanceof Peer)) {
      if (task === null) executor.unwanted--
      this.slotsChanged(executor)
    }
    if (task === null) return
    if (task.current === assignment) {
      task.current = null
      this.#running--
    } else if (task.abandoned !== null) {
      const index = task.abandoned.indexOf(assignment)
      if (index >= 0) task.abandoned.splice(index, 1)
    }
  }

  // ---------------------------------------------------------------- capacity

  /** A worker's free slots may have changed: keeps its services' sums and lines right. Moves it last in line. */
  slotsChanged(worker: Worker): void {
    const free = worker.free
    const change = free - worker.countedFree
    if (change === 0 && free === 0) return
    worker.countedFree = free
    this.capacityChanged = true
    for (let membership = worker.serves; membership !== null; membership = membership.other) {
      const { service } = membership
      service.free += change
      if (free === 0) service.unlink(membership)
      else if (change < 0 || !membership.linked) {
        service.unlink(membership)
        service.link(membership)
      }
    }
  }
}

function microseconds(ms: number): number {
  return Math.max(0, Math.min(U32_MAX, Math.round(ms * 1000)))
}

/** Handlers may answer with codes of their own; counted one by one, they would be a label a stranger can make grow. */
const CODES: ReadonlySet<string> = new Set(Object.values(ErrorCode))

function busy(config: CoreConfig): Failure {
  return {
    code: ErrorCode.Busy,
    retryable: true,
    retryAfterMs: config.busyRetryAfterMs,
    message: `${config.queueMax} tasks wait at ${config.name} already; try again in ${config.busyRetryAfterMs} ms, or add workers`,
  }
}

/** Long enough that a client with one address does not hammer a broker that takes seconds to leave. */
const DRAINING_RETRY_MS = 500

export function draining(name: string): Failure {
  return {
    code: ErrorCode.Draining,
    retryable: true,
    retryAfterMs: DRAINING_RETRY_MS,
    message: `${name} is leaving and takes no new task; send it to another broker, or here again once it is back`,
  }
}

function noService(service: string): Failure {
  return {
    code: ErrorCode.NoService,
    retryable: true,
    retryAfterMs: 0,
    message: `no worker in any cluster serves ${service === '' ? 'the anonymous service' : `"${service}"`}; start one, or let the task wait`,
  }
}

function poison(workers: readonly string[]): Failure {
  return {
    code: ErrorCode.Poison,
    retryable: false,
    retryAfterMs: 0,
    message: `${workers.length} workers died with this task (${workers.join(', ')}); look at their logs before you send it again`,
  }
}

const CAUSE: { readonly [why in TakenBack | 'cancelled' | 'forgotten']: string } = {
  workerLost: 'its worker died',
  peerLost: 'the cluster that ran it was lost',
  silent: 'its worker fell silent',
  inventory: 'it, or its answer, was lost on the way',
  undelivered: 'it could not be delivered',
  handedBack: 'its worker left before it was done',
  notStarted: 'it was not started',
  cancelled: 'it was cancelled after it had been started',
  forgotten: 'the task may have been answered before, in an answer that had to make room',
}

export function unknown(why: keyof typeof CAUSE): Failure {
  return {
    code: ErrorCode.Unknown,
    retryable: false,
    retryAfterMs: 0,
    message: `${CAUSE[why]}, and a task marked as not idempotent is not started twice; find out whether it ran before you send it anew`,
  }
}

function streamBroken(why: TakenBack): Failure {
  return {
    code: ErrorCode.StreamBroken,
    retryable: true,
    retryAfterMs: 0,
    message: `${CAUSE[why]} after the stream had begun; start the stream again from its beginning`,
  }
}
