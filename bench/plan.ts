/** What is measured: comparisons of systems that are run in turns, and the goals that are read from them. */

import type { ClientSpec, SystemSpec, WorkerSpec } from './system.ts'

export interface Contender {
  readonly id: string
  readonly label: string
  readonly spec: SystemSpec
  readonly outstanding: number
  /** Octets of a body. */
  readonly size: number
  /** Tasks a second in an open loop; left out: closed loop. */
  readonly rate?: number
}

export interface Comparison {
  readonly id: string
  readonly title: string
  readonly contenders: readonly Contender[]
  /** Turns, when fewer than usual: no goal is read from it, and there are only ten minutes. */
  readonly rounds?: number
}

const SIZE = 64

const NATIVE: ClientSpec = { kind: 'native' }
const LIBRARY: ClientSpec = { kind: 'library' }
/** A thousand tasks at once over few connections: the fewer, the less of the cost is the kernel's, the same for all. */
const STOCK: ClientSpec = { kind: 'stock', connections: 8, socket: 'dealer' }

const HOSTS: WorkerSpec = { kind: 'native', hosts: 4, slots: 64 }
const PIRATES: WorkerSpec = { kind: 'stock', count: 64, socket: 'ppp' }
const LIBRARY_WORKERS: WorkerSpec = { kind: 'library', processes: 2, slots: 64 }

const SPILLWAY_NATIVE: SystemSpec = { broker: 'spillway', client: NATIVE, workers: HOSTS }
const SPILLWAY_STOCK: SystemSpec = { broker: 'spillway', client: STOCK, workers: PIRATES }
const SPILLWAY_LIBRARY: SystemSpec = { broker: 'spillway', client: LIBRARY, workers: LIBRARY_WORKERS }
const BARE: SystemSpec = { broker: 'bare', client: STOCK, workers: PIRATES }
const C: SystemSpec = { broker: 'c', client: STOCK, workers: PIRATES }
const DIRECT: SystemSpec = { broker: 'direct', client: STOCK, workers: PIRATES }
const NATS: SystemSpec = { broker: 'nats', client: LIBRARY, workers: LIBRARY_WORKERS }
/** Two clusters, all workers in the second, all tasks at the first. */
const subcontracted = (spec: SystemSpec): SystemSpec => ({ ...spec, clusters: 2, workersIn: [1] })

function thousand(id: string, label: string, spec: SystemSpec): Contender {
  return { id, label, spec, outstanding: 1000, size: SIZE }
}

function one(id: string, label: string, spec: SystemSpec): Contender {
  return { id, label, spec, outstanding: 1, size: SIZE }
}

function large(id: string, label: string, spec: SystemSpec): Contender {
  return { id, label, spec, outstanding: 100, size: 65_536 }
}

const THROUGHPUT: Comparison = {
  id: 'throughput',
  title: '1,000 outstanding, 64 B',
  contenders: [
    thousand('native', 'Spillway, native, 4 hosts × 64 slots', SPILLWAY_NATIVE),
    thousand('subcontracted', 'Spillway, native, through two brokers', subcontracted(SPILLWAY_NATIVE)),
    thousand('stock', 'Spillway, stock dialect, 64 workers', SPILLWAY_STOCK),
    thousand('bare', 'bare zeromq.js, 64 workers', BARE),
    thousand('c', 'C on libzmq, 64 workers', C),
  ],
}

const LATENCY: Comparison = {
  id: 'latency',
  title: 'one request at a time, 64 B',
  contenders: [
    one('native', 'Spillway, native', SPILLWAY_NATIVE),
    one('stock', 'Spillway, stock dialect', SPILLWAY_STOCK),
    one('bare', 'bare zeromq.js', BARE),
    one('c', 'C on libzmq', C),
    one('direct', 'no broker: the wire alone', DIRECT),
  ],
}

const LARGE: Comparison = {
  id: 'large',
  title: '100 outstanding, 64 KiB',
  contenders: [
    large('native', 'Spillway, native', SPILLWAY_NATIVE),
    large('stock', 'Spillway, stock dialect', SPILLWAY_STOCK),
    large('bare', 'bare zeromq.js', BARE),
    large('c', 'C on libzmq', C),
  ],
}

