import type { BrokerStatus } from '../../broker/status.ts'
import { AdminError, fetchStatus } from '../admin-client.ts'
import type { Addresses } from '../process/addresses.ts'
import type { Freezer } from '../process/freezer.ts'
import type { LeashedProcess } from '../process/leashed-process.ts'
import { moduleNear, packageProcess } from '../process/package-process.ts'
import type { ClientHostTerms, ClientOrder, WorkerHostTerms } from './host-terms.ts'
import type { LiveParameters } from './parameters.ts'
import { hostName, servicesOf } from './work.ts'

const COMMAND = moduleNear(import.meta.url, '../main')
const WORKER_HOST = moduleNear(import.meta.url, './worker-host')
const CLIENT_HOST = moduleNear(import.meta.url, './client-host')
const STOP_GRACE_MS = 3000
/** So that no number of kills makes a task look like poison: what is to be found out is whether one gets lost. */
const ATTEMPTS_MAX = 100

export type Condition = 'down' | 'up' | 'frozen' | 'stopped'

/** One process of a cluster, through all its lives. */
export class Host {
  readonly kind: 'broker' | 'worker' | 'client'
  readonly cluster: number
  readonly number: number
  condition: Condition = 'down'
  /** A fault has it, or will let go of it soon. */
  inTrouble = false
  life = 0
  readonly #spawn: (host: Host) => LeashedProcess
  readonly #onEnd: (host: Host, how: string) => void
  #process: LeashedProcess | null = null

  /** @param onEnd told when it ends and nobody here has ended it */
  constructor(
    kind: Host['kind'],
    cluster: number,
    number: number,
    spawn: (host: Host) => LeashedProcess,
    onEnd: (host: Host, how: string) => void,
  ) {
    this.kind = kind
    this.cluster = cluster
    this.number = number
    this.#spawn = spawn
    this.#onEnd = onEnd
  }

  get label(): string {
    if (this.kind === 'broker') return `c${this.cluster}'s broker`
    return `${this.kind === 'worker' ? 'workers' : 'clients'} ${this.number} of c${this.cluster}`
  }

  /** Names this life of it in the ledger. Brokers write none. */
  get lifeName(): string {
    return this.kind === 'broker'
      ? `c${this.cluster}b.${this.life}`
      : hostName(this.cluster, this.kind, this.number, this.life)
  }

  start(): void {
    this.life++
    const process = this.#spawn(this)
    this.#process = process
    this.condition = 'up'
    void process.ended.then((status) => {
      if (this.#process !== process) return
      this.#process = null
      this.condition = 'down'
      this.#onEnd(this, `${status}${process.lastWords === '' ? '' : `, saying:\n${process.lastWords}`}`)
    })
  }

  tell(order: ClientOrder): void {
    this.#process?.tell(order)
  }

  /** SIGKILL to its process group. Fulfilled when it is gone. */
  async kill(freezer: Freezer): Promise<void> {
    const process = this.#process
    this.#process = null
    this.condition = 'down'
    if (process === null) return
    process.signal('SIGKILL')
    await process.ended
    freezer.thaw(process)
  }

  freeze(freezer: Freezer): void {
    if (this.#process === null) return
    freezer.freeze(this.#process)
    this.condition = 'frozen'
  }

  thaw(freezer: Freezer): void {
    if (this.#process === null || this.condition !== 'frozen') return
    freezer.thaw(this.#process)
    this.condition = 'up'
  }

  async stop(): Promise<void> {
    const process = this.#process
    this.#process = null
    this.condition = 'stopped'
    await process?.stop(STOP_GRACE_MS)
  }
}

/** A broker, the processes that hold its workers, and those that hold its clients. */
export class Cluster {
  readonly index: number
  readonly name: string
  readonly broker: Host
  readonly workerHosts: readonly Host[]
  readonly clientHosts: readonly Host[]
  /** The last that its broker said of itself; null while nobody answers. */
  status: BrokerStatus | null = null
  readonly #http: URL

  constructor(
    index: number,
    addresses: Addresses,
    peers: readonly string[],
    p: LiveParameters,
    folder: string,
    onEnd: (host: Host, how: string) => void,
  ) {
    this.index = index
    this.name = `c${index}`
    this.#http = new URL(`http://${addresses.http}`)
    this.broker = new Host(
      'broker',
      index,
      0,
      ({ label }) => broker(label, this.name, addresses, peers),
      onEnd,
    )
    const share = (total: number, hosts: number, n: number) =>
      Math.floor(((n + 1) * total) / hosts) - Math.floor((n * total) / hosts)
    this.workerHosts = Array.from({ length: p.workerHosts }, (_, n) => {
      const workers = share(p.workers, p.workerHosts, n)
      const spawn = (host: Host) =>
        packageProcess(host.label, WORKER_HOST, [
          JSON.stringify({
            host: host.lifeName,
            connect: addresses.localbe,
            workers,
            slots: p.slots,
            services: servicesOf(index),
            folder,
          } satisfies WorkerHostTerms),
        ])
      return new Host('worker', index, n, spawn, onEnd)
    })
    this.clientHosts = Array.from({ length: p.clientHosts }, (_, n) => {
      const clients = share(p.clients, p.clientHosts, n)
      const spawn = (host: Host) =>
        packageProcess(host.label, CLIENT_HOST, [
          JSON.stringify({
            host: host.lifeName,
            connect: addresses.localfe,
            clients,
            tasksPerSecond: clients * p.rate * (index === 0 ? p.hot : 1),
            notIdempotent: p.notIdempotent,
            streams: p.streams,
            rare: p.rare,
            taskMinMs: p.taskMin,
            taskMaxMs: p.taskMax,
            seed: p.seed,
            folder,
          } satisfies ClientHostTerms),
        ])
      return new Host('client', index, n, spawn, onEnd)
    })
  }

  get hosts(): readonly Host[] {
    return [this.broker, ...this.workerHosts, ...this.clientHosts]
  }

  /** Asks its broker how it is. */
  async ask(): Promise<BrokerStatus | null> {
    try {
      this.status = await fetchStatus(this.#http)
    } catch (error) {
      if (!(error instanceof AdminError && error.unreachable)) throw error
      this.status = null
    }
    return this.status
  }
}

function broker(label: string, name: string, own: Addresses, peers: readonly string[]): LeashedProcess {
  const { localfe, localbe, cloudfe, statebe, http } = own
  const args = ['broker', '--name', name, '--localfe', localfe, '--localbe', localbe]
  args.push('--cloudfe', cloudfe, '--statebe', statebe, '--http', http)
  args.push('--cloudfe-advertised', cloudfe, '--statebe-advertised', statebe)
  args.push('--attempts-max', String(ATTEMPTS_MAX), '--log-level', 'warn')
  for (const peer of peers) args.push('--peer', peer)
  return packageProcess(label, COMMAND, args)
}
