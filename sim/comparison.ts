import { Kind } from '../protocol/record.ts'
import { errorMessage } from '../settings/error-message.ts'
import { type Job, omniscient } from './omniscient.ts'
import { Random } from './random.ts'
import { type Parameters, parameters } from './scenario.ts'
import { Simulation } from './simulation.ts'
import { Waits } from './waits.ts'
import { Workload } from './workload.ts'

/** The name under which the scheduler that knows everything stands among the policies. */
export const OMNISCIENT = 'omniscient'

/**
 * What one policy does with one workload. Only tasks count that are submitted, and only messages that are sent, after the
 * warm-up and before work ends.
 */
export interface Measures {
  readonly tasks: number
  /** From the submission by the client to the start of the handler, all ways in between included, ms. */
  readonly meanWaitMs: number
  readonly p50WaitMs: number
  readonly p99WaitMs: number
  readonly p999WaitMs: number
  /** Share of the tasks that started in another cluster. */
  readonly lentShare: number
  /** Tasks that a peer turned away, as a share of those sent to a peer. */
  readonly rejectShare: number
  /** States sent a second and broker, one for each peer that each goes to, and those that ride with answers. */
  readonly statesPerSecond: number
  /** The same for each task submitted. */
  readonly statesPerTask: number
  /** Tasks answered a second, in all clusters. */
  readonly throughput: number
  /** The promise that was broken, if one was: then nothing else here counts. */
  readonly breach: string | null
}

/** All tasks of a run, in the order in which they are submitted: the same for every policy. */
export function* jobsOf(seed: number, p: Parameters): Generator<Job> {
  const clusters = Array.from({ length: p.clusters }, (_, index) => {
    const workload = new Workload(seed, index, p)
    return { index, workload, at: workload.next(0) }
  })
  for (;;) {
    let next = clusters[0]
    for (const cluster of clusters) if (next === undefined || cluster.at < next.at) next = cluster
    if (next === undefined || next.at > p.durationMs) return
    const { index, workload, at } = next
    if (workload.who(at) >= 0) {
      yield { cluster: index, at, serviceMs: workload.task(0, '', at).errand.serviceMs }
    }
    next.at = workload.next(at)
  }
}

/** Patience makes the omniscient scheduler's mean better or its worst: it is tried with each of these. */
const PATIENCE = [0, 0.1, 0.25, 0.5, 1]

function measuresOf(waits: Waits) {
  return {
    tasks: waits.count,
    meanWaitMs: waits.meanMs,
    p50WaitMs: waits.percentileMs(0.5),
    p99WaitMs: waits.percentileMs(0.99),
    p999WaitMs: waits.percentileMs(0.999),
    lentShare: waits.lentShare,
    throughput: waits.startsPerSecond,
    rejectShare: 0,
    statesPerSecond: 0,
    statesPerTask: 0,
    breach: null,
  }
}

/** The yardstick: of the omniscient scheduler's waits, each the shortest that it reaches with any patience. */
export function measureOmniscient(seed: number, p: Parameters, warmUpMs: number): Measures {
  const jobs = [...jobsOf(seed, p)]
  const tried = PATIENCE.map((patience): Measures => {
    const random = new Random(seed, 'omniscient')
    const waits = new Waits(warmUpMs, p.durationMs)
    const { clusters, workers, slots, localMs, cloudMs, jitter } = p
    omniscient(
      jobs,
      {
        clusters,
        slots: workers * slots,
        localMs,
        cloudMs,
        jitter,
        random: () => random.uniform(),
        patience,
      },
      waits.add,
    )
    return measuresOf(waits)
  })
  return tried.reduce((best, next) => ({
    ...(next.p99WaitMs < best.p99WaitMs ? next : best),
    meanWaitMs: Math.min(best.meanWaitMs, next.meanWaitMs),
    p50WaitMs: Math.min(best.p50WaitMs, next.p50WaitMs),
    p999WaitMs: Math.min(best.p999WaitMs, next.p999WaitMs),
  }))
}

