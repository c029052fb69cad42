import { randomInt } from 'node:crypto'
import { hostname } from 'node:os'
import { nanoid } from 'nanoid'
import type { Router, Socket } from 'zeromq'
import { context } from 'zeromq'
import {
  decodeIntroduction,
  decodeMessage,
  decodePacked,
  decodeRefusal,
  peekVersion,
  releasePacked,
} from '../../protocol/decode.ts'
import { DecodeReason } from '../../protocol/decode-error.ts'
import { MessageEncoder } from '../../protocol/encode.ts'
import { isNative } from '../../protocol/native.ts'
import type { Message, Record, State } from '../../protocol/record.ts'
import { readStockRequest, readStockWorker } from '../../protocol/stock.ts'
import { codeOf, drain, type Receiver } from '../../wire/drain.ts'
import { needsIpv6 } from '../../wire/ipv6.ts'
import { forNextConnect } from '../../wire/next-connect.ts'
import { Broker } from '../core/broker.ts'
import type { CoreConfig } from '../core/config.ts'
import type { BrokerEvent } from '../core/event.ts'
import type { Link, LinkSocket } from '../core/link.ts'
import type { BrokerPort } from '../core/port.ts'
import { BodyMemory } from './body-memory.ts'
import { Outbox } from './outbox.ts'
import { makeSockets, type Sockets } from './sockets.ts'
import { type SocketName, Traffic } from './traffic.ts'

export interface ReactorOptions {
  /** `cloudfeAdvertised` and `statebeAdvertised` may be empty: then what was bound is advertised. */
  readonly core: CoreConfig
  readonly localfe: string
  readonly localbe: string
  readonly cloudfe: string
  readonly statebe: string
  /** The cloudfe of each peer. */
  readonly peers: readonly string[]
  /** libzmq's I/O threads, shared by all sockets of the process; what the first socket finds counts. */
  readonly ioThreads?: number
  readonly onEvent: (event: BrokerEvent) => void
  /** A message that could not be understood: called for the first of its kind and at each doubling of `total`. */
  readonly onMalformed: (socket: SocketName, reason: string, total: number) => void
  readonly onDrained: () => void
  /** A bug of ours, or of libzmq: the process should end. */
  readonly onFatal: (error: unknown) => void
}

const REFUSALS_MAX = 1000
/** Speakers of other versions that are answered within a second, each once. */
const REFUSED_A_SECOND_MAX = 1000

/** Packed records around bodies: a frame larger than the largest body by this is not one of ours. */
const FRAME_SLACK = 1 << 20

/**
 * The broker's core behind real sockets: whatever has arrived is handled in one turn, and what comes of it leaves at the
 * turn's end, one message a destination. There is one timer.
 */
export class Reactor implements BrokerPort {
  readonly traffic = new Traffic()
  readonly endpoints = { localfe: '', localbe: '', cloudfe: '', statebe: '' }

  readonly #options: ReactorOptions
  readonly #epoch = randomInt(1, 2 ** 32)
  readonly #encoder = new MessageEncoder()
  readonly #outbox: Outbox
  readonly #bodies = new BodyMemory()
  readonly #limits: { readonly bodyMax: number }
  /** cloudbe's connections, for the monitor, which knows addresses only. */
  readonly #peerKeys = new Map<string, string>()
  /** Addresses of those that have broken before: a host's name is no longer what the monitor calls them by. */
  readonly #brokenBefore = new Set<string>()
  /** Peers may share an address of statebe only by mistake, but then closing it once must not blind the other. */
  readonly #subscriptions = new Map<string, number>()
  /** What brokers of another version have told us, as far as the log knows. */
  readonly #refusals = new Set<string>()
  /** Who was told in this second that we speak another version, and since when. */
  readonly #refused = new Set<string>()
  #refusedSince = 0
  /** Ids of stock clients' tasks, who give them none: drawn once, and then counted. */
  readonly #stockIds = `${nanoid()}-`
  #stockTasks = 0
  #core: Broker | undefined
  #sockets: Sockets | undefined
  #timer: NodeJS.Timeout | undefined
  #timerAt = Number.POSITIVE_INFINITY
  #closed = false

