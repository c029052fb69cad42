import { z } from 'zod'
import { freeAddresses } from '../process/addresses.ts'
import { killAll, type LeashedProcess } from '../process/leashed-process.ts'
import { moduleNear, packageProcess } from '../process/package-process.ts'
import { Cluster } from './cluster.ts'
import { type Order, type Report, reportSchema } from './load-report.ts'
import { type Scene, TICK_MS } from './scene.ts'

export const NAMES = ['north', 'south', 'west'] as const
/** Its client sends more than its workers can do; the one that dies is one of those that help. */
export const LOADED = 'north'
export const VICTIM = 'south'

const WORKERS = 2
const SLOTS_PER_WORKER = 4
export const SLOTS = WORKERS * SLOTS_PER_WORKER
const TASK_MS = 100
/** What the loaded cluster can do by itself: 8 slots, 10 tasks a second each. */
const ALONE_TASKS_PER_SECOND = 40
const SPILL_TASKS_PER_SECOND = 145
/** The others have a little work of their own. */
const OWN_TASKS_PER_SECOND = 5

/** Starts again on other ports when somebody was faster to take one. */
const START_TRIES_MAX = 3
const START_TIMEOUT_MS = 20_000
const POLL_MS = 100
/** How long it waits for what should happen at any moment, before it says that it did not. */
const PATIENCE_MS = 15_000

/** The acts in which answers are counted apart. */
export const ACTS = ['alone', 'spill', 'killed', 'back'] as const
export type Act = (typeof ACTS)[number]
/** What part of the time each takes. */
const SHARES: { readonly [act in Act]: number } = { alone: 0.15, spill: 0.25, killed: 0.25, back: 0.35 }

/** Lines of a broker's log that the audience is told, from when the cluster is killed to when it is back. */
const TOLD: ReadonlySet<string> = new Set(['peer-lost', 'peer-up'])
const KILL_STEP = 4
const BACK_STEP = 5
const logLineSchema = z.object({ event: z.string(), msg: z.string(), peer: z.string() })

/** What there is to say at the end. */
export interface Outcome {
  /** By cluster, what its client saw. */
  readonly reports: ReadonlyMap<string, Report>
  /** Tasks of the loaded cluster's client that were running in the cluster when it was killed. */
  readonly heldAtKill: number
  /** What should have happened and did not, in words. */
  readonly shortcomings: readonly string[]
}

/** Runs the whole show: starts the clusters, sets the load, kills one cluster and brings it back. */
export class Director {
  readonly #scene: Scene
  readonly #folder: string
  readonly #durationMs: number
  readonly #shortcomings: string[] = []
  readonly #reports = new Map<string, Report>()
  readonly #finished = new Set<string>()
  #clusters: Cluster[] = []
  #clients = new Map<string, LeashedProcess>()
  #timers: NodeJS.Timeout[] = []

  /** @param durationMs of the acts together; starting and ending come on top */
  constructor(scene: Scene, folder: string, durationMs: number) {
    this.#scene = scene
    this.#folder = folder
    this.#durationMs = durationMs
  }

  /** @throws when a process cannot be started or ends by itself */
  async run(): Promise<Outcome> {
    const scene = this.#scene
    scene.actsTotal = 6
    this.#say(
      1,
      `Starting three clusters on this machine: each one broker and ${WORKERS} workers of ${SLOTS_PER_WORKER} slots.`,
    )
    await this.#startAll()
    this.#timers.push(
      setInterval(() => scene.tick(), TICK_MS),
      setInterval(() => void this.#look(), POLL_MS),
    )
    try {
      await this.#alone()
      await this.#spill()
      const held = await this.#kill()
      await this.#bringBack()
      await this.#finish()
      return {
        reports: this.#reports,
        heldAtKill: held,
        shortcomings: this.#shortcomings,
      }
    } finally {
      for (const timer of this.#timers) clearInterval(timer)
    }
  }

