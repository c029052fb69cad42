import type { Broker } from '../broker/core/broker.ts'
import { readerSilenceMs } from '../broker/core/clients.ts'
import type { CoreConfig } from '../broker/core/config.ts'
import { POLICIES, type PolicyName } from '../broker/core/routing.ts'
import type { Client } from '../client/core/client.ts'
import { ClientCounters } from '../client/core/counters.ts'
import type { Collector } from '../report/collector.ts'
import { WorkerCounters } from '../worker/core/counters.ts'
import { leftovers } from './books.ts'
import { Breach } from './breach.ts'
import { addresses, BrokerNode } from './broker-node.ts'
import { ClientNode, type SimCall } from './client-node.ts'
import { EVERYBODY, EventQueue, type Happening } from './event-queue.ts'
import { Faults, placesOf } from './faults.ts'
import { Ledger, type Tracer } from './invariants.ts'
import { Delivery, longest, lookaheadMs, Network } from './network.ts'
import { Clock, type Node } from './node.ts'
import { Random } from './random.ts'
import type { Parameters } from './scenario.ts'
import { place } from './troubles.ts'
import { type WorkerCore, WorkerNode } from './worker-node.ts'
import { Workforce } from './workforce.ts'
import { serviceName, Workload } from './workload.ts'

export interface SimulationOptions {
  tracer?: Tracer
  /** Gathers what a report shows. Changes nothing about the run. */
  series?: Collector
  /** What may be done to a core before it runs: for tests that break one on purpose. */
  onBroker?: (core: Broker, node: BrokerNode) => void
  onClient?: (core: Client<SimCall>, node: ClientNode) => void
  onWorker?: (core: WorkerCore) => void
  /** All happens strictly in order of time, and clusters do not have turns: slower, and nobody in the run can tell. */
  strictly?: boolean
  /** Stop after so many events, whatever is under way then: a prefix of the run. */
  eventsMax?: number
  /** Called now and then with the virtual time. */
  onProgress?: (at: number) => void
  /** Called once, a second after the beginning, if it goes on so long: by then most that lives for long is there, and connected. */
  onSettled?: () => void
}

export const NO_TASK_IS_LOST = 'no task is lost while its client lives and any worker lives'

/** A broker, its workers and its clients. */
export class Cluster {
  readonly index: number
  readonly name: string
  broker: BrokerNode | null = null
  readonly workers: (WorkerNode | null)[]
  readonly clients: (ClientNode | null)[]
  /** It has left for good. */
  gone = false
  lives = 0
  readonly workload: Workload
  readonly addresses: ReturnType<typeof addresses>
  /** Of all clients and workers together: nobody asks for one's own, and they would be a good part of its memory. */
  readonly clientCounters = new ClientCounters()
  readonly workerCounters = new WorkerCounters()
  /** What its workers and its clients know of brokers. */
  readonly workersEndpoints: readonly string[]
  readonly clientsEndpoints: readonly string[]

  constructor(index: number, workload: Workload, p: Parameters) {
    this.index = index
    this.name = `c${index}`
    this.addresses = addresses(this.name)
    this.workload = workload
    this.workers = new Array<WorkerNode | null>(p.workers).fill(null)
    this.clients = new Array<ClientNode | null>(p.clients).fill(null)
    const { localfe, localbe } = this.addresses
    this.workersEndpoints = [localbe]
    const second = p.secondEndpoint ? [addresses(`c${(index + 1) % p.clusters}`).localfe] : []
    this.clientsEndpoints = [localfe, ...second]
  }
}

