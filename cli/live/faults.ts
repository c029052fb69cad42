import type { Collector, FaultHandle } from '../../report/collector.ts'
import type { Freezer } from '../process/freezer.ts'
import type { Board } from './board.ts'
import type { Cluster, Host } from './cluster.ts'
import type { Judge, Trouble } from './judge.ts'
import { clockMs } from './ledger.ts'
import type { Weather } from './link-proxy.ts'
import type { Links } from './links.ts'
import type { LiveFault, LiveParameters } from './parameters.ts'
import type { PlannedFault } from './plan.ts'

export interface Surroundings {
  readonly p: LiveParameters
  readonly clusters: readonly Cluster[]
  readonly links: Links
  readonly freezer: Freezer
  readonly judge: Judge
  readonly collector: Collector
  readonly board: Board
  /** By the ledger's clock. */
  readonly startedAt: number
  readonly start: (host: Host) => void
  /** Told of a process as soon as it is dead. */
  readonly killed: (host: Host) => void
}

/** What brings things back to order. */
type Undo = () => void

interface UnderWay {
  readonly undo: Undo
  readonly timer: NodeJS.Timeout
}

/** How much slower a slow link may get, times the usual delay and at least so many ms. */
const SLOW_MIN_MS = 20
const SLOW_STEP_MS = 10
const SLOW_STEPS = 20

/** Carries out what was planned, on real processes and links, and takes it back in time. */
export class Faults {
  readonly #s: Surroundings
  readonly #underWay = new Set<UnderWay>()
  readonly #timers: NodeJS.Timeout[] = []
  /** Kills under way: a process is not started again before it is gone. */
  readonly #deaths = new Set<Promise<void>>()
  #over = false
  #struck = 0
  #killed = 0
  #frozen = 0

  constructor(surroundings: Surroundings) {
    this.#s = surroundings
  }