/** What a policy does with a workload, in brokers' real cores. Every promise is checked on the way. */
export function measurePolicy(seed: number, p: Parameters, warmUpMs: number): Measures {
  const simulation = new Simulation(seed, p)
  const waits = new Waits(warmUpMs, p.durationMs)
  simulation.ledger.onFirstStart = waits.add
  let states = 0
  simulation.network.tap = (pipe, _lane, message) => {
    if (pipe.socket !== 'statebe' && pipe.socket !== 'cloudfe') return
    for (const { kind } of message.records) if (kind === Kind.State) states++
  }
  try {
    simulation.advance(warmUpMs)
    const before = trafficOf(simulation)
    const statesBefore = states
    simulation.advance(p.durationMs)
    const after = trafficOf(simulation)
    const statesSent = states - statesBefore
    simulation.run()
    return {
      ...measuresOf(waits),
      rejectShare: (after.rejects - before.rejects) / Math.max(1, after.lent - before.lent),
      statesPerSecond: (1000 * statesSent) / (p.durationMs - warmUpMs) / p.clusters,
      statesPerTask: statesSent / Math.max(1, waits.count),
    }
  } catch (error) {
    return { ...measuresOf(waits), breach: errorMessage(error) }
  }
}

function trafficOf(simulation: Simulation): { rejects: number; lent: number } {
  let rejects = 0
  let lent = 0
  for (const { broker } of simulation.clusters) {
    if (broker === null) continue
    rejects += broker.core.counters.rejectsReceived
    for (const peer of broker.core.peers.byName.values()) lent += peer.lent
  }
  return { rejects, lent }
}

// ---------------------------------------------------------------- the grid

/** What is varied, one at a time, while everything else stays as it is in the centre. */
export const DIMENSIONS = {
  load: {
    title: 'load',
    unit: 'share of all slots',
    values: [0.5, 0.7, 0.8, 0.9, 0.95, 0.98],
    quick: [0.7, 0.9, 0.97],
    vary: (load: number) => ({ load }),
  },
  skew: {
    title: 'skew',
    unit: "times the others' tasks in the hot cluster",
    values: [1, 2, 4, 8, 16],
    quick: [1, 2, 8],
    vary: (hot: number) => ({ hot }),
  },
  delay: {
    title: 'delay between clusters',
    unit: 'ms one way',
    values: [0.2, 1, 10, 50, 200],
    quick: [0.2, 10, 100],
    vary: (cloudMs: number) => ({ cloudMs }),
  },
  state: {
    title: 'time between states',
    unit: 'ms; 0: on every change',
    values: [0, 10, 100, 1000, 5000],
    quick: [0, 10, 1000],
    vary: (ms: number) => ({
      stateCoalesceMs: ms,
      stateIntervalMs: Math.max(500, ms),
      stateTtlMs: 3 * Math.max(500, ms),
    }),
  },
  clusters: {
    title: 'clusters',
    unit: '',
    values: [2, 4, 12, 32, 100],
    quick: [2, 12, 24],
    vary: (clusters: number) => ({ clusters }),
  },
  'guest-wait': {
    title: "longest expected wait of a peer's task",
    unit: 'ms',
    values: [0, 30, 100, 300, 1000],
    quick: [0, 100, 1000],
    vary: (guestWaitMs: number) => ({ guestWaitMs }),
  },
  patience: {
    title: 'patience',
    unit: 'of the way, by the share of slots free',
    values: [0, 0.5, 1, 2, 4],
    quick: [0, 1, 4],
    vary: (patience: number) => ({ patience }),
  },
  price: {
    title: 'price of a slot',
    unit: 'ways there',
    values: [0, 0.3, 1, 3, 10],
    quick: [0, 1, 10],
    vary: (price: number) => ({ price }),
  },
  steepness: {
    title: 'steepness',
    unit: 'by the number of peers',
    values: [0, 16, 32, 64, 128, 10_000],
    quick: [0, 64, 10_000],
    vary: (steepness: number) => ({ steepness }),
  },
  rivalry: {
    title: 'rivalry',
    unit: 'tasks of each rival for one of ours',
    values: [0, 0.3, 1, 3],
    quick: [0, 1],
    vary: (rivalry: number) => ({ rivalry }),
  },
  'looks-at': {
    title: 'peers looked at',
    unit: '',
    values: [2, 8, 32, 1000],
    quick: [2, 32],
    vary: (looksAt: number) => ({ looksAt }),
  },
} as const satisfies { readonly [dimension: string]: Dimension }

interface Dimension {
  readonly title: string
  readonly unit: string
  readonly values: readonly number[]
  readonly quick: readonly number[]
  readonly vary: (value: number) => Partial<Parameters>
}

export type DimensionName = keyof typeof DIMENSIONS

/** What is varied unless it is said otherwise: the work, and not what the default policy is made with. */
export const WORKLOADS: readonly DimensionName[] = ['load', 'skew', 'delay', 'state', 'clusters']

/** One run: values of different dimensions that come to the same are run once. */
export interface Cell {
  readonly parameters: Parameters
  readonly warmUpMs: number
  readonly policy: string
  readonly seed: number
}

