import { ErrorCode } from '../../protocol/error-code.ts'
import type { Machine } from '../../protocol/machine.ts'
import { WORD } from '../../protocol/native.ts'
import type { Hello, Message, Partial, Record, Reply, Token } from '../../protocol/record.ts'
import { Kind, Role, VERSION_MAJOR, VERSION_MINOR } from '../../protocol/record.ts'
import { type Call, Phase } from './call.ts'
import { CallTable } from './call-table.ts'
import { type ClientCoreConfig, OUTSTANDING_LIMIT } from './config.ts'
import { Connection, Endpoint } from './connection.ts'
import { ClientCounters } from './counters.ts'
import { failure } from './outcome.ts'
import type { ClientPort } from './port.ts'

/** Heartbeat intervals without a word after which a broker that was asked counts as gone. */
const SILENT_INTERVALS = 2
/** The least time between questions to the broker, ms, however short the calls' timeouts are. */
const HEARTBEAT_MIN_MS = 20
/** The most, while a stream is read, ms. */
const STREAM_HEARTBEAT_MAX_MS = 2000
/** A broker that turns us away without saying for how long is left alone for this long, ms. */
const RETRY_AFTER_MIN_MS = 10
const AVOID_MIN_MS = 1000
/** A broker that refused us longer ago than this may have been replaced meanwhile: it is asked again, ms. */
const REFUSAL_COUNTS_MS = 60_000
/** Kept of a call's time for the answer's way home: at most so much, ms, and at most this share. */
const WAY_HOME_MAX_MS = 50
const WAY_HOME_SHARE = 0.1
/** Never written to. */
const NONE: readonly Connection[] = []

/**
 * What a broker is given of the time that is left, ms, from 1. A little less than the client waits itself, so that the
 * broker's word that the time is over (EXPIRED, and whether the task ever started) comes before the client gives up.
 */
export function brokersTime(leftMs: number): number {
  return Math.max(1, Math.ceil(leftMs - Math.min(WAY_HOME_MAX_MS, leftMs * WAY_HOME_SHARE)))
}

/**
 * The reliable client of the guide's Lazy Pirate pattern, for many calls over one connection.
 *
 * A call that hears nothing for its timeout is sent again under the same task id, so that a broker that still has it
 * attaches instead of running it twice. Where the broker has been heard meanwhile, only that call was unlucky and only
 * it is sent again; otherwise the connection is closed, the next endpoint (or the same) opened, and everything sent
 * again there. A broker's epoch, in the header of all it says, tells its restart from its silence.
 *
 * Times are ms on a clock that never goes back. `timeout` is to be called once `nextTimeout()` has passed.
 */
export class Client<C extends Call> implements Machine {
  readonly counters: ClientCounters
  readonly #port: ClientPort<C>
  /** @returns an integer from 0 to 2^32 - 1 */
  readonly #random32: () => number
  /** The call of index 0, mostly the only one under way; and all others, once there are any. */
  #first: C | undefined
  #others: CallTable<C> | null = null
  #outstanding = 0
  #current: Connection | undefined
  #heartbeatAt = 0
  #heartbeatIntervalMs: number
  #closed = false
  #everHeard = false
  /** It has told a broker of a CANCEL: until then no connection needs to be looked at for one that may be lost. */
  #hasCancelled = false
  // Of the configuration, what each call looks at: the rest is rarely wanted.
  readonly #epoch: number
  readonly #outstandingMax: number
  readonly #usualIntervalMs: number
  readonly #config: ClientCoreConfig
  readonly #endpoints: readonly Endpoint[]
  /** Connections to brokers that are leaving: they take no new call, and close with the answer to their last. */
  #leaving: readonly Connection[] = NONE

  /** @param counters its own, unless several are to be counted together */
  constructor(
    config: ClientCoreConfig,
    port: ClientPort<C>,
    random32: () => number,
    counters = new ClientCounters(),
  ) {
    if (config.endpoints.length === 0) throw new RangeError('a client needs at least one endpoint')
    if (config.outstandingMax > OUTSTANDING_LIMIT) throw new RangeError('outstandingMax is at most 2^21')
    this.#config = config
    this.#port = port
    this.#random32 = random32
    this.counters = counters
    this.#endpoints = config.endpoints.map((address) => new Endpoint(address))
    this.#epoch = config.epoch
    this.#outstandingMax = config.outstandingMax
    this.#usualIntervalMs = config.heartbeatIntervalMs
    this.#heartbeatIntervalMs = config.heartbeatIntervalMs
  }

