import { type Result, run } from './run.ts'
import { fitting, type Parameters, type Scripted } from './scenario.ts'
import type { SimulationOptions } from './simulation.ts'

/** A smaller scenario that breaks the same promise. */
export interface Shrunk {
  readonly parameters: Parameters
  readonly result: Result
  readonly runs: number
}

/**
 * Makes a failing scenario smaller while it still breaks the same promise: shorter, fewer faults, fewer nodes, fewer
 * kinds of work. Greedy, after the manner of delta debugging (Zeller, 1999).
 * @returns null when the seed breaks nothing
 */
export function shrink(
  seed: number,
  parameters: Parameters,
  runsMax: number,
  onStep: (shrunk: Shrunk) => void = () => {},
  options: SimulationOptions = {},
): Shrunk | null {
  const first = run(seed, parameters, options)
  const promise = first.breach?.promise
  if (promise === undefined) return null
  let best: Shrunk = { parameters, result: first, runs: 1 }
  let runs = 1
  const attempt = (smaller: Parameters): boolean => {
    if (runs >= runsMax) return false
    runs++
    const candidate = fitting(smaller)
    const result = run(seed, candidate, options)
    if (result.breach?.promise !== promise) return false
    best = { parameters: candidate, result, runs }
    onStep(best)
    return true
  }
  // From now on faults come from a script, so that one can be left out without moving the others.
  attempt({ ...parameters, faults: [], faultEveryMs: 0, script: [...first.faults] })
  let size: number
  do {
    size = sizeOf(best.parameters)
    fewerFaults(() => best.parameters, attempt)
    for (const smaller of SMALLER) {
      for (
        let candidate = smaller(best.parameters);
        candidate !== null;
        candidate = smaller(best.parameters)
      ) {
        if (!attempt(candidate)) break
      }
    }
    const at = best.result.breach?.at ?? 0
    if (at > 0 && at < best.parameters.durationMs) attempt({ ...best.parameters, durationMs: Math.ceil(at) })
  } while (sizeOf(best.parameters) < size && runs < runsMax)
  return { ...best, runs }
}

function sizeOf(p: Parameters): number {
  return (
    p.script.length * 100 + p.clusters * 50 + p.workers * 10 + p.clients * 10 + p.slots + p.durationMs / 1000
  )
}

function fewerFaults(current: () => Parameters, attempt: (p: Parameters) => boolean): void {
  let chunk = Math.ceil(current().script.length / 2)
  while (chunk >= 1) {
    let index = 0
    while (index < current().script.length) {
      const script: Scripted[] = current().script.filter((_, i) => i < index || i >= index + chunk)
      if (!attempt({ ...current(), script })) index += chunk
    }
    if (chunk === 1) return
    chunk = Math.floor(chunk / 2)
  }
}

type Step = (p: Parameters) => Parameters | null

function fewer(key: 'clusters' | 'workers' | 'clients' | 'slots' | 'services'): Step {
  return (p) => (p[key] > 1 ? { ...p, [key]: p[key] - 1 } : null)
}

function none(
  key: 'notIdempotent' | 'streams' | 'failing' | 'poison' | 'failFast' | 'large' | 'drift' | 'jitter',
): Step {
  return (p) => (p[key] > 0 ? { ...p, [key]: 0 } : null)
}

const SMALLER: readonly Step[] = [
  (p) => (p.durationMs > 200 ? { ...p, durationMs: Math.floor(p.durationMs / 2) } : null),
  fewer('clusters'),
  fewer('workers'),
  fewer('clients'),
  fewer('slots'),
  fewer('services'),
  none('poison'),
  none('streams'),
  none('failing'),
  none('failFast'),
  none('large'),
  none('notIdempotent'),
  none('drift'),
  none('jitter'),
  (p) => (p.hot !== 1 ? { ...p, hot: 1 } : null),
  (p) => (p.arrivals !== 'poisson' ? { ...p, arrivals: 'poisson' } : null),
  (p) => (p.service !== 'fixed' ? { ...p, service: 'fixed' } : null),
]
