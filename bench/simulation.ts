import { execFile } from 'node:child_process'
import { z } from 'zod'
import { errorMessage } from '../settings/error-message.ts'

/** One run of the simulator that is timed. */
export interface SimulationCase {
  readonly id: string
  readonly label: string
  /** Of `spillway sim run`. */
  readonly flags: readonly string[]
}

export interface SimulationResult {
  readonly id: string
  readonly label: string
  readonly command: string
  readonly events: number
  readonly virtualMs: number
  /** On a processor, all threads together, ms. */
  readonly cpuMs: number
  /** Octets resident at its highest. */
  readonly peakMemory: number
  /** Why there is nothing; '' when there is. */
  readonly invalid: string
}

/**
 * By clusters alone: each is as busy as the next, and tells the others every one and a half seconds what it has to spare. With
 * changes told as they happen, states would be nearly all there is.
 */
function ofClusters(clusters: number, durationMs: number): SimulationCase {
  const work = { clusters, workers: 30, clients: 30, rate: 4, hot: 1, 'service-ms': 20 }
  const states = { 'state-coalesce-ms': 500, 'state-interval-ms': 1500, 'state-ttl-ms': 4500 }
  const flags = Object.entries({ ...work, ...states, 'fault-every-ms': 0, 'duration-ms': durationMs })
  return {
    id: `clusters-${clusters}`,
    label: `${clusters.toLocaleString('en')} clusters × 30 workers × 30 clients`,
    flags: flags.flatMap(([flag, value]) => [`--${flag}`, `${value}`]),
  }
}

const FOUNDING: SimulationCase = {
  id: 'founding',
  label: 'founding case: 12 clusters × 300 workers × 1,000 clients',
  flags: [],
}

export const SIMULATIONS_QUICK: readonly SimulationCase[] = [
  { ...FOUNDING, flags: ['--duration-ms', '2000'] },
]
export const SIMULATIONS: readonly SimulationCase[] = [
  FOUNDING,
  // Enough events that the compiler’s warm-up is little of it; of a thousand clusters, that a million pairs meet and go on for a while.
  ofClusters(12, 600_000),
  ofClusters(100, 50_000),
  ofClusters(1000, 3000),
]

const outcome = z.object({
  summary: z.object({ events: z.number(), endedAt: z.number() }).nullable(),
  breach: z.object({ message: z.string() }).nullable(),
  cpuMs: z.number(),
  peakMemory: z.number(),
})

/** Runs it in a process of its own. @param program cli/main.js */
export async function measureSimulation(
  program: string,
  { id, label, flags }: SimulationCase,
): Promise<SimulationResult> {
  const args = ['sim', 'run', '--seed', '7', ...flags]
  const command = `spillway ${args.join(' ')}`
  const nothing = { id, label, command, events: 0, virtualMs: 0, cpuMs: 0, peakMemory: 0 }
  try {
    const { summary, breach, cpuMs, peakMemory } = outcome.parse(JSON.parse(await outputOf(program, args)))
    if (summary === null) return { ...nothing, invalid: breach?.message ?? 'it came to nothing' }
    const { events, endedAt } = summary
    return { id, label, command, events, virtualMs: endedAt, cpuMs, peakMemory, invalid: '' }
  } catch (error) {
    return { ...nothing, invalid: errorMessage(error) }
  }
}

/** Of a run that broke a promise, too: it ends with 1, and says which. @throws when it has said nothing */
function outputOf(program: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [program, ...args, '--json'], { maxBuffer: 16 << 20 }, (error, stdout) => {
      if (stdout === '') reject(error ?? new Error('it has said nothing'))
      else resolve(stdout)
    })
  })
}
