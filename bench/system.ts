/** Whole systems under test: brokers, workers and a client, each in processes of its own. */

import { writeFileSync } from 'node:fs'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { statusSchema } from '../cli/demo/cluster.ts'
import { type Addresses, freeAddresses } from '../cli/process/addresses.ts'
import { freePorts } from '../cli/process/free-port.ts'
import { Child } from './child.ts'
import type { Toolchain } from './toolchain.ts'

/** Who sends the tasks. */
export type ClientSpec =
  /** A bare DEALER that packs. */
  | { readonly kind: 'native' }
  /** The client library; with a NATS server, NATS' own. */
  | { readonly kind: 'library' }
  /** Many tasks at once over each DEALER, or one at a time over each REQ. */
  | { readonly kind: 'stock'; readonly connections: number; readonly socket: 'dealer' | 'req' }

/** Who does them: each answers with the task's own body. */
export type WorkerSpec =
  /** Bare DEALERs in one process. */
  | { readonly kind: 'native'; readonly hosts: number; readonly slots: number; readonly workMs?: number }
  /** The worker library, so many processes of it; with a NATS server, NATS' own client. */
  | { readonly kind: 'library'; readonly processes: number; readonly slots: number }
  /** So many workers of one slot, each on a connection of its own. */
  | { readonly kind: 'stock'; readonly count: number; readonly socket: 'ppp' | 'req' }

export interface SystemSpec {
  readonly broker: 'spillway' | 'bare' | 'c' | 'nats' | 'direct'
  /** Brokers that know each other; the client is at the first. Default 1. */
  readonly clusters?: number
  readonly client: ClientSpec
  readonly workers: WorkerSpec
  /** Which clusters have workers. Default: the first. */
  readonly workersIn?: readonly number[]
  /** Peers of the first cluster that only say that they are there. */
  readonly peers?: { readonly count: number; readonly stateIntervalMs: number }
}

/** Processes that run. */
export interface System {
  readonly brokers: readonly Child[]
  readonly client: Child
  readonly others: readonly Child[]
  /** Where workers sign in at the first broker; '' where there is no such place. */
  readonly localbe: string
}

export interface Surroundings {
  readonly toolchain: Toolchain
  /** The program under test: the compiled `cli/main.js`. */
  readonly program: string
  /** For configuration files. */
  readonly folder: string
}

/** A system that cannot be had on this machine. */
export class NotHere extends Error {}

const POLL_MS = 25
const PATIENCE_MS = 20_000

/** @throws NotHere when something it needs is not installed */
export async function startSystem(spec: SystemSpec, surroundings: Surroundings): Promise<System> {
  const started: Child[] = []
  const keep = (child: Child): Child => {
    started.push(child)
    return child
  }
  try {
    if (spec.broker === 'direct') return await startDirect(spec, surroundings, keep)
    if (spec.broker === 'nats') return await startNats(spec, surroundings, keep)
    return await startBrokered(spec, surroundings, keep)
  } catch (error) {
    await Promise.all(started.map((child) => child.kill()))
    throw error
  }
}

export async function stopSystem(system: System): Promise<void> {
  await Promise.all([...system.brokers, system.client, ...system.others].map((child) => child.kill()))
}

