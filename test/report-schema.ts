import { z } from 'zod'
import type { Report, Series } from '../report/report.ts'

/** The shape of a run's `report.json`, as whoever reads it may rely on: no more in it, and no less. */

const count = z.int().min(0)
const ms = z.number().min(0)
const perBucket = z.array(ms.nullable())

const series: z.ZodType<Series> = z.strictObject({
  bucketMs: z.number().positive(),
  buckets: count,
  ranAtHome: z.array(z.array(count)),
  ranForOthers: z.array(z.array(count)),
  failed: z.array(count),
  latency: z.strictObject({ p50: perBucket, p90: perBucket, p99: perBucket, max: perBucket }),
  latencyOverall: z.strictObject({
    answered: count,
    p50: ms.nullable(),
    p90: ms.nullable(),
    p99: ms.nullable(),
    p999: ms.nullable(),
    max: ms.nullable(),
  }),
  spare: z.array(perBucket),
  loans: z.array(z.tuple([count, count, count])),
  recoveries: z.array(z.strictObject({ fault: count, cluster: count, downMs: ms, againMs: ms.nullable() })),
  retakenAfterMs: z.array(ms),
})

export const reportSchema: z.ZodType<Report> = z.strictObject({
  format: z.literal(1),
  title: z.string(),
  command: z.string(),
  seed: count,
  version: z.string(),
  time: z.enum(['virtual', 'real']),
  clusters: z.array(z.string()),
  durationMs: ms,
  arrivalsUntilMs: ms.exactOptional(),
  breach: z.string().nullable(),
  summary: z.array(z.strictObject({ label: z.string(), value: z.string() })),
  promises: z.array(z.strictObject({ promise: z.string(), checked: count, broken: count })),
  faults: z.array(
    z.strictObject({
      kind: z.string(),
      cluster: z.int().min(-1),
      node: count.nullable(),
      other: count.nullable(),
      fromMs: ms,
      untilMs: ms.nullable(),
    }),
  ),
  series,
})
