import { z } from 'zod'
import { NAME_MAX } from '../protocol/record.ts'
import { connectEndpoints } from '../settings/endpoint.ts'

const milliseconds = z
  .number()
  .int()
  .max(2 ** 31 - 1)
const octets = z
  .number()
  .int()
  .min(1)
  .max(2 ** 31 - 1)

const name = z.string().refine((text) => Buffer.byteLength(text) <= NAME_MAX, `at most ${NAME_MAX} octets`)

/** Slots beyond this are not believed by a broker. */
const SLOTS_MAX = 4096
const SERVICES_MAX = 64

const fields = {
  /** Where brokers take workers (their localbe), in the order in which they are tried. */
  connect: connectEndpoints,
  /** Tasks at once. */
  slots: z.number().int().min(1).max(SLOTS_MAX).default(1),
  /** What tasks it takes; '' is the anonymous service, of tasks that name none. */
  services: z.array(name).min(1).max(SERVICES_MAX).default(['']),
  /** What logs, replies and metrics call it; by default host name and process id. */
  name: name.default(''),
  /** Between heartbeats, ms. Short ones notice a dead broker soon, and cost a message each. */
  heartbeatIntervalMs: milliseconds.min(10).default(1000),
  /** Heartbeats of the broker that may be missed before it counts as gone. */
  liveness: z.number().int().min(2).max(1000).default(3),
  /** Pause before a broker that is gone is tried again, ms: doubles from the first to the second. */
  reconnectMinMs: milliseconds.min(1).default(1000),
  reconnectMaxMs: milliseconds.min(1).default(32_000),
  /** Largest task taken, octets; larger ones end with TOO_LARGE. */
  bodyMax: octets.default(64 * 1024 * 1024),
  /** Answers kept while no broker can be reached, octets; what is more is lost, and its tasks run again. */
  keptMax: octets.default(64 * 1024 * 1024),
  /** Time for tasks under way when the worker drains, ms; what is unfinished then is handed back. */
  drainDeadlineMs: milliseconds.min(0).default(30_000),
  /** Time for a program, or an isolated handler, to end when it is asked to, before it is killed, ms. */
  killGraceMs: milliseconds.min(0).default(1000),
  /** Run the handler in child processes, one a slot. */
  isolate: z.boolean().default(false),
}

const RANGE = {
  message: 'at least reconnectMinMs',
  path: ['reconnectMaxMs'],
}

/** What a worker is made with, beside its handler. */
export const workerSchema = z
  .strictObject(fields)
  .refine((config) => config.reconnectMaxMs >= config.reconnectMinMs, RANGE)

export type WorkerConfig = z.output<typeof workerSchema>

/** What `spillway worker` can be told, by flag, environment (SPILLWAY_…) or file. */
export const workerCommandSchema = z
  .strictObject({
    ...fields,
    /** A module whose default export, or `handler`, does the tasks. */
    handler: z.string().min(1).optional(),
    /** A program and its arguments, run for each task. */
    program: z.array(z.string()).min(1).optional(),
    /** Start the worker again when it dies. */
    restart: z.boolean().default(false),
    logLevel: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
  })
  .refine((config) => config.reconnectMaxMs >= config.reconnectMinMs, RANGE)

export type WorkerCommandConfig = z.output<typeof workerCommandSchema>
