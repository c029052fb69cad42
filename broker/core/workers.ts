import {
  type Hello,
  Kind,
  type Message,
  type Ready,
  type Record,
  Role,
  type Token,
  VERSION_MAJOR,
} from '../../protocol/record.ts'
import type { Assignment } from './assignment.ts'
import type { Context } from './context.ts'
import { type Dialect, Link } from './link.ts'
import type { Service } from './service.ts'
import { Membership, Worker } from './worker.ts'

/** A connection's slots beyond this are not believed. */
const SLOTS_MAX = 4096
const SERVICES_PER_WORKER_MAX = 64
/** Moments within a worker's heartbeat interval at which silences may end. */
const CHECKS_A_BEAT = 16
const NOTHING: readonly string[] = []

/** localbe: workers sign in, beat, answer, fall silent. */
export class Workers {
  readonly byKey = new Map<string, Worker>()
  readonly #context: Context

  constructor(context: Context) {
    this.#context = context
  }

  receive(key: string, message: Message, now: number, known: Link | null): void {
    const { port, counters, epoch } = this.#context
    const owner = known !== null && known.epoch === message.from ? known.owner : null
    let worker = owner instanceof Worker && !owner.gone ? owner : this.byKey.get(key)
    if (message.to !== 0 && message.to !== epoch) {
      // It has not noticed our restart: our HELLO tells it, and it signs in again.
      counters.drop('stale_epoch')
      // By a link of its own unless it is the same life of the worker: a new one has to be noticed when it signs in.
      const link = worker?.link.epoch === message.from ? worker.link : new Link('localbe', key)
      link.epoch = message.from
      port.send(link, this.#context.helloLocal())
      return
    }
    if (worker !== undefined && worker.link.epoch !== message.from) {
      this.lose(worker, 'restarted', now)
      worker = undefined
    }
    if (worker === undefined) {
      const first = message.records[0]
      if (first === undefined || first.kind !== Kind.Hello) {
        this.#stranger(key, message.from)
        return
      }
      const signedIn = this.#signIn(key, message.from, first, now)
      if (signedIn === null) return
      worker = signedIn
    }
    worker.heardAt = now
    const wasBlocked = worker.blocked
    for (const record of message.records) {
      this.#record(worker, record, now)
      if (worker.gone) return
    }
    if (wasBlocked) {
      worker.blocked = false
      this.#context.scheduler.slotsChanged(worker)
      this.#context.scheduler.pumpWorker(worker, now)
    }
  }

  #record(worker: Worker, record: Record, now: number): void {
    const { port, counters, scheduler } = this.#context
    switch (record.kind) {
      case Kind.Reply: {
        const assignment = this.#assignment(worker, record.token)
        if (assignment === null) this.#late(worker, record.token)
        else {
          worker.answered++
          if (!scheduler.reply(assignment, record, now)) counters.lateReplies++
        }
        scheduler.pumpWorker(worker, now)
        break
      }
      case Kind.Partial: {
        const assignment = this.#assignment(worker, record.token)
        if (assignment !== null && scheduler.partial(assignment, record, now)) counters.partialsForwarded++
        else counters.partialsDropped++
        break
      }
      case Kind.Pending: {
        const assignment = this.#assignment(worker, record.token)
        if (assignment !== null) scheduler.streamedSoFar(assignment, record.partials, now)
        break
      }
      case Kind.Reject: {
        const assignment = this.#assignment(worker, record.token)
        if (assignment === null) {
          this.#late(worker, record.token)
          scheduler.pumpWorker(worker, now)
          break
        }
        worker.answered++
        // It has no slot where we counted one: nothing more for it until its next sign of life sets us right.
        worker.blocked = true
        port.send(worker.link, { kind: Kind.Audit, sent: worker.sent })
        scheduler.reject(assignment, record, now)
        break
      }
      case Kind.Heartbeat:
        worker.missing = Math.max(0, record.sent - worker.answered)
        // With every heartbeat until an inventory comes: the question and the answer may be lost as well.
        // And while it is said to hold what nobody waits for: that, too, may be old news, and would take a slot for good.
        if (worker.missing > 0 || worker.ghosts !== null)
          port.send(worker.link, { kind: Kind.Audit, sent: worker.sent })
        if (worker.missing === 0) worker.answered = record.sent
        if (record.ask) port.send(worker.link, { kind: Kind.Heartbeat, ask: false, sent: worker.sent })
        break
      case Kind.Inventory:
        this.#reconcile(worker, record.received, record.tokens, now)
        break
      case Kind.Ready:
        this.#offer(worker, record, now)
        break
      case Kind.Hello:
        worker.name = record.name
        worker.heartbeatIntervalMs = Math.max(1, record.heartbeatIntervalMs)
        port.send(worker.link, this.#context.helloLocal())
        break
      case Kind.Disconnect:
        this.#leave(worker, record.reason, now)
        break
      case Kind.Refuse:
        port.event({ type: 'refused-by', who: worker.name, reason: record.reason, message: record.message })
        break
      default:
        counters.drop('out_of_place')
    }
  }

  // ---------------------------------------------------------------- stock dialects

  stockReady(key: string, dialect: Dialect, now: number): void {
    const known = this.byKey.get(key)
    if (known === undefined) {
      this.#stockSignIn(key, dialect, now)
      return
    }
    // READY means "I have nothing": what we thought it was working on, it lost.
    this.#heardStock(known, now)
    this.#watch(known)
    for (const a of known.heldNewestFirst()) {
      this.#context.scheduler.takeBack(a, 'inventory', now)
    }
    this.#context.scheduler.pumpWorker(known, now)
  }

  /** A heartbeat from nobody we know is a READY: so a restarted broker has its workers back at once (a stock worker
   *  signs in again only after seconds of silence). From a busy worker it must not make it idle. */
  stockHeartbeat(key: string, now: number): void {
    const known = this.byKey.get(key)
    if (known === undefined) this.#stockSignIn(key, 'ppp', now)
    else {
      this.#heardStock(known, now)
      this.#context.scheduler.pumpWorker(known, now)
    }
  }

  #heardStock(worker: Worker, now: number): void {
    worker.heardAt = now
    if (!worker.blocked) return
    worker.blocked = false
    this.#context.scheduler.slotsChanged(worker)
  }

