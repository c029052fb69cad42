import { z } from 'zod'
import { brokerStatusSchema } from '../../broker/status.ts'
import type { Addresses } from '../process/addresses.ts'
import type { LeashedProcess } from '../process/leashed-process.ts'
import { moduleNear, packageProcess } from '../process/package-process.ts'

const COMMAND = moduleNear(import.meta.url, '../main')

/** The part of it that is looked at. */
export const statusSchema = brokerStatusSchema.pick({
  slots: true,
  busy: true,
  borrowed: true,
  queued: true,
  peersUp: true,
})
export type Status = z.output<typeof statusSchema>

const STATUS_TIMEOUT_MS = 1000
const READY_POLL_MS = 50
const STOP_GRACE_MS = 3000

export interface ClusterOptions {
  readonly name: string
  readonly addresses: Addresses
  /** The cloudfe of every peer. */
  readonly peers: readonly string[]
  readonly workers: number
  readonly slotsPerWorker: number
  /** A slot is taken by a task for at least so long, ms. */
  readonly taskMs: number
  /** What the broker logs, a line of JSON each. */
  readonly onLog: (line: string) => void
}

/** The processes of a cluster: one broker, and its workers. */
export class Cluster {
  readonly name: string
  readonly addresses: Addresses
  readonly slots: number
  readonly #options: ClusterOptions
  #processes: LeashedProcess[] = []

  constructor(options: ClusterOptions) {
    this.name = options.name
    this.addresses = options.addresses
    this.slots = options.workers * options.slotsPerWorker
    this.#options = options
  }

  /** The processes that run, which are as many process groups. */
  get processes(): readonly LeashedProcess[] {
    return this.#processes
  }

  start(): void {
    const { name, addresses, peers, workers, slotsPerWorker, taskMs, onLog } = this.#options
    const { localfe, localbe, cloudfe, statebe, http } = addresses
    const broker = ['broker', '--name', name, '--localfe', localfe, '--localbe', localbe]
    broker.push('--cloudfe', cloudfe, '--statebe', statebe, '--http', http)
    for (const peer of peers) broker.push('--peer', peer)
    this.#processes = [packageProcess(`${name}'s broker`, COMMAND, broker, { onLine: onLog })]
    const handler = moduleNear(import.meta.url, './task')
    const worker = ['worker', '--connect', localbe, '--slots', String(slotsPerWorker), '--handler', handler]
    for (let n = 1; n <= workers; n++) {
      this.#processes.push(
        packageProcess(`worker ${n} of ${name}`, COMMAND, [...worker, '--name', `${name}-${n}`], {
          env: { SPILLWAY_DEMO_TASK_MS: String(taskMs) },
        }),
      )
    }
  }

  /**
   * Waits until the broker has all its workers and, by its own word, `peers` peers; or until it is killed.
   * @throws when a process ends meanwhile, with the last it said
   */
  async ready(peers: number): Promise<void> {
    while (this.#processes.length > 0) {
      const dead = this.#processes.find((process) => !process.alive)
      if (dead !== undefined) {
        throw new Error(`${dead.label} has ended with ${await dead.ended}:\n${dead.lastWords}`)
      }
      const status = await this.status()
      if (status !== null && status.slots === this.slots && status.peersUp >= peers) return
      await new Promise((resolve) => setTimeout(resolve, READY_POLL_MS))
    }
  }

  /** What its broker says of itself; null when it does not answer. */
  async status(): Promise<Status | null> {
    try {
      const answer = await fetch(`http://${this.addresses.http}/status`, {
        signal: AbortSignal.timeout(STATUS_TIMEOUT_MS),
      })
      return statusSchema.parse(await answer.json())
    } catch (error) {
      if (error instanceof z.ZodError) throw error
      return null
    }
  }

  /** SIGKILL to all of it. @returns how many processes that were */
  async kill(): Promise<number> {
    const killed = this.#processes
    for (const process of killed) process.signal('SIGKILL')
    this.#processes = []
    await Promise.all(killed.map((process) => process.ended))
    return killed.length
  }

  /** Workers first, so that they have somebody to say goodbye to. */
  async stop(): Promise<void> {
    const [broker, ...workers] = this.#processes
    this.#processes = []
    await Promise.all(workers.map((worker) => worker.stop(STOP_GRACE_MS)))
    await broker?.stop(STOP_GRACE_MS)
  }
}
