import { errorMessage } from '../settings/error-message.ts'
import { InvalidRun, type Measurement, measure } from './measure.ts'
import type { Comparison, Contender } from './plan.ts'
import {
  NotHere,
  type Surroundings,
  type System,
  type SystemSpec,
  startSystem,
  stopSystem,
} from './system.ts'

export interface Manner {
  readonly rounds: number
  readonly warmupMs: number
  readonly measureMs: number
  /** New processes for every run; otherwise a system runs on, idle, while the others have their turn. */
  readonly fresh: boolean
}

export interface ContenderResult {
  readonly id: string
  readonly label: string
  readonly outstanding: number
  readonly size: number
  readonly rate: number
  /** Stock load, but from Node for want of a compiler: it may be the bottleneck. */
  readonly loadFromNode: boolean
  /** One a turn; the same index is the same turn for all contenders. Empty when `missing`. */
  readonly runs: readonly Measurement[]
  /** Why there is nothing; '' when there is. */
  readonly missing: string
  /** What went wrong: such a contender's figures are void. */
  readonly invalid: string
}

export interface ComparisonResult {
  readonly id: string
  readonly title: string
  readonly contenders: readonly ContenderResult[]
}

/** Systems that are kept running between turns, by what they are. */
export class SystemPool {
  /** Whether the stock dialect is spoken by Node. */
  readonly loadFromNode: boolean
  readonly #surroundings: Surroundings
  readonly #idle = new Map<string, System>()
  /** Turns to come by system, so that each is stopped when it is not needed any more. */
  readonly #uses = new Map<string, number>()
  readonly #keep: boolean

  constructor(surroundings: Surroundings, keep: boolean, plan: readonly Comparison[]) {
    this.loadFromNode = surroundings.toolchain.zmtpLoad === null
    this.#surroundings = surroundings
    this.#keep = keep
    for (const { contenders } of plan) {
      for (const { spec } of contenders) {
        const key = JSON.stringify(spec)
        this.#uses.set(key, (this.#uses.get(key) ?? 0) + 1)
      }
    }
  }

  /** Starts at once whatever a comparison needs and is kept; what cannot be started says so when it is taken. */
  async prepare(comparison: Comparison): Promise<void> {
    if (!this.#keep) return
    const wanted = new Map(comparison.contenders.map(({ spec }) => [JSON.stringify(spec), spec]))
    await Promise.all(
      [...wanted]
        .filter(([key]) => !this.#idle.has(key))
        .map(async ([key, spec]) => {
          try {
            this.#idle.set(key, await startSystem(spec, this.#surroundings))
          } catch {
            // The turn of it will tell.
          }
        }),
    )
  }

  async take(spec: SystemSpec): Promise<System> {
    const key = JSON.stringify(spec)
    const idle = this.#idle.get(key)
    this.#idle.delete(key)
    return idle ?? (await startSystem(spec, this.#surroundings))
  }

  async giveBack(spec: SystemSpec, system: System): Promise<void> {
    if (this.#keep) this.#idle.set(JSON.stringify(spec), system)
    else await stopSystem(system)
  }

  /** A comparison is over. */
  async release(comparison: Comparison): Promise<void> {
    for (const { spec } of comparison.contenders) {
      const key = JSON.stringify(spec)
      const left = (this.#uses.get(key) ?? 1) - 1
      this.#uses.set(key, left)
      const system = this.#idle.get(key)
      if (left > 0 || system === undefined) continue
      this.#idle.delete(key)
      await stopSystem(system)
    }
  }
}

/** Runs all contenders in turns, each turn beginning with another of them. */
export async function compare(
  comparison: Comparison,
  manner: Manner,
  pool: SystemPool,
  onRun: (contender: Contender, turn: number) => void,
): Promise<ComparisonResult> {
  const { contenders } = comparison
  const runs = new Map(contenders.map(({ id }) => [id, [] as Measurement[]]))
  const missing = new Map<string, string>()
  const invalid = new Map<string, string>()
  await pool.prepare(comparison)
  const rounds = Math.min(comparison.rounds ?? manner.rounds, manner.rounds)
  for (let turn = 0; turn < rounds; turn++) {
    for (let n = 0; n < contenders.length; n++) {
      const contender = contenders[(n + turn) % contenders.length]
      if (contender === undefined || missing.has(contender.id) || invalid.has(contender.id)) continue
      onRun(contender, turn)
      try {
        const system = await pool.take(contender.spec)
        let measured: Measurement
        try {
          measured = await measure(system, {
            outstanding: contender.outstanding,
            size: contender.size,
            rate: contender.rate ?? 0,
            warmupMs: manner.warmupMs,
            measureMs: manner.measureMs,
          })
        } catch (error) {
          await stopSystem(system)
          throw error
        }
        runs.get(contender.id)?.push(measured)
        await pool.giveBack(contender.spec, system)
      } catch (error) {
        const message = errorMessage(error)
        if (error instanceof NotHere) missing.set(contender.id, message)
        else if (error instanceof InvalidRun) invalid.set(contender.id, message)
        else invalid.set(contender.id, `it could not be run: ${message}`)
      }
    }
  }
  await pool.release(comparison)
  return {
    id: comparison.id,
    title: comparison.title,
    contenders: contenders.map(({ id, label, spec, outstanding, size, rate = 0 }) => ({
      id,
      label,
      outstanding,
      size,
      rate,
      loadFromNode: pool.loadFromNode && spec.client.kind === 'stock',
      runs: invalid.has(id) ? [] : (runs.get(id) ?? []),
      missing: missing.get(id) ?? '',
      invalid: invalid.get(id) ?? '',
    })),
  }
}