  async #alone(): Promise<void> {
    this.#say(
      2,
      `${LOADED} is sent ${ALONE_TASKS_PER_SECOND} tasks a second, which its own workers can do: nothing leaves the cluster.`,
    )
    this.#act('alone', ALONE_TASKS_PER_SECOND)
    await this.#play('alone')
  }

  async #spill(): Promise<void> {
    const able = (SLOTS * 1000) / TASK_MS
    this.#say(
      3,
      `Now it is sent ${SPILL_TASKS_PER_SECOND} a second and can do ${able}: the rest spills over to ${NAMES.slice(1).join(' and ')}.`,
    )
    this.#act('spill', SPILL_TASKS_PER_SECOND)
    await this.#play('spill')
  }

  /** @returns tasks of the loaded cluster that the victim held */
  async #kill(): Promise<number> {
    const victim = this.#cluster(VICTIM)
    // In the middle of it: when it has work of others in hand.
    const borrowed = () => this.#scene.cluster(VICTIM).borrowed
    if (!(await this.#until(() => borrowed() >= SLOTS / 2)))
      this.#miss(`${VICTIM} never had its share of the tasks of ${LOADED}`)
    const held = borrowed()
    this.#act('killed', SPILL_TASKS_PER_SECOND)
    const processes = await victim.kill()
    const now = performance.now()
    this.#scene.cluster(VICTIM).condition = 'killed'
    this.#say(
      KILL_STEP,
      `All of ${VICTIM} has been killed in the middle of its work. What it ran for ${LOADED} runs again elsewhere.`,
    )
    this.#scene.happen(
      `kill -9 of all ${processes} processes of ${VICTIM}, which ran ${held} tasks for ${LOADED}`,
      now,
      true,
    )
    await this.#play('killed')
    return held
  }

  async #bringBack(): Promise<void> {
    const victim = this.#cluster(VICTIM)
    const stage = this.#scene.cluster(VICTIM)
    this.#say(
      BACK_STEP,
      `${VICTIM} is started again: it is found by its peers, and gets its share of the load as before.`,
    )
    const startedAt = performance.now()
    const ranBefore = this.#reports.get(LOADED)?.ranIn[VICTIM] ?? 0
    victim.start()
    stage.condition = 'starting'
    await within(START_TIMEOUT_MS, victim.ready(NAMES.length - 1), `${VICTIM} is not back`)
    stage.condition = 'up'
    const used = await this.#until(() => (this.#reports.get(LOADED)?.ranIn[VICTIM] ?? 0) > ranBefore)
    const now = performance.now()
    if (used) {
      this.#scene.happen(
        `${VICTIM} is back and runs tasks of ${LOADED} again, ${((now - startedAt) / 1000).toFixed(1)} s after its start`,
        now,
      )
    } else this.#miss(`${VICTIM} came back, but got no task of ${LOADED} any more`)
    this.#act('back', SPILL_TASKS_PER_SECOND)
    await this.#play('back')
  }

  async #finish(): Promise<void> {
    this.#say(6, 'No more tasks. The last answers are on their way.')
    this.#scene.tasksPerSecond = 0
    for (const client of this.#clients.values()) client.tell({ type: 'finish' } satisfies Order)
    if (!(await this.#until(() => this.#finished.size === NAMES.length))) {
      this.#miss('some tasks were still not answered when the demonstration ended')
    }
    await Promise.all(this.#clusters.map((cluster) => cluster.stop()))
    for (const stage of this.#scene.clusters) stage.condition = 'stopped'
  }

  // ---------------------------------------------------------------- the stage hands

  async #startAll(): Promise<void> {
    for (let tries = 1; ; tries++) {
      const addresses = await freeAddresses(NAMES.length)
      this.#clusters = NAMES.map((name, index) => this.#makeCluster(name, index, addresses))
      for (const cluster of this.#clusters) cluster.start()
      this.#startClients()
      try {
        await within(START_TIMEOUT_MS, this.#allReady(), 'the clusters and their clients are not ready')
        break
      } catch (error) {
        killAll()
        if (tries === START_TRIES_MAX) throw error
      }
    }
  }

  async #allReady(): Promise<void> {
    await Promise.all(this.#clusters.map((cluster) => cluster.ready(NAMES.length - 1)))
    for (const stage of this.#scene.clusters) stage.condition = 'up'
    this.#scene.happen('three brokers have found each other, and every worker its broker', performance.now())
    await this.#until(() => this.#reports.size === NAMES.length || this.#finished.size > 0)
    if (this.#reports.size < NAMES.length) throw new Error(this.#shortcomings.join('; '))
    const pieces = this.#reports.get(LOADED)?.pieces ?? 0
    this.#scene.happen(
      `the work: gzip and hash ${pieces} pieces of files, each answer checked`,
      performance.now(),
    )
  }

  #makeCluster(name: string, index: number, addresses: Awaited<ReturnType<typeof freeAddresses>>): Cluster {
    const own = addresses[index]
    if (own === undefined) throw new Error(`no addresses for ${name}`)
    return new Cluster({
      name,
      addresses: own,
      peers: addresses.filter((other) => other !== own).map(({ cloudfe }) => cloudfe),
      workers: WORKERS,
      slotsPerWorker: SLOTS_PER_WORKER,
      taskMs: TASK_MS,
      onLog: (line) => this.#logged(name, line),
    })
  }

  #startClients(): void {
    this.#clients.clear()
    this.#reports.clear()
    for (const [index, cluster] of this.#clusters.entries()) {
      const { name } = cluster
      const args = [cluster.addresses.localfe, this.#folder, String(index / NAMES.length)]
      const client = packageProcess(`${name}'s client`, moduleNear(import.meta.url, './load'), args, {
        onMessage: (message) => this.#reported(name, reportSchema.parse(message)),
      })
      this.#clients.set(name, client)
      void client.ended.then((status) => {
        if (this.#finished.has(name) || this.#clients.get(name) !== client) return
        this.#finished.add(name)
        this.#miss(`${client.label} has ended with ${status}: ${client.lastWords}`)
      })
    }
  }

  #reported(name: string, report: Report): void {
    this.#reports.set(name, report)
    if (name === LOADED) this.#scene.report = report
    if (report.type === 'finished') this.#finished.add(name)
  }

  /** What the loaded cluster's broker has to say of the victim. */
  #logged(name: string, line: string): void {
    const step = this.#scene.act
    if (name !== LOADED || (step !== KILL_STEP && step !== BACK_STEP) || !line.startsWith('{')) return
    const said = logLineSchema.safeParse(JSON.parse(line))
    if (!said.success || said.data.peer !== VICTIM) return
    if (TOLD.has(said.data.event)) this.#scene.happen(`${name}: ${said.data.msg}`, performance.now())
  }

  async #look(): Promise<void> {
    await Promise.all(
      this.#clusters.map(async (cluster) => {
        const stage = this.#scene.cluster(cluster.name)
        if (stage.condition !== 'up') return
        const status = await cluster.status()
        if (status === null) return
        stage.borrowed = status.borrowed
        stage.own = status.busy - status.borrowed
        stage.queue = status.queued
      }),
    )
  }

  // ---------------------------------------------------------------- the prompter

  #say(act: number, sentence: string): void {
    this.#scene.act = act
    this.#scene.sentence = sentence
  }

  #act(act: Act, tasksPerSecond: number): void {
    this.#scene.tasksPerSecond = tasksPerSecond
    for (const [name, client] of this.#clients) {
      const rate = name === LOADED ? tasksPerSecond : OWN_TASKS_PER_SECOND
      client.tell({ type: 'act', act, tasksPerSecond: rate } satisfies Order)
    }
  }

  #miss(what: string): void {
    this.#shortcomings.push(what)
    this.#scene.happen(what, performance.now(), true)
  }

  #cluster(name: string): Cluster {
    const found = this.#clusters.find((cluster) => cluster.name === name)
    if (found === undefined) throw new Error(`there is no cluster ${name}`)
    return found
  }

  #play(act: Act): Promise<void> {
    return pause(this.#durationMs * SHARES[act])
  }

  /** @returns false when it has not come true within a patient audience's time */
  async #until(condition: () => boolean): Promise<boolean> {
    const giveUpAt = performance.now() + PATIENCE_MS
    while (!condition()) {
      if (performance.now() > giveUpAt) return false
      await pause(20)
    }
    return true
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

async function within<T>(ms: number, promise: Promise<T>, complaint: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${complaint} after ${ms / 1000} s`)), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
