/** The broker as a library: one cluster's broker in this process. Import as `spillway/broker`. */

import { ConfigurationError } from '../settings/configuration-error.ts'
import { parseHttpAddress } from '../settings/endpoint.ts'
import {
  type BrokerConfig,
  type BrokerSettings,
  DRAIN_DEADLINE_MAX_MS,
  parseBrokerConfig,
  reactorOptions,
} from './config.ts'
import type { BrokerEvent } from './core/event.ts'
import type { Admin } from './io/admin.ts'
import { logEvent, logMalformed } from './io/event-log.ts'
import { type Logger, makeLogger } from './io/log.ts'
import { Metrics } from './io/metrics.ts'
import { Reactor } from './io/reactor.ts'
import { readPeers, readStatus } from './io/status.ts'
import type { BrokerStatus, PeerStatus } from './status.ts'

export { ConfigurationError, type ConfigurationProblem } from '../settings/configuration-error.ts'
export type { BrokerConfig, BrokerSettings } from './config.ts'
export type { BrokerEvent } from './core/event.ts'
export type { BrokerStatus, PeerStatus } from './status.ts'

export type BrokerOptions = BrokerSettings & {
  /** Takes the broker's lines, at the logger's own level. By default they go to stderr as `logLevel` and `logFormat` say. */
  readonly logger?: Logger | undefined
  /** Told of changes of state beside the log; never once a task. Must not throw. */
  readonly onEvent?: ((event: BrokerEvent) => void) | undefined
  /** A bug of ours or of libzmq, after which nothing can be relied on. By default it is thrown as an uncaught exception. */
  readonly onFatal?: ((error: unknown) => void) | undefined
}

/** How long the last answers and goodbyes may take to leave when a broker that has drained is closed, ms. */
const LAST_WORDS_MS = 500

/**
 * A cluster's broker: `await broker.start()`, and when it should go `await broker.drain()`, or `stop()` at once. With
 * `await using` it is stopped at the end of the block.
 */
export class Broker implements AsyncDisposable {
  readonly config: BrokerConfig
  readonly #reactor: Reactor
  readonly #onEvent: (event: BrokerEvent) => void
  readonly #drained: Promise<void>
  #log: Logger | undefined
  /** What happened before the log says that the broker is up, for people read it from there on. */
  #early: BrokerEvent[] | undefined = []
  #metrics: Metrics | undefined
  #admin: Admin | undefined
  #httpAddress: string | null = null
  #started: Promise<void> | undefined
  #stopped: Promise<void> | undefined
  #open = false
  #lingerMs = 0