async function startBrokered(
  spec: SystemSpec,
  surroundings: Surroundings,
  keep: (child: Child) => Child,
): Promise<System> {
  const { clusters = 1, workersIn = [0] } = spec
  const brokers: Child[] = []
  const places: { localfe: string; localbe: string; addresses?: Addresses }[] = []
  if (spec.broker === 'spillway') {
    const addresses = await freeAddresses(clusters)
    for (const [n, own] of addresses.entries()) {
      brokers.push(keep(spillwayBroker(`cluster-${n}`, own, addresses, surroundings.program)))
      places.push({ ...own, addresses: own })
    }
    await Promise.all(
      addresses.map(async ({ localfe, localbe, cloudfe, statebe }, n) => {
        for (const endpoint of [localfe, localbe, cloudfe, statebe]) await listening(endpoint, brokers[n])
      }),
    )
  } else {
    const broker = keep(simpleBroker(spec.broker === 'c' ? 'c' : 'bare', surroundings.toolchain))
    const { localfe = '', localbe = '' } = await broker.ready()
    brokers.push(broker)
    places.push({ localfe, localbe })
  }
  const others: Child[] = []
  const ready: Promise<unknown>[] = []
  const join = (child: Child): void => {
    others.push(keep(child))
    ready.push(child.ready())
  }
  for (const cluster of workersIn) {
    for (const child of startWorkers(spec.workers, places[cluster]?.localbe ?? '', surroundings)) join(child)
  }
  const [hot] = places
  if (spec.peers !== undefined && hot?.addresses !== undefined) {
    const { count, stateIntervalMs } = spec.peers
    const { cloudfe, statebe } = hot.addresses
    join(Child.ofModule('peers', 'load/peers', [cloudfe, statebe, count, stateIntervalMs]))
  }
  await Promise.all(ready)
  for (const [n, { addresses }] of places.entries()) {
    if (addresses === undefined) continue
    const slots = workersIn.includes(n) ? slotsOf(spec.workers) : 0
    const peers = clusters - 1 + (n === 0 ? (spec.peers?.count ?? 0) : 0)
    await settled(addresses.http, slots, peers, brokers[n])
  }
  const client = keep(startClient(spec.client, hot?.localfe ?? '', surroundings))
  await client.ready()
  return { brokers, client, others, localbe: hot?.localbe ?? '' }
}

function spillwayBroker(name: string, own: Addresses, all: readonly Addresses[], program: string): Child {
  const args = ['broker', '--name', name, '--localfe', own.localfe, '--localbe', own.localbe]
  args.push('--cloudfe', own.cloudfe, '--statebe', own.statebe, '--http', own.http)
  for (const other of all) if (other !== own) args.push('--peer', other.cloudfe)
  return Child.leashed(`spillway's broker ${name}`, program, args)
}

function simpleBroker(kind: 'bare' | 'c', toolchain: Toolchain): Child {
  if (kind === 'bare') return Child.ofModule('bare zeromq.js', 'baseline/bare', [])
  if (toolchain.loadBalancer === null) throw new NotHere('no C load balancer')
  return new Child('C load balancer', toolchain.loadBalancer, [])
}

function startWorkers(spec: WorkerSpec, localbe: string, { toolchain }: Surroundings): Child[] {
  switch (spec.kind) {
    case 'native':
      return [
        Child.ofModule('worker hosts', 'load/native-workers', [
          localbe,
          spec.hosts,
          spec.slots,
          spec.workMs ?? 0,
        ]),
      ]
    case 'library':
      return Array.from({ length: spec.processes }, (_, n) =>
        Child.ofModule(`worker ${n}`, 'load/library-worker', [localbe, spec.slots]),
      )
    case 'stock': {
      if (toolchain.zmtpLoad === null) {
        return [Child.ofModule('stock workers', 'load/stock-workers', [localbe, spec.count, spec.socket])]
      }
      const { hostname, port } = new URL(localbe)
      return [
        new Child('stock workers', toolchain.zmtpLoad, [
          'worker',
          hostname,
          port,
          String(spec.count),
          spec.socket,
        ]),
      ]
    }
  }
}

function slotsOf(spec: WorkerSpec): number {
  switch (spec.kind) {
    case 'native':
      return spec.hosts * spec.slots
    case 'library':
      return spec.processes * spec.slots
    case 'stock':
      return spec.count
  }
}

function startClient(spec: ClientSpec, localfe: string, { toolchain }: Surroundings): Child {
  if (spec.kind === 'native') return Child.ofModule('client', 'load/native-client', [localfe])
  if (spec.kind === 'library') return Child.ofModule('client', 'load/library-client', [localfe])
  if (toolchain.zmtpLoad === null) {
    return Child.ofModule('client', 'load/stock-client', [localfe, spec.connections, spec.socket])
  }
  const { hostname, port } = new URL(localfe)
  return new Child('client', toolchain.zmtpLoad, [
    'client',
    hostname,
    port,
    String(spec.connections),
    spec.socket,
  ])
}

