import { z } from 'zod'

/** What the demonstration tells a client. */
export const orderSchema = z.discriminatedUnion('type', [
  /** From now on answers count for this act, and so many tasks are sent a second. */
  z.object({ type: z.literal('act'), act: z.string(), tasksPerSecond: z.number() }),
  /** No further task: report, and leave, when the last answer is there. */
  z.object({ type: z.literal('finish') }),
])
export type Order = z.infer<typeof orderSchema>

const latencySchema = z.object({
  act: z.string(),
  answers: z.number(),
  p50Ms: z.number(),
  p99Ms: z.number(),
})
export type Latency = z.infer<typeof latencySchema>

/** What a client tells the demonstration: all counts are since its start. */
export const reportSchema = z.object({
  type: z.enum(['ready', 'progress', 'finished']),
  files: z.number(),
  pieces: z.number(),
  sent: z.number(),
  /** Tasks that have had an answer, right or wrong. */
  answered: z.number(),
  wrong: z.number(),
  /** Tasks that ended with an error instead. */
  failed: z.number(),
  /** Answers that came for tasks that had had theirs, and were dropped. */
  late: z.number(),
  /** Answers by the cluster that ran the task. */
  ranIn: z.record(z.string(), z.number()),
  /** Answered tasks that were started more than once. */
  startedAgain: z.number(),
  /** Times that the client itself sent a task again. */
  sentAgain: z.number(),
  latencies: z.array(latencySchema),
  /** The first few errors, in words. */
  errors: z.array(z.string()),
})
export type Report = z.infer<typeof reportSchema>
