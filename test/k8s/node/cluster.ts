import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1'
import { ConfigMap, Service } from 'kubernetes-models/v1'
import { z } from 'zod'
import { selects } from '../network-flows.ts'
import { all, called, type KubeObject } from '../render.ts'
import type { ConfigData } from './config-volume.ts'
import { Pod, type PodEnd } from './pod.ts'
import { type PodTemplate, podTemplate } from './pod-spec.ts'

const statefulSet = z.object({
  kind: z.literal('StatefulSet'),
  metadata: z.object({ name: z.string(), namespace: z.string() }),
  spec: z.object({
    replicas: z.literal(1),
    minReadySeconds: z.number().default(0),
    template: podTemplate,
  }),
})
const deployment = z.object({
  kind: z.literal('Deployment'),
  metadata: z.object({ name: z.string(), namespace: z.string() }),
  spec: z.object({
    replicas: z.number(),
    minReadySeconds: z.number().default(0),
    template: podTemplate,
    strategy: z.strictObject({
      type: z.literal('RollingUpdate'),
      rollingUpdate: z.strictObject({ maxSurge: z.literal(1), maxUnavailable: z.literal(0) }),
    }),
  }),
})
const workload = z.discriminatedUnion('kind', [statefulSet, deployment])
type Workload = z.output<typeof workload>

/** How long CoreDNS lets its answers be kept, unless told otherwise. */
const DNS_TTL_MS = 5000

export interface ClusterOptions {
  /** Where pods keep their files. */
  readonly directory: string
  readonly entrypoint: readonly string[]
  readonly onChange: (what: string) => void
}

/**
 * As much of Kubernetes' controllers, scheduler, kubelet and DNS as the manifests need: two nodes a namespace, pods that are
 * processes, Services that are names in each pod's /etc/hosts. A Service's address is its ready pod's: there is no virtual one.
 * What a headless one's name gives is as old as DNS allows, and what is sent to an address of the past vanishes.
 */
export class Cluster {
  readonly pods: Pod[] = []
  readonly ends: PodEnd[] = []
  readonly #options: ClusterOptions
  readonly #objects = new Map<string, KubeObject>()
  readonly #cordoned = new Set<string>()
  readonly #records = new Map<string, { readonly addresses: readonly string[]; stale: boolean }>()
  readonly #turns = new Map<string, Promise<void>>()
  #made = 0
  #addresses = 1

  constructor(options: ClusterOptions) {
    this.#options = options
  }