/** Client and echo joined by a wire and nothing else: what a broker's latency is measured from. */
async function startDirect(
  spec: SystemSpec,
  surroundings: Surroundings,
  keep: (child: Child) => Child,
): Promise<System> {
  const { zmtpLoad } = surroundings.toolchain
  if (zmtpLoad === null) throw new NotHere('no C load generator')
  const echo = keep(new Child('echo', zmtpLoad, ['direct', '127.0.0.1', '0']))
  const { port = 0 } = await echo.ready()
  const client = keep(startClient(spec.client, `tcp://127.0.0.1:${port}`, surroundings))
  await client.ready()
  return { brokers: [], client, others: [echo], localbe: '' }
}

async function startNats(
  spec: SystemSpec,
  { toolchain, folder }: Surroundings,
  keep: (child: Child) => Child,
): Promise<System> {
  const { clusters = 1, workersIn = [0], workers } = spec
  const program = toolchain.natsServer
  if (program === null) throw new NotHere('no nats-server')
  if (workers.kind !== 'library') throw new NotHere('NATS is loaded by its own client only')
  const ports = await freePorts(2 * clusters)
  const brokers: Child[] = []
  const gateways = Array.from({ length: clusters }, (_, n) => ({
    name: `C${n}`,
    url: `nats://127.0.0.1:${ports[clusters + n]}`,
  }))
  for (const [n, { name }] of gateways.entries()) {
    const file = join(folder, `nats-${ports[n]}.conf`)
    const others = gateways.filter((gateway) => gateway.name !== name)
    const gateway =
      clusters === 1
        ? ''
        : `gateway { name: ${name}, listen: "127.0.0.1:${ports[clusters + n]}", gateways: [${others
            .map((other) => `{ name: ${other.name}, url: "${other.url}" }`)
            .join(', ')}] }`
    writeFileSync(file, `listen: "127.0.0.1:${ports[n]}"\n${gateway}\n`)
    brokers.push(keep(new Child(`nats-server ${name}`, program, ['-c', file])))
  }
  for (const [n, broker] of brokers.entries()) await listening(`tcp://127.0.0.1:${ports[n]}`, broker)
  const address = (n: number): string => `127.0.0.1:${ports[n] ?? 0}`
  const others = workersIn.flatMap((cluster) =>
    Array.from({ length: workers.processes }, (_, n) =>
      keep(Child.ofModule(`NATS worker ${n}`, 'load/nats-worker', [address(cluster)])),
    ),
  )
  await Promise.all(others.map((child) => child.ready()))
  const client = keep(Child.ofModule('NATS client', 'load/nats-client', [address(0)]))
  await client.ready()
  return { brokers, client, others, localbe: '' }
}

/** Waits until somebody listens there. */
async function listening(endpoint: string, broker: Child | undefined): Promise<void> {
  const { hostname, port } = new URL(endpoint)
  await until(`${broker?.label} listens at ${endpoint}`, broker, () => {
    return new Promise((resolve) => {
      const socket = createConnection({ host: hostname, port: Number(port) })
      const end = (answer: boolean): void => {
        socket.destroy()
        resolve(answer)
      }
      socket.once('connect', () => end(true))
      socket.once('error', () => end(false))
    })
  })
}

/** Waits until a broker has all its workers and peers, by its own word. */
async function settled(http: string, slots: number, peers: number, broker: Child | undefined): Promise<void> {
  await until(`${broker?.label} has ${slots} slots and ${peers} peers`, broker, async () => {
    try {
      const answer = await fetch(`http://${http}/status`)
      const status = statusSchema.parse(await answer.json())
      return status.slots === slots && status.peersUp === peers
    } catch {
      return false
    }
  })
}

async function until(
  what: string,
  child: Child | undefined,
  condition: () => Promise<boolean>,
): Promise<void> {
  const giveUpAt = performance.now() + PATIENCE_MS
  while (!(await condition())) {
    child?.expectAlive()
    if (performance.now() > giveUpAt) throw new Error(`after ${PATIENCE_MS} ms still not so: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}
