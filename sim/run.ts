import type { PromiseKept } from '../report/report.ts'
import { Breach } from './breach.ts'
import { promisesOf } from './promises.ts'
import type { Parameters, Scripted } from './scenario.ts'
import { Simulation, type SimulationOptions, type Summary } from './simulation.ts'

/** How a run ended. */
export interface Result {
  readonly seed: number
  readonly summary: Summary | null
  /** The promise that was not kept; or whatever a core threw, which it may never do. */
  readonly breach: Breach | null
  /** Every fault that happened, as a script would have it. */
  readonly faults: readonly Scripted[]
  /** Virtual time until which the series tell of it, ms. */
  readonly gatheredUntil: number
  readonly promises: readonly PromiseKept[]
}

/** Runs one seed to its end or to its first breach. */
export function run(seed: number, parameters: Parameters, options: SimulationOptions = {}): Result {
  const simulation = new Simulation(seed, parameters, options)
  let summary: Summary | null = null
  let breach: Breach | null = null
  try {
    summary = simulation.run()
  } catch (error) {
    breach = error instanceof Breach ? error : thrown(error, simulation.at)
  }
  return {
    seed,
    summary,
    breach,
    faults: simulation.faults.history,
    gatheredUntil: simulation.gatheredUntil ?? simulation.at,
    promises: promisesOf(simulation, breach),
  }
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

/** The last lines of a run again, of one task with the faults around it (or of everything): the same run to the byte. */
export function retell(seed: number, parameters: Parameters, task: number | null, last: number): Line[] {
  const lines: Line[] = []
  let first = 0
  run(seed, parameters, {
    tracer: (at, who, what, about) => {
      if (task !== null && about !== task && who !== 'fault') return
      lines.push({ at, who, what, task: about })
      if (lines.length - first > last) first++
      if (first > 10_000) {
        lines.splice(0, first)
        first = 0
      }
    },
  })
  return lines.slice(first)
}