  /** Faults that happened, and processes killed and frozen by them. */
  get counts(): { readonly struck: number; readonly killed: number; readonly frozen: number } {
    return { struck: this.#struck, killed: this.#killed, frozen: this.#frozen }
  }

  begin(plan: readonly PlannedFault[]): void {
    const now = clockMs()
    for (const planned of plan) {
      this.#timers.push(setTimeout(() => void this.#strike(planned), this.#s.startedAt + planned.at - now))
    }
  }

  /** Everything ends at once, and what died is started again. */
  async end(): Promise<void> {
    this.#over = true
    for (const timer of this.#timers) clearTimeout(timer)
    await Promise.all(this.#deaths)
    for (const fault of [...this.#underWay]) fault.undo()
    this.#s.links.clear(this.#s.p.delay)
    for (const { hosts } of this.#s.clusters) {
      for (const host of hosts) if (host.condition === 'down') this.#s.start(host)
    }
  }

  async #strike(planned: PlannedFault): Promise<void> {
    const { clusters } = this.#s
    // Where it was planned, or else in the next cluster that has what it takes.
    for (let n = 0; n < clusters.length && !this.#over; n++) {
      const cluster = clusters[(planned.cluster + n) % clusters.length]
      const other = clusters[(planned.other + n) % clusters.length]
      if (cluster === undefined || other === undefined) return
      if (await this.#commit(planned, cluster, other)) return
    }
  }

  /** @returns false when this cluster has no such thing that is not in trouble already */
  async #commit(planned: PlannedFault, cluster: Cluster, other: Cluster): Promise<boolean> {
    const { fault, node } = planned
    switch (fault) {
      case 'cluster':
      case 'broker':
      case 'worker':
      case 'client':
        return await this.#kill(planned, cluster, victims(cluster, fault, node))
      case 'freeze-cluster':
        return this.#freeze(planned, cluster, victims(cluster, 'cluster', node))
      case 'freeze-broker':
        return this.#freeze(planned, cluster, victims(cluster, 'broker', node))
      case 'freeze-worker':
        return this.#freeze(planned, cluster, victims(cluster, 'worker', node))
      case 'freeze-client':
        return this.#freeze(planned, cluster, victims(cluster, 'client', node))
      case 'slow':
      case 'partition':
      case 'one-way':
      case 'break':
        return this.#disturb(planned, cluster, other)
    }
  }

  /** Something is wrong with a link. */
  #disturb(planned: PlannedFault, cluster: Cluster, other: Cluster): boolean {
    const { board, links, p } = this.#s
    const link = [cluster.name, other.name].sort().join('–')
    if (board.links.has(link)) return false
    const [a, b] = [cluster.index, other.index]
    const both = (weather: Weather) => {
      links.setWeather(a, b, weather)
      links.setWeather(b, a, weather)
    }
    let words = ''
    switch (planned.fault) {
      case 'slow': {
        const delayMs = SLOW_MIN_MS + SLOW_STEP_MS * (planned.node % SLOW_STEPS)
        words = `${delayMs} ms slower${forSeconds(planned.forMs)}`
        both({ kind: 'clear', delayMs: p.delay + delayMs })
        break
      }
      case 'partition':
        words = `cut${forSeconds(planned.forMs)}`
        both({ kind: 'cut' })
        break
      case 'one-way':
        words = `cut from ${cluster.name} to ${other.name}${forSeconds(planned.forMs)}`
        links.setWeather(a, b, { kind: 'cut' })
        break
      case 'break':
        words = 'broken'
        links.break(a, b)
    }
    board.links.set(link, words)
    this.#happen(`the link ${link} is ${words}`)
    this.#begin(planned, [a, b], null, b, () => {
      board.links.delete(link)
      both({ kind: 'clear', delayMs: p.delay })
    })
    return true
  }

  async #kill(planned: PlannedFault, cluster: Cluster, hosts: readonly Host[]): Promise<boolean> {
    if (hosts.length === 0) return false
    const { freezer, collector, startedAt } = this.#s
    for (const host of hosts) host.inTrouble = true
    this.#killed += hosts.length
    const { fault, forMs } = planned
    const what = fault === 'cluster' ? `all ${hosts.length} processes of ${cluster.name}` : labels(hosts)
    this.#happen(`kill -9 of ${what}${forSeconds(forMs)}`, true)
    if (fault === 'cluster' || fault === 'broker') collector.spare(clockMs() - startedAt, cluster.index, 0)
    const begun = this.#open(planned, cluster, [cluster.index], hosts[0]?.number ?? null, null)
    const death = Promise.all(hosts.map((host) => host.kill(freezer))).then(() => {
      for (const host of hosts) this.#s.killed(host)
    })
    this.#deaths.add(death)
    await death
    this.#deaths.delete(death)
    this.#later(forMs, begun, () => {
      for (const host of hosts) {
        if (host.condition === 'down') this.#s.start(host)
        host.inTrouble = false
      }
    })
    return true
  }

  #freeze(planned: PlannedFault, cluster: Cluster, hosts: readonly Host[]): boolean {
    if (hosts.length === 0) return false
    const { freezer } = this.#s
    this.#frozen += hosts.length
    for (const host of hosts) {
      host.inTrouble = true
      host.freeze(freezer)
    }
    const all = planned.fault === 'freeze-cluster'
    this.#happen(`${all ? `all of ${cluster.name}` : labels(hosts)} frozen${forSeconds(planned.forMs)}`)
    this.#begin(planned, [cluster.index], hosts[0]?.number ?? null, null, () => {
      for (const host of hosts) {
        host.thaw(freezer)
        host.inTrouble = false
      }
    })
    return true
  }

  #begin(
    planned: PlannedFault,
    clusters: readonly number[],
    node: number | null,
    other: number | null,
    undo: Undo,
  ): void {
    const cluster = this.#s.clusters[clusters[0] ?? 0]
    if (cluster === undefined) return
    const forMs = planned.fault === 'break' ? 0 : planned.forMs
    this.#later(forMs, this.#open(planned, cluster, clusters, node, other), undo)
  }

  #open(
    { fault }: PlannedFault,
    cluster: Cluster,
    clusters: readonly number[],
    node: number | null,
    other: number | null,
  ): Begun {
    const { judge, collector, startedAt } = this.#s
    const from = clockMs()
    this.#struck++
    return {
      trouble: judge.troubleBegins({ clusters, what: hitBy(fault), from }),
      handle: collector.faultBegins(from - startedAt, { kind: fault, cluster: cluster.index, node, other }),
    }
  }

  #later(forMs: number, { trouble, handle }: Begun, undo: Undo): void {
    const { collector, startedAt } = this.#s
    const fault: UnderWay = {
      undo: () => {
        if (!this.#underWay.delete(fault)) return
        clearTimeout(fault.timer)
        undo()
        trouble.until = clockMs()
        collector.faultEnds(trouble.until - startedAt, handle)
      },
      timer: setTimeout(() => fault.undo(), forMs),
    }
    this.#underWay.add(fault)
  }

  #happen(text: string, grave = false): void {
    this.#s.board.happen(text, performance.now(), grave)
  }
}

interface Begun {
  readonly trouble: Trouble
  readonly handle: FaultHandle
}

function hitBy(fault: LiveFault): Trouble['what'] {
  switch (fault) {
    case 'slow':
    case 'partition':
    case 'one-way':
    case 'break':
      return 'link'
    case 'client':
    case 'freeze-client':
      return 'clients'
    default:
      return 'broker or workers'
  }
}

/** The processes that a fault is about, if they are not in trouble already. */
function victims(cluster: Cluster, kind: 'cluster' | 'broker' | 'worker' | 'client', node: number): Host[] {
  const well = (hosts: readonly Host[]) => hosts.filter((host) => !host.inTrouble && host.condition === 'up')
  switch (kind) {
    case 'cluster':
      // Without its broker it would be something less.
      return well([cluster.broker]).length === 0 ? [] : well(cluster.hosts)
    case 'broker':
      return well([cluster.broker])
    default: {
      const hosts = well(kind === 'worker' ? cluster.workerHosts : cluster.clientHosts)
      const host = hosts[node % Math.max(1, hosts.length)]
      return host === undefined ? [] : [host]
    }
  }
}

function labels(hosts: readonly Host[]): string {
  return hosts.map(({ label }) => label).join(', ')
}

function forSeconds(ms: number): string {
  return ` for ${(ms / 1000).toFixed(1)} s`
}
