import { z } from 'zod'
import { NAME_MAX, PRIORITY_DEFAULT, PRIORITY_MAX } from '../protocol/record.ts'
import { connectEndpoints } from '../settings/endpoint.ts'
import { OUTSTANDING_LIMIT } from './core/config.ts'

const milliseconds = z
  .number()
  .int()
  .min(1)
  .max(2 ** 31 - 1)

/** How a task is sent when the call itself does not say. */
const callFields = {
  /** Silence about a task after which it is sent again, ms. Short ones resend needlessly, long ones notice late. */
  timeoutMs: milliseconds.default(2500),
  /** Tries in all, each unanswered, before a task fails. 1: never sent again, neither after BUSY. */
  retries: z.number().int().min(1).max(1000).default(3),
  /** Time for a task in all, ms; by default timeoutMs × retries. The broker drops the task when it is over. */
  deadlineMs: milliseconds.optional(),
  /** From 0 (last) to 9 (first). */
  priority: z.number().int().min(0).max(PRIORITY_MAX).default(PRIORITY_DEFAULT),
  /** Which workers may do it; empty: the anonymous service. */
  service: z
    .string()
    .refine((name) => Buffer.byteLength(name) <= NAME_MAX, `at most ${NAME_MAX} octets`)
    .default(''),
}

/** What a client is made with. */
export const clientSchema = z.strictObject({
  /** Where brokers can be reached (their localfe), in the order in which they are tried. */
  connect: connectEndpoints,
  ...callFields,
  /** What brokers' logs call this client. */
  name: z.string().max(NAME_MAX).default(''),
  /** Between questions whether the broker is there, while anything is outstanding, ms. */
  heartbeatIntervalMs: milliseconds.min(10).default(1000),
  /** Tasks under way at once; beyond it requests fail with BUSY at once. */
  outstandingMax: z.number().int().min(1).max(OUTSTANDING_LIMIT).default(100_000),
  /** Largest answer taken, octets; larger ones become TOO_LARGE errors. */
  bodyMax: z
    .number()
    .int()
    .min(1)
    .max(2 ** 31 - 1)
    .default(64 * 1024 * 1024),
})

export type ClientConfig = z.output<typeof clientSchema>

/** What `spillway request` can be told, by flag, environment (SPILLWAY_…) or file. */
export const requestSchema = z.strictObject({
  connect: clientSchema.shape.connect,
  ...callFields,
  /** False: never start a task twice. */
  idempotent: z.boolean().default(true),
  /** Fail at once when nobody serves the service. */
  failFast: z.boolean().default(false),
  /** With --lines: tasks under way at once. */
  concurrency: z.number().int().min(1).max(OUTSTANDING_LIMIT).default(64),
})

export type RequestConfig = z.output<typeof requestSchema>