export function measure({ parameters: p, warmUpMs, policy, seed }: Cell): Measures {
  if (policy === OMNISCIENT) return measureOmniscient(seed, p, warmUpMs)
  return measurePolicy(seed, { ...p, policy }, warmUpMs)
}

/** What is to be compared. */
export interface Grid {
  readonly centre: Parameters
  /** How much of a run does not count, ms. */
  readonly warmUpMs: number
  readonly quick: boolean
  readonly dimensions: readonly DimensionName[]
  /** The omniscient scheduler first. */
  readonly policies: readonly string[]
  readonly seeds: readonly number[]
}

/** The founding case without faults, at a load where it matters who gets what. */
export const CENTRE: Parameters = parameters.parse({
  load: 0.9,
  durationMs: 6000,
  notIdempotent: 0,
  failing: 0,
  faults: [],
  faultEveryMs: 0,
  checkBooksEvery: 0,
})

/** A fifth of it. */
export const QUICK_CENTRE: Parameters = { ...CENTRE, workers: 60, clients: 200, durationMs: 2000 }

/** One value of one dimension under one policy, over all seeds. */
export interface Row {
  readonly dimension: DimensionName
  readonly value: number
  readonly policy: string
  readonly measures: Measures
  /** Its p99 wait by the omniscient scheduler's. */
  readonly timesOmniscient: number
}

export interface Comparison {
  readonly centre: Parameters
  readonly warmUpMs: number
  readonly seeds: readonly number[]
  readonly dimensions: readonly DimensionName[]
  readonly policies: readonly string[]
  readonly rows: readonly Row[]
}

function valuesOf(grid: Grid, dimension: DimensionName): readonly number[] {
  return grid.quick ? DIMENSIONS[dimension].quick : DIMENSIONS[dimension].values
}

function parametersOf(grid: Grid, dimension: DimensionName, value: number): Parameters {
  return { ...grid.centre, ...DIMENSIONS[dimension].vary(value) }
}

/** Equal for the values of different dimensions that are the same run. */
function keyOf(p: Parameters, policy: string, seed: number): string {
  return JSON.stringify([p, policy, seed])
}

/** All runs there are to make, by key, the longest first: the last ones should not leave a processor idle. */
export function cellsOf(grid: Grid): Map<string, Cell> {
  const cells: Cell[] = []
  for (const dimension of grid.dimensions) {
    for (const value of valuesOf(grid, dimension)) {
      const p = parametersOf(grid, dimension, value)
      for (const policy of grid.policies) {
        for (const seed of grid.seeds) cells.push({ parameters: p, warmUpMs: grid.warmUpMs, policy, seed })
      }
    }
  }
  cells.sort((a, b) => b.parameters.clusters - a.parameters.clusters)
  return new Map(cells.map((cell) => [keyOf(cell.parameters, cell.policy, cell.seed), cell]))
}

/** Measures of all runs by key, averaged over the seeds and put next to the omniscient scheduler's. */
export function gather(grid: Grid, measured: ReadonlyMap<string, Measures>): Comparison {
  const rows: Row[] = []
  for (const dimension of grid.dimensions) {
    for (const value of valuesOf(grid, dimension)) {
      const p = parametersOf(grid, dimension, value)
      let best = Number.NaN
      for (const policy of grid.policies) {
        const runs = grid.seeds.map((seed) => measured.get(keyOf(p, policy, seed)))
        const measures = averaged(runs.filter((run) => run !== undefined))
        if (policy === OMNISCIENT) best = measures.p99WaitMs
        rows.push({ dimension, value, policy, measures, timesOmniscient: measures.p99WaitMs / best })
      }
    }
  }
  const { centre, warmUpMs, seeds, dimensions, policies } = grid
  return { centre, warmUpMs, seeds, dimensions, policies, rows }
}

function averaged(runs: readonly Measures[]): Measures {
  const mean = (pick: (measures: Measures) => number): number =>
    runs.reduce((sum, measures) => sum + pick(measures), 0) / Math.max(1, runs.length)
  return {
    tasks: mean((m) => m.tasks),
    meanWaitMs: mean((m) => m.meanWaitMs),
    p50WaitMs: mean((m) => m.p50WaitMs),
    p99WaitMs: mean((m) => m.p99WaitMs),
    p999WaitMs: mean((m) => m.p999WaitMs),
    lentShare: mean((m) => m.lentShare),
    rejectShare: mean((m) => m.rejectShare),
    statesPerSecond: mean((m) => m.statesPerSecond),
    statesPerTask: mean((m) => m.statesPerTask),
    throughput: mean((m) => m.throughput),
    breach: runs.find((m) => m.breach !== null)?.breach ?? null,
  }
}