export interface Summary {
  /** Virtual time at the end, ms. */
  readonly endedAt: number
  readonly events: number
  readonly messages: number
  readonly tasks: number
  /** Of those: each client's last, a check once all is in order. */
  readonly closing: number
  readonly answered: number
  readonly starts: number
  readonly outcomes: { readonly [code: string]: number }
  readonly faults: number
  /** What was said that means nothing, by kind and what the decoder made of it. */
  readonly nonsense: { readonly [what: string]: number }
  /** Clients died before their tasks ended, or wanted them no more. */
  readonly abandoned: number
  /** To the start, ms; of the tasks before the closing ones. */
  readonly meanWaitMs: number
  /** Of those done, the share that ran in another cluster, from 0 to 1; without the closing ones, too. */
  readonly lentShare: number
  /** Time from the last fault's end until all work was done and everybody agreed who is there, ms. */
  readonly recoveredAfterMs: number
  /** Of everything that happened, in order. */
  readonly hash: string
}

class Arrival implements Happening {
  readonly mark: number
  readonly #simulation: Simulation
  readonly #cluster: Cluster

  constructor(simulation: Simulation, cluster: Cluster) {
    this.mark = (8 << 24) | cluster.index
    this.#simulation = simulation
    this.#cluster = cluster
  }

  happen(at: number): void {
    this.#simulation.arrival(this.#cluster, this, at)
  }
}

/** A deed at a time. */
class Deed implements Happening {
  readonly mark: number
  readonly #deed: (at: number) => void

  constructor(mark: number, deed: (at: number) => void) {
    this.mark = (9 << 24) | mark
    this.#deed = deed
  }

  happen(at: number): void {
    this.#deed(at)
  }
}

/** A client that cancels a task does so within this time, ms. */
const CANCELLED_WITHIN_MS = 1000

/** How often within one point of a report's curves is looked at what is free. */
const SAMPLES_PER_BUCKET = 5

/** Beyond so many clusters checks that visit every pair of them, or all that one knows, are seldom made. */
const MANY_CLUSTERS = 100

/** By then everybody has connected and signed in where nothing is slow or wrong from the beginning; ms. */
const SETTLED_MS = 1000

/** As many events have happened as were asked for. */
export class Enough extends Error {
  override readonly name = 'Enough'
}

const time = new Float64Array(1)
const timeWords = new Uint32Array(time.buffer)

/** One run: real cores, virtual time. */
export class Simulation {
  readonly seed: number
  readonly p: Parameters
  readonly queue: EventQueue
  readonly network: Network
  readonly ledger: Ledger
  readonly clusters: Cluster[] = []
  readonly faults: Faults
  readonly options: SimulationOptions
  readonly #epochs: Random
  readonly #clocks: Random
  readonly #lives: Random
  readonly #turns: Random
  readonly #moods: Random
  readonly #addresses: ReturnType<typeof addresses>[] = []
  #nodes = 0
  #tasks = 0
  #arriving = true
  #hashA = 0x811c9dc5
  #hashB = 0x2545f491
  #events = 0
  readonly #eventsMax: number
  /** When the series are to be told next what is free. */
  #sampleAt = Number.POSITIVE_INFINITY
  at = 0
  /** After all faults had ended, everything came back to order. */
  recovered = false
  /** Until when the series tell of the run, if it got beyond that. */
  gatheredUntil: number | null = null
  /** Tasks sent when nothing was wrong any more. */
  probes = 0

