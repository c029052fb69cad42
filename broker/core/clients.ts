import { ErrorCode } from '../../protocol/error-code.ts'
import {
  EMPTY_BODY,
  Flag,
  type Hello,
  Kind,
  type Message,
  PRIORITY_DEFAULT,
  type Reply,
  type Request,
  Role,
  type Token,
  VERSION_MAJOR,
} from '../../protocol/record.ts'
import { Answered } from './answer-pages.ts'
import { Client, type ClientRegistry } from './client.ts'
import type { Context } from './context.ts'
import { Link } from './link.ts'
import { draining, type Failure, unknown } from './scheduler.ts'
import type { Task } from './task.ts'
import { printable } from './workers.ts'

/** A client that reads a stream beats at least every two seconds, whatever interval the broker's workers keep. */
const READER_SILENCE_MIN_MS = 10_000

/**
 * Silence after which a reader loses its streams, ms. Twice what a worker gets: it may be busy with what it has read, and it
 * loses its stream only once.
 */
export function readerSilenceMs(workerLiveness: number, workerHeartbeatIntervalMs: number): number {
  return Math.max(READER_SILENCE_MIN_MS, 2 * workerLiveness * workerHeartbeatIntervalMs)
}

/** localfe: tasks in, answers out. Knows only clients that have tasks here. */
export class Clients implements ClientRegistry {
  readonly seed: number
  readonly #context: Context
  /** Those that callers do not name by their links. */
  readonly #byKey = new Map<string, Client>()
  #size = 0
  /** Silences count from then on, or from what was heard later. */
  #excusedAt = Number.NEGATIVE_INFINITY

  constructor(context: Context) {
    this.#context = context
    this.seed = context.seed
  }

  /** Clients with tasks here. */
  get size(): number {
    return this.#size
  }

  enter(client: Client): void {
    this.#size++
    if (client.byLink) return
    client.listed = true
    this.#byKey.set(client.link.key, client)
  }

  leave(client: Client): void {
    this.#size--
    if (!client.listed) return
    client.listed = false
    this.#byKey.delete(client.link.key)
  }

  /** The client behind a link, if it has tasks here. */
  find({ owner, key }: Link): Client | undefined {
    return owner instanceof Client && owner.tasks > 0 ? owner : this.#byKey.get(key)
  }

  receive(key: string, message: Message, now: number, link: Link | null): void {
    const { port, counters, epoch } = this.#context
    const owner = link === null ? null : link.owner
    let known = owner instanceof Client ? owner : undefined
    if (known !== undefined && known.link.epoch === message.from) known.byLink = true
    else {
      if (known !== undefined) this.#cancelAll(known, now)
      known = this.#byKey.get(key)
      if (known !== undefined && known.link.epoch !== message.from) {
        // Another process behind the same routing id: it knows nothing of the former one's tasks, and gives tokens anew.
        this.#cancelAll(known, now)
        known = undefined
      }
    }
    const client = known ?? new Client(new Link('localfe', key), this)
    client.link.epoch = message.from
    client.heardAt = now
    if (message.to !== 0 && message.to !== epoch) {
      // Meant for an earlier life of this broker: our HELLO tells the client, and it sends again what it still wants.
      counters.drop('stale_epoch')
      port.send(client.link, this.#context.helloLocal())
      return
    }
    if (message.records.length > 1) this.#context.scheduler.ledger.fetch(message.records)
    for (const record of message.records) {
      switch (record.kind) {
        case Kind.Request:
          this.#request(client, record, message.oversized, now)
          break
        case Kind.Hello:
          if (record.role !== Role.Client) {
            this.#turnAway(client.link, record)
            return
          }
          if (record.major === VERSION_MAJOR) port.send(client.link, this.#context.helloLocal())
          break
        case Kind.Heartbeat:
          if (record.ask) port.send(client.link, { kind: Kind.Heartbeat, ask: false, sent: record.sent })
          break
        case Kind.Credit: {
          const task = client.task(record.token)
          if (task !== undefined) this.#context.scheduler.credit(task, record.upTo)
          break
        }
        case Kind.Cancel: {
          const task = client.task(record.token)
          if (task !== undefined) this.#context.scheduler.cancel(task, now)
          break
        }
        case Kind.Disconnect:
          this.#cancelAll(client, now)
          break
        default:
          counters.drop('out_of_place')
      }
    }
  }

  /** A worker would wait here for tasks, and a broker count us as a peer whose state never comes. */
  #turnAway(link: Link, { name }: Hello): void {
    const message = `localfe takes clients of protocol version ${VERSION_MAJOR}; workers belong at localbe, brokers at cloudfe`
    this.#context.port.send(link, { kind: Kind.Refuse, reason: 'role', message })
    const key = name === '' ? printable(link.key) : name
    this.#context.port.event({ type: 'client-refused', key, reason: 'role', message })
  }

  #cancelAll(client: Client, now: number): void {
    for (const task of client.allTasks()) this.#context.scheduler.cancel(task, now)
  }

