import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BrokerStatus } from '../../broker/status.ts'
import { Collector } from '../../report/collector.ts'
import type { Series } from '../../report/report.ts'
import { freeAddresses } from '../process/addresses.ts'
import { Freezer } from '../process/freezer.ts'
import { disagreements, leftovers } from './agreement.ts'
import { type Board, TICK_MS } from './board.ts'
import { Cluster, type Host } from './cluster.ts'
import { Faults } from './faults.ts'
import { Hearsay, type Witness } from './hearsay.ts'
import { Judge } from './judge.ts'
import { clockMs, LedgerReader } from './ledger.ts'
import { Links } from './links.ts'
import type { LiveParameters } from './parameters.ts'
import { drawPlan } from './plan.ts'
import { STANDSTILL_MS } from './standstill.ts'

/** Starts again on other ports when somebody was faster to take one. */
const START_TRIES_MAX = 3
const START_TIMEOUT_MS = 30_000
const READ_EVERY_MS = 100
const ASK_EVERY_MS = 500
const POLL_MS = 50
/** Consequences of a fault may show for so long after its end: a client asks again after a second, a silent peer is lost after 1.5. */
const AFTERMATH_MS = 5000
/** What a broker lets wait, by default. */
const QUEUE_MAX = 10_000

/** What there is to say at the end. */
export interface Outcome {
  readonly judge: Judge
  readonly collector: Collector
  readonly series: Series
  /** Of the run, from the first task to the last look, ms. */
  readonly durationMs: number
  /** When clients were told to send no more but one last task each, ms from the start. */
  readonly arrivalsUntilMs: number
  /** From the end of the faults until all work was done and all agreed, ms. */
  readonly recoveredAfterMs: number
  readonly faults: { readonly struck: number; readonly killed: number; readonly frozen: number }
  readonly folder: string
  readonly ledger: LedgerReader
}

/** Runs the whole: starts the clusters, has tasks sent and things go wrong, and asks the judge. */
export class Director {
  readonly #p: LiveParameters
  readonly #board: Board
  readonly folder = mkdtempSync(join(tmpdir(), 'spillway-live-'))
  readonly #ledger = new LedgerReader(this.folder)
  readonly #collector: Collector
  readonly #judge: Judge
  readonly #timers: NodeJS.Timeout[] = []
  readonly #freezer = new Freezer()
  /** What is overheard between clusters, for the judge. */
  readonly #witness: Witness = {
    relayed: (task, from, to) => this.#judge.relayed(task, from, to, clockMs()),
    advertised: (cluster, state, since) => {
      if (this.#begun && !this.#over) this.#judge.advertised(cluster, state, since, clockMs())
    },
  }
  #clusters: Cluster[] = []
  #links: Links | null = null
  #faults: Faults | null = null
  /** When the first task was sent, by the ledger's clock. */
  #startedAt = clockMs()
  #arrivalsUntilMs = 0
  /** Processes that have ended before anything had begun, and what they said. */
  readonly #stillborn: string[] = []
  #begun = false
  /** Lives that have ended, whose last words may not have been read yet. */
  #dead: string[] = []
  #readAt = clockMs()
  /** What must not go on when the run is over. */
  #over = false