  /** Calls that have neither ended nor been cancelled. */
  get outstanding(): number {
    return this.#outstanding
  }

  /** The connection that the next call takes; undefined before the first. */
  get connection(): Connection | undefined {
    return this.#current
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Starts a call. It ends with one `settle`, which may come before this returns (BUSY, TOO_LARGE, CLOSED). */
  submit(call: C, now: number): void {
    this.counters.submitted++
    call.startedAt = now
    call.deadlineAt = now + call.deadlineMs
    if (this.#closed) {
      this.#settleUnstarted(call, failure('CLOSED', false, 'the client is closed: make a new one'), now)
      return
    }
    if (this.#outstanding >= this.#outstandingMax) {
      const message = `${this.#outstanding} tasks are outstanding on this client, as many as outstandingMax allows: wait for some of them, or raise it`
      this.#settleUnstarted(call, failure(ErrorCode.Busy, true, message), now)
      return
    }
    this.#setHeartbeat(call, now)
    call.token = this.#enter(call) * WORD + this.#random32()
    this.#outstanding++
    call.tries = 1
    this.#transmit(call, this.#current ?? this.#open(now), now)
  }

  /** Nobody waits for the call any more: the broker is told, a late answer is dropped, `settle` is not called. */
  cancel(call: C): void {
    if (this.#find(call.token) !== call) return
    this.counters.cancelled++
    this.#tellCancelled(call)
    this.#remove(call)
  }

  /** The consumer of a stream has taken a piece of the given attempt: the broker may send more. */
  taken(call: C, attempt: number): void {
    if (this.#find(call.token) !== call || attempt !== call.attempt) return
    call.taken++
    const upTo = call.taken + call.window
    // In batches: a CREDIT for each half of the window costs little and never lets the stream run dry.
    if (upTo - call.granted < Math.ceil(call.window / 2)) return
    call.granted = upTo
    if (call.phase === Phase.Sent && call.connection !== undefined) {
      this.#port.send(call.connection, { kind: Kind.Credit, token: call.token, upTo })
    }
  }

  /** A message has come in on a connection. */
  receive(connection: Connection, message: Message, now: number): void {
    if (connection.closed) return
    if (message.to !== 0 && message.to !== this.#epoch) {
      this.counters.drop('misaddressed')
      return
    }
    if (message.from === 0 || message.from === connection.formerEpoch) {
      this.counters.drop('stale_epoch')
      return
    }
    connection.heard++
    connection.lastHeardAt = now
    this.#everHeard = true
    const restarted = connection.epoch !== 0 && connection.epoch !== message.from
    if (connection.epoch === 0) {
      connection.epoch = message.from
      this.#port.event({ type: 'broker-up', endpoint: connection.endpoint.address, epoch: message.from })
    } else if (restarted) {
      connection.formerEpoch = connection.epoch
      connection.epoch = message.from
      // Before anything of the message is taken for an answer to what the former life was asked.
      connection.startAnew()
    }
    for (const record of message.records) this.#take(connection, record, now)
    if (connection.closed) return
    if (restarted) this.#restart(connection, now)
    else if (connection.held > 0) this.#release(connection, now)
  }

  timeout(now: number): void {
    if (this.#nextDue() <= now) this.#expire(now)
    const current = this.#current
    const insists = this.#insists
    if ((this.#outstanding > 0 || insists) && this.#heartbeatAt <= now) {
      this.#heartbeatAt = now + this.#heartbeatIntervalMs
      if (current !== undefined && (current.calls > 0 || insists)) {
        if (current.calls === 0) current.insist()
        this.#ask(current)
      }
      for (const connection of this.#leaving) this.#ask(connection)
    }
  }

  nextTimeout(): number {
    if (this.#outstanding > 0) return Math.min(this.#nextDue(), this.#heartbeatAt)
    // Its CANCEL may have been lost, and with no other call nothing else would say so again: the slot would be taken for long.
    return this.#insists ? this.#heartbeatAt : Number.POSITIVE_INFINITY
  }

  /** A cancelled call is reason enough for a question. */
  get #insists(): boolean {
    return this.#hasCancelled && this.#current?.insists === true
  }

  /** When a call is next due; sometimes early, never late. */
  #nextDue(): number {
    const first = this.#first === undefined ? Number.POSITIVE_INFINITY : this.#first.dueAt
    return this.#others === null ? first : Math.min(first, this.#others.wheel.next)
  }

  /** Ends everything outstanding with CLOSED, tells the broker and closes the sockets. Twice is once. */
  close(now: number): void {
    if (this.#closed) return
    this.#closed = true
    // Before the calls end: with its last one a connection to a broker that is leaving is closed.
    for (const connection of this.#connections())
      this.#port.send(connection, { kind: Kind.Disconnect, reason: 'closed' })
    for (const call of this.#calls()) {
      this.#fail(call, failure('CLOSED', false, 'the client was closed before the answer came'), now)
    }
    for (const connection of this.#connections()) this.#shut(connection)
  }

  // What comes in.

  #take(connection: Connection, record: Record, now: number): void {
    switch (record.kind) {
      case Kind.Reply: {
        const call = this.#answered(connection, record.token)
        if (call !== undefined) this.#reply(call, connection, record, now)
        break
      }
      case Kind.Partial: {
        const call = this.#answered(connection, record.token)
        if (call !== undefined) this.#partial(call, connection, record, now)
        break
      }
      case Kind.Pending: {
        const call = this.#answered(connection, record.token)
        if (call === undefined || call.phase !== Phase.Sent) break
        call.tries = 0
        // Sent once, and known to this life of the broker: no other can have it.
        if (call.mayRunTwice || call.sends === 1) call.sentToEpoch = connection.epoch
        this.#arm(call, now + call.timeoutMs, now)
        // Pieces that went out on a connection that broke: nobody sends them again, and the broker waits for credit.
        if (call.streams && record.partials > this.#seenOf(call, record.attempt)) {
          this.#streamBroken(call, 'pieces of it were lost', now)
        }
        break
      }
      case Kind.Hello:
        this.#hello(connection, record, now)
        break
      case Kind.Refuse:
        this.refused(connection, record.reason, record.message, now)
        break
      case Kind.Disconnect:
        this.#brokerLeaves(connection, AVOID_MIN_MS, now)
        // It says nothing more: what it still had is sent to another broker at once, if there is one to try.
        if (connection !== this.#current && !connection.closed) this.#abandon(connection, now)
        break
      case Kind.Heartbeat:
        if (!record.ask) connection.answer(record.sent)
        break
      case Kind.Inventory:
        // Its arrival says enough: lost answers are found by the calls' own timeouts.
        break
      default:
        this.counters.drop('out_of_place')
    }
  }

  /** The call that a token names, provided that it waits for this very connection. */
  #answered(connection: Connection, token: Token): C | undefined {
    const call = this.#find(token)
    if (call !== undefined && call.connection === connection) return call
    this.counters.late++
    return undefined
  }

  #reply(call: C, connection: Connection, reply: Reply, now: number): void {
    if (reply.code === ErrorCode.Busy || reply.code === ErrorCode.Draining) {
      // Once more while the time runs: the answer to an earlier copy.
      if (call.phase === Phase.Waiting) this.counters.late++
      else this.#turnedAway(call, connection, reply, now)
      return
    }
    if (call.streams) {
      if (this.#isFromAnotherLife(call, connection)) {
        this.counters.drop('stale_stream')
        return
      }
      const broken = reply.code === '' ? missing(call, reply) : ''
      if (broken !== '') {
        this.#streamBroken(call, broken, now)
        return
      }
    }
    this.#remove(call)
    if (reply.code === '') this.counters.succeeded++
    else this.counters.fail(isBrokers(reply.code) ? reply.code : ErrorCode.TaskFailed)
    this.#port.settle(call, reply, now)
  }

  /** How many pieces of the broker's attempt have come. */
  #seenOf(call: C, attempt: number): number {
    return call.attemptsBefore + attempt === call.attempt ? call.nextIndex : 0
  }

  #partial(call: C, connection: Connection, piece: Partial, now: number): void {
    if (!call.streams || call.phase !== Phase.Sent) {
      this.counters.drop('unasked_partial')
      return
    }
    if (this.#isFromAnotherLife(call, connection)) {
      this.counters.drop('stale_stream')
      return
    }
    const attempt = call.attemptsBefore + piece.attempt
    if (attempt < call.attempt) {
      this.counters.late++
      return
    }
    if (attempt > call.attempt) {
      if (call.nextIndex > 0 && !call.mayRestart) {
        this.#streamBroken(call, 'it was started again in the middle', now)
        return
      }
      call.attempt = attempt
      call.nextIndex = 0
      call.taken = 0
    }
    if (piece.index < call.nextIndex) {
      this.counters.late++
      return
    }
    if (piece.index > call.nextIndex) {
      this.#streamBroken(call, `piece ${call.nextIndex} was lost`, now)
      return
    }
    if (piece.index >= call.granted) {
      this.#streamBroken(call, 'more pieces came than were asked for', now)
      return
    }
    call.nextIndex++
    call.tries = 0
    call.sentToEpoch = connection.epoch
    this.#arm(call, now + call.timeoutMs, now)
    this.counters.partials++
    this.#port.partial(call, piece)
  }

  /** A stream that has begun at one broker cannot go on at another, or in its next life. */
  #isFromAnotherLife(call: C, connection: Connection): boolean {
    return call.nextIndex > 0 && call.sentToEpoch !== connection.epoch
  }

  #hello(connection: Connection, hello: Hello, now: number): void {
    if (hello.role !== Role.Broker) {
      const message = `what answers there is no broker but calls itself "${hello.name}": give the address of a localfe`
      this.refused(connection, 'role', message, now)
    } else if (hello.major !== VERSION_MAJOR) {
      const message = `the broker speaks version ${hello.major}.${hello.minor} of the protocol, this client ${VERSION_MAJOR}.${VERSION_MINOR}: install the same major version on both sides`
      this.refused(connection, 'version', message, now)
    } else {
      connection.endpoint.refusal = ''
      connection.endpoint.bodyMax = hello.bodyMax
      connection.bodyMax = hello.bodyMax
    }
  }

  /**
   * The broker will not talk to us. While another may, the calls' timeouts try there; at once would be a race around all
   * endpoints. When all have refused lately, no later try can succeed: what none of them can have started ends now.
   * For REFUSE in a message of another major version, of which nothing else can be read.
   */
  refused(connection: Connection, reason: string, message: string, now: number): void {
    const { endpoint } = connection
    endpoint.refusedAt = now
    if (endpoint.refusal !== message) {
      endpoint.refusal = message
      this.#port.event({ type: 'refused', endpoint: endpoint.address, reason, message })
    }
    const allRefuse = this.#endpoints.every(
      ({ refusal, refusedAt }) => refusal !== '' && now - refusedAt < REFUSAL_COUNTS_MS,
    )
    if (!allRefuse) return
    const refusals = this.#endpoints.map(({ address, refusal }) => `${address}: ${refusal}`).join('; ')
    const why = failure('UNAVAILABLE', false, `every broker refuses this client (${refusals})`)
    for (const call of this.#calls()) {
      // What an earlier life of the broker may have started is found out, or not, by the call's own timeout.
      if (call.sends === 0 || call.mayRunTwice) this.#fail(call, why, now)
    }
  }

  /**
   * No socket could be opened for the connection, nor could another now: what is to go over it ends, and the next call tries
   * again. Not to be called before the turn is over that wanted it opened.
   *
   * @param message what happened and what to do next
   */
  unopened(connection: Connection, message: string, now: number): void {
    if (connection.closed) return
    for (const call of this.#calls()) {
      if (call.connection !== connection) continue
      // Sent over this one it was to nobody.
      const mayHaveRun = !call.mayRunTwice && call.sends > 0
      const why = mayHaveRun
        ? failure(
            ErrorCode.Unknown,
            false,
            `${message}. The task was sent before and must not start twice: find out whether it ran before you send it again`,
          )
        : failure('UNAVAILABLE', true, message)
      this.#fail(call, why, now)
    }
    this.#shut(connection)
    if (connection === this.#current) this.#current = undefined
  }

  // Turned away: never started, so it may go anywhere.

  #turnedAway(call: C, connection: Connection, reply: Reply, now: number): void {
    if (call.nextIndex > 0) {
      // A broker that leaves gives up on a stream in its middle: another's pieces cannot go on where it ended.
      this.#streamBroken(call, reply.message, now)
      return
    }
    call.sentToEpoch = 0
    // The broker's word that it was never started: what it is sent from here on counts as the first copy again.
    call.sends = 0
    // Up to half of it on top, at random: those who were turned away together shall not come back together.
    const pauseMs = Math.max(reply.retryAfterMs, RETRY_AFTER_MIN_MS) * (1 + this.#random32() / WORD / 2)
    if (reply.code === ErrorCode.Draining) this.#brokerLeaves(connection, reply.retryAfterMs, now)
    const elsewhere = reply.code === ErrorCode.Draining && this.#current !== connection
    if (call.retries <= 1 || (!elsewhere && now + pauseMs >= call.deadlineAt)) {
      this.#remove(call)
      this.counters.fail(reply.code)
      this.#port.settle(call, reply, now)
      return
    }
    this.counters.turnedAway++
    call.tries = 1
    if (elsewhere) {
      this.#transmit(call, this.#current ?? this.#open(now), now)
      return
    }
    call.phase = Phase.Waiting
    this.#arm(call, now + pauseMs, now)
  }

  /** New calls go to another broker, if one is left; those that this one still has stay with it until answered. */
  #brokerLeaves(connection: Connection, forMs: number, now: number): void {
    const endpoint = connection.endpoint
    if (endpoint.avoidUntil <= now) this.#port.event({ type: 'broker-leaving', endpoint: endpoint.address })
    endpoint.avoidUntil = now + Math.max(forMs, AVOID_MIN_MS)
    if (connection !== this.#current) return
    if (!this.#endpoints.some((other) => other.avoidUntil <= now)) return
    // Not more of them than there are brokers: beyond that somebody is playing games with us.
    const oldest = this.#leaving.length >= this.#endpoints.length ? this.#leaving[0] : undefined
    this.#leaving = [...this.#leaving, connection]
    this.#open(now)
    if (oldest !== undefined) this.#abandon(oldest, now)
  }

  // Going out.

  #transmit(call: C, connection: Connection, now: number): void {
    this.#attach(call, connection)
    call.heardBefore = connection.heard
    if (call.isChoosy) {
      // Asked first when it was quiet for long: the broker may have restarted while nobody looked, and what is sent to
      // its former life is lost, though nobody could say so afterwards.
      if (
        connection.epoch === 0 ||
        now - connection.lastHeardAt > SILENT_INTERVALS * this.#heartbeatIntervalMs
      ) {
        if (connection.held === 0) this.#ask(connection)
        connection.held++
        call.phase = Phase.Held
        this.#arm(call, now + call.timeoutMs, now)
        return
      }
      if (call.sentToEpoch !== 0 && call.sentToEpoch !== connection.epoch) {
        if (!call.mayRunTwice) {
          const message = `the broker that had the task is gone (${connection.endpoint.address} is another one, or restarted), and a task with idempotent: false is not sent twice: find out whether it ran before you send it again`
          this.#fail(call, failure(ErrorCode.Unknown, false, message), now)
          return
        }
        this.#streamBroken(call, 'the broker that sent it is gone', now)
        return
      }
    }
    if (call.body.byteLength > connection.bodyMax) {
      const message = `the body has ${call.body.byteLength} octets, the broker takes ${connection.bodyMax}: pass a reference to it instead, or raise bodyMax on all brokers`
      this.#fail(call, failure(ErrorCode.TooLarge, false, message), now)
      return
    }
    call.phase = Phase.Sent
    call.sends++
    // What once went to whoever would be there stays so until somebody is heard to have it: it may be with the next life, too.
    if (call.sends === 1 || call.sentToEpoch !== 0) call.sentToEpoch = connection.epoch
    this.counters.requestsSent++
    if (call.sends > 1) this.counters.requestsResent++
    this.#port.send(connection, {
      kind: Kind.Request,
      token: call.token,
      id: call.id,
      attempt: call.sends,
      timeLeftMs: brokersTime(call.deadlineAt - now),
      priority: call.priority,
      flags: call.flags,
      creditUpTo: call.granted,
      service: call.service,
      traceparent: call.traceparent,
      body: call.body,
    })
    this.#arm(call, now + call.timeoutMs, now)
  }