  constructor(seed: number, p: Parameters, options: SimulationOptions = {}) {
    this.seed = seed
    this.p = p
    this.options = options
    this.#eventsMax = options.eventsMax ?? Number.POSITIVE_INFINITY
    this.queue = new EventQueue(options.strictly ? 0 : lookaheadMs(p))
    this.network = new Network(
      {
        localMs: p.localMs,
        cloudMs: p.cloudMs,
        cloudSpread: p.cloudSpread,
        jitter: p.jitter,
        distribution: p.distribution,
        localMbps: p.localMbps,
        cloudMbps: p.cloudMbps,
        links: p.links,
        highWater: p.highWater,
        reconnectMs: p.reconnectMs,
        silenceBreaksMs: p.silenceBreaksMs === 0 ? Number.POSITIVE_INFINITY : p.silenceBreaksMs,
        freezeRecords: p.freezeRecords,
      },
      this.queue,
      seed,
    )
    const beatsMs = p.workerLiveness * p.workerHeartbeatMs
    this.ledger = new Ledger(
      {
        drift: p.drift,
        aftermathMs: 2 * beatsMs + 2 * p.stateTtlMs + p.timeoutMs * p.retries + 10 * p.reconnectMs,
        checkBooksEvery: checkBooksEvery(p),
        queueMax: p.queueMax,
        attemptsMax: p.attemptsMax,
        bodyMax: p.bodyMax,
        retries: p.retries,
        timeoutMs: p.timeoutMs,
        clearMs: 4 * p.reconnectMs + 6 * this.#tripMs() + 100,
        slowPath: p.secondEndpoint && 2 * this.#tripMs() > p.timeoutMs / 2,
        endpointsOf: (cluster) => (p.secondEndpoint ? [cluster, (cluster + 1) % p.clusters] : [cluster]),
      },
      this.queue,
    )
    this.network.trouble = (pipe, until) => {
      for (const where of placesOf(pipe)) this.ledger.troubles.passing(where, until)
    }
    if (options.tracer !== undefined) this.ledger.tracer = options.tracer
    if (options.series !== undefined) {
      this.ledger.series = options.series
      this.#sampleAt = 0
    }
    this.#epochs = new Random(seed, 'epochs')
    this.#clocks = new Random(seed, 'clocks')
    this.#lives = new Random(seed, 'lives')
    this.#turns = new Random(seed, 'turns')
    this.#moods = new Random(seed, 'moods')
    this.faults = new Faults(this)
    for (let i = 0; i < p.clusters; i++) this.addCluster(0)
    this.faults.begin()
  }

  // ---------------------------------------------------------------- the world

  /** @param owner the one cluster that it concerns */
  later(at: number, mark: number, deed: (at: number) => void, owner = EVERYBODY): void {
    this.queue.push(at, new Deed(mark, deed), owner)
  }

  addCluster(at: number): Cluster {
    const index = this.clusters.length
    const cluster = new Cluster(index, new Workload(this.seed, index, this.p), this.p)
    this.clusters.push(cluster)
    this.options.series?.addCluster(cluster.name)
    this.ledger.workforces.set(index, new Workforce())
    this.startBroker(cluster, at)
    for (let i = 0; i < this.p.workers; i++) this.startWorker(cluster, i, at)
    for (let i = 0; i < this.p.clients; i++) this.startClient(cluster, i)
    if (this.p.clients > 0) {
      const arrival = new Arrival(this, cluster)
      this.queue.push(cluster.workload.next(at), arrival, index)
    }
    return cluster
  }