  constructor(p: LiveParameters, board: Board) {
    this.#p = p
    this.#board = board
    this.#collector = new Collector({ durationMs: p.duration })
    for (let n = 0; n < p.clusters; n++) this.#collector.addCluster(`c${n}`)
    const since = (at: number) => at - this.#startedAt
    this.#judge = new Judge(
      {
        aftermathMs: AFTERMATH_MS,
        queueBound: QUEUE_MAX + p.clusters * p.workers * p.slots,
        slots: p.workers * p.slots,
      },
      {
        answered: (at, latencyMs, from, ranIn) => this.#collector.answered(since(at), latencyMs, from, ranIn),
        failed: (at) => this.#collector.failed(since(at)),
        retaken: (afterMs) => this.#collector.retaken(afterMs),
      },
    )
    board.judge = this.#judge
  }

  /** @throws when the clusters cannot be started */
  async run(): Promise<Outcome> {
    const { clusters, workers, clients, workerHosts, clientHosts } = this.#p
    const processes = clusters * (1 + workerHosts + clientHosts)
    this.#board.sentence = `Starting ${clusters} clusters of ${workers} workers and ${clients} clients: ${processes} processes, each its own process group.`
    try {
      await this.#startAll()
      await this.#work()
      const recoveredAfterMs = await this.#heal()
      await this.#lastRound()
      await this.#look()
      await this.#stop()
      this.#read()
      const now = clockMs()
      this.#judge.finish(now)
      const durationMs = now - this.#startedAt
      return {
        judge: this.#judge,
        collector: this.#collector,
        series: this.#collector.series(durationMs),
        durationMs,
        arrivalsUntilMs: this.#arrivalsUntilMs,
        recoveredAfterMs,
        faults: this.#faults?.counts ?? { struck: 0, killed: 0, frozen: 0 },
        folder: this.folder,
        ledger: this.#ledger,
      }
    } finally {
      this.#over = true
      for (const timer of this.#timers) clearInterval(timer)
      await this.#links?.close()
    }
  }

  // ---------------------------------------------------------------- acts

  async #startAll(): Promise<void> {
    for (let tries = 1; ; tries++) {
      const addresses = await freeAddresses(this.#p.clusters)
      const links = await Links.between(addresses, this.#p.delay, new Hearsay(this.#witness, clockMs))
      this.#links = links
      this.#clusters = addresses.map(
        (own, index) =>
          new Cluster(index, own, links.peersOf(index), this.#p, this.folder, (host, how) =>
            this.#ended(host, how),
          ),
      )
      this.#board.clusters = this.#clusters
      for (const { broker, workerHosts } of this.#clusters) {
        for (const host of [broker, ...workerHosts]) this.#start(host)
      }
      const missing = await this.#wait(START_TIMEOUT_MS, () => this.#disagreements())
      if (missing.length === 0) return
      if (tries === START_TRIES_MAX || this.#stillborn.length === 0) {
        throw new Error(['the clusters are not ready:', ...missing, ...this.#stillborn].join('\n'))
      }
      for (const { hosts } of this.#clusters) await Promise.all(hosts.map((host) => host.kill(this.#freezer)))
      await links.close()
      this.#stillborn.length = 0
    }
  }

  async #work(): Promise<void> {
    const links = this.#links
    if (links === null) return
    this.#begun = true
    this.#readAt = clockMs()
    this.#startedAt = clockMs()
    for (const { clientHosts } of this.#clusters) for (const host of clientHosts) this.#start(host)
    this.#timers.push(
      setInterval(() => this.#read(), READ_EVERY_MS),
      setInterval(() => void this.#look(), ASK_EVERY_MS),
      setInterval(() => this.#board.tick(), TICK_MS),
    )
    this.#board.sentence = 'Tasks are sent, and things go wrong.'
    const faults = new Faults({
      p: this.#p,
      clusters: this.#clusters,
      links,
      freezer: this.#freezer,
      judge: this.#judge,
      collector: this.#collector,
      board: this.#board,
      startedAt: this.#startedAt,
      start: (host) => this.#start(host),
      killed: (host) => this.#killed(host),
    })
    this.#faults = faults
    faults.begin(drawPlan(this.#p))
    const endsAt = this.#startedAt + this.#p.duration
    for (let now = clockMs(); now < endsAt; now = clockMs()) {
      await pause(Math.min(POLL_MS, endsAt - now))
    }
  }

  /** @returns how long it took until all was well, ms */
  async #heal(): Promise<number> {
    this.#board.sentence =
      'All faults are over. What is left must get done, and all brokers must agree who is there.'
    const from = clockMs()
    await this.#faults?.end()
    this.#tellClients('hold')
    this.#arrivalsUntilMs = clockMs() - this.#startedAt
    const missing = await this.#wait(this.#p.settle, async () => {
      this.#read()
      const open = this.#judge.open
      const left = open === 0 ? [] : [`${open} tasks are not answered`]
      return [...left, ...(await this.#disagreements())]
    })
    const took = clockMs() - from
    this.#judge.drained(inTime(missing, this.#p.settle), clockMs())
    this.#board.happen(
      missing.length === 0
        ? `all work done, and all brokers agree, ${(took / 1000).toFixed(1)} s after the last fault`
        : `still not so after ${took / 1000} s: ${missing[0] ?? ''}`,
      performance.now(),
      missing.length > 0,
    )
    return took
  }

  /** One task more of each client, which must simply be done; and then nothing may be left. */
  async #lastRound(): Promise<void> {
    this.#board.sentence = 'One task more of each client, which must simply be done.'
    const { clusters, clients, settle } = this.#p
    const before = this.#judge.sent
    this.#tellClients('each')
    const missing = await this.#wait(settle, () => {
      this.#read()
      const unsent = before + clusters * clients - this.#judge.sent
      const { open } = this.#judge
      return [
        ...(unsent > 0 ? [`${unsent} clients have not sent their last task`] : []),
        ...(open > 0 ? [`${open} last tasks are not answered`] : []),
      ]
    })
    this.#judge.lastTasksDone(inTime(missing, settle), clockMs())
    const left = await this.#wait(settle, async () => leftovers(await this.#statuses()))
    this.#judge.tablesEmpty(inTime(left, settle), clockMs())
  }

  async #stop(): Promise<void> {
    this.#board.sentence = 'Stopping.'
    await Promise.all(
      this.#clusters.map(async ({ broker, workerHosts, clientHosts }) => {
        await Promise.all([...clientHosts, ...workerHosts].map((host) => host.stop()))
        await broker.stop()
      }),
    )
    await this.#freezer.stop()
  }

  // ---------------------------------------------------------------- processes

  #start(host: Host): void {
    if (this.#over) return
    host.start()
    this.#judge.processStarted()
    if (host.kind === 'client') host.tell({ type: 'send' })
  }

  /** By us, just now. */
  #killed(host: Host): void {
    this.#judge.killed(host.lifeName, clockMs())
    this.#dead.push(host.lifeName)
  }

  #ended(host: Host, how: string): void {
    if (this.#over) return
    if (!this.#begun) {
      this.#stillborn.push(`${host.label} has ended with ${how}`)
      return
    }
    this.#judge.endedByItself(host.label, how, clockMs())
    this.#board.happen(
      `${host.label} has ended by itself with ${how.split('\n')[0] ?? ''}`,
      performance.now(),
      true,
    )
  }

  #tellClients(type: 'hold' | 'each'): void {
    for (const { clientHosts } of this.#clusters) for (const host of clientHosts) host.tell({ type })
  }

  // ---------------------------------------------------------------- looking

  /** What has been written since. */
  #read(): void {
    const now = clockMs()
    // So may others have, and what passes between clusters passes through here.
    if (now - this.#readAt > STANDSTILL_MS + READ_EVERY_MS) {
      const all = this.#clusters.map(({ index }) => index)
      this.#judge.troubleBegins({ clusters: all, what: 'broker or workers', from: this.#readAt }).until = now
      const seconds = ((now - this.#readAt) / 1000).toFixed(1)
      this.#board.happen(`this machine stood still for ${seconds} s`, performance.now())
    }
    this.#readAt = now
    const dead = this.#dead
    this.#dead = []
    this.#ledger.read((entry) => this.#judge.entry(entry))
    for (const life of dead) {
      this.#judge.excuse(life)
      this.#ledger.writerIsGone(life)
    }
    this.#judge.compare(now)
  }

  async #statuses(): Promise<(BrokerStatus | null)[]> {
    return await Promise.all(this.#clusters.map((cluster) => cluster.ask()))
  }

  async #disagreements(): Promise<string[]> {
    const { workers, slots } = this.#p
    const ways = this.#clusters.map(({ index }) => this.#links?.peersOf(index) ?? [])
    return disagreements(await this.#statuses(), workers * slots, ways)
  }

  async #look(): Promise<void> {
    await Promise.all(
      this.#clusters.map(async (cluster) => {
        if (cluster.broker.condition !== 'up') return
        const askedAt = clockMs()
        const status = await cluster.ask()
        const now = clockMs()
        if (status === null || this.#over) return
        if (now - askedAt > STANDSTILL_MS && cluster.broker.condition === 'up')
          this.#judge.stoodStill(cluster.index, true, askedAt, now)
        this.#judge.heard(status, askedAt, now)
        this.#collector.spare(now - this.#startedAt, cluster.index, status.free)
      }),
    )
  }

  /** @param missing what is not as it should be yet @returns what still was not at the end of the time */
  async #wait(ms: number, missing: () => string[] | Promise<string[]>): Promise<string[]> {
    const giveUpAt = clockMs() + ms
    for (;;) {
      const left = await missing()
      if (left.length === 0 || clockMs() > giveUpAt) return left
      await pause(POLL_MS)
    }
  }
}

function inTime(missing: readonly string[], ms: number): string[] {
  return missing.map((what) => `${ms / 1000} s later, ${what}`)
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
