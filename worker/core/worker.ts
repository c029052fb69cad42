import { ErrorCode } from '../../protocol/error-code.ts'
import type { Machine } from '../../protocol/machine.ts'
import type { Hello, Message, Partial, Record, Reject, Reply, Request, Token } from '../../protocol/record.ts'
import {
  BODY_MAX_UNKNOWN,
  EMPTY_BODY,
  Kind,
  RejectReason,
  Role,
  VERSION_MAJOR,
  VERSION_MINOR,
} from '../../protocol/record.ts'
import type { Assignment, Failure } from './assignment.ts'
import type { WorkerCoreConfig } from './config.ts'
import { WorkerCounters } from './counters.ts'
import { HeldTasks } from './held-tasks.ts'
import type { WorkerPort } from './port.ts'

const Phase = {
  New: 0,
  /** Connected, so far as one can know. */
  Open: 1,
  /** The broker is gone; tried again when the pause is over. */
  Pausing: 2,
  Stopped: 3,
} as const
type Phase = (typeof Phase)[keyof typeof Phase]

const NOBODY: Failure = {
  code: ErrorCode.Cancelled,
  message: 'the broker that gave this task is gone, and with it whoever waited',
  retryable: true,
}
const LEAVING: Failure = {
  code: ErrorCode.Cancelled,
  message: 'the worker leaves and has handed the task back',
  retryable: true,
}

/**
 * A native worker: signs in, beats, runs as many tasks at once as it has slots, answers, and signs in again wherever its
 * broker can be found. It is the Paranoid Pirate worker of the guide with three additions: it says by its broker's epoch
 * whether its tasks are still wanted, finds lost messages by counting, and leaves in good order.
 *
 * Times are ms on a clock that never goes back.
 */
export class Worker<A extends Assignment> implements Machine {
  // What every message and every look at the timer need comes first: an object of many fields is several cache lines.
  #phase: Phase = Phase.New
  readonly #epoch: number
  /** The broker that our tasks and counts belong to; 0: none yet. */
  #brokerEpoch = 0
  /** The one before on this connection, whose late messages mean nothing any more. */
  #formerEpoch = 0
  readonly #port: WorkerPort<A>
  /** What this epoch of the broker expects an answer for: one task, or several, until there is none. */
  #only: A | null = null
  #several: HeldTasks<A> | null = null
  readonly #slots: number
  /** Tasks that still run though nobody expects an answer: each takes a slot. */
  #orphans = 0
  /** REQUESTs received from this epoch of the broker, and final answers sent to it. */
  #received = 0
  #sent = 0
  #heardAt = Number.NEGATIVE_INFINITY
  #beatAt = Number.POSITIVE_INFINITY
  /** No task is past its deadline before this; ms. */
  #deadlineAt = Number.POSITIVE_INFINITY
  /** When what still runs is handed back; undefined until the worker drains. */
  #leaveAt: number | undefined = undefined
  /** Silence of the broker that means its end, ms. */
  #patienceMs = 0
  /** It has answered our latest HELLO. */
  #signedIn = false
  #brokerBodyMax = BODY_MAX_UNKNOWN
  readonly #name: string

  readonly #config: WorkerCoreConfig
  /** @returns a number from 0 up to 1 */
  readonly #random: () => number
  #endpoint = 0
  #signedInAt = Number.NEGATIVE_INFINITY
  #reopenAt = 0
  #backOffMs: number
  /** Slots as they were last offered. */
  #offered = 0
  /** Heartbeats that the offer goes with once more: whoever has missed them all has given us up. */
  #offersLeft = 0
  /** And those that an inventory goes with: since it was made the counts agree, and nobody asks for it again. */
  #inventoriesLeft = 0
  /** Answers that wait for the broker's word. */
  #kept: (Reply | Partial)[] | null = null
  #keptOctets = 0
  readonly counters: WorkerCounters

  /** @param counters its own, unless several are to be counted together */
  constructor(
    config: WorkerCoreConfig,
    port: WorkerPort<A>,
    random: () => number,
    counters = new WorkerCounters(),
  ) {
    if (config.endpoints.length === 0) throw new RangeError('a worker needs at least one endpoint')
    this.#config = config
    this.#epoch = config.epoch
    this.#slots = config.slots
    this.#name = config.name
    this.#port = port
    this.#random = random
    this.counters = counters
    this.#backOffMs = config.reconnectMinMs
  }

