/** What is to be reached, and whether it is. */

import type { ComparisonResult } from './comparison.ts'
import type { IdleResult } from './idle.ts'
import type { Measurement } from './measure.ts'
import type { SimulationResult } from './simulation.ts'
import { ratioOf, type Spread, spreadOf } from './spread.ts'

export interface Verdict {
  readonly path: string
  readonly goal: string
  /** What was measured, in words; or why nothing was. */
  readonly measured: string
  /** null: not measured. */
  readonly met: boolean | null
}

type Field = Exclude<keyof Measurement, 'lateP99'>

/** Every goal, in the order of the table. */
export function judge(
  results: readonly ComparisonResult[],
  idle: IdleResult | null,
  simulations: readonly SimulationResult[] = [],
): Verdict[] {
  const runs = (comparison: string, contender: string): readonly Measurement[] =>
    results.find(({ id }) => id === comparison)?.contenders.find(({ id }) => id === contender)?.runs ?? []
  /** Of what was measured in the same turns; null when either is missing. */
  const ratio = (comparison: string, ours: string, theirs: string, field: Field): Spread | null => {
    const a = runs(comparison, ours).map((run) => run[field])
    const b = runs(comparison, theirs).map((run) => run[field])
    return a.length === 0 || a.length !== b.length ? null : ratioOf(a, b)
  }
  const why = (comparison: string): string => {
    const result = results.find(({ id }) => id === comparison)
    if (result === undefined) return 'not measured in this run'
    const reasons = result.contenders.map(({ missing, invalid }) => missing || invalid).filter(Boolean)
    return `not measured: ${reasons[0] ?? 'no run'}`
  }
  const atLeast = (
    path: string,
    goal: string,
    comparison: string,
    ours: string,
    theirs: string,
    least: number,
  ): Verdict => {
    const spread = ratio(comparison, ours, theirs, 'tasksPerSecond')
    if (spread === null) return { path, goal, measured: why(comparison), met: null }
    return { path, goal, measured: `${times(spread)} tasks/s`, met: spread.median >= least }
  }
  return [
    atLeast(
      'native, 1,000 outstanding, 64 B, hosts of 64 slots',
      '≥ 4 × C load balancer, one task a message',
      'throughput',
      'native',
      'c',
      4,
    ),
    atLeast('stock dialect, same', '≥ 0.9 × bare zeromq.js', 'throughput', 'stock', 'bare', 0.9),
    addedLatency(
      runs('latency', 'stock'),
      runs('latency', 'bare'),
      runs('latency', 'direct'),
      why('latency'),
    ),
    atLeast(
      'subcontracted, native, 1,000 outstanding',
      '≥ 0.6 × local',
      'throughput',
      'subcontracted',
      'native',
      0.6,
    ),
    aheadOfNats('NATS, local, 1,000 outstanding', 'nats-throughput'),
    fasterThanNats('NATS, local, one at a time', 'nats-latency'),
    aheadOfNats('NATS, across clusters, 1,000 outstanding', 'nats-across'),
    fasterThanNats('NATS, across clusters, one at a time', 'nats-across-latency'),
    atLeast('64 KiB bodies, stock dialect', '≥ 0.9 × bare zeromq.js', 'large', 'stock', 'bare', 0.9),
    idleness(idle),
    peers(),
    simulatorSpeed(simulations.find(({ id }) => id === 'founding')),
  ]

  /** Twice the tasks, and a lower p99. */
  function aheadOfNats(path: string, comparison: string): Verdict {
    const goal = '≥ 2 × its tasks per second, p99 lower'
    const speed = ratio(comparison, 'spillway', 'nats', 'tasksPerSecond')
    const p99 = ratio(comparison, 'spillway', 'nats', 'p99')
    if (speed === null || p99 === null) return { path, goal, measured: why(comparison), met: null }
    return {
      path,
      goal,
      measured: `${times(speed)} tasks/s; p99 ${times(p99)}`,
      met: speed.median >= 2 && p99.median < 1,
    }
  }

  function fasterThanNats(path: string, comparison: string): Verdict {
    const goal = 'p50 and p99 lower'
    const p50 = ratio(comparison, 'spillway', 'nats', 'p50')
    const p99 = ratio(comparison, 'spillway', 'nats', 'p99')
    if (p50 === null || p99 === null) return { path, goal, measured: why(comparison), met: null }
    return {
      path,
      goal,
      measured: `p50 ${times(p50)}; p99 ${times(p99)}`,
      met: p50.median < 1 && p99.median < 1,
    }
  }

  function peers(): Verdict {
    const path = 'from 1 to 64 peers'
    const goal = 'broker’s processor time a local task grows by < 10 %'
    const spread = ratio('peers', 'many', 'one', 'brokerTime')
    if (spread === null || !Number.isFinite(spread.median)) {
      return { path, goal, measured: why('peers'), met: null }
    }
    return { path, goal, measured: times(spread), met: spread.median < 1.1 }
  }
}

