import type { PromiseKept } from '../report/report.ts'
import { Breach } from './breach.ts'
import { LookaheadError } from './event-queue.ts'
import { promisesOf } from './promises.ts'
import type { Parameters, Scripted } from './scenario.ts'
import { Enough, Simulation, type SimulationOptions, type Summary } from './simulation.ts'

/** How a run ended. */
export interface Result {
  readonly seed: number
  readonly summary: Summary | null
  /** The promise that was not kept; or whatever a core threw, which it may never do. */
  readonly breach: Breach | null
  /** How many events there were, and the virtual time of the last, ms. With a breach: the shortest prefix that shows it. */
  readonly events: number
  readonly endedAt: number
  /** Every fault that happened, as a script would have it. */
  readonly faults: readonly Scripted[]
  /** Virtual time until which the series tell of it, ms. */
  readonly gatheredUntil: number
  readonly promises: readonly PromiseKept[]
}

/**
 * Runs one seed to its end or to its first breach.
 * @throws LookaheadError the simulator itself is wrong
 */
export function run(seed: number, parameters: Parameters, options: SimulationOptions = {}): Result {
  const simulation = new Simulation(seed, parameters, options)
  let summary: Summary | null = null
  let breach: Breach | null = null
  try {
    summary = simulation.run()
  } catch (error) {
    if (error instanceof LookaheadError) throw error
    if (!(error instanceof Enough)) breach = error instanceof Breach ? error : thrown(error, simulation.at)
  }
  return {
    seed,
    summary,
    breach,
    events: simulation.events,
    endedAt: simulation.at,
    faults: simulation.faults.history,
    gatheredUntil: simulation.gatheredUntil ?? simulation.at,
    promises: promisesOf(simulation, breach),
  }
}

/** The beginning of a run that shows its breach. */
export interface Prefix {
  readonly result: Result
  /** How often the books have to be checked for it to be seen: as the parameter of this name. */
  readonly checkBooksEvery: number
}

/**
 * The same run, checked after every event: what a run with `checkBooksEvery` above 1 has noticed a little late is shown by a
 * shorter prefix.
 */
export function shortestPrefix(
  result: Result,
  parameters: Parameters,
  options: SimulationOptions = {},
): Prefix {
  const { checkBooksEvery } = parameters
  if (result.breach === null || checkBooksEvery === 1) return { result, checkBooksEvery }
  const closer = run(result.seed, { ...parameters, checkBooksEvery: 1 }, options)
  const isShorter = closer.breach !== null && closer.events < result.events
  return isShorter ? { result: closer, checkBooksEvery: 1 } : { result, checkBooksEvery }
}

/** A core that throws has broken the promise that it never does. */
function thrown(error: unknown, at: number): Breach {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return new Breach('a core never throws', at, null, text)
}

export interface Line {
  readonly at: number
  readonly who: string
  readonly what: string
  readonly task: number | null
}

/** More lines than one turn of all clusters has, but in the largest runs. */
const OUT_OF_ORDER = 10_000

/** A run told again: the last of its lines, how many came before them, and how it ended. */
export interface Retold {
  readonly lines: readonly Line[]
  readonly leftOut: number
  readonly result: Result
}

/**
 * The same run to the byte, and what happened in it: to one task with the faults around it, or everything.
 * @param last lines that are kept at most: those before the end
 */
export function retell(
  seed: number,
  parameters: Parameters,
  task: number | null,
  last: number,
  options: SimulationOptions = {},
): Retold {
  let lines: Line[] = []
  let told = 0
  // Clusters that cannot feel each other meanwhile have their turns one after the other: lines are put in order of time here.
  const inOrder = (): Line[] => lines.sort((a, b) => a.at - b.at)
  const result = run(seed, parameters, {
    ...options,
    tracer: (at, who, what, about) => {
      if (task !== null && about !== task && who !== 'fault') return
      told++
      lines.push({ at, who, what, task: about })
      if (lines.length >= 2 * (last + OUT_OF_ORDER)) lines = inOrder().slice(-(last + OUT_OF_ORDER))
    },
  })
  // And whoever had its turn before the breach was a little ahead of it.
  const end = result.breach === null ? Number.POSITIVE_INFINITY : result.endedAt
  const until = inOrder().filter(({ at }) => at <= end)
  const kept = until.slice(Math.max(0, until.length - last))
  return { lines: kept, leftOut: told - (lines.length - until.length) - kept.length, result }
}
