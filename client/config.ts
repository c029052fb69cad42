import { z } from 'zod'
import { NAME_MAX, PRIORITY_DEFAULT, PRIORITY_MAX } from '../protocol/record.ts'
import { OUTSTANDING_LIMIT } from './core/config.ts'

/** An address libzmq takes; a bad one would throw inside the addon, so it is refused here. */
export const endpointSchema = z
  .string()
  .regex(
    /^(tcp:\/\/(\[[0-9a-fA-F:.%\w]+\]|[^\s:/[\]*]+):([1-9]\d{0,4})|ipc:\/\/\S+|inproc:\/\/\S+)$/,
    'expected tcp://host:port, ipc://path or inproc://name',
  )
  .refine(
    (address) => Number(/^tcp:.*:(\d+)$/.exec(address)?.[1] ?? 0) < 65_536,
    'expected a port below 65536',
  )

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
    .refine((name) => Buffer.byteLength(name) <= NAME_MAX, `expected at most ${NAME_MAX} octets`)
    .default(''),
}

/** What a client is made with. */
export const clientSchema = z.strictObject({
  /** Where brokers can be reached (their localfe), in the order in which they are tried. */
  connect: z.union([endpointSchema.transform((one) => [one]), z.array(endpointSchema).min(1)]),
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

/** A setting that cannot be used: names field, value and expectation. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly code = 'CONFIG'
}

/**
 * Checks values against a schema.
 *
 * @param sources where the value of a field comes from, if it is worth telling
 * @throws ConfigError naming every field that is wrong
 */
export function parseConfig<S extends z.ZodType>(
  schema: S,
  values: unknown,
  sources: ReadonlyMap<string, string> = NO_SOURCES,
): z.output<S> {
  const result = schema.safeParse(values)
  if (result.success) return result.data
  throw new ConfigError(result.error.issues.map((issue) => explain(issue, values, sources)).join('; '))
}

const NO_SOURCES: ReadonlyMap<string, string> = new Map()

function explain(issue: z.core.$ZodIssue, values: unknown, sources: ReadonlyMap<string, string>): string {
  const field = issue.path.join('.') || 'options'
  let value = values
  for (const key of issue.path) {
    value = typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined
  }
  const nested = issue.code === 'invalid_union' ? issue.errors.flat().map((inner) => inner.message) : []
  const message = nested.length > 0 ? [...new Set(nested)].join(' or ') : issue.message
  if (issue.path.length === 0) return message
  const source = sources.get(String(issue.path[0]))
  const from = source === undefined ? '' : ` (${source})`
  return `${field} = ${JSON.stringify(value) ?? 'nothing'}${from}: ${message}`
}
