/** Brokers as processes of their own, that a test can kill, start again and look into. */

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import type { BrokerSettings } from '../broker-settings.ts'

/** What a broker says of itself, after a garbage collection. */
export interface BrokerReport {
  readonly endpoints: {
    readonly localfe: string
    readonly localbe: string
    readonly cloudfe: string
    readonly statebe: string
  }
  /** Octets. */
  readonly memory: {
    readonly heapUsed: number
    readonly external: number
    readonly arrayBuffers: number
    readonly rss: number
  }
  readonly events: number
  readonly received: number
  readonly settled: { readonly [outcome: string]: number }
  /** Answers kept for those who ask again. */
  readonly answeredKept: number
  readonly slots: number
  readonly free: number
  readonly peersUp: number
  readonly lent: number
  /** Entries in all tables of tasks and of those who send them: 0 when nothing is under way. */
  readonly tables: { readonly [table: string]: number }
  readonly workers: number
  readonly services: number
}

export class BrokerProcess {
  readonly settings: BrokerSettings
  #child: ChildProcess | undefined
  #first: BrokerReport | undefined

  constructor(settings: BrokerSettings) {
    this.settings = settings
    onTestFinished(() => this.kill())
  }

  get endpoints(): BrokerReport['endpoints'] {
    if (this.#first === undefined) throw new Error('the broker has not been started')
    return this.#first.endpoints
  }

  get pid(): number {
    return this.#child?.pid ?? -1
  }

  /** Starts it, or starts it again, on the same ports when the settings name them. */
  async start(): Promise<this> {
    const main = fileURLToPath(new URL('broker-main.ts', import.meta.url))
    const child = fork(main, [JSON.stringify(this.settings)], {
      execArgv: ['--import', 'tsx', '--expose-gc'],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    this.#child = child
    this.#first = await this.#hear(child)
    return this
  }

  async report(): Promise<BrokerReport> {
    const child = this.#child
    if (child === undefined) throw new Error('the broker has not been started')
    child.send('report')
    return await this.#hear(child)
  }

  async kill(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
  }

  /** File descriptors it has open. */
  descriptors(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length
  }

  async #hear(child: ChildProcess): Promise<BrokerReport> {
    return await new Promise((resolve, reject) => {
      const gone = (code: number | null) => reject(new Error(`the broker has ended with ${code}`))
      child.once('exit', gone)
      child.once('message', (report: BrokerReport) => {
        child.off('exit', gone)
        resolve(report)
      })
    })
  }
}

/**
 * Addresses nobody listens at, which a broker can be started at again and again. Below the ports that the system hands
 * out by itself: one of those may be somebody's while the broker is down.
 */
export async function freeAddresses(): Promise<BrokerReport['endpoints']> {
  const [localfe, localbe, cloudfe, statebe] = [
    await freeAddress(),
    await freeAddress(),
    await freeAddress(),
    await freeAddress(),
  ]
  return { localfe, localbe, cloudfe, statebe }
}

const taken = new Set<number>()

async function freeAddress(): Promise<string> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000)
    if (taken.has(port)) continue
    taken.add(port)
    const server = createServer()
    const free = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => resolve(true))
    })
    if (!free) continue
    await new Promise((resolve) => server.close(resolve))
    return `tcp://127.0.0.1:${port}`
  }
}