  /** @throws ConfigurationError naming every option that is wrong */
  constructor(options: BrokerOptions) {
    const { logger, onEvent, onFatal, ...settings } = options
    this.config = parseBrokerConfig(settings)
    this.#log = logger
    this.#onEvent = onEvent ?? (() => {})
    let drained = () => {}
    this.#drained = new Promise((resolve) => {
      drained = resolve
    })
    this.#reactor = new Reactor({
      ...reactorOptions(this.config),
      onEvent: (event) => this.#event(event),
      onMalformed: (socket, reason, total) => {
        if (this.#log !== undefined) logMalformed(this.#log, socket, reason, total)
      },
      onDrained: () => drained(),
      onFatal: onFatal ?? throwUncaught,
    })
  }

  /** As bound; empty before `start`. */
  get endpoints(): BrokerStatus['endpoints'] {
    return { ...this.#reactor.endpoints }
  }

  /** Where the admin HTTP listens, as `host:port`; null when it does not. */
  get httpAddress(): string | null {
    return this.#httpAddress
  }

  /** Its sockets are bound, and it does not drain. Does not depend on workers or peers. */
  get ready(): boolean {
    return this.#open && !this.#reactor.core.draining
  }

  /** Resolves when draining, whoever asked for it, has come to its end: nothing is left to be done but `stop`. */
  get drained(): Promise<void> {
    return this.#drained
  }

  /** Binds, joins its peers, and works from here on. @throws an error that says what cannot be bound and what to do */
  start(): Promise<void> {
    this.#started ??= this.#start()
    return this.#started
  }

  async #start(): Promise<void> {
    const { config } = this
    this.#log ??= await makeLogger(config, config.name)
    await this.#reactor.open()
    this.#open = true
    try {
      await this.#serveHttp()
    } catch (error) {
      await this.stop()
      throw error
    }
    const { localfe, localbe, cloudfe, statebe } = this.endpoints
    this.#log.info(
      {
        event: 'started',
        ...this.endpoints,
        http: this.#httpAddress ?? 'off',
        epoch: this.#reactor.core.epoch,
        config,
      },
      `broker ${config.name} up: localfe ${localfe}, localbe ${localbe}, cloudfe ${cloudfe}, statebe ${statebe}, http ${this.#httpAddress ?? 'off'}`,
    )
    const early = this.#early ?? []
    this.#early = undefined
    for (const event of early) logEvent(this.#log, event)
  }

  async #serveHttp(): Promise<void> {
    const address = this.config.http === 'off' ? null : parseHttpAddress(this.config.http)
    if (address === null) return
    const { Admin } = await import('./io/admin.ts')
    const metrics = new Metrics({
      core: this.#reactor.core,
      traffic: this.#reactor.traffic,
      now: () => this.#reactor.now(),
    })
    this.#metrics = metrics
    this.#admin = new Admin({
      ready: () => this.ready,
      draining: () => this.#reactor.core.draining,
      status: () => this.status(),
      peers: () => this.peers(),
      metrics: async () => ({ contentType: metrics.contentType, text: await metrics.read() }),
      addPeer: (peer) => this.addPeer(peer),
      removePeer: (peer) => this.removePeer(peer),
      beginDrain: (deadlineMs) => this.#beginDrain(deadlineMs),
    })
    this.#httpAddress = await this.#admin.listen(address.host, address.port)
  }

  /**
   * Takes nothing new, finishes what is under way, hands what waits to peers, and leaves.
   * @param deadlineMs from 0 to a day, by default as configured; what is not done then is answered DRAINING
   * @throws ConfigurationError for a deadline out of range: nothing is drained
   */
  async drain(deadlineMs: number = this.config.drainDeadlineMs): Promise<void> {
    if (!(deadlineMs >= 0 && deadlineMs <= DRAIN_DEADLINE_MAX_MS)) {
      throw new ConfigurationError(
        `deadlineMs = ${deadlineMs}: expected a number of ms from 0 to ${DRAIN_DEADLINE_MAX_MS}`,
      )
    }
    if (this.#open) {
      this.#beginDrain(deadlineMs)
      await this.#drained
      this.#lingerMs = LAST_WORDS_MS
    }
    await this.stop()
  }

  #beginDrain(deadlineMs = this.config.drainDeadlineMs): void {
    this.#reactor.command((core, now) => core.drain(deadlineMs, now))
  }

  /** Closes everything at once. What is under way is lost here; clients and peers start it again elsewhere. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  async #stop(): Promise<void> {
    this.#open = false
    this.#metrics?.stop()
    await this.#admin?.close()
    await this.#reactor.close(this.#lingerMs)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  /** What `GET /status` tells. */
  status(): BrokerStatus {
    const { core, endpoints } = this.#reactor
    return readStatus(core, endpoints, this.ready, this.#reactor.now())
  }

  peers(): PeerStatus[] {
    return readPeers(this.#reactor.core, this.#reactor.now())
  }

  /** @returns false when the address is known already, or there are too many peers */
  addPeer(address: string): boolean {
    return this.#reactor.command((core, now) => core.addPeer(address, now))
  }

  /** It stays removed: gossip does not bring it back. @returns false when there is none of this name or address */
  removePeer(nameOrAddress: string): boolean {
    return this.#reactor.command((core, now) => core.removePeer(nameOrAddress, now))
  }

  /** The configured peers are now exactly these; those met otherwise stay. */
  setPeers(addresses: readonly string[]): void {
    this.#reactor.command((core, now) => core.setPeers(addresses, now))
  }

  #event(event: BrokerEvent): void {
    if (this.#early !== undefined) this.#early.push(event)
    else if (this.#log !== undefined) logEvent(this.#log, event)
    // Not before the core has done what it is about: whoever is told may call us, and we would call the core in its middle.
    queueMicrotask(() => this.#onEvent(event))
  }
}

/** Out of the loop that caught it, to where an unhandled bug belongs. */
function throwUncaught(error: unknown): void {
  setImmediate(() => {
    throw error
  })
}