  /** A stream that lost a piece ends, or is begun anew as another task, since the broker cannot send a piece twice. */
  #streamBroken(call: C, why: string, now: number): void {
    const connection = call.connection
    this.#tellCancelled(call)
    if (!call.mayRestart || !call.mayRunTwice || call.restarts >= call.retries || connection === undefined) {
      const message = `the stream broke after ${call.nextIndex} pieces: ${why}; start it again, or let the client do so with restart: true`
      this.#fail(call, failure(ErrorCode.StreamBroken, call.mayRunTwice, message), now)
      return
    }
    call.restarts++
    call.id = `${call.taskId}~${call.restarts}`
    call.token = this.#freshToken(call.token)
    call.attemptsBefore = Math.max(call.attempt, call.attemptsBefore + 1)
    call.nextIndex = 0
    call.taken = 0
    call.granted = call.window
    call.sentToEpoch = 0
    call.tries = 1
    this.#transmit(call, connection, now)
  }

  /** Another nonce at the same place in the table: what still comes under the old one is dropped. */
  #freshToken(token: Token): Token {
    const old = token % WORD
    const nonce = this.#random32()
    return token - old + (nonce === old ? (nonce + 1) % WORD : nonce)
  }

  #tellCancelled(call: C): void {
    // What was only held back never left; to a broker that has it, the sooner the slot is free the better.
    if (call.phase !== Phase.Sent || call.connection === undefined) return
    this.#port.send(call.connection, { kind: Kind.Cancel, token: call.token })
    call.connection.remember(call.token, call.sentToEpoch)
    this.#hasCancelled = true
  }

  /** In one message with the question that follows: whoever answers that has had them. */
  #cancelAgain(connection: Connection): void {
    if (connection.cancelled === null) return
    for (const { token } of connection.cancelled) this.#port.send(connection, { kind: Kind.Cancel, token })
  }

  #ask(connection: Connection): void {
    this.#cancelAgain(connection)
    connection.asked++
    this.#port.send(connection, { kind: Kind.Heartbeat, ask: true, sent: connection.asked })
  }

  // Time.

  #expire(now: number): void {
    const due: C[] = []
    this.#others?.wheel.expire(now, due)
    const first = this.#first
    if (first !== undefined && first.dueAt <= now) {
      first.dueAt = Number.POSITIVE_INFINITY
      due.push(first)
    }
    let silent: Connection[] | undefined
    for (const call of due) {
      const connection = call.connection
      if (this.#find(call.token) !== call || connection === undefined) continue
      const gaveUp = call.phase !== Phase.Waiting && call.tries >= call.retries
      if (gaveUp || now >= call.deadlineAt) {
        // Once its time is over the broker drops it by itself.
        if (now < call.deadlineAt) this.#tellCancelled(call)
        const tries =
          call.retries === 1
            ? 'the only try went unanswered'
            : `${call.retries} tries in a row went unanswered`
        this.#fail(call, this.#noAnswer(call, connection, gaveUp ? tries : 'its deadline passed', now), now)
      } else if (call.phase === Phase.Waiting) {
        this.#transmit(call, this.#current ?? this.#open(now), now)
      } else {
        call.tries++
        if (!this.#isSilent(call, connection, now)) this.#transmit(call, connection, now)
        else if (silent === undefined) silent = [connection]
        else if (!silent.includes(connection)) silent.push(connection)
      }
    }
    // Last: those that timed out together move together.
    if (silent !== undefined) for (const connection of silent) this.#abandon(connection, now)
  }

  #isSilent(call: C, connection: Connection, now: number): boolean {
    if (connection.endpoint.refusal !== '' || connection.heard === call.heardBefore) return true
    return now - connection.lastHeardAt > SILENT_INTERVALS * this.#heartbeatIntervalMs
  }

  #noAnswer(call: C, connection: Connection, why: string, now: number) {
    const addresses = this.#endpoints.map((endpoint) => endpoint.address).join(', ')
    const refusal =
      connection.endpoint.refusal === ''
        ? ''
        : ` ${connection.endpoint.address} refuses this client: ${connection.endpoint.refusal}`
    const seconds = ((now - call.startedAt) / 1000).toFixed(1)
    if (!call.mayRunTwice && call.sends > 0) {
      const message = `no answer after ${seconds} s: ${why}. The task was sent and must not start twice: find out whether it ran before you send it again`
      return failure('TIMEOUT', false, message)
    }
    if (!this.#everHeard || connection.endpoint.refusal !== '') {
      const message = `no broker ${refusal === '' ? 'was ever heard' : 'takes tasks'} at ${addresses} (${seconds} s, ${why}).${refusal === '' ? ' Check that one runs there, that the address is its localfe, and that nothing blocks the way' : refusal}`
      return failure('UNAVAILABLE', true, message)
    }
    const quietMs = now - connection.lastHeardAt
    const next =
      quietMs > SILENT_INTERVALS * this.#heartbeatIntervalMs
        ? `${connection.endpoint.address} has been silent for ${(quietMs / 1000).toFixed(1)} s: check that the broker runs and can be reached`
        : `${connection.endpoint.address} is there: check with "spillway status" that workers serve ${call.service === '' ? 'it' : `"${call.service}"`} and are not all busy, or give the task more time (timeoutMs, deadlineMs)`
    return failure('TIMEOUT', true, `no answer after ${seconds} s: ${why}. ${next}`)
  }

  // Connections.

  #open(now: number): Connection {
    const endpoint = this.#nextEndpoint(now)
    const connection = new Connection(endpoint, now)
    this.#current = connection
    this.counters.connectionsOpened++
    this.#port.open(connection)
    this.#port.event({ type: 'connecting', endpoint: endpoint.address })
    this.#introduce(connection)
    // Whatever the broker thinks of our HELLO, this it answers.
    this.#ask(connection)
    return connection
  }

  #introduce(connection: Connection): void {
    this.#port.send(connection, {
      kind: Kind.Hello,
      role: Role.Client,
      name: this.#config.name,
      epoch: this.#config.epoch,
      major: VERSION_MAJOR,
      minor: VERSION_MINOR,
      heartbeatIntervalMs: this.#heartbeatIntervalMs,
      bodyMax: this.#config.bodyMax,
      cloudfe: '',
      statebe: '',
      peers: [],
    })
  }

  /** In turn, those that are leaving last. */
  #nextEndpoint(now: number): Endpoint {
    const endpoints = this.#endpoints
    const from = this.#current === undefined ? 0 : endpoints.indexOf(this.#current.endpoint) + 1
    const turn = [...endpoints.slice(from), ...endpoints.slice(0, from)]
    const chosen = turn.find((endpoint) => endpoint.avoidUntil <= now) ?? turn[0]
    if (chosen === undefined) throw new Error('a client has at least one endpoint')
    return chosen
  }

  /** Closes a connection that nothing is hoped for from, and sends its calls again over another. */
  #abandon(connection: Connection, now: number): void {
    if (connection.closed) return
    const wasCurrent = connection === this.#current
    this.#shut(connection)
    const next = wasCurrent ? this.#open(now) : (this.#current ?? this.#open(now))
    const resent = this.#move(connection, next, now)
    this.#port.event({
      type: 'broker-silent',
      endpoint: connection.endpoint.address,
      silentMs: now - connection.lastHeardAt,
      resent,
    })
  }

  #move(from: Connection, to: Connection, now: number): number {
    let moved = 0
    for (const call of this.#calls()) {
      if (call.connection !== from) continue
      if (call.phase === Phase.Waiting) this.#attach(call, to)
      else {
        this.#transmit(call, to, now)
        moved++
      }
    }
    return moved
  }

  /** The broker is back as another: it knows nothing of us, nor of what we sent to the one before. */
  #restart(connection: Connection, now: number): void {
    this.counters.brokerRestarts++
    connection.endpoint.avoidUntil = 0
    this.#introduce(connection)
    let resent = 0
    for (const call of this.#calls()) {
      if (call.connection !== connection || call.phase === Phase.Waiting) continue
      if (call.phase === Phase.Sent && call.sentToEpoch === connection.epoch) continue
      this.#transmit(call, connection, now)
      resent++
    }
    const { address } = connection.endpoint
    this.#port.event({ type: 'broker-restarted', endpoint: address, epoch: connection.epoch, resent })
  }

  /** Sends what waited for a sign of life. */
  #release(connection: Connection, now: number): void {
    for (const call of this.#calls()) {
      if (call.phase === Phase.Held && call.connection === connection) this.#transmit(call, connection, now)
    }
  }

  #shut(connection: Connection): void {
    connection.closed = true
    if (this.#leaving.includes(connection))
      this.#leaving = this.#leaving.filter((other) => other !== connection)
    this.#port.close(connection)
  }

  #connections(): Connection[] {
    return this.#current === undefined ? [...this.#leaving] : [this.#current, ...this.#leaving]
  }

  // The table of calls.

  /** @returns the index that the call was given */
  #enter(call: C): number {
    if (this.#first === undefined) {
      this.#first = call
      return 0
    }
    this.#others ??= new CallTable()
    return this.#others.enter(call)
  }

  /** As they are while one goes through them: each may end meanwhile, and end others. */
  *#calls(): Iterable<C> {
    if (this.#first !== undefined) yield this.#first
    if (this.#others !== null) yield* this.#others.all()
  }

  #find(token: Token): C | undefined {
    if (token < 0) return undefined
    const call = token < WORD ? this.#first : this.#others?.at(token)
    return call !== undefined && call.token === token ? call : undefined
  }

  #arm(call: C, at: number, now: number): void {
    const dueAt = Math.min(at, call.deadlineAt)
    // The first is watched by itself: with most clients it is the only one.
    if (call === this.#first) call.dueAt = dueAt
    else this.#others?.wheel.set(call, dueAt, now)
  }

  /** Counts the call where it waits, and nowhere else. */
  #attach(call: C, connection: Connection): void {
    if (call.connection === connection) {
      this.#unhold(call, connection)
      return
    }
    this.#detach(call)
    call.connection = connection
    connection.calls++
  }

  #detach(call: C): void {
    const connection = call.connection
    if (connection === undefined) return
    this.#unhold(call, connection)
    call.connection = undefined
    connection.calls--
    if (connection.calls === 0 && connection !== this.#current && !connection.closed) this.#shut(connection)
  }

  #unhold(call: C, connection: Connection): void {
    if (call.phase !== Phase.Held) return
    connection.held--
    call.phase = Phase.Idle
  }

  #remove(call: C): void {
    if (call.token < WORD) this.#first = undefined
    else this.#others?.remove(call)
    call.token = -1
    this.#detach(call)
    call.phase = Phase.Idle
    this.#outstanding--
    if (this.#outstanding === 0) this.#heartbeatIntervalMs = this.#usualIntervalMs
  }

  #fail(call: C, why: ReturnType<typeof failure>, now: number): void {
    this.#remove(call)
    this.counters.fail(why.code)
    this.#port.settle(call, why, now)
  }

  #settleUnstarted(call: C, why: ReturnType<typeof failure>, now: number): void {
    this.counters.fail(why.code)
    this.#port.settle(call, why, now)
  }

  /** Asks often enough to tell a silent broker from a slow task within the shortest timeout that is outstanding. */
  #setHeartbeat(call: C, now: number): void {
    const half = Math.max(HEARTBEAT_MIN_MS, Math.floor(call.timeoutMs / 2))
    // A broker takes the streams of a reader that it has not heard for long for abandoned.
    const wanted = call.streams ? Math.min(half, STREAM_HEARTBEAT_MAX_MS) : half
    if (wanted < this.#heartbeatIntervalMs) {
      this.#heartbeatIntervalMs = wanted
      this.#heartbeatAt = Math.min(this.#heartbeatAt, now + wanted)
    }
    if (this.#outstanding === 0 && this.#heartbeatAt <= now)
      this.#heartbeatAt = now + this.#heartbeatIntervalMs
  }
}

/** What the end of a stream says is missing; empty when all is there. */
function missing(call: Call, reply: Reply): string {
  if (reply.partials === call.nextIndex) return ''
  if (reply.partials > call.nextIndex)
    return `${reply.partials - call.nextIndex} of its last pieces were lost`
  // Run again with fewer pieces, none of which has come yet because there are none.
  const restarted = call.mayRestart && call.attemptsBefore + reply.attempts > call.attempt
  return restarted ? '' : 'it ended with fewer pieces than had come'
}

const brokersCodes: ReadonlySet<string> = new Set(Object.values(ErrorCode))

function isBrokers(code: string): boolean {
  return brokersCodes.has(code)
}
