import type { ComparisonReport } from '../report/comparison-report.ts'
import { type Comparison, DIMENSIONS, OMNISCIENT } from './comparison.ts'

/** The workload of the centre and what is counted, in sentences. */
export function settingOf({ centre: c, warmUpMs, seeds }: Comparison): string[] {
  const counted = (c.durationMs - warmUpMs) / 1000
  const chance = seeds.length === 1 ? `seed ${seeds[0]}` : `mean of ${seeds.length} seeds from ${seeds[0]}`
  return [
    `${c.clusters} clusters × ${c.workers} workers × ${c.clients} clients, load ${c.load}, the first cluster ${c.hot} × as busy, ${c.cloudMs} ms between clusters; a peer’s task may wait ${c.guestWaitMs} ms.`,
    `${counted} s of virtual time after ${warmUpMs / 1000} s of warm-up, ${chance}. Waits: from the client’s submission to the handler’s start.`,
  ]
}

/**
 * What a comparison has to show.
 * @param command what to type to get it again
 */
export function comparisonReport(comparison: Comparison, command: string, version: string): ComparisonReport {
  return {
    format: 1,
    title: 'Routing policies, next to a scheduler that knows everything',
    command,
    version,
    setting: settingOf(comparison).join(' '),
    yardstick: OMNISCIENT,
    dimensions: comparison.dimensions.map((name) => {
      const { title, unit } = DIMENSIONS[name]
      const rows = comparison.rows.filter(({ dimension }) => dimension === name)
      const values = [...new Set(rows.map(({ value }) => value))]
      return {
        name,
        title,
        unit,
        values: values.map((value) => ({
          value,
          policies: rows
            .filter((row) => row.value === value)
            .map(({ policy, measures, timesOmniscient }) => ({
              policy,
              ...measures,
              timesOmniscient: Number.isFinite(timesOmniscient) ? timesOmniscient : null,
            })),
        })),
      }
    }),
  }
}