  stockReply(key: string, dialect: Dialect, token: Token, body: Uint8Array, now: number): void {
    const { counters, scheduler, config } = this.#context
    let worker = this.byKey.get(key)
    const assignment = worker === undefined ? null : this.#assignment(worker, token)
    if (worker === undefined) worker = this.#stockSignIn(key, dialect, now) ?? undefined
    if (worker === undefined) return
    this.#heardStock(worker, now)
    if (assignment === null) counters.lateReplies++
    else if (
      !scheduler.reply(
        assignment,
        {
          kind: Kind.Reply,
          token,
          code: '',
          retryable: false,
          retryAfterMs: 0,
          attempts: 1,
          queuedUs: 0,
          runUs: Math.max(0, Math.min(0xffffffff, Math.round((now - assignment.startedAt) * 1000))),
          partials: 0,
          cluster: config.name,
          worker: worker.name,
          message: '',
          body,
        },
        now,
      )
    ) {
      counters.lateReplies++
    }
    this.#watch(worker)
    scheduler.pumpWorker(worker, now)
  }

  #stockSignIn(key: string, dialect: Dialect, now: number): Worker | null {
    const worker = this.#add(
      new Link('localbe', key, dialect),
      printable(key),
      this.#context.config.workerHeartbeatIntervalMs,
      now,
    )
    if (worker !== null) this.#setOffer(worker, 1, [''], now)
    return worker
  }

  // ---------------------------------------------------------------- signing in and out

  #stranger(key: string, from: number): void {
    const { port, counters } = this.#context
    counters.drop('unknown_worker')
    const link = new Link('localbe', key)
    link.epoch = from
    port.send(link, { kind: Kind.Disconnect, reason: 'you are not signed in here (any more): sign in again' })
  }

  #signIn(key: string, epoch: number, hello: Hello, now: number): Worker | null {
    const link = new Link('localbe', key)
    link.epoch = epoch
    if (hello.role !== Role.Worker || hello.major !== VERSION_MAJOR) {
      const message =
        'localbe takes workers of protocol version 1; clients belong at localfe, brokers at cloudfe'
      this.#context.port.send(link, { kind: Kind.Refuse, reason: 'role', message })
      this.#context.port.event({ type: 'worker-refused', key: printable(key), reason: 'role', message })
      return null
    }
    return this.#add(link, hello.name, Math.max(1, hello.heartbeatIntervalMs), now)
  }

  #add(link: Link, name: string, heartbeatIntervalMs: number, now: number): Worker | null {
    const { config, port, counters } = this.#context
    if (this.byKey.size >= config.workersMax && !this.#evictSilent(now)) {
      counters.drop('workers_max')
      if (link.dialect === 'native') {
        const message = `${config.workersMax} workers are signed in already; raise workersMax, or give each worker more slots`
        port.send(link, { kind: Kind.Refuse, reason: 'workersMax', message })
      }
      return null
    }
    const worker = new Worker(link, name, heartbeatIntervalMs, now)
    this.byKey.set(link.key, worker)
    this.#watch(worker)
    return worker
  }

  /** A plain REQ worker that died while idle shows no sign of it: when room is needed, the one idle longest goes. */
  #evictSilent(now: number): boolean {
    let longest: Worker | null = null
    for (const worker of this.byKey.values()) {
      if (worker.link.dialect !== 'req' || worker.busy > 0) continue
      if (longest === null || worker.heardAt < longest.heardAt) longest = worker
    }
    if (longest === null) return false
    this.lose(longest, 'making room', now)
    return true
  }

  #offer(worker: Worker, ready: Ready, now: number): void {
    const slots = Math.min(ready.slots, SLOTS_MAX)
    const services = [...new Set(ready.services)].slice(0, SERVICES_PER_WORKER_MAX)
    const served = worker.services().map(({ name }) => name)
    // What there was no room for is news again only when there is: READY may be repeated with each heartbeat.
    const unchanged =
      slots === worker.slots &&
      served.every((name) => services.includes(name)) &&
      services.every((name) => served.includes(name) || !this.#context.scheduler.services.hasRoomFor(name))
    if (unchanged) return
    this.#setOffer(worker, slots, services, now)
  }

  #setOffer(worker: Worker, slots: number, names: readonly string[], now: number): void {
    const { scheduler, port, counters } = this.#context
    this.#withdraw(worker, names)
    worker.slots = slots
    const served: Service[] = []
    for (const name of names) {
      const service = scheduler.services.open(name)
      if (service === null) {
        counters.drop('services_max')
        continue
      }
      service.workers++
      service.slots += slots
      served.push(service)
    }
    for (const service of served.reverse()) worker.serves = new Membership(worker, service, worker.serves)
    port.event({
      type: 'worker-ready',
      worker: worker.name,
      key: printable(worker.link.key),
      dialect: worker.link.dialect,
      slots,
      services: names,
    })
    for (const service of worker.services()) if (service.slots === 0) scheduler.turnAway(service)
    scheduler.slotsChanged(worker)
    scheduler.pumpWorker(worker, now)
  }

  /** @param stays names of services that it serves on: what waits for them waits, what is known of them is kept */
  #withdraw(worker: Worker, stays: readonly string[]): void {
    const { scheduler } = this.#context
    for (let membership = worker.serves; membership !== null; membership = membership.other) {
      const { service } = membership
      service.unlink(membership)
      service.free -= worker.countedFree
      service.slots -= worker.slots
      service.workers--
      if (stays.includes(service.name)) continue
      if (service.workers === 0) scheduler.turnAway(service)
      scheduler.services.release(service)
    }
    if (worker.serves !== null) scheduler.capacityChanged = true
    worker.countedFree = 0
    worker.serves = null
    worker.slots = 0
  }

  #leave(worker: Worker, reason: string, now: number): void {
    this.#remove(worker)
    for (const a of worker.heldNewestFirst()) {
      this.#context.scheduler.takeBack(a, 'handedBack', now)
    }
    this.#context.port.event({
      type: 'worker-left',
      worker: worker.name,
      key: printable(worker.link.key),
      reason,
    })
  }

  /** The worker is dead: what it held runs again elsewhere. */
  lose(worker: Worker, reason: string, now: number): void {
    if (this.byKey.get(worker.link.key) !== worker) return
    this.#remove(worker)
    let tasksTakenBack = 0
    for (const a of worker.heldNewestFirst()) {
      if (a.task !== null) tasksTakenBack++
      this.#context.scheduler.takeBack(a, 'workerLost', now, worker.name)
    }
    this.#context.port.event({
      type: 'worker-lost',
      worker: worker.name,
      key: printable(worker.link.key),
      reason,
      tasksTakenBack,
    })
  }

  #remove(worker: Worker): void {
    this.byKey.delete(worker.link.key)
    worker.gone = true
    this.#context.wheel.clear(worker)
    this.#withdraw(worker, NOTHING)
  }

  // ---------------------------------------------------------------- liveness

  /** Sets the end of its silence, where silence means anything: an idle REQ worker cannot speak, a busy stock worker
   *  does not. */
  #watch(worker: Worker): void {
    const { wheel, config } = this.#context
    const mute = worker.link.dialect === 'req' || (!worker.beatsWhileWorking && worker.held > 0)
    if (mute) wheel.clear(worker)
    else {
      const interval = this.#interval(worker)
      // By the step, so that those of a thousand idle workers come together: a timer that goes off for one of them costs as
      // much as for all.
      const step = interval / CHECKS_A_BEAT
      wheel.set(worker, Math.ceil((worker.heardAt + config.workerLiveness * interval) / step) * step)
    }
  }

  #interval(worker: Worker): number {
    return Math.max(worker.heartbeatIntervalMs, this.#context.config.workerHeartbeatIntervalMs)
  }

  /** It was we who did not listen: everybody's silence begins anew. */
  excuse(now: number): void {
    for (const worker of this.byKey.values()) worker.heardAt = now
  }

  /** Its timer has gone off: it is dead if it has said nothing meanwhile. */
  check(worker: Worker, now: number): void {
    if (this.byKey.get(worker.link.key) !== worker) return
    const silentFor = now - worker.heardAt
    const limit = this.#context.config.workerLiveness * this.#interval(worker)
    if (silentFor < limit || (!worker.beatsWhileWorking && worker.held > 0)) this.#watch(worker)
    else this.lose(worker, `silent for ${Math.round(silentFor)} ms`, now)
  }

  /** A stock worker's attempt has used up the time that a silent worker gets. */
  checkSilent(assignment: Assignment, worker: Worker, now: number): void {
    if (!assignment.open) return
    const { scheduler, wheel } = this.#context
    const task = assignment.task
    if (task !== null && now < task.deadline) {
      // Once more at the end of the task's time: then the worker counts as dead.
      wheel.set(assignment, task.deadline)
      scheduler.abandon(assignment, 'silent', now)
      return
    }
    this.lose(worker, 'silent to the end of its task', now)
  }

  beat(): void {
    const { port } = this.#context
    for (const worker of this.byKey.values()) {
      if (worker.link.dialect === 'req') continue
      port.send(worker.link, { kind: Kind.Heartbeat, ask: false, sent: worker.sent })
      if (worker.unwanted > 0 && worker.link.dialect === 'native') this.#cancelAgain(worker)
      // A PPP worker that was busy when its timer went off is watched again from its first idle beat on.
      if (!worker.waiting) this.#watch(worker)
    }
  }

  /**
   * A CANCEL may be lost with a connection that neither end sees break, or to a full pipe, and a stream that nobody reads would
   * keep its slot to the end of its time (seed 680).
   */
  #cancelAgain(worker: Worker): void {
    for (let a = worker.firstHeld; a !== null; a = a.next) {
      if (a.task === null) this.#context.port.send(worker.link, { kind: Kind.Cancel, token: a.token })
    }
  }

  /** A message for it did not leave: it never got what was in it. */
  undelivered(worker: Worker, records: readonly Record[], reason: 'unreachable' | 'full', now: number): void {
    for (const record of records) {
      if (record.kind !== Kind.Request) continue
      const assignment = this.#assignment(worker, record.token)
      if (assignment === null) continue
      worker.blocked = true
      this.#context.scheduler.takeBack(assignment, 'undelivered', now)
    }
    if (reason === 'unreachable') this.lose(worker, 'its connection is gone', now)
  }

  // ---------------------------------------------------------------- reconciliation

  #assignment(worker: Worker, token: Token): Assignment | null {
    const assignment = this.#context.scheduler.assignments.find(token)
    return assignment !== null && assignment.executor === worker ? assignment : null
  }

  #late(worker: Worker, token: Token): void {
    const { counters, scheduler } = this.#context
    counters.lateReplies++
    if (worker.ghosts === null || !worker.ghosts.delete(token)) return
    if (worker.ghosts.size === 0) worker.ghosts = null
    worker.answered++
    scheduler.slotsChanged(worker)
  }

  /** What the worker should hold and does not was lost on the way; what it holds and should not takes a slot until it ends. */
  #reconcile(worker: Worker, received: number, tokens: readonly Token[], now: number): void {
    const { scheduler, port } = this.#context
    worker.answered += worker.missing
    worker.missing = 0
    // It counts from an earlier sign-in. Left at that, the counts may become the same by the very REQUESTs that are lost
    // (seed 99).
    if (received > worker.sent) port.send(worker.link, { kind: Kind.Audit, sent: worker.sent })
    const held = new Set(tokens)
    const lost: Assignment[] = []
    for (const a of worker.heldNewestFirst()) {
      if (held.delete(a.token)) {
        scheduler.renewCredit(a)
      } else if (a.number <= received) lost.push(a)
    }
    // First the slots that are taken after all, or what is taken back would be sent to them.
    worker.ghosts = held.size === 0 ? null : held
    for (const token of held) {
      port.send(worker.link, { kind: Kind.Cancel, token })
    }
    scheduler.slotsChanged(worker)
    let tasksLost = 0
    for (const a of lost) {
      if (a.task?.current === a) tasksLost++
      scheduler.takeBack(a, 'inventory', now)
    }
    scheduler.pumpWorker(worker, now)
    if (tasksLost > 0) port.event({ type: 'inventory', executor: worker.name, tasksLost })
  }
}

/** Routing ids may be any octets; logs want text. */
export function printable(key: string): string {
  return /^[\x21-\x7e]+$/.test(key)
    ? key
    : `0x${Array.from(key, (c) => c.charCodeAt(0).toString(16).padStart(2, '0')).join('')}`
}