  /** Tasks that run and are still wanted by a broker. */
  get running(): number {
    if (this.#only !== null) return 1
    return this.#several === null ? 0 : this.#several.size
  }

  /** Tasks that still run though nobody waits for them. */
  get orphans(): number {
    return this.#orphans
  }

  get signedIn(): boolean {
    return this.#signedIn
  }

  get stopped(): boolean {
    return this.#phase === Phase.Stopped
  }

  get draining(): boolean {
    return this.#leaveAt !== undefined
  }

  /** Epoch of the broker in charge; 0 before the first has been heard. */
  get brokerEpoch(): number {
    return this.#brokerEpoch
  }

  /** Largest result the broker takes, octets. */
  get replyMax(): number {
    return this.#brokerBodyMax
  }

  // ---------------------------------------------------------------- what the owner wants

  /** Connects and signs in. */
  start(now: number): void {
    if (this.#phase === Phase.New) this.#open(now)
  }

  /**
   * Takes no more tasks, finishes those that run, hands back what is unfinished after `deadlineMs`, and stops. Called
   * again, it stops at once.
   */
  drain(deadlineMs: number, now: number): void {
    if (this.#phase === Phase.Stopped) return
    if (this.#leaveAt !== undefined || deadlineMs <= 0) {
      this.#leave(undefined)
      return
    }
    this.#leaveAt = now + deadlineMs
    this.#port.event({ type: 'draining', deadlineMs, tasksRunning: this.running })
    if (this.#phase === Phase.Open) this.#offerAnew()
    this.#leaveIfDone()
  }

  /** Hands back what runs, and stops. */
  stop(): void {
    if (this.#phase !== Phase.Stopped) this.#leave(undefined)
  }

  // ---------------------------------------------------------------- results

  /** A task is done. */
  finished(assignment: A, body: Uint8Array, now: number): void {
    if (!this.#ended(assignment)) return
    if (assignment.stopped !== undefined) this.#reply(assignment, assignment.stopped, EMPTY_BODY, now)
    else if (body.byteLength > this.#brokerBodyMax) {
      this.#reply(assignment, this.#tooLarge(body.byteLength), EMPTY_BODY, now)
    } else this.#reply(assignment, undefined, body, now)
    this.#leaveIfDone()
  }

  /** A task has failed. */
  failed(assignment: A, failure: Failure, now: number): void {
    if (!this.#ended(assignment)) return
    this.#reply(assignment, assignment.stopped ?? failure, EMPTY_BODY, now)
    this.#leaveIfDone()
  }

  /**
   * Sends a piece of a stream.
   * @throws RangeError when there is no credit for it or nobody asked for a stream, which is for the caller to know
   */
  partial(assignment: A, body: Uint8Array): void {
    if (!assignment.expected || assignment.stopped !== undefined) return
    if (!assignment.isStream || !assignment.hasCredit) throw new RangeError('no piece is wanted now')
    if (body.byteLength > this.#brokerBodyMax) {
      this.#cancel(assignment, this.#tooLarge(body.byteLength))
      return
    }
    this.counters.partials++
    this.#answer({
      kind: Kind.Partial,
      token: assignment.token,
      index: assignment.partials++,
      attempt: assignment.request.attempt,
      cluster: '',
      worker: this.#name,
      body,
    })
  }

  /**
   * A credit that is repeated is asked for on suspicion: pieces may have been lost on their way, and their reader would wait
   * for them as the handler waits for credit.
   */
  #sayHowFar(assignment: A): void {
    if (!this.#signedIn || !assignment.isStream) return
    const { token, partials, request } = assignment
    const attempt = request.attempt
    this.#port.send({ kind: Kind.Pending, token, running: true, attempt, partials }, this.#brokerEpoch)
  }

  /** Takes a task off the books. @returns whether an answer is expected */
  #ended(assignment: A): boolean {
    if (assignment.expected) {
      assignment.expected = false
      this.#drop(assignment)
      return true
    }
    this.#orphans--
    this.counters.orphaned++
    // The others' slots are offered with the next heartbeat: each offer is a line in the broker's log.
    if (this.#orphans === 0 && this.#phase === Phase.Open) this.#offerAnew()
    return false
  }

  #reply(assignment: A, failure: Failure | undefined, body: Uint8Array, now: number): void {
    const { request, partials, startedAt } = assignment
    if (failure === undefined) this.counters.succeeded++
    else if (failure.code === ErrorCode.Expired) this.counters.expired++
    else if (failure.code === ErrorCode.Cancelled) this.counters.cancelled++
    else this.counters.failed++
    this.#answer(this.#replyTo(request, failure, body, partials, Math.round((now - startedAt) * 1000)))
  }

  #replyTo(
    request: Request,
    failure: Failure | undefined,
    body: Uint8Array,
    partials: number,
    runUs: number,
  ): Reply {
    return {
      kind: Kind.Reply,
      token: request.token,
      code: failure?.code ?? '',
      retryable: failure?.retryable ?? false,
      retryAfterMs: 0,
      attempts: request.attempt,
      queuedUs: 0,
      runUs,
      partials,
      cluster: '',
      worker: this.#name,
      message: failure?.message ?? '',
      body,
    }
  }

  #tooLarge(octets: number): Failure {
    const message = `The reply has ${octets} octets, and the broker takes ${this.#brokerBodyMax}: raise its bodyMax, or reply in pieces.`
    return { code: ErrorCode.TooLarge, message, retryable: false }
  }

  /** Sends an answer, or keeps it until the broker has been heard. */
  #answer(record: Reply | Partial): void {
    if (this.#signedIn) {
      this.#transmit(record)
      return
    }
    const octets = record.body.byteLength
    if (this.#keptOctets + octets > this.#config.keptMax) {
      this.counters.answersDropped++
      // It counts as sent: so the broker finds that it was lost, as any other.
      if (record.kind === Kind.Reply) this.#sent++
      this.#port.event({ type: 'answers-dropped', octets, keptMax: this.#config.keptMax })
      return
    }
    this.#keptOctets += octets
    if (this.#kept === null) this.#kept = [record]
    else this.#kept.push(record)
  }

  #transmit(record: Reply | Partial | Reject): void {
    if (record.kind !== Kind.Partial) this.#sent++
    this.#say(record)
  }

  // ---------------------------------------------------------------- what the broker says

  /** A message has come in on the connection. */
  receive(message: Message, now: number): void {
    if (this.#phase !== Phase.Open) return
    if (message.to !== 0 && message.to !== this.#epoch) {
      this.counters.drop('misaddressed')
      return
    }
    if (message.from === this.#formerEpoch) {
      this.counters.drop('stale_epoch')
      return
    }
    this.#heardAt = now
    if (this.#brokerEpoch === 0) this.#brokerEpoch = message.from
    else if (message.from !== this.#brokerEpoch) this.#brokerChanged(message.from, now)
    const { oversized } = message
    for (const record of message.records) {
      if (oversized !== undefined && record.kind === Kind.Request && oversized.includes(record.token)) {
        this.#received++
        this.#turnDown(record, this.#taskTooLarge())
      } else this.#take(record, now)
      if (this.#phase !== Phase.Open) return
    }
  }

  #take(record: Record, now: number): void {
    switch (record.kind) {
      case Kind.Request:
        this.#request(record, now)
        break
      case Kind.Cancel: {
        const assignment = this.#find(record.token)
        if (assignment === undefined) break
        const message = 'nobody waits for the task any more'
        this.#cancel(assignment, { code: ErrorCode.Cancelled, message, retryable: false })
        break
      }
      case Kind.Credit: {
        const assignment = this.#find(record.token)
        if (assignment === undefined) break
        if (record.upTo <= assignment.creditUpTo) {
          this.#sayHowFar(assignment)
          break
        }
        assignment.creditUpTo = record.upTo
        this.#port.credit(assignment)
        break
      }
      case Kind.Heartbeat:
        // More: some were lost on their way. Fewer: the broker had forgotten us and counts anew.
        if (record.sent !== this.#received) this.#count(record.sent)
        if (record.ask) this.#beat()
        break
      case Kind.Audit:
        this.#count(record.sent)
        break
      case Kind.Hello:
        this.#hello(record, now)
        break
      case Kind.Disconnect:
        this.#disconnected(record.reason, now)
        break
      case Kind.Refuse:
        this.refused(record.reason, record.message, now)
        break
      default:
        this.counters.drop('out_of_place')
    }
  }

  #request(request: Request, now: number): void {
    this.#received++
    if (this.#find(request.token) !== undefined) this.counters.drop('duplicate_request')
    else if (this.#leaveAt !== undefined) this.#reject(request.token, RejectReason.Draining)
    else if (this.#free <= 0) this.#reject(request.token, RejectReason.Full)
    else if (request.timeLeftMs === 0) {
      this.counters.expired++
      const message = 'the task arrived without any time left; give it more'
      this.#turnDown(request, { code: ErrorCode.Expired, message, retryable: true })
    } else {
      const assignment = this.#port.start(request, now)
      this.#hold(assignment)
      this.counters.started++
      if (assignment.deadlineAt < this.#deadlineAt) this.#deadlineAt = assignment.deadlineAt
    }
  }

  get #free(): number {
    return this.#slots - this.running - this.#orphans
  }

  #taskTooLarge(): Failure {
    const message = `The task is larger than the ${this.#config.bodyMax} octets this worker takes: raise its bodyMax.`
    return { code: ErrorCode.TooLarge, message, retryable: false }
  }

  /** Answers a task that is not started. */
  #turnDown(request: Request, failure: Failure): void {
    this.#transmit(this.#replyTo(request, failure, EMPTY_BODY, 0, 0))
  }

  #reject(token: Token, reason: RejectReason): void {
    if (reason === RejectReason.HandedBack) this.counters.handedBack++
    else this.counters.rejected++
    this.#transmit({
      kind: Kind.Reject,
      token,
      reason,
      free: this.#leaveAt === undefined ? Math.max(0, this.#free) : 0,
      received: this.#received,
      worker: this.#name,
    })
  }

  #cancel(assignment: A, why: Failure): void {
    if (assignment.stopped !== undefined) return
    assignment.stopped = why
    this.#port.cancel(assignment, why)
  }

  /** The broker's count is the one that holds; what it does not find in the list is lost. */
  #count(sent: number): void {
    if (sent !== this.#received) this.#inventoriesLeft = this.#config.liveness + 1
    if (sent > this.#received) this.counters.requestsLost += sent - this.#received
    this.#received = sent
    this.#inventory()
  }

  #inventory(): void {
    const tokens = Array.from(this.#held(), ({ token }) => token)
    // An answer that waits here is as good as a task that runs: it will come.
    for (const record of this.#kept ?? []) if (record.kind === Kind.Reply) tokens.push(record.token)
    this.#say({ kind: Kind.Inventory, received: this.#received, tokens })
  }

  #hello(hello: Hello, now: number): void {
    if (hello.role !== Role.Broker) {
      const message = `what answers there is no broker but calls itself "${hello.name}": give the address of a broker's localbe`
      this.refused('role', message, now)
      return
    }
    if (hello.major !== VERSION_MAJOR) {
      const message = `the broker speaks version ${hello.major}.${hello.minor} of the protocol, this worker ${VERSION_MAJOR}.${VERSION_MINOR}: install the same major version on both sides`
      this.refused('version', message, now)
      return
    }
    this.#brokerBodyMax = hello.bodyMax
    this.#setPatience(hello.heartbeatIntervalMs)
    this.#backOffMs = this.#config.reconnectMinMs
    if (this.#signedIn) return
    this.#signedIn = true
    this.#port.event({
      type: 'signed-in',
      endpoint: this.endpoint,
      broker: hello.name,
      epoch: this.#brokerEpoch,
      tasksKept: this.running,
    })
    const kept = this.#forgetKept()
    for (const record of kept) this.#transmit(record)
    this.#leaveIfDone()
  }

  /**
   * The broker will not talk to us. For REFUSE, and for messages of another major version, of which only the REFUSE or
   * the HELLO can be read.
   */
  refused(reason: string, message: string, now: number): void {
    if (this.#phase !== Phase.Open) return
    const { endpoint } = this
    if (reason === 'version') {
      this.#port.event({ type: 'refused', endpoint, reason, message, retryMs: 0 })
      this.#leave({ code: 'VERSION', message: `${endpoint}: ${message}`, retryable: false })
      return
    }
    const retryMs = this.#pause(now)
    this.#port.event({ type: 'refused', endpoint, reason, message, retryMs })
  }

  /** The other end is not who it was: nobody there knows of our tasks, and both count from 0. */
  #brokerChanged(epoch: number, now: number): void {
    this.counters.brokerChanges++
    this.#formerEpoch = this.#brokerEpoch
    this.#brokerEpoch = epoch
    this.#received = 0
    this.#sent = 0
    this.#forgetKept()
    const tasksCancelled = this.#abandonAll(NOBODY)
    this.#port.event({ type: 'broker-changed', endpoint: this.endpoint, epoch, tasksCancelled })
    this.#signIn(now)
  }

  /** It has taken us for dead, or it leaves, and one cannot tell which. */
  #disconnected(reason: string, now: number): void {
    this.#port.event({ type: 'disconnected', endpoint: this.endpoint, reason })
    // Signing in again and again to somebody who throws us out each time would be a race.
    if (now - this.#signedInAt < this.#config.reconnectMinMs) {
      this.#pause(now)
      return
    }
    this.#signIn(now)
    // Should it have left, another endpoint is not to wait for the whole liveness.
    this.#heardAt = now - this.#patienceMs + this.#config.heartbeatIntervalMs
  }

