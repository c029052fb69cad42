import { z } from 'zod'
import { loadReport } from './load-report.ts'

const podEnd = z.object({
  pod: z.string(),
  tookMs: z.number(),
  killed: z.boolean(),
  exitCode: z.number().nullable(),
})

const phase = z.object({
  name: z.string(),
  tookMs: z.number(),
  /** Tasks answered while it lasted, and how many of them had to be started again. */
  answered: z.number(),
  again: z.number(),
  /** Pods that ended meanwhile. */
  ends: z.array(podEnd),
})

export type Phase = z.output<typeof phase>

export const rolloutReport = z.object({
  /** From nothing to three brokers that know each other. */
  startedInMs: z.number(),
  /** What the manual's commands printed. */
  said: z.array(z.object({ command: z.string(), output: z.string() })),
  tookMs: z.number(),
  phases: z.array(phase),
  load: loadReport,
  /** The fourth cluster joined, and every other broker is still the same process. */
  joinedWithoutRestart: z.boolean(),
  /** Of all pods that were told to end. */
  ends: z.array(podEnd),
  /** Of those that were left at last, and ended at once. */
  endsOfAll: z.array(podEnd),
})

export type RolloutReport = z.output<typeof rolloutReport>
