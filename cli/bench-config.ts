import { z } from 'zod'
import { OUTSTANDING_LIMIT } from '../client/core/config.ts'
import { NAME_MAX } from '../protocol/record.ts'
import { connectEndpoint } from '../settings/endpoint.ts'

/** What `spillway bench` can be told. */
export const benchSchema = z.strictObject({
  connect: z
    .array(connectEndpoint)
    .min(1)
    .describe('a broker’s localfe; may be given again: tried in this order'),
  outstanding: z
    .number()
    .int()
    .min(1)
    .max(OUTSTANDING_LIMIT)
    .default(100)
    .describe('tasks under way at all times; of no account with a rate'),
  size: z
    .number()
    .int()
    .min(0)
    .max(2 ** 30)
    .default(64)
    .describe('octets of a task’s body'),
  rate: z
    .number()
    .int()
    .min(0)
    .max(1_000_000)
    .default(0)
    .describe(
      'tasks a second, due at even distances whatever becomes of those before; 0: as many as get answered',
    ),
  duration: z.number().min(0.1).max(86_400).default(10).describe('length of what is measured, seconds'),
  warmup: z.number().min(0).max(3600).default(1).describe('load before that, seconds'),
  service: z
    .string()
    .refine((name) => Buffer.byteLength(name) <= NAME_MAX, `at most ${NAME_MAX} octets`)
    .default('')
    .describe('which workers are to do it'),
})

export type BenchConfig = z.output<typeof benchSchema>