  // ---------------------------------------------------------------- time

  timeout(now: number): void {
    if (this.#phase === Phase.Stopped || this.#phase === Phase.New) return
    if (this.#deadlineAt <= now) this.#expire(now)
    if (this.#leaveAt !== undefined && this.#leaveAt <= now) {
      this.#leave(undefined)
      return
    }
    if (this.#phase === Phase.Pausing) {
      if (this.#reopenAt <= now) this.#open(now)
    } else if (this.#heardAt + this.#patienceMs <= now) this.#silent(now)
    else if (this.#beatAt <= now) {
      this.#beatAt = now + this.#config.heartbeatIntervalMs
      if (!this.#signedIn && this.#heardAt > this.#signedInAt) {
        // The broker is there, and knows us from before, but our sign-in was lost.
        this.#signIn(now)
        return
      }
      if (this.#offered !== this.#offerable) this.#offerAnew()
      else if (this.#offersLeft > 0) {
        this.#offersLeft--
        this.#offer()
      }
      this.#beat()
      // Until its sign-in is answered it may count from an earlier one: what the broker has given us since would be taken for lost.
      if (this.#signedIn && this.#inventoriesLeft > 0) {
        this.#inventoriesLeft--
        this.#inventory()
      }
    }
  }

  nextTimeout(): number {
    if (this.#phase === Phase.Stopped || this.#phase === Phase.New) return Number.POSITIVE_INFINITY
    const link =
      this.#phase === Phase.Pausing
        ? this.#reopenAt
        : Math.min(this.#beatAt, this.#heardAt + this.#patienceMs)
    return Math.min(link, this.#deadlineAt, this.#leaveAt ?? Number.POSITIVE_INFINITY)
  }

  /** @param brokerIntervalMs between its heartbeats, as it says; 0: not known */
  #setPatience(brokerIntervalMs: number): void {
    const { heartbeatIntervalMs, liveness } = this.#config
    this.#patienceMs = liveness * Math.max(heartbeatIntervalMs, brokerIntervalMs)
  }

  #beat(): void {
    this.#say({ kind: Kind.Heartbeat, ask: false, sent: this.#sent })
  }

  #silent(now: number): void {
    const { endpoint } = this
    const silentMs = Math.round(now - this.#heardAt)
    const retryMs = this.#pause(now)
    this.#port.event({
      type: 'broker-silent',
      endpoint,
      silentMs,
      retryMs,
      tasksRunning: this.running,
    })
  }

  #expire(now: number): void {
    let next = Number.POSITIVE_INFINITY
    for (const assignment of this.#held()) {
      if (assignment.stopped !== undefined) continue
      if (assignment.deadlineAt > now) next = Math.min(next, assignment.deadlineAt)
      else {
        const message = 'the time given was up before the task was done; give it more time'
        this.#cancel(assignment, { code: ErrorCode.Expired, message, retryable: assignment.isIdempotent })
      }
    }
    this.#deadlineAt = next
  }

  // ---------------------------------------------------------------- the connection

  /** The endpoint in use, or to be used next. */
  get endpoint(): string {
    return this.#config.endpoints[this.#endpoint] ?? ''
  }

  #open(now: number): void {
    this.#phase = Phase.Open
    this.#formerEpoch = 0
    this.#setPatience(0)
    this.#heardAt = now
    this.#beatAt = now + this.#config.heartbeatIntervalMs
    this.counters.connectionsOpened++
    this.#port.open(this.endpoint)
    this.#port.event({ type: 'connecting', endpoint: this.endpoint })
    this.#signIn(now)
  }

  /**
   * Addressed to the epoch that our tasks belong to: any other broker drops it unread and answers with its HELLO, so that
   * none is ever told of tasks that are not its own.
   */
  #signIn(now: number): void {
    this.#signedIn = false
    this.#signedInAt = now
    const { name, epoch, heartbeatIntervalMs, bodyMax } = this.#config
    this.#say({
      kind: Kind.Hello,
      role: Role.Worker,
      name,
      epoch,
      major: VERSION_MAJOR,
      minor: VERSION_MINOR,
      heartbeatIntervalMs,
      bodyMax,
      cloudfe: '',
      statebe: '',
      peers: [],
    })
    // Before READY: at once after it the broker may give us tasks, which must not be missed in this list.
    if (this.#received > 0 || this.running > 0) this.#inventory()
    // Of this one, the answer to the HELLO in the same message says that it has come.
    this.#offersLeft = 0
    this.#offer()
  }

