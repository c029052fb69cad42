import { errorMessage } from '../settings/error-message.ts'
import { Child } from './child.ts'
import {
  type ClientSpec,
  NotHere,
  type Surroundings,
  type System,
  type SystemSpec,
  startSystem,
  stopSystem,
} from './system.ts'
import { memoryOf, processTime, usageIsKnown } from './usage.ts'

export interface IdleResult {
  readonly clients: number
  readonly workers: number
  /** Processors the broker kept busy with nobody asking for anything. */
  readonly cores: number
  /** Octets resident, then and at its highest. */
  readonly memory: number
  readonly peakMemory: number
  /**
   * Octets resident of the load balancer in C with as many clients, and no idle workers: what libzmq itself keeps for
   * connections. null where it cannot be had, or nobody asked.
   */
  readonly floorMemory: number | null
  /** Why there is nothing; '' when there is. */
  readonly invalid: string
}

const CLIENTS = 10_000
const WORKERS = 1000
const IDLE_CLIENTS: ClientSpec = { kind: 'stock', connections: CLIENTS, socket: 'req' }
/** For connections, garbage and compilers to come to rest. */
const REST_MS = 2000

/** What a broker costs that has thousands of connections and nothing to do. Every client has had a task done before. */
export async function measureIdle(
  surroundings: Surroundings,
  measureMs: number,
  withFloor: boolean,
): Promise<IdleResult> {
  const nothing = {
    clients: CLIENTS,
    workers: WORKERS,
    cores: 0,
    memory: 0,
    peakMemory: 0,
    floorMemory: null,
  }
  if (!usageIsKnown) return { ...nothing, invalid: 'processes’ times are read from /proc, on Linux only' }
  const spec: SystemSpec = {
    broker: 'spillway',
    client: IDLE_CLIENTS,
    workers: { kind: 'native', hosts: 4, slots: 64 },
  }
  try {
    const system = await startSystem(spec, surroundings)
    try {
      const [broker] = system.brokers
      if (broker === undefined) throw new Error('there is no broker')
      const workers = Child.ofModule('idle workers', 'load/idle-workers', [system.localbe, WORKERS])
      try {
        await workers.ready()
        await oneTaskEach(system)
        await new Promise((resolve) => setTimeout(resolve, REST_MS))
        const before = processTime(broker.pid)
        const from = performance.now()
        await new Promise((resolve) => setTimeout(resolve, measureMs))
        const after = processTime(broker.pid)
        const elapsed = (performance.now() - from) * 1000
        workers.expectAlive()
        system.client.expectAlive()
        broker.expectAlive()
        const { rss, peak } = memoryOf(broker.pid)
        const used = after.main + after.others - before.main - before.others
        const measured = { cores: used / elapsed, memory: rss, peakMemory: peak, invalid: '' }
        return { ...nothing, ...measured, floorMemory: withFloor ? await floorMemory(surroundings) : null }
      } finally {
        await workers.kill()
      }
    } finally {
      await stopSystem(system)
    }
  } catch (error) {
    return { ...nothing, invalid: errorMessage(error) }
  }
}

async function floorMemory(surroundings: Surroundings): Promise<number | null> {
  const workers = { kind: 'stock', count: 1, socket: 'req' } as const
  let system: System
  try {
    system = await startSystem({ broker: 'c', client: IDLE_CLIENTS, workers }, surroundings)
  } catch (error) {
    if (error instanceof NotHere) return null
    throw error
  }
  try {
    await oneTaskEach(system)
    const [broker] = system.brokers
    return broker === undefined ? null : memoryOf(broker.pid).rss
  } finally {
    await stopSystem(system)
  }
}

async function oneTaskEach(system: System): Promise<void> {
  const once = { outstanding: CLIENTS, size: 64, rate: 0, warmupMs: 0, measureMs: 1 }
  await system.client.run(once, () => {})
}