  constructor(options: ReactorOptions) {
    this.#options = options
    this.#limits = { bodyMax: options.core.bodyMax }
    this.#outbox = new Outbox(this.#epoch, (link, frames, record) => this.#transmit(link, frames, record))
  }

  /** The pure core. */
  get core(): Broker {
    if (this.#core === undefined) throw new Error('the broker is not open yet')
    return this.#core
  }

  /** Milliseconds on a clock that never goes back. */
  now(): number {
    return performance.now()
  }

  /**
   * Binds, connects and starts.
   * @throws an error that names the socket and the endpoint, and says what to do, when one cannot be bound
   */
  async open(): Promise<void> {
    const options = this.#options
    context.ioThreads = options.ioThreads ?? 2
    // Every worker, client and peer is one of them; the default of 1023 sockets does not limit connections, only us.
    const sockets = makeSockets(options.core.name, Math.max(4 << 20, 2 * options.core.bodyMax) + FRAME_SLACK)
    this.#sockets = sockets
    try {
      for (const name of ['localfe', 'localbe', 'cloudfe', 'statebe'] as const) {
        this.endpoints[name] = await bind(sockets[name], name, options[name])
      }
    } catch (error) {
      await this.close()
      throw error
    }
    sockets.statefe.subscribe()
    const config: CoreConfig = {
      ...options.core,
      cloudfeAdvertised: options.core.cloudfeAdvertised || reachable(this.endpoints.cloudfe),
      statebeAdvertised: options.core.statebeAdvertised || reachable(this.endpoints.statebe),
    }
    this.#core = new Broker(config, this, this.#epoch, Math.random, this.now())
    this.#start(this.#read(sockets.localfe, (frames) => this.#fromClient(frames)))
    this.#start(this.#read(sockets.localbe, (frames) => this.#fromWorker(frames)))
    this.#start(this.#read(sockets.cloudfe, (frames) => this.#fromBroker('cloudfe', frames)))
    this.#start(this.#read(sockets.cloudbe, (frames) => this.#fromBroker('cloudbe', frames)))
    this.#start(this.#read(sockets.statefe, (frames) => this.#fromPublisher(frames)))
    this.#start(this.#watchPeers(sockets.cloudbe))
    this.#start(this.#watchWorkers(sockets.localbe))
    this.command((core, now) => core.setPeers(options.peers, now))
  }

  /** Carries out an operator's wish, in a turn of its own. */
  command<T>(f: (core: Broker, now: number) => T): T {
    const result = f(this.core, this.now())
    this.#endTurn()
    return result
  }

  /** @param lingerMs how long what has been sent may take to leave, in the background */
  async close(lingerMs = 0): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#timer)
    const sockets = this.#sockets
    if (sockets === undefined) return
    // No unbind first: zeromq.js carries it out on another thread, beside a receive that is still pending on this one, and
    // libzmq aborts sooner or later. A port or an ipc file is free a moment after the close.
    for (const socket of Object.values(sockets)) {
      socket.linger = lingerMs
      socket.close()
    }
  }

  // ---------------------------------------------------------------- the loop

  #start(loop: Promise<void>): void {
    loop.catch((error: unknown) => {
      if (!this.#closed) this.#options.onFatal(error)
    })
  }