  get #offerable(): number {
    return this.#leaveAt === undefined ? Math.max(0, this.#slots - this.#orphans) : 0
  }

  /** Nothing else tells that it was lost with a connection: the broker would count with the former slots for good. */
  #offerAnew(): void {
    this.#offersLeft = this.#config.liveness + 1
    this.#offer()
  }

  #offer(): void {
    this.#offered = this.#offerable
    this.#say({ kind: Kind.Ready, slots: this.#offered, services: this.#config.services })
  }

  /** Closes the connection until the next try, at the next endpoint. @returns the time until then, ms */
  #pause(now: number): number {
    this.#port.close(false)
    this.#phase = Phase.Pausing
    this.#signedIn = false
    this.#endpoint = (this.#endpoint + 1) % this.#config.endpoints.length
    // Half of it at random: those who lost their broker together shall not come back together.
    const pauseMs = Math.round(this.#backOffMs * (0.5 + this.#random() / 2))
    this.#reopenAt = now + pauseMs
    this.#backOffMs = Math.min(2 * this.#backOffMs, this.#config.reconnectMaxMs)
    return pauseMs
  }

  #say(record: Record): void {
    this.#port.send(record, this.#brokerEpoch)
  }

  // ---------------------------------------------------------------- the end

  #leaveIfDone(): void {
    if (this.#leaveAt === undefined || this.#phase === Phase.Stopped) return
    if (this.running === 0 && this.#kept === null) this.#leave(undefined)
  }

  #leave(error: Failure | undefined): void {
    const tokens = Array.from(this.#held(), ({ token }) => token)
    const reason = error === undefined ? 'the worker leaves' : error.message
    this.#abandonAll(LEAVING)
    if (this.#phase === Phase.Open) {
      if (this.#signedIn) for (const token of tokens) this.#reject(token, RejectReason.HandedBack)
      if (error === undefined) this.#say({ kind: Kind.Disconnect, reason })
      this.#port.close(true)
    }
    this.#phase = Phase.Stopped
    this.#signedIn = false
    this.#forgetKept()
    this.#port.event({ type: 'stopped', reason, tasksHandedBack: tokens.length })
    this.#port.stopped(error)
  }

  /** Nobody expects an answer to what runs any more. */
  #abandonAll(why: Failure): number {
    const abandoned = [...this.#held()]
    this.#only = null
    this.#several = null
    this.#deadlineAt = Number.POSITIVE_INFINITY
    for (const assignment of abandoned) {
      assignment.expected = false
      this.#orphans++
      this.#cancel(assignment, why)
    }
    return abandoned.length
  }

  // ---------------------------------------------------------------- what it holds

  #find(token: Token): A | undefined {
    const only = this.#only
    if (only !== null) return only.token === token ? only : undefined
    return this.#several?.get(token)
  }

  #hold(assignment: A): void {
    if (this.running === 0) {
      this.#only = assignment
      return
    }
    this.#several ??= new HeldTasks()
    if (this.#only !== null) this.#several.add(this.#only)
    this.#only = null
    this.#several.add(assignment)
  }

  #drop(assignment: A): void {
    if (assignment === this.#only) this.#only = null
    else this.#several?.delete(assignment)
  }

  /** In the order in which it came, as it is now: whoever goes through it may delete from it. */
  #held(): Iterable<A> {
    if (this.#only !== null) return [this.#only]
    return this.#several === null ? [] : this.#several.values()
  }

  #forgetKept(): readonly (Reply | Partial)[] {
    const kept = this.#kept ?? []
    this.#kept = null
    this.#keptOctets = 0
    return kept
  }
}
