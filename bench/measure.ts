import { build, type Histogram } from 'hdr-histogram-js'
import type { RunOrder, RunReport } from './load/orders.ts'
import type { System } from './system.ts'
import { machineBusy, memoryOf, type ProcessTime, processTime } from './usage.ts'

/** What one run of one system came to. */
export interface Measurement {
  readonly tasksPerSecond: number
  /** Microseconds. */
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly p999: number
  /** Time on a processor of all brokers together for each task, microseconds: in all, and of it Node's main thread. */
  readonly brokerTime: number
  readonly brokerMainTime: number
  /** Processors kept busy by the brokers, by the load's processes, and by anybody else on the machine. */
  readonly brokerCores: number
  readonly loadCores: number
  readonly foreignCores: number
  /** The load's time on a processor for each task, microseconds. */
  readonly loadTime: number
  /** The brokers' highest resident memory so far, octets. */
  readonly peakMemory: number
  /** Open loop: how late the generator was, 99th percentile, microseconds; part of the latency. */
  readonly lateP99: number
}

/** Beyond it whatever was measured is not worth printing. */
export class InvalidRun extends Error {}

interface Sample {
  readonly brokers: readonly ProcessTime[]
  readonly load: readonly ProcessTime[]
  readonly busy: number
}

/**
 * Runs a load and takes the processes' times at the very moments when its window opens and closes.
 *
 * @throws InvalidRun when a single task was lost, failed or answered wrongly: speed that comes of that is worth nothing
 */
export async function measure(system: System, order: RunOrder): Promise<Measurement> {
  const samples: Sample[] = []
  const report = await system.client.run(order, () => samples.push(sample(system)))
  for (const child of [...system.brokers, ...system.others]) child.expectAlive()
  const [before, after] = samples
  if (before === undefined || after === undefined) throw new InvalidRun('the window never opened')
  const { tasks, seconds, wrong, lost, failed = 0 } = report
  if (wrong > 0 || lost > 0 || failed > 0) {
    const overload = order.rate > 0 ? '; the rate may be more than this machine bears now' : ''
    throw new InvalidRun(
      `${wrong} wrong answers, ${lost} tasks lost, ${failed} failed, ${tasks} answered${overload}`,
    )
  }
  if (tasks === 0) throw new InvalidRun('not one task was answered')
  const latency = histogramOf(report.latency)
  const late = histogramOf(report.late ?? [])
  const brokers = difference(before.brokers, after.brokers)
  const load = difference(before.load, after.load)
  const microseconds = seconds * 1e6
  const ours = total(brokers) + total(load)
  return {
    tasksPerSecond: tasks / seconds,
    p50: latency.getValueAtPercentile(50) / 10,
    p90: latency.getValueAtPercentile(90) / 10,
    p99: latency.getValueAtPercentile(99) / 10,
    p999: latency.getValueAtPercentile(99.9) / 10,
    brokerTime: total(brokers) / tasks,
    brokerMainTime: brokers.main / tasks,
    brokerCores: total(brokers) / microseconds,
    loadCores: total(load) / microseconds,
    foreignCores: Math.max(0, after.busy - before.busy - ours) / microseconds,
    loadTime: total(load) / tasks,
    peakMemory: system.brokers.reduce((sum, { pid }) => sum + memoryOf(pid).peak, 0),
    lateP99: late.totalCount === 0 ? 0 : late.getValueAtPercentile(99) / 10,
  }
}

function sample(system: System): Sample {
  return {
    brokers: system.brokers.map(({ pid }) => processTime(pid)),
    load: [system.client, ...system.others].map(({ pid }) => processTime(pid)),
    busy: machineBusy(),
  }
}

function difference(before: readonly ProcessTime[], after: readonly ProcessTime[]): ProcessTime {
  let main = 0
  let others = 0
  for (const [n, later] of after.entries()) {
    main += later.main - (before[n]?.main ?? 0)
    others += later.others - (before[n]?.others ?? 0)
  }
  return { main, others }
}

function total({ main, others }: ProcessTime): number {
  return main + others
}

export function histogramOf(pairs: RunReport['latency']): Histogram {
  const histogram = build({ highestTrackableValue: 2 ** 31 - 1, numberOfSignificantValueDigits: 3 })
  for (const [value, count] of pairs) histogram.recordValueWithCount(Math.max(1, value), count)
  return histogram
}