const NATS_THROUGHPUT: Comparison = {
  id: 'nats-throughput',
  title: 'Node at both ends, 1,000 outstanding, 64 B',
  contenders: [
    thousand('spillway', 'Spillway, client and worker library', SPILLWAY_LIBRARY),
    thousand('nats', 'NATS request-reply, queue group', NATS),
  ],
}

const NATS_LATENCY: Comparison = {
  id: 'nats-latency',
  title: 'Node at both ends, one at a time, 64 B',
  contenders: [
    one('spillway', 'Spillway, client and worker library', SPILLWAY_LIBRARY),
    one('nats', 'NATS request-reply, queue group', NATS),
  ],
}

const NATS_ACROSS: Comparison = {
  id: 'nats-across',
  title: 'Node at both ends, across two clusters, 1,000 outstanding, 64 B',
  contenders: [
    thousand('spillway', 'Spillway, through two brokers', subcontracted(SPILLWAY_LIBRARY)),
    thousand('nats', 'NATS, two servers joined by gateways', subcontracted(NATS)),
  ],
}

const NATS_ACROSS_LATENCY: Comparison = {
  id: 'nats-across-latency',
  title: 'Node at both ends, across two clusters, one at a time, 64 B',
  contenders: [
    one('spillway', 'Spillway, through two brokers', subcontracted(SPILLWAY_LIBRARY)),
    one('nats', 'NATS, two servers joined by gateways', subcontracted(NATS)),
  ],
}

/** Fewer tasks than slots, so that none has a reason to leave, at a rate well below saturation: what grows is the cost. */
function besidePeers(id: string, count: number, stateIntervalMs: number): Contender {
  return {
    id,
    label: `${count} ${count === 1 ? 'peer' : 'peers'}, a state every ${stateIntervalMs} ms each`,
    spec: { ...SPILLWAY_NATIVE, peers: { count, stateIntervalMs } },
    outstanding: 200,
    size: SIZE,
  }
}

const PEERS: Comparison = {
  id: 'peers',
  title: 'local tasks beside peers, 200 outstanding, 64 B',
  contenders: [besidePeers('one', 1, 500), besidePeers('many', 64, 500)],
}

const BUSY_PEERS: Comparison = {
  id: 'busy-peers',
  rounds: 3,
  title: 'local tasks beside peers whose capacity changes all the time',
  contenders: [besidePeers('one', 1, 10), besidePeers('many', 64, 10)],
}

const SLOW_HOSTS: WorkerSpec = { kind: 'native', hosts: 1, slots: 64, workMs: 20 }
const HOT: Comparison = {
  id: 'hot',
  rounds: 3,
  title: 'one hot cluster, tasks of 20 ms, 64 slots a cluster, 1,000 outstanding',
  contenders: [
    thousand('alone', 'the hot cluster alone', { broker: 'spillway', client: NATIVE, workers: SLOW_HOSTS }),
    thousand('federation', 'with two idle peers', {
      broker: 'spillway',
      clusters: 3,
      client: NATIVE,
      workers: SLOW_HOSTS,
      workersIn: [0, 1, 2],
    }),
  ],
}

/** The case that the load-balancing pattern was invented for, an open loop. */
function founding(id: string, label: string, broker: SystemSpec['broker']): Contender {
  return {
    id,
    label,
    spec: {
      broker,
      client: { kind: 'stock', connections: 1000, socket: 'req' },
      workers: { kind: 'stock', count: 300, socket: 'ppp' },
    },
    outstanding: 1000,
    size: 1024,
    rate: 10_000,
  }
}

const FOUNDING: Comparison = {
  id: 'founding',
  rounds: 3,
  title: '1,000 REQ clients × 10 requests a second, 1 KiB, 300 workers',
  contenders: [
    founding('stock', 'Spillway, stock dialect', 'spillway'),
    founding('bare', 'bare zeromq.js', 'bare'),
    founding('c', 'C on libzmq', 'c'),
  ],
}