  #read(socket: Receiver, message: (frames: Buffer[]) => void): Promise<void> {
    const reactor = this
    return drain(socket, -1, {
      message,
      drained: () => this.#endTurn(),
      expectant: true,
      get closed() {
        return reactor.#closed
      },
    })
  }

  #endTurn(): void {
    if (this.#closed || this.#core === undefined) return
    const now = this.now()
    if (this.#core.nextTimeout() <= now) this.#core.timeout(now)
    this.#outbox.flush()
    releasePacked()
    this.#bodies.release()
    this.#arm(now)
  }

  #arm(now: number): void {
    const next = this.core.nextTimeout()
    if (next >= this.#timerAt) return
    clearTimeout(this.#timer)
    this.#timerAt = next
    if (next === Number.POSITIVE_INFINITY) return
    this.#timer = setTimeout(this.#wake, Math.max(0, Math.min(next - now, 0x7fffffff)))
  }

  readonly #wake = (): void => {
    this.#timerAt = Number.POSITIVE_INFINITY
    this.#endTurn()
  }

  // ---------------------------------------------------------------- what arrives

  #fromClient(frames: Buffer[]): void {
    this.#count('localfe', frames)
    const packed = frames[1]
    if (isNative(packed)) {
      const message = this.#decode('localfe', frames)
      if (message !== null) this.core.localfe(keyOf(frames), message, this.now())
      return
    }
    const request = readStockRequest(frames)
    if ('error' in request) {
      this.#malformed('localfe', request.error)
      return
    }
    const id = this.#stockIds + this.#stockTasks++
    this.core.stockRequest(keyOf(frames), request.envelope, id, request.body, this.now())
  }

  #fromWorker(frames: Buffer[]): void {
    this.#count('localbe', frames)
    if (isNative(frames[1])) {
      const message = this.#decode('localbe', frames)
      if (message !== null) this.core.localbe(keyOf(frames), message, this.now())
      return
    }
    const said = readStockWorker(frames)
    if ('error' in said) {
      this.#malformed('localbe', said.error)
      return
    }
    const key = keyOf(frames)
    if (said.type === 'ready') this.core.stockReady(key, said.dialect, this.now())
    else if (said.type === 'heartbeat') this.core.stockHeartbeat(key, this.now())
    else if (said.body.byteLength > this.#limits.bodyMax) this.#malformed('localbe', 'body_too_large')
    else this.core.stockReply(key, said.dialect, said.token, said.body, this.now())
  }

  #fromBroker(socket: 'cloudfe' | 'cloudbe', frames: Buffer[]): void {
    this.#count(socket, frames)
    const message = this.#decode(socket, frames)
    if (message !== null) this.core[socket](keyOf(frames), message, this.now())
  }

  #fromPublisher(frames: Buffer[]): void {
    this.#count('statefe', frames)
    const message = decodeMessage(frames, 0, this.#limits)
    if ('error' in message) this.#malformed('statefe', message.error)
    else this.core.statefe(message, this.now())
  }

  #decode(socket: LinkSocket, frames: Buffer[]): Message | null {
    const message = decodePacked(frames, 1, this.#limits)
    if (!('error' in message)) return message
    this.#malformed(socket, message.error)
    const packed = frames[1]
    if (message.error === DecodeReason.Version && packed !== undefined) {
      // Answering a REFUSE with a REFUSE would never end.
      const refusal = decodeRefusal(packed)
      if (refusal !== undefined) {
        // Once: it is said again twice a second, for as long as an upgrade takes.
        const said = `${socket} ${refusal.message}`
        if (this.#refusals.has(said) || this.#refusals.size >= REFUSALS_MAX) return null
        this.#refusals.add(said)
        this.#options.onEvent({
          type: 'refused-by',
          who: this.#addressOf(keyOf(frames)),
          reason: refusal.reason,
          message: refusal.message,
        })
      } else if (this.#mayRefuse(`${socket} ${keyOf(frames)}`)) {
        const introduction = decodeIntroduction(packed)
        const who = introduction?.name ?? ''
        this.core.foreignVersion(socket, keyOf(frames), peekVersion(packed), who)
      }
    }
    return null
  }

  /** Once a second to each: who floods us does not read the answers, and must not take them from others. */
  #mayRefuse(who: string): boolean {
    const now = this.now()
    if (now - this.#refusedSince >= 1000) {
      this.#refused.clear()
      this.#refusedSince = now
    }
    if (this.#refused.has(who) || this.#refused.size >= REFUSED_A_SECOND_MAX) return false
    this.#refused.add(who)
    return true
  }

  /** What an operator knows the other end of a cloudbe link by. */
  #addressOf(key: string): string {
    for (const [address, peerKey] of this.#peerKeys) if (peerKey === key) return address
    return key
  }

  #count(socket: SocketName, frames: readonly Buffer[]): void {
    const counter = this.traffic.received[socket]
    counter.messages++
    for (const frame of frames) {
      counter.bytes += frame.length
      this.#bodies.add(frame.length)
    }
  }

  #malformed(socket: SocketName, reason: string): void {
    const total = this.traffic.countMalformed(socket, reason)
    // Whoever speaks another version is refused, which is a line of its own.
    if (reason !== DecodeReason.Version && isPowerOfTen(total))
      this.#options.onMalformed(socket, reason, total)
  }

  async #watchPeers(cloudbe: Router): Promise<void> {
    for await (const event of cloudbe.events) {
      if (event.type !== 'disconnect') continue
      for (const key of this.#keysBehind(event.address)) this.core.peerDisconnected(key, this.now())
      this.#endTurn()
    }
  }

  /**
   * libzmq calls a connection by the address that it was given until it breaks for the first time, and from then on by the one
   * that a host's name was resolved to: that may be any of those that broke before and have the same port, mostly one. Whoever
   * is still there says so at once.
   */
  #keysBehind(address: string): readonly string[] {
    const key = this.#peerKeys.get(address)
    if (key !== undefined) {
      this.#brokenBefore.add(address)
      return [key]
    }
    const keys: string[] = []
    for (const before of this.#brokenBefore) {
      const one = portOf(before) === portOf(address) ? this.#peerKeys.get(before) : undefined
      if (one !== undefined) keys.push(one)
    }
    return keys
  }

  async #watchWorkers(localbe: Router): Promise<void> {
    for await (const event of localbe.events) {
      if (event.type !== 'disconnect') continue
      this.core.workerDisconnected(this.now())
      this.#endTurn()
    }
  }

  // ---------------------------------------------------------------- the core's port

  send(link: Link, record: Record): void {
    this.#outbox.add(link, record)
  }

  publish(state: State): void {
    const statebe = this.#sockets?.statebe
    if (statebe === undefined || this.#closed) return
    this.#encoder.begin(this.#epoch, 0)
    this.#encoder.add(state)
    const frames = this.#encoder.finish()
    const counter = this.traffic.sent.statebe
    counter.messages++
    for (const frame of frames) counter.bytes += frame.byteLength
    statebe.send(frames).catch((error: unknown) => this.#sendFailed('statebe', error))
  }

  connectPeer(link: Link, address: string): void {
    // Before connecting: an address that libzmq will not have is one that never answers, and is forgotten as such.
    this.#peerKeys.set(address, link.key)
    this.#brokenBefore.delete(address)
    tolerate(() => {
      const cloudbe = this.#sockets?.cloudbe
      if (cloudbe === undefined) return
      forNextConnect(() => {
        cloudbe.ipv6 = needsIpv6(address)
        cloudbe.connect(address, { routingId: link.key })
      })
    })
  }

  disconnectPeer(link: Link, address: string): void {
    if (this.#peerKeys.get(address) === link.key) this.#peerKeys.delete(address)
    this.#brokenBefore.delete(address)
    // Such as our goodbye: what was said before goes out before.
    this.#outbox.flushLast(link)
    tolerate(() => this.#sockets?.cloudbe.disconnect(address))
  }

  subscribe(address: string): void {
    const users = this.#subscriptions.get(address) ?? 0
    this.#subscriptions.set(address, users + 1)
    if (users > 0) return
    tolerate(() => {
      const statefe = this.#sockets?.statefe
      if (statefe === undefined) return
      forNextConnect(() => {
        statefe.ipv6 = needsIpv6(address)
        statefe.connect(address)
      })
    })
  }

  unsubscribe(address: string): void {
    const users = this.#subscriptions.get(address) ?? 0
    if (users > 1) {
      this.#subscriptions.set(address, users - 1)
      return
    }
    this.#subscriptions.delete(address)
    tolerate(() => this.#sockets?.statefe.disconnect(address))
  }

  event(event: BrokerEvent): void {
    this.#options.onEvent(event)
  }

  drained(): void {
    // The goodbyes are in the outbox: they leave with this turn.
    setImmediate(this.#options.onDrained)
  }

  // ---------------------------------------------------------------- sending

  #transmit(link: Link, frames: Uint8Array[], record: Record | null): void {
    const sockets = this.#sockets
    if (sockets === undefined || this.#closed) return
    const counter = this.traffic.sent[link.socket]
    counter.messages++
    for (const frame of frames) counter.bytes += frame.length
    if (record === null) this.#bodies.addMade(frames[1]?.length ?? 0)
    sockets[link.socket].send(frames).catch((error: unknown) => {
      const reason = this.#sendFailed(link.socket, error)
      if (reason === null || this.#core === undefined) return
      try {
        this.#core.undelivered(link, record === null ? recordsOf(frames) : [record], reason, this.now())
        this.#endTurn()
      } catch (bug) {
        this.#options.onFatal(bug)
      }
    })
  }

  /** @returns null when we are closing */
  #sendFailed(socket: SocketName, error: unknown): 'unreachable' | 'full' | null {
    if (this.#closed) return null
    const code = codeOf(error)
    if (code === 'EHOSTUNREACH') {
      this.traffic.undelivered[socket].unreachable++
      return 'unreachable'
    }
    if (code === 'EAGAIN') {
      this.traffic.undelivered[socket].full++
      return 'full'
    }
    this.#options.onFatal(error)
    return null
  }
}

/**
 * Connects or disconnects at an address that came from outside, where libzmq has a dozen ways to say that it will not have
 * it (not resolvable, too long a path, a transport it was not built with, not connected): none is worth more than silence.
 */
function tolerate(act: () => void): void {
  try {
    act()
  } catch (error) {
    if (codeOf(error) === '') throw error
  }
}

async function bind(socket: Socket, name: SocketName, endpoint: string): Promise<string> {
  try {
    socket.ipv6 = needsIpv6(endpoint)
    await socket.bind(endpoint)
    return socket.lastEndpoint ?? endpoint
  } catch (error) {
    const code = codeOf(error)
    const advice =
      code === 'EADDRINUSE'
        ? 'another process listens there (another broker?): stop it, or choose another port'
        : code === 'EACCES'
          ? 'permission denied: choose a port above 1023, or a directory you may write to'
          : endpoint.startsWith('ipc:')
            ? 'check that the directory exists and the path has at most 107 octets'
            : 'check that the address is one of this host'
    throw new Error(`${name} cannot be bound to ${endpoint} (${code}): ${advice}`, { cause: error })
  }
}

/** What is in a message of ours. */
function recordsOf(frames: readonly Uint8Array[]): readonly Record[] {
  const message = decodeMessage(frames, 1, { bodyMax: Number.MAX_SAFE_INTEGER })
  if ('error' in message) throw new Error(`a message of our own cannot be read: ${message.error}`)
  return message.records
}

/** What peers can connect to: a wildcard is an address only on this host. */
function reachable(endpoint: string): string {
  return endpoint.replace(/^tcp:\/\/(0\.0\.0\.0|\[::\]|\*)(?=:)/, `tcp://${hostname()}`)
}

function portOf(address: string): string {
  return address.slice(address.lastIndexOf(':'))
}

/** Routing ids are octets; as latin1 they are the shortest string that tells them apart. */
function keyOf(frames: readonly Buffer[]): string {
  return frames[0]?.toString('latin1') ?? ''
}

/** A flood is a few lines of the log, and each says ten times as much as the one before. */
function isPowerOfTen(total: number): boolean {
  let rest = total
  while (rest % 10 === 0) rest /= 10
  return rest === 1
}