  /** `kubectl apply`, and waits until every workload has what it asks for. */
  async apply(objects: readonly KubeObject[]): Promise<void> {
    for (const object of objects) this.#objects.set(called(object), object)
    for (const { metadata, data } of all([...this.#objects.values()], ConfigMap.is)) {
      for (const pod of this.pods) {
        if (pod.options.namespace === metadata.namespace) pod.volumes.get(metadata.name)?.update(data ?? {})
      }
    }
    await this.reconcile()
  }

  /** Brings every workload to what it asks for, all at once, as their controllers do. */
  async reconcile(): Promise<void> {
    await Promise.all(
      this.#workloads().map((workload) => {
        // One controller at a time for a workload: two would each make the pod that is missing.
        const key = `${workload.metadata.namespace}/${workload.metadata.name}`
        const turn = (this.#turns.get(key) ?? Promise.resolve()).then(() => this.#rollOut(workload))
        this.#turns.set(key, turn)
        return turn
      }),
    )
  }

  podsOf(namespace: string, workload: string): Pod[] {
    return this.pods.filter(
      ({ options, terminating }) =>
        !terminating && options.namespace === namespace && options.name.startsWith(`${workload}-`),
    )
  }

  /** `kubectl drain`: no new pods, and evictions as fast as budgets allow; controllers put replacements elsewhere. */
  async drain(node: string): Promise<void> {
    this.#cordoned.add(node)
    const evicted = this.pods.filter(({ options, terminating }) => options.node === node && !terminating)
    const leaving: Promise<void>[] = []
    for (const pod of evicted) {
      await until(`${pod.name} may be evicted`, () => this.#mayBeEvicted(pod))
      leaving.push(this.#end(pod))
      leaving.push(this.reconcile())
    }
    await Promise.all(leaving)
  }

  uncordon(node: string): void {
    this.#cordoned.delete(node)
  }

  /** A pod outside the workloads, on a node of its own that nobody drains. */
  run(namespace: string, name: string, template: PodTemplate, entrypoint: readonly string[]): Pod {
    return this.#make(namespace, name, template, entrypoint, `${namespace}-3`)
  }

  async stop(pod: Pod): Promise<void> {
    await this.#end(pod)
  }

  async deleteAll(): Promise<void> {
    for (const [name, { kind }] of this.#objects) {
      if (kind === 'StatefulSet' || kind === 'Deployment') this.#objects.delete(name)
    }
    await Promise.all(this.pods.filter(({ terminating }) => !terminating).map((pod) => this.#end(pod)))
  }

  #workloads(): Workload[] {
    return [...this.#objects.values()]
      .filter(({ kind }) => kind === 'StatefulSet' || kind === 'Deployment')
      .map((object) => workload.parse(object))
  }

  async #rollOut({ kind, metadata, spec }: Workload): Promise<void> {
    const { name, namespace } = metadata
    const mine = () => this.podsOf(namespace, name)
    const current = (pod: Pod) => same(pod.options.template, spec.template)
    if (kind === 'StatefulSet') {
      // Never two of one name: the old one has to be gone before the new one comes.
      const [old] = mine()
      if (old !== undefined && !current(old)) await this.#end(old)
      await until(
        `${namespace}/${name} is gone`,
        () => !this.pods.some((pod) => isOf(pod, namespace, name) && pod.terminating),
      )
      if (mine().length === 0) this.#make(namespace, `${name}-0`, spec.template)
    } else {
      const ending: Promise<void>[] = []
      for (;;) {
        const pods = mine()
        const old =
          pods.find((pod) => !current(pod)) ?? (pods.length > spec.replicas ? pods.at(-1) : undefined)
        if (pods.length > spec.replicas && old !== undefined) {
          ending.push(this.#end(old))
        } else if (pods.length < spec.replicas) {
          this.#make(namespace, `${name}-${++this.#made}`, spec.template)
        } else if (old !== undefined) {
          const made = this.#make(namespace, `${name}-${++this.#made}`, spec.template)
          await until(`${made.name} is available`, () => made.readyForMs >= spec.minReadySeconds * 1000)
        } else break
      }
      await Promise.all(ending)
    }
    await until(`${namespace}/${name} is available`, () =>
      mine().every(({ readyForMs }) => readyForMs >= spec.minReadySeconds * 1000),
    )
  }

  #make(
    namespace: string,
    name: string,
    template: PodTemplate,
    entrypoint: readonly string[] = this.#options.entrypoint,
    node = this.#place(namespace),
  ): Pod {
    const address = ++this.#addresses
    const pod = new Pod({
      namespace,
      name,
      node,
      address: `10.244.${address >> 8}.${address & 255}`,
      template,
      configMaps: this.#configMaps(namespace),
      directory: join(this.#options.directory, `${namespace}-${name}-${address}`),
      entrypoint,
      onReadiness: () => this.#publish(),
    })
    mkdirSync(pod.options.directory, { recursive: true })
    this.pods.push(pod)
    this.#publish()
    pod.start()
    this.#options.onChange(`${pod.name} started at ${pod.options.address} on ${pod.options.node}`)
    return pod
  }

  async #end(pod: Pod): Promise<void> {
    this.#options.onChange(`${pod.name} told to end`)
    const end = await pod.terminate()
    this.pods.splice(this.pods.indexOf(pod), 1)
    this.ends.push(end)
    this.#publish()
    this.#options.onChange(
      `${pod.name} ended after ${Math.round(end.tookMs)} ms${end.killed ? ', killed' : ''}`,
    )
  }

  /** The node of the namespace with the fewest pods. */
  #place(namespace: string): string {
    const load = (node: string) => this.pods.filter(({ options }) => options.node === node).length
    const [first, ...others] = [`${namespace}-1`, `${namespace}-2`].filter(
      (node) => !this.#cordoned.has(node),
    )
    if (first === undefined) throw new Error(`${namespace} has no node left`)
    return others.reduce((best, node) => (load(node) < load(best) ? node : best), first)
  }

  #configMaps(namespace: string): Map<string, ConfigData> {
    return new Map(
      all([...this.#objects.values()], ConfigMap.is)
        .filter(({ metadata }) => metadata.namespace === namespace)
        .map(({ metadata, data }) => [metadata.name, data ?? {}]),
    )
  }

  #mayBeEvicted(pod: Pod): boolean {
    const { namespace, template } = pod.options
    const budget = all([...this.#objects.values()], PodDisruptionBudget.is).find(
      ({ metadata, spec }) =>
        metadata.namespace === namespace && selects(spec?.selector, template.metadata.labels),
    )
    if (budget === undefined) return true
    const workload = this.#workloads().find(
      ({ metadata }) => metadata.namespace === namespace && pod.options.name.startsWith(`${metadata.name}-`),
    )
    if (workload === undefined) return true
    const healthy = this.podsOf(namespace, workload.metadata.name).filter(({ ready }) => ready).length
    return healthy > workload.spec.replicas - Number(budget.spec?.maxUnavailable)
  }

  /** Gives every pod the names of all Services that have somebody behind them. */
  #publish(): void {
    const services = all([...this.#objects.values()], Service.is).map(({ metadata, spec }) => {
      const { name, namespace = '' } = metadata
      const addresses = this.pods
        .filter(
          ({ options, ready, terminating }) =>
            options.namespace === namespace &&
            selects({ matchLabels: spec?.selector ?? {} }, options.template.metadata.labels) &&
            (spec?.publishNotReadyAddresses === true || (ready && !terminating)),
        )
        .map(({ options }) => options.address)
      return { name, namespace, headless: spec?.clusterIP === 'None', addresses }
    })
    const entries = services.flatMap(({ name, namespace, headless, addresses }) => {
      const answer = headless ? this.#resolve(`${name}.${namespace}`, addresses) : addresses
      return answer.map((address) => ({ name, namespace, address }))
    })
    for (const pod of this.pods) {
      const lines = entries.map(({ name, namespace, address }) => {
        const names = ['', '.svc', '.svc.cluster.local'].map((suffix) => `${name}.${namespace}${suffix}`)
        if (namespace === pod.options.namespace) names.unshift(name)
        return `${address} ${names.join(' ')}`
      })
      const own = ['127.0.0.1 localhost', `${pod.options.address} ${pod.options.name}`]
      pod.setHosts(`${[...own, ...lines].join('\n')}\n`)
    }
  }

  /** A headless Service's name gives the pods' own addresses, and DNS goes on giving the old ones for a while. */
  #resolve(name: string, addresses: readonly string[]): readonly string[] {
    const cached = this.#records.get(name)
    if (cached === undefined || cached.addresses.length === 0) {
      this.#records.set(name, { addresses, stale: false })
      return addresses
    }
    if (!cached.stale && !same(cached.addresses, addresses)) {
      cached.stale = true
      setTimeout(() => {
        this.#records.delete(name)
        this.#publish()
      }, DNS_TTL_MS).unref()
    }
    return cached.addresses
  }
}

function isOf(pod: Pod, namespace: string, workload: string): boolean {
  return pod.options.namespace === namespace && pod.options.name.startsWith(`${workload}-`)
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

/** @throws an error that names the condition when it has not come true within the time */
export async function until(
  condition: string,
  isTrue: () => boolean | Promise<boolean>,
  withinMs = 40_000,
): Promise<void> {
  const limit = performance.now() + withinMs
  while (!(await isTrue())) {
    if (performance.now() > limit)
      throw new Error(`after ${withinMs} ms it is still not true that ${condition}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