/** Latency at a given load, counted from when each task was due. */
const OPEN_LOOP: Comparison = {
  id: 'open-loop',
  rounds: 3,
  title: 'open loop, 20,000 tasks a second, 64 B',
  contenders: [
    { ...thousand('native', 'Spillway, native', SPILLWAY_NATIVE), rate: 20_000 },
    { ...thousand('stock', 'Spillway, stock dialect', SPILLWAY_STOCK), rate: 20_000 },
    { ...thousand('bare', 'bare zeromq.js', BARE), rate: 20_000 },
    { ...thousand('c', 'C on libzmq', C), rate: 20_000 },
  ],
}

/** The libraries where the bare generators were. */
const LIBRARIES: Comparison = {
  id: 'libraries',
  rounds: 3,
  title: 'what the libraries cost, 1,000 outstanding, 64 B',
  contenders: [
    thousand('bare-ends', 'bare client, bare hosts', SPILLWAY_NATIVE),
    thousand('client', 'client library, bare hosts', { ...SPILLWAY_NATIVE, client: LIBRARY }),
    thousand('worker', 'bare client, worker library', { ...SPILLWAY_NATIVE, workers: LIBRARY_WORKERS }),
    thousand('both', 'both libraries', SPILLWAY_LIBRARY),
  ],
}

const OUTSTANDING = [1, 10, 100, 1000] as const
const SIZES = [16, 64, 1024, 65_536] as const
const SLOTS = [1, 16, 64, 256] as const

/** Each dimension by itself, around 1,000 outstanding tasks of 64 B on 64 slots a host. */
const SWEEPS: readonly Comparison[] = [
  {
    id: 'sweep-outstanding',
    title: 'by tasks outstanding, 64 B',
    rounds: 1,
    contenders: OUTSTANDING.flatMap((outstanding) =>
      sweep(`${outstanding}`, `${outstanding} outstanding`, outstanding, SIZE, 64),
    ),
  },
  {
    id: 'sweep-size',
    title: 'by size of body, 100 outstanding',
    rounds: 1,
    contenders: SIZES.flatMap((size) => sweep(`${size}`, `${size} B`, 100, size, 64)),
  },
  {
    id: 'sweep-slots',
    title: 'by worker slots, 1,000 outstanding, 64 B',
    rounds: 1,
    contenders: SLOTS.flatMap((slots) => sweep(`${slots}`, `${slots} slots`, 1000, SIZE, slots)),
  },
]

/** One host of so many slots against as many stock workers. */
function sweep(id: string, label: string, outstanding: number, size: number, slots: number): Contender[] {
  const host: WorkerSpec = { kind: 'native', hosts: 1, slots }
  const workers: WorkerSpec = { kind: 'stock', count: slots, socket: 'ppp' }
  return [
    {
      id: `native-${id}`,
      label: `native, ${label}`,
      spec: { ...SPILLWAY_NATIVE, workers: host },
      outstanding,
      size,
    },
    { id: `stock-${id}`, label: `stock, ${label}`, spec: { ...SPILLWAY_STOCK, workers }, outstanding, size },
    { id: `bare-${id}`, label: `bare, ${label}`, spec: { ...BARE, workers }, outstanding, size },
  ]
}

const only = (comparison: Comparison, ...ids: readonly string[]): Comparison => ({
  ...comparison,
  contenders: comparison.contenders.filter(({ id }) => ids.includes(id)),
})

/** All that the goals are read from, and no more. */
export const QUICK: readonly Comparison[] = [
  THROUGHPUT,
  only(LATENCY, 'stock', 'bare', 'direct'),
  only(LARGE, 'stock', 'bare'),
  NATS_THROUGHPUT,
  NATS_LATENCY,
  NATS_ACROSS,
  NATS_ACROSS_LATENCY,
  PEERS,
]

export const FULL: readonly Comparison[] = [
  THROUGHPUT,
  LATENCY,
  LARGE,
  NATS_THROUGHPUT,
  NATS_LATENCY,
  NATS_ACROSS,
  NATS_ACROSS_LATENCY,
  PEERS,
  BUSY_PEERS,
  HOT,
  FOUNDING,
  OPEN_LOOP,
  LIBRARIES,
  ...SWEEPS,
]