  get #silenceMax(): number {
    const { workerLiveness, workerHeartbeatIntervalMs } = this.#context.config
    return readerSilenceMs(workerLiveness, workerHeartbeatIntervalMs)
  }

  /** Its timer has gone off: a reader that has fallen silent must not keep slots with streams that nobody reads. */
  check(client: Client, now: number): void {
    const streams = client.allTasks().filter((task) => task.isStream)
    if (streams.length === 0) return
    const due = Math.max(client.heardAt, this.#excusedAt) + this.#silenceMax
    if (now < due) this.#context.wheel.set(client, due)
    else for (const task of streams) this.#context.scheduler.readerLost(task, now)
  }

  /** It was we who did not listen: everybody's silence begins anew. */
  excuse(now: number): void {
    this.#excusedAt = now
  }

  /** A stock client's task: it can say nothing of itself but its body. */
  stockRequest(
    key: string,
    envelope: readonly Uint8Array[],
    id: string,
    body: Uint8Array,
    now: number,
  ): void {
    const { config, counters, scheduler } = this.#context
    counters.tasksReceived.stock++
    const client = new Client(new Link('localfe', key, 'req', envelope), null)
    const token = 0
    if (body.byteLength > config.bodyMax) {
      this.#refuse(client, token, tooLarge(config.bodyMax))
      return
    }
    if (scheduler.draining) {
      this.#refuse(client, token, draining(config.name))
      return
    }
    const service = scheduler.services.open('')
    if (service === null) {
      this.#refuse(client, token, tooManyServices())
      return
    }
    const fields = { id, priority: PRIORITY_DEFAULT, flags: 0, traceparent: '', body, creditUpTo: 0, token }
    const task = scheduler.pool.take(service, fields, client, null, now, now + config.stockTaskTimeMs)
    client.add(task)
    scheduler.submit(task, now)
  }

  #request(client: Client, request: Request, oversized: readonly Token[] | undefined, now: number): void {
    const { config, counters, scheduler, port } = this.#context
    const known = scheduler.ledger.find(request.octets ?? request.id)
    if (known instanceof Answered) {
      counters.answeredAgain++
      port.send(client.link, { ...known.reply, token: request.token })
      return
    }
    if (known !== undefined) {
      this.#attach(known, client, request, now)
      return
    }
    counters.tasksReceived.client++
    if (client.task(request.token) !== undefined) {
      // Another task under a token that is taken: the answers could not be told apart.
      counters.drop('token_taken')
      return
    }
    if (oversized?.includes(request.token)) {
      this.#refuse(client, request.token, tooLarge(config.bodyMax))
      return
    }
    if (scheduler.draining) {
      this.#refuse(client, request.token, draining(config.name))
      return
    }
    if (
      request.attempt > 1 &&
      (request.flags & Flag.NotIdempotent) !== 0 &&
      scheduler.ledger.mayHaveForgotten(now)
    ) {
      this.#refuse(client, request.token, unknown('forgotten'))
      return
    }
    const service = scheduler.services.open(request.service)
    if (service === null) {
      this.#refuse(client, request.token, tooManyServices())
      return
    }
    const time = Math.min(request.timeLeftMs, config.taskTimeMaxMs)
    const task = scheduler.pool.take(service, request, client, null, now, now + time)
    client.add(task)
    scheduler.ledger.add(task)
    if (task.isStream && !client.waiting) this.#context.wheel.set(client, now + this.#silenceMax)
    scheduler.submit(task, now)
  }

  /** The client sent a task again that is still here: it waits for the one under way, and nothing runs twice. */
  #attach(task: Task, client: Client, request: Request, now: number): void {
    const { config, counters, scheduler, port, wheel } = this.#context
    counters.attached++
    if (task.client !== client || task.token !== request.token) {
      const other = client.task(request.token)
      if (other !== undefined && other !== task) {
        counters.drop('token_taken')
        return
      }
      task.client?.remove(task)
      task.client = client
      task.token = request.token
      client.add(task)
      if (task.isStream && !client.waiting) wheel.set(client, now + this.#silenceMax)
    }
    const deadline = now + Math.min(request.timeLeftMs, config.taskTimeMaxMs)
    if (deadline > task.deadline) {
      task.deadline = deadline
      wheel.set(task, task.deadline)
    }
    scheduler.credit(task, request.creditUpTo)
    port.send(client.link, {
      kind: Kind.Pending,
      token: request.token,
      running: task.current !== null,
      attempt: task.starts,
      partials: task.current === null ? 0 : task.streamed,
    })
  }

  #refuse(client: Client, token: Token, why: Failure): void {
    const { counters, port, config } = this.#context
    counters.failed(why.code)
    const reply: Reply = {
      kind: Kind.Reply,
      token,
      code: why.code,
      retryable: why.retryable,
      retryAfterMs: why.retryAfterMs,
      attempts: 0,
      queuedUs: 0,
      runUs: 0,
      partials: 0,
      cluster: config.name,
      worker: '',
      message: why.message,
      body: EMPTY_BODY,
    }
    port.send(client.link, reply)
  }
}

function tooLarge(bodyMax: number): Failure {
  return {
    code: ErrorCode.TooLarge,
    retryable: false,
    retryAfterMs: 0,
    message: `the body is larger than the ${bodyMax} octets this broker takes; pass a reference to it, or raise bodyMax on all brokers`,
  }
}

function tooManyServices(): Failure {
  return {
    code: ErrorCode.Busy,
    retryable: true,
    retryAfterMs: 1000,
    message: 'this broker knows as many services as it may; use fewer names, or raise servicesMax',
  }
}
