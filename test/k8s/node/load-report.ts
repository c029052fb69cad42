import { z } from 'zod'

export const loadReport = z.object({
  sent: z.number(),
  answered: z.number(),
  /** Answers that were not the right one. */
  wrong: z.number(),
  /** Answers of tasks that had to be started more than once. */
  again: z.number(),
  /** From call to answer, ms. */
  longestMs: z.number(),
  /** Tasks that ended without an answer, by code. */
  failed: z.record(z.string(), z.number()),
  /** Answers by the cluster that ran the task. */
  ranIn: z.record(z.string(), z.number()),
  done: z.boolean(),
})

export type LoadReport = z.output<typeof loadReport>
