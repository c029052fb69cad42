import { ErrorCode } from '../../protocol/error-code.ts'
import {
  EMPTY_BODY,
  type Hello,
  Kind,
  type Message,
  RejectReason,
  type Request,
  Role,
  type Token,
  VERSION_MAJOR,
} from '../../protocol/record.ts'
import type { Context } from './context.ts'
import { Guest } from './guest.ts'
import { Link } from './link.ts'
import type { Peer } from './peer.ts'
import type { Peers } from './peers.ts'
import { SharedHeartbeat } from './shared-heartbeat.ts'
import type { Task } from './task.ts'

/** cloudfe: peers that send us their tasks. What comes from a peer runs here at once or soon, or goes back; it is never sent
 *  on. */
export class Guests {
  readonly byName = new Map<string, Guest>()
  /** Those whose counts of tasks our states tell, as long as anybody may need them: few of many. */
  readonly counted = new Set<Guest>()
  readonly #context: Context
  readonly #peers: Peers
  readonly #beat = new SharedHeartbeat(false)

  constructor(context: Context, peers: Peers) {
    this.#context = context
    this.#peers = peers
  }

  /** @param key the peer's name: brokers connect to each other under their names */
  receive(key: string, message: Message, now: number, known: Link | null): void {
    const { config, counters, epoch, port } = this.#context
    const owner = known === null ? null : known.owner
    let guest = owner instanceof Guest ? owner : this.byName.get(key)
    if (this.#peers.isRemoved(key)) {
      this.#turnOut(guest, key, message, now)
      return
    }
    const first = message.records[0]
    if (first?.kind === Kind.Hello && first.role === Role.Broker && first.name === key) {
      const living = this.#peers.twinOf(first, message.from, now)
      if (living !== null) {
        this.#turnAwayTwin(guest, key, message.from, first, living, now)
        return
      }
    }
    if (message.to !== epoch && !(message.to === 0 && first?.kind === Kind.Hello)) {
      // Meant for an earlier life of this broker, or said before hello: our HELLO sets the sender right.
      counters.drop(message.to === 0 ? 'no_hello' : 'stale_epoch')
      // By a link of its own unless it is the same life of the guest: a new one has to be noticed when it says hello.
      this.#greet(guest?.link.epoch === message.from ? guest.link : new Link('cloudfe', key), message.from)
      return
    }
    if (guest !== undefined && guest.link.epoch !== message.from) {
      this.lose(guest, now)
      guest = undefined
    }
    if (guest === undefined) {
      if (this.byName.size >= config.peersMax) {
        counters.drop('peers_max')
        return
      }
      const link = new Link('cloudfe', key)
      link.epoch = message.from
      guest = new Guest(key, link, this.#context.seed, now)
      this.byName.set(key, guest)
      this.#context.wheel.set(guest, now + config.stateTtlMs)
      // We have forgotten each other, or only we have: from our HELLO it sees that we do not count it among our peers.
      if (message.to === epoch) this.#greet(link, message.from)
    }
    guest.heardAt = now
    for (const record of message.records) {
      switch (record.kind) {
        case Kind.Request:
          this.#request(guest, record, message.oversized, now)
          break
        case Kind.Heartbeat:
          // More: some were lost. Fewer: it counts anew, having lost us and found us at another address.
          if (record.sent !== guest.received)
            guest.inventoriesLeft = Math.ceil(config.stateTtlMs / config.stateIntervalMs) + 2
          if (guest.inventoriesLeft > 0) {
            guest.inventoriesLeft--
            this.#inventory(guest, record.sent)
          }
          if (record.ask) port.send(guest.link, this.#beat.with(guest.answered))
          break
        case Kind.Audit:
          this.#inventory(guest, record.sent)
          break
        case Kind.Credit: {
          const task = guest.tasks.get(record.token)
          if (task === undefined) break
          if (record.upTo <= task.creditUpTo) this.#sayHowFar(guest, task)
          this.#context.scheduler.credit(task, record.upTo)
          break
        }
        case Kind.Cancel: {
          const task = guest.tasks.get(record.token)
          if (task !== undefined) this.#context.scheduler.cancel(task, now)
          break
        }
        case Kind.Hello:
          if (!this.#welcome(guest, record, now)) return
          break
        case Kind.Disconnect:
          this.lose(guest, now)
          return
        case Kind.Refuse:
          port.event({ type: 'refused-by', who: guest.name, reason: record.reason, message: record.message })
          break
        default:
          counters.drop('out_of_place')
      }
    }
  }

  /**
   * Whoever repeats a credit has not got what it gave: the pieces may have been lost with a connection, and without this
   * its reader would wait for them and our worker for more credit until the task's time is up (seed 5341).
   */
  #sayHowFar(guest: Guest, task: Task): void {
    if (!task.isStream) return
    this.#context.port.send(guest.link, {
      kind: Kind.Pending,
      token: task.token,
      running: task.current !== null,
      attempt: task.starts,
      partials: task.current === null ? 0 : task.streamed,
    })
  }