/**
 * The p50 over that of the wire alone, where that was measured: the stricter reading, since what both have in common is
 * taken off both. Otherwise the whole p50.
 */
function addedLatency(
  stock: readonly Measurement[],
  bare: readonly Measurement[],
  direct: readonly Measurement[],
  why: string,
): Verdict {
  const path = 'one request at a time, stock dialect'
  const goal = 'latency added ≤ 1.25 × bare zeromq.js at p50'
  if (stock.length === 0 || stock.length !== bare.length) return { path, goal, measured: why, met: null }
  const wire = direct.length === 0 ? 0 : spreadOf(direct.map(({ p50 }) => p50)).median
  const spread = ratioOf(
    stock.map(({ p50 }) => p50 - wire),
    bare.map(({ p50 }) => p50 - wire),
  )
  const of = (runs: readonly Measurement[]): string =>
    `${Math.round(spreadOf(runs.map(({ p50 }) => p50)).median)} µs`
  return {
    path,
    goal,
    measured: `${times(spread)} (p50 ${of(stock)} against ${of(bare)}; the wire alone ${wire.toFixed(0)} µs)`,
    met: spread.median <= 1.25,
  }
}

function idleness(idle: IdleResult | null): Verdict {
  const path = '10,000 idle clients and 1,000 idle workers'
  const goal = '< 5 % of one core, < 300 MB'
  if (idle === null) return { path, goal, measured: 'not measured in this run', met: null }
  if (idle.invalid !== '') return { path, goal, measured: `not measured: ${idle.invalid}`, met: null }
  const share = 100 * idle.cores
  const megabytes = (octets: number): string => `${(octets / 1e6).toFixed(0)} MB`
  const floor =
    idle.floorMemory === null
      ? ''
      : `; the C load balancer with the clients alone: ${megabytes(idle.floorMemory)}`
  return {
    path,
    goal,
    measured: `${share.toFixed(1)} % of one core, ${megabytes(idle.memory)} (peak ${megabytes(idle.peakMemory)})${floor}`,
    met: share < 5 && idle.peakMemory < 300e6,
  }
}

function simulatorSpeed(founding: SimulationResult | undefined): Verdict {
  const path = 'simulator, founding case'
  const goal = '≥ 500,000 events a second on one core'
  if (founding === undefined) return { path, goal, measured: 'not measured in this run', met: null }
  if (founding.invalid !== '') return { path, goal, measured: `not measured: ${founding.invalid}`, met: null }
  const { events, virtualMs, cpuMs } = founding
  const speed = (1000 * events) / cpuMs
  const measured = `${Math.round(speed).toLocaleString('en-US')} events/s, ${(virtualMs / cpuMs).toFixed(2)} simulated s/s`
  return { path, goal, measured, met: speed >= 500_000 }
}

/** A ratio with its spread, for people. */
export function times({ median, min, max }: Spread): string {
  return `${median.toFixed(2)} × (${min.toFixed(2)} – ${max.toFixed(2)})`
}
