/** Whole clusters as real processes of the compiled program, that a test can freeze, kill and start again. */

import { spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readdirSync, readSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Status, statusSchema } from '../../cli/demo/cluster.ts'
import { freeAddresses } from '../../cli/process/addresses.ts'
import { LeashedProcess } from '../../cli/process/leashed-process.ts'

const root = join(import.meta.dirname, '../..')
const main = join(root, 'dist/cli/main.js')
const leash = pathToFileURL(join(root, 'dist/cli/process/leash.js')).href
const work = join(import.meta.dirname, 'recorded-work.js')

const READY_TIMEOUT_MS = 20_000
const POLL_MS = 20

/** Compiles, unless what is compiled is newer than every source. @throws with the compiler's words */
export function compile(): void {
  const done = spawnSync(process.execPath, [join(root, 'scripts/setup.mjs')], { encoding: 'utf8' })
  if (done.status !== 0) throw new Error(`compiling failed:\n${done.stderr}`)
}

export interface FederationOptions {
  readonly names: readonly string[]
  readonly workers: number
  readonly slotsPerWorker: number
  readonly taskMs: number
  /** Settings of every broker, by the names in its configuration file. */
  readonly settings: Readonly<Record<string, unknown>>
}

/** Clusters that all know each other. Dispose of it, and nothing of it is left: no process, no file. */
export class Federation {
  readonly clusters: readonly ClusterUnderTest[]
  readonly starts: StartRecords
  readonly #folder: string

  static async start(options: FederationOptions): Promise<Federation> {
    compile()
    const addresses = await freeAddresses(options.names.length)
    const federation = new Federation(options, addresses)
    try {
      await Promise.all(federation.clusters.map((cluster) => cluster.start()))
      await Promise.all(federation.clusters.map((cluster) => cluster.ready()))
    } catch (error) {
      await federation.dispose()
      throw error
    }
    return federation
  }