  #welcome(guest: Guest, hello: Hello, now: number): boolean {
    const { config, port, epoch } = this.#context
    const foreign = hello.role !== Role.Broker || hello.major !== VERSION_MAJOR
    const impostor = hello.name === config.name && guest.link.epoch !== epoch
    if (foreign || impostor || hello.name !== guest.name) {
      const reason = foreign ? 'role' : impostor ? 'name-taken' : 'name'
      const message = foreign
        ? `cloudfe takes brokers of protocol version ${VERSION_MAJOR}; clients belong at localfe, workers at localbe`
        : impostor
          ? `another broker is called ${config.name}; give each cluster a name of its own`
          : 'a broker must connect under its own name as routing id'
      port.send(guest.link, { kind: Kind.Refuse, reason, message })
      port.event({ type: 'peer-refused', peer: hello.name, address: hello.cloudfe, reason, message })
      this.lose(guest, now)
      return false
    }
    port.send(guest.link, this.#context.helloPeer(guest.name))
    this.#peers.met(hello, now)
    return true
  }

  /** The operator removed it as a peer: it is none in the other direction either. */
  #turnOut(guest: Guest | undefined, key: string, message: Message, now: number): void {
    if (guest !== undefined) this.lose(guest, now)
    if (message.records[0]?.kind === Kind.Refuse) return
    const link = new Link('cloudfe', key)
    link.epoch = message.from
    this.#context.port.send(link, {
      kind: Kind.Refuse,
      reason: 'removed',
      message: `${this.#context.config.name} was told by its operator to have nothing to do with ${key}; add it there as a peer again`,
    })
  }

  /** Before any greeting, by which it would believe that it is welcome and come back at once. */
  #turnAwayTwin(
    guest: Guest | undefined,
    key: string,
    from: number,
    hello: Hello,
    living: Peer,
    now: number,
  ): void {
    if (guest?.link.epoch === from) this.lose(guest, now)
    const link = new Link('cloudfe', key)
    link.epoch = from
    const message = `the broker at ${living.address} is called ${hello.name}, too; give each cluster a name of its own`
    const { port } = this.#context
    port.send(link, { kind: Kind.Refuse, reason: 'name-taken', message })
    port.event({
      type: 'peer-refused',
      peer: hello.name,
      address: hello.cloudfe,
      reason: 'name-taken',
      message,
    })
  }

  #greet(link: Link, from: number): void {
    link.epoch = from
    this.#context.port.send(link, this.#context.helloPeer(link.key))
  }

  #request(guest: Guest, request: Request, oversized: readonly Token[] | undefined, now: number): void {
    const { config, counters, scheduler, port } = this.#context
    guest.received++
    this.counted.add(guest)
    scheduler.capacityChanged = true
    if (guest.tasks.has(request.token)) {
      counters.drop('repeated')
      return
    }
    counters.tasksReceived.peer++
    if (oversized?.includes(request.token)) {
      guest.answered++
      port.send(guest.link, {
        kind: Kind.Reply,
        token: request.token,
        code: ErrorCode.TooLarge,
        retryable: false,
        retryAfterMs: 0,
        attempts: 0,
        queuedUs: 0,
        runUs: 0,
        partials: 0,
        cluster: config.name,
        worker: '',
        message: `${config.name} takes bodies of up to ${config.bodyMax} octets; set the same bodyMax on all brokers`,
        body: EMPTY_BODY,
      })
      return
    }
    const service = scheduler.services.byName.get(request.service)
    let reason: RejectReason | null = RejectReason.NoService
    if (service !== undefined) {
      const task = scheduler.pool.take(service, request, null, guest, now, now + request.timeLeftMs)
      guest.tasks.add(task)
      reason = scheduler.host(task, now)
      if (reason !== null) {
        guest.tasks.remove(task)
        scheduler.pool.giveBack(task)
      }
    }
    if (reason === null) return
    counters.rejectsSent++
    guest.answered++
    port.send(guest.link, {
      kind: Kind.Reject,
      token: request.token,
      reason,
      free: scheduler.draining || service === undefined ? 0 : service.free,
      received: guest.received,
      worker: '',
    })
  }

  /** Some of its REQUESTs never came, or it misses answers: it learns what we hold, and decides about the rest. */
  #inventory(guest: Guest, sent: number): void {
    guest.received = sent
    this.counted.add(guest)
    this.#context.scheduler.capacityChanged = true
    this.#context.port.send(guest.link, {
      kind: Kind.Inventory,
      received: sent,
      tokens: guest.tasks.all().map(({ token }) => token),
    })
  }

  /** It was we who did not listen: everybody's silence begins anew. */
  excuse(now: number): void {
    for (const guest of this.byName.values()) guest.heardAt = now
  }

  /** Its timer has gone off. */
  check(guest: Guest, now: number): void {
    if (this.byName.get(guest.name) !== guest) return
    const due = guest.heardAt + this.#context.config.stateTtlMs
    if (now >= due) this.lose(guest, now)
    else this.#context.wheel.set(guest, due)
  }

  /** It is gone, or another life of it has begun: nobody waits for its tasks any more. */
  lose(guest: Guest, now: number): void {
    if (this.byName.get(guest.name) !== guest) return
    this.byName.delete(guest.name)
    guest.link.owner = null
    this.counted.delete(guest)
    this.#context.wheel.clear(guest)
    for (const task of guest.tasks.all()) this.#context.scheduler.cancel(task, now)
  }
}