  /** The longest that a message takes between clusters while nothing is wrong, ms. */
  #cloudMs(): number {
    const { p } = this
    const usualMs = p.cloudMs * p.cloudSpread
    const unlike = p.links.map(
      ({ ms = usualMs, jitter = p.jitter, distribution = p.distribution }) =>
        ms * longest({ jitter, distribution }),
    )
    return Math.max(usualMs * longest(p), ...unlike)
  }

  /** The longest that a message takes from a client to a broker that it knows while nothing is wrong, ms. */
  #tripMs(): number {
    const { p } = this
    return Math.max(p.localMs * longest(p), p.secondEndpoint ? this.#cloudMs() : 0) + 2 * p.turnMs
  }

  #clock(): Clock {
    const offset = Math.floor(this.#clocks.uniform() * 1e6)
    return new Clock(offset, 1 + this.p.drift * (2 * this.#clocks.uniform() - 1))
  }

  /** Of 31 bits: such a number lies in the object itself, and every message has two of them. */
  #epoch(): number {
    return this.#epochs.next32() >>> 1 || 1
  }

  startBroker(cluster: Cluster, at: number): void {
    if (cluster.broker?.alive || cluster.gone) return
    const { p } = this
    const { cloudfe, statebe } = cluster.addresses
    const config: CoreConfig = {
      name: cluster.name,
      cloudfeAdvertised: cloudfe,
      statebeAdvertised: statebe,
      queueMax: p.queueMax,
      bodyMax: p.bodyMax,
      servicesMax: 1000,
      workersMax: 100_000,
      attemptsMax: p.attemptsMax,
      stockTaskTimeMs: 60_000,
      taskTimeMaxMs: 86_400_000,
      silentAttemptMs: 0,
      workerHeartbeatIntervalMs: p.workerHeartbeatMs,
      workerLiveness: p.workerLiveness,
      stateIntervalMs: p.stateIntervalMs,
      stateCoalesceMs: p.stateCoalesceMs,
      stateTtlMs: p.stateTtlMs,
      peerForgetMs: p.peerForgetMs,
      peersMax: 5000,
      policy: policyNamed(p.policy),
      tuning: {
        patience: p.patience,
        price: p.price,
        steepness: p.steepness,
        rivalry: p.rivalry,
        looksAt: p.looksAt,
      },
      guestWaitMs: p.guestWaitMs,
      repliesMax: p.repliesMax,
      repliesBytesMax: 64 << 20,
      replyAgeMaxMs: p.replyAgeMs,
      retryBudgetRatio: p.retryRatio,
      retryBudgetBurst: p.retryBurst,
      retryBudgetPerSecond: p.retryPerSecond,
      busyRetryAfterMs: 100,
    }
    const random = new Random(this.seed, `broker ${cluster.index} ${cluster.lives++}`)
    const node = new BrokerNode(
      this.queue,
      this.network,
      this.ledger,
      ++this.#nodes,
      cluster.name,
      cluster.index,
      this.#clock(),
      config,
      this.#epoch(),
      () => random.uniform(),
      at,
    )
    if (p.turnMs > 0) this.takeTurns(node, p.turnMs)
    cluster.broker = node
    this.options.onBroker?.(node.core, node)
    node.addPeers(this.#peersOf(cluster), at)
  }

  /** Made once: a thousand brokers that all know each other hold one text a broker, not a thousand. */
  #addressesOf(cluster: number): ReturnType<typeof addresses> {
    for (let i = this.#addresses.length; i <= cluster; i++) this.#addresses.push(addresses(`c${i}`))
    return this.#addresses[cluster] ?? addresses(`c${cluster}`)
  }

  /** What a broker's operator has written into its configuration. */
  #peersOf(cluster: Cluster): string[] {
    const peers: string[] = []
    for (let i = 0; i < Math.max(this.p.clusters, this.clusters.length); i++) {
      if (i === cluster.index || this.clusters[i]?.gone) continue
      // The first of all may know nobody at its start: the others come to it.
      if (this.p.membership === 'all' || i === 0) peers.push(this.#addressesOf(i).cloudfe)
    }
    return peers
  }

  startWorker(cluster: Cluster, index: number, at: number): void {
    if (cluster.workers[index]?.alive || cluster.gone) return
    const { p } = this
    const services: string[] = []
    for (let s = 0; s < p.services; s++) {
      // Somewhere there is always somebody for everything; elsewhere there may be nobody.
      const everything = p.services === 1 || (index === 0 && cluster.index % 2 === 0)
      if (everything || (index + s) % p.services === 0 || this.#lives.chance(0.3))
        services.push(serviceName(s))
    }
    const node = new WorkerNode(
      this.queue,
      this.network,
      this.ledger,
      ++this.#nodes,
      cluster.index,
      this.#clock(),
      {
        name: `${cluster.name}.w${index}`,
        epoch: this.#epoch(),
        endpoints: cluster.workersEndpoints,
        slots: p.slots,
        services,
        heartbeatIntervalMs: p.workerHeartbeatMs,
        liveness: p.workerLiveness,
        reconnectMinMs: p.reconnectMs,
        reconnectMaxMs: 8 * p.reconnectMs,
        bodyMax: p.bodyMax,
        keptMax: 1 << 20,
      },
      this.#random,
      cluster.workerCounters,
      this.#diedOfTask,
    )
    if (p.turnMs > 0) this.takeTurns(node, p.turnMs)
    this.options.onWorker?.(node.core)
    cluster.workers[index] = node
    this.ledger.workforces.get(cluster.index)?.join(node)
    node.begin(at)
  }

  readonly #random32 = () => this.#epochs.next32()
  readonly #random = () => this.#lives.uniform()

  readonly #diedOfTask = (worker: WorkerNode, at: number): void => {
    const cluster = this.clusters[worker.cluster]
    if (cluster === undefined) return
    const index = cluster.workers.indexOf(worker)
    const places = [place.worker(worker.name), place.someWorker(cluster.index)]
    this.ledger.troubles.begins(places)
    this.ledger.workforces.get(cluster.index)?.leave(worker)
    const again = (now: number): void => {
      this.ledger.troubles.ends(places, now)
      this.startWorker(cluster, index, now)
    }
    this.later(at + this.#lives.between(100, 500), worker.mark, again, cluster.index)
  }

  startClient(cluster: Cluster, index: number): void {
    if (cluster.clients[index]?.alive || cluster.gone) return
    const { p } = this
    const life = cluster.clients[index] === null ? 0 : ++this.#nodes
    const node = new ClientNode(
      this.queue,
      this.network,
      this.ledger,
      ++this.#nodes,
      cluster.index,
      this.#clock(),
      {
        name: `${cluster.name}.u${index}${life === 0 ? '' : `.${life}`}`,
        epoch: this.#epoch(),
        endpoints: cluster.clientsEndpoints,
        heartbeatIntervalMs: 1000,
        outstandingMax: 100_000,
        bodyMax: p.bodyMax,
      },
      this.#random32,
      cluster.clientCounters,
    )
    if (p.turnMs > 0) this.takeTurns(node, p.turnMs)
    this.options.onClient?.(node.core, node)
    cluster.clients[index] = node
  }

  /** From now on the process's loop takes up to so long to come round, ms. */
  takeTurns(node: Node, turnMs: number): void {
    node.takeTurns(turnMs, this.#turns)
  }

  killBroker(cluster: Cluster, at: number): void {
    if (cluster.broker?.alive) cluster.broker.kill(at)
  }

  killWorker(cluster: Cluster, index: number, at: number): void {
    const worker = cluster.workers[index]
    if (!worker?.alive) return
    this.ledger.workforces.get(cluster.index)?.leave(worker)
    worker.kill(at)
  }

  killClient(cluster: Cluster, index: number, at: number): void {
    const client = cluster.clients[index]
    if (!client?.alive) return
    client.kill(at)
    this.ledger.abandoned(client, at)
  }

  // ---------------------------------------------------------------- work

  arrival(cluster: Cluster, arrival: Arrival, at: number): void {
    if (!this.#arriving || cluster.gone) return
    const who = cluster.workload.who(at)
    if (who >= 0) {
      const client = cluster.clients[who]
      // Drawn all the same, so that a fault here changes nothing about the others' work.
      const call = cluster.workload.task(++this.#tasks, client?.name ?? '', at)
      if (client?.alive && !client.frozen) {
        client.submit(call, at)
        if (this.p.cancelled > 0 && this.#moods.chance(this.p.cancelled)) this.#willCancel(client, call, at)
      }
    }
    this.queue.push(cluster.workload.next(at), arrival, cluster.index)
  }

  /** The client changes its mind, unless the task is settled before. */
  #willCancel(client: ClientNode, call: SimCall, at: number): void {
    const cancel = (now: number): void => {
      const { errand } = call
      if (errand.settled || !client.alive || client.frozen) return
      this.ledger.cancelled(client, call, now)
      client.act(() => client.core.cancel(call), now)
    }
    this.later(at + this.#moods.logBetween(1, CANCELLED_WITHIN_MS), 6, cancel, client.cluster)
  }

  // ---------------------------------------------------------------- time

  get events(): number {
    return this.#events
  }

  /** @returns false when nothing happens any more */
  step(until: number): boolean {
    const happening = this.queue.pop(until)
    if (this.#sampleAt <= this.queue.horizon) this.#sampleUntil(this.queue.horizon)
    if (happening === undefined) {
      this.at = until
      this.queue.time = until
      return false
    }
    const at = this.queue.time
    this.at = at
    if (++this.#events > this.#eventsMax) throw new Enough()
    // Two of three are deliveries: told apart, they are called without a look-up.
    if (happening instanceof Delivery) {
      this.#enterIntoHash(at, happening.mark)
      happening.happen(at)
    } else {
      this.#enterIntoHash(at, happening.mark)
      happening.happen(at)
    }
    return true
  }

  #enterIntoHash(at: number, mark: number): void {
    time[0] = at
    this.#hashA = Math.imul(this.#hashA ^ (timeWords[0] ?? 0) ^ mark, 0x01000193)
    this.#hashB = Math.imul(this.#hashB ^ (timeWords[1] ?? 0), 0x85ebca6b) ^ (this.#hashA >>> 13)
  }

  advance(until: number): void {
    while (this.step(until)) if ((this.#events & 0xffff) === 0) this.options.onProgress?.(this.at)
    this.#sampleUntil(until)
  }

  /** Between what happens before and after, and not by an event: a run is the same whether it is watched or not. */
  #sampleUntil(at: number): void {
    while (this.#sampleAt <= at) this.#sample(this.#sampleAt)
  }

  #sample(at: number): void {
    const { series } = this.options
    if (series === undefined) return
    for (const { index, broker } of this.clusters) {
      let free = 0
      if (broker?.alive && !broker.frozen)
        for (const worker of broker.core.workers.byKey.values()) free += worker.countedFree
      series.spare(at, index, free)
    }
    this.#sampleAt = at + series.bucketMs / SAMPLES_PER_BUCKET
  }

  /**
   * Work and faults; then all faults end, and the rest of the work must get done, everybody must agree who is there,
   * nothing may be left over, and a fresh task of each client must be answered.
   * @throws Breach
   */
  run(): Summary {
    const { p } = this
    if (p.durationMs > SETTLED_MS) {
      this.advance(SETTLED_MS)
      this.options.onSettled?.()
    }
    this.advance(p.durationMs)
    this.#arriving = false
    this.faults.healAll(this.at)
    const healedAt = this.at
    this.#recover(healedAt)
    const recoveredAfterMs = this.at - healedAt
    this.recovered = true
    // What comes now is a check, and no load that anybody would have.
    this.gatheredUntil = this.at
    this.ledger.series = null
    this.#sampleAt = Number.POSITIVE_INFINITY
    const { meanWaitMs, lentShare } = this.ledger
    this.#probe()
    return this.#summary(recoveredAfterMs, meanWaitMs, lentShare)
  }

  #summary(recoveredAfterMs: number, meanWaitMs: number, lentShare: number): Summary {
    const { ledger } = this
    return {
      endedAt: this.at,
      events: this.#events,
      messages: this.network.messages,
      tasks: ledger.submittedCount,
      closing: this.probes,
      answered: ledger.outcomes.get('') ?? 0,
      starts: ledger.starts,
      outcomes: Object.fromEntries([...ledger.outcomes].map(([code, n]) => [code === '' ? 'OK' : code, n])),
      faults: ledger.faults,
      nonsense: Object.fromEntries(ledger.nonsense),
      abandoned: ledger.abandonedCount,
      meanWaitMs,
      lentShare,
      recoveredAfterMs,
      hash:
        (this.#hashA >>> 0).toString(16).padStart(8, '0') + (this.#hashB >>> 0).toString(16).padStart(8, '0'),
    }
  }

  /** How long the rest may take once nothing is wrong any more. */
  #patienceMs(): number {
    const { p } = this
    let workMs = 0
    let longestMs = 0
    let deferred = 0
    for (const errand of this.ledger.open.values()) {
      workMs += errand.serviceMs
      longestMs = Math.max(longestMs, errand.serviceMs)
    }
    let slots = 0
    for (const cluster of this.clusters) {
      if (cluster.gone) continue
      slots += cluster.workers.length * p.slots
      // Of a task that nobody waits for any more, too: it may have been started after it was settled (seed 9851).
      for (const worker of cluster.workers) longestMs = Math.max(longestMs, worker?.longestMs ?? 0)
      deferred = Math.max(deferred, cluster.broker?.core.scheduler.deferred ?? 0)
    }
    const perSecond = Math.max(p.retryPerSecond, 0.1)
    return (
      // The work itself, in the worst case in one cluster after the other and several times over.
      ((2 * workMs) / Math.max(1, slots)) * Math.min(this.clusters.length, 4) +
      p.attemptsMax * longestMs +
      (deferred * 1000) / perSecond +
      2 * p.timeoutMs * p.retries +
      4 * p.workerLiveness * p.workerHeartbeatMs +
      6 * p.stateTtlMs +
      40 * p.reconnectMs +
      100 * (p.cloudMs + p.turnMs) +
      4 * this.#cloudMs() +
      // A stream whose reader has died keeps its slot for as long as the reader may be silent.
      (p.streams > 0 && this.ledger.abandonedCount > 0
        ? readerSilenceMs(p.workerLiveness, p.workerHeartbeatMs)
        : 0) +
      10_000
    )
  }

  #recover(healedAt: number): void {
    const patience = this.#patienceMs()
    let quietSince = -1
    // All pairs of clusters are looked at: where there are many, that is seldom done.
    const pollMs = this.clusters.length > MANY_CLUSTERS ? 250 : 50
    for (;;) {
      this.advance(this.at + pollMs)
      const owes = this.ledger.owed
      const unfinished =
        owes > 0 ? `${owes} tasks are not settled` : (this.#disagreement() ?? this.#leftover())
      if (unfinished === null) {
        if (quietSince < 0) quietSince = this.at
        // Once might be luck between two messages.
        if (this.at - quietSince >= 500) return
        continue
      }
      quietSince = -1
      if (this.at - healedAt < patience) continue
      const oldest =
        owes > 0 ? ([...this.ledger.open.values()].find((errand) => !errand.settled) ?? null) : null
      throw new Breach(
        owes > 0 ? NO_TASK_IS_LOST : 'after faults end, all work drains and everybody agrees who is there',
        this.at,
        oldest?.number ?? null,
        `${((this.at - healedAt) / 1000).toFixed(1)} s after everything was healed: ${unfinished}`,
      )
    }
  }

  /** @returns what some broker has wrong about who is there */
  #disagreement(): string | null {
    const here = this.clusters.filter((cluster) => !cluster.gone)
    for (const { broker, name } of here) {
      if (broker === null || !broker.alive) return `${name} has no broker`
      for (const other of here) {
        if (other.broker === broker || other.broker === null) continue
        const peer = broker.core.peers.byName.get(other.name)
        if (peer === undefined) return `${name} does not know ${other.name}`
        if (peer.phase !== 'up') return `${name} holds ${other.name} for ${peer.phase}`
        if (peer.link.epoch !== other.broker.epoch) return `${name} knows ${other.name} by an earlier epoch`
        if (peer.blocked) return `${name} holds ${other.name} for blocked`
        if (peer.draining) return `${name} holds ${other.name} for draining`
        const now = broker.shows(this.at)
        if (!peer.takesTasks(now, this.p.stateTtlMs)) return `${name} has no fresh state of ${other.name}`
      }
      for (const cluster of this.clusters) {
        if (cluster.gone && broker.core.peers.byName.get(cluster.name)?.phase === 'up')
          return `${name} holds ${cluster.name}, which has left, for up`
      }
    }
    return null
  }

  /** @returns what is left where nothing should be */
  #leftover(): string | null {
    for (const { broker, workers, clients, gone, name } of this.clusters) {
      if (gone) continue
      const left = broker === null ? [] : leftovers(broker)
      if (left.length > 0) return left.join('; ')
      const slots = workers.length * this.p.slots
      let known = 0
      for (const worker of broker?.core.workers.byKey.values() ?? []) known += worker.slots
      if (known !== slots) return `${name} counts ${known} slots, its workers have ${slots}`
      for (const worker of workers) {
        if (worker !== null && worker.running > 0) return `${worker.name} still runs ${worker.running} tasks`
        const held = worker?.held ?? 0
        if (held > 0) return `${worker?.name} still holds ${held} tasks`
      }
      for (const client of clients) {
        if (client !== null && client.core.outstanding > 0)
          return `${client.name} still waits for ${client.core.outstanding} tasks`
      }
    }
    return null
  }

  /** Nothing is wrong and nothing is under way: one task more from everybody must be done at once. */
  #probe(): void {
    const { p } = this
    const startedAt = this.at
    // To a client's other broker, from there to a peer, and back.
    const tripMs = 4 * (this.#cloudMs() + p.localMs * longest(p)) + 8 * p.turnMs
    const clients = p.clients * this.clusters.length
    const slots = p.workers * p.slots * this.clusters.length
    const boundMs =
      3000 +
      p.timeoutMs +
      100 * (p.cloudMs + p.localMs + p.turnMs) +
      tripMs +
      4 * p.stateIntervalMs +
      (20 * clients) / Math.max(1, slots)
    // Work's deadline may be shorter than the way to a worker and back, which is nobody's fault.
    const patience = { timeoutMs: p.timeoutMs + tripMs, deadlineMs: 2 * boundMs }
    const calls: SimCall[] = []
    for (const cluster of this.clusters) {
      if (cluster.gone) continue
      cluster.clients.forEach((client, index) => {
        if (client === null || !client.alive) return
        const service = serviceName(index % p.services)
        const call = cluster.workload.probe(++this.#tasks, client.name, service, patience, this.at)
        calls.push(call)
        client.submit(call, this.at)
      })
    }
    this.probes = calls.length
    while (this.ledger.owed > 0 && this.at - startedAt < boundMs) this.advance(this.at + 20)
    for (const { errand } of calls) {
      if (errand.settled && (errand.code === '' || errand.code === 'BUSY')) continue
      // The only try may have gone to the other broker that the client knows, which has left for good.
      if (p.retries === 1 && errand.code === 'TIMEOUT' && this.#otherEndpointGone(errand.cluster)) continue
      throw new Breach(
        'when nothing is wrong, a task is done',
        this.at,
        errand.number,
        errand.settled ? `it ended with ${errand.code}` : `not settled after ${boundMs.toFixed(0)} ms`,
      )
    }
  }

  /** Whether the second of the two brokers that a cluster's clients know has left for good. */
  #otherEndpointGone(cluster: number): boolean {
    return this.p.secondEndpoint && this.clusters[(cluster + 1) % this.p.clusters]?.gone === true
  }
}

/** A broker's books list all others: with more clusters they are looked through less often, or each turn would cost more. */
function checkBooksEvery({ checkBooksEvery: turns, clusters }: Parameters): number {
  if (turns === 0) return Number.POSITIVE_INFINITY
  return turns * Math.max(1, Math.round(clusters / MANY_CLUSTERS))
}

function policyNamed(name: string): PolicyName {
  for (const known of Object.keys(POLICIES)) if (isPolicy(known) && known === name) return known
  throw new RangeError(`there is no policy "${name}"; there are ${Object.keys(POLICIES).join(', ')}`)
}

function isPolicy(name: string): name is PolicyName {
  return Object.hasOwn(POLICIES, name)
}