  private constructor(options: FederationOptions, addresses: Awaited<ReturnType<typeof freeAddresses>>) {
    this.#folder = mkdtempSync(join(tmpdir(), 'spillway-clusters-'))
    this.starts = new StartRecords(this.#folder)
    this.clusters = options.names.map((name, index) => {
      const own = addresses[index]
      if (own === undefined) throw new Error(`no addresses for ${name}`)
      const peers = addresses.filter((other) => other !== own).map(({ cloudfe }) => cloudfe)
      return new ClusterUnderTest(name, { ...own, name, peers, ...options.settings }, options, this.#folder)
    })
  }

  async dispose(): Promise<void> {
    await Promise.all(this.clusters.map((cluster) => cluster.kill()))
    this.starts.close()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

interface BrokerSettings {
  readonly name: string
  readonly localfe: string
  readonly localbe: string
  readonly http: string
  readonly peers: readonly string[]
}

/** One broker and its workers. Each start of them is another life. */
export class ClusterUnderTest {
  readonly name: string
  readonly localfe: string
  life = 0
  readonly #settings: BrokerSettings
  readonly #options: FederationOptions
  readonly #folder: string
  readonly #configuration: string
  #broker: LeashedProcess | undefined
  #workers: LeashedProcess[] = []

  constructor(name: string, settings: BrokerSettings, options: FederationOptions, folder: string) {
    this.name = name
    this.localfe = settings.localfe
    this.#settings = settings
    this.#options = options
    this.#folder = folder
    this.#configuration = join(folder, `${name}.yaml`)
    // JSON is YAML.
    writeFileSync(this.#configuration, JSON.stringify(settings))
  }

  /** Names the files that the workers of this life write to. */
  get lifeName(): string {
    return `${this.name}.${this.life}`
  }

  start(): void {
    this.startBroker()
    this.#startWorkers()
  }

  startBroker(): void {
    this.#broker = this.#process(`${this.name}'s broker`, ['broker', '-c', this.#configuration])
  }

  #startWorkers(): void {
    const { workers, slotsPerWorker, taskMs } = this.#options
    this.life++
    this.#workers = Array.from({ length: workers }, (_, n) =>
      this.#process(
        `worker ${n} of ${this.name}`,
        [
          ...['worker', '--connect', this.#settings.localbe, '--name', `${this.name}-${n}`],
          ...['--slots', String(slotsPerWorker), '--handler', work],
        ],
        { STARTS_FILE: join(this.#folder, `${this.lifeName}.${n}.starts`), TASK_MS: String(taskMs) },
      ),
    )
  }

  #process(
    label: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): LeashedProcess {
    return new LeashedProcess({
      label,
      script: main,
      args,
      leash,
      env,
    })
  }

  /** Waits until the broker says that it is ready, with all its workers and all its peers. */
  async ready(): Promise<void> {
    const { workers, slotsPerWorker } = this.#options
    await until(
      `${this.name} is ready`,
      async () => {
        this.#complainOfDeaths()
        if (!(await this.#answers('/readyz'))) return false
        const status = await this.status()
        return status.slots === workers * slotsPerWorker && status.peersUp === this.#settings.peers.length
      },
      READY_TIMEOUT_MS,
    )
  }

  async #answers(path: string): Promise<boolean> {
    return await fetch(`http://${this.#settings.http}${path}`).then(
      ({ ok }) => ok,
      () => false,
    )
  }

  async status(): Promise<Status> {
    const answer = await fetch(`http://${this.#settings.http}/status`)
    return statusSchema.parse(await answer.json())
  }

  /** SIGKILL to every process of it. @returns when that was, as `Date.now()` has it */
  async kill(): Promise<number> {
    const victims = this.#broker === undefined ? this.#workers : [this.#broker, ...this.#workers]
    for (const victim of victims) victim.signal('SIGKILL')
    const at = Date.now()
    this.#broker = undefined
    this.#workers = []
    await Promise.all(victims.map((victim) => victim.ended))
    return at
  }

  async killBroker(): Promise<void> {
    const broker = this.#broker
    if (broker === undefined) return
    broker.signal('SIGKILL')
    this.#broker = undefined
    await broker.ended
  }

  signalBroker(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#broker?.signal(signal)
  }

  #complainOfDeaths(): void {
    for (const process of [this.#broker, ...this.#workers]) {
      if (process !== undefined && !process.alive)
        throw new Error(`${process.label} has ended:\n${process.lastWords}`)
    }
  }
}

/** One start of a task, as the worker that did it wrote it down. */
export interface Start {
  readonly task: string
  readonly attempt: number
  /** As `Date.now()` has it: the processes share a machine and its clock. */
  readonly at: number
  /** Cluster and its life. */
  readonly life: string
}

/** Reads what workers write down, from where it stopped the last time. */
export class StartRecords {
  /** By task, in the order in which they were read. */
  readonly byTask = new Map<string, Start[]>()
  readonly #folder: string
  readonly #files = new Map<string, { readonly descriptor: number; rest: string }>()
  readonly #buffer = Buffer.alloc(1 << 16)

  constructor(folder: string) {
    this.#folder = folder
  }

  /** @returns what is new */
  read(): Start[] {
    const fresh: Start[] = []
    for (const name of readdirSync(this.#folder)) {
      if (!name.endsWith('.starts')) continue
      const life = name.split('.').slice(0, 2).join('.')
      let file = this.#files.get(name)
      if (file === undefined) {
        file = { descriptor: openSync(join(this.#folder, name), 'r'), rest: '' }
        this.#files.set(name, file)
      }
      for (;;) {
        const read = readSync(file.descriptor, this.#buffer)
        if (read === 0) break
        const lines = (file.rest + this.#buffer.toString('latin1', 0, read)).split('\n')
        file.rest = lines.pop() ?? ''
        for (const line of lines) {
          const [task = '', attempt, at] = line.split(' ')
          fresh.push({ task, attempt: Number(attempt), at: Number(at), life })
        }
      }
    }
    for (const start of fresh) {
      const starts = this.byTask.get(start.task)
      if (starts === undefined) this.byTask.set(start.task, [start])
      else starts.push(start)
    }
    return fresh
  }

  close(): void {
    for (const { descriptor } of this.#files.values()) closeSync(descriptor)
    this.#files.clear()
  }
}

/** Waits for a condition. @throws when it does not come true in time, saying which */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 10_000,
): Promise<void> {
  const giveUpAt = performance.now() + timeoutMs
  while (!(await condition())) {
    if (performance.now() > giveUpAt) throw new Error(`after ${timeoutMs} ms still not so: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}
