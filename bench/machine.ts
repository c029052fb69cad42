import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import { version as libzmq } from 'zeromq'
import { machineBusy } from './usage.ts'

/** Where, and beside what, figures were taken. */
export interface Machine {
  readonly processor: string
  readonly processors: number
  readonly memory: number
  readonly system: string
  readonly node: string
  readonly libzmq: string
  readonly load: readonly number[]
  /** Processors that somebody else kept busy before anything was started. */
  readonly foreignCores: number
}

const LISTEN_MS = 1000
/** Of one processor: with more than that taken by others figures are marked. */
const QUIET_MAX = 0.1

export async function describeMachine(): Promise<Machine> {
  const before = machineBusy()
  await pause(LISTEN_MS)
  const foreignCores = (machineBusy() - before) / (LISTEN_MS * 1000)
  return {
    processor: cpus()[0]?.model.trim() ?? 'unknown',
    processors: availableParallelism(),
    memory: totalmem(),
    system: `${process.platform} ${process.arch} ${release()}`,
    node: process.version,
    libzmq,
    load: loadavg(),
    foreignCores,
  }
}

export function isQuiet({ foreignCores }: Machine): boolean {
  return foreignCores <= QUIET_MAX
}

export function machineLine(machine: Machine): string {
  const { processor, processors, memory, system, node, libzmq: zmq } = machine
  return `${processor}, ${processors} processors, ${(memory / 2 ** 30).toFixed(1)} GiB, ${system}, Node ${node}, libzmq ${zmq} in zeromq.js`
}
