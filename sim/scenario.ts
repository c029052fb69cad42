import { parse } from 'yaml'
import { z } from 'zod'
import { POLICIES } from '../broker/core/routing.ts'

const ms = z.number().min(0)
const share = z.number().min(0).max(1)
const count = z.number().int().min(0)

/** What may go wrong. */
export const FAULTS = [
  'cluster',
  'broker',
  'worker',
  'client',
  'freeze-broker',
  'freeze-worker',
  'freeze-client',
  'freeze-cluster',
  'partition',
  'one-way',
  'isolate',
  'slow',
  'break',
  'silent',
  'twice',
  'garbage',
  'late',
  'join',
  'leave',
] as const
export type FaultKind = (typeof FAULTS)[number]
export const faultKind = z.enum(FAULTS)

/** One fault of a script, at its exact time. */
const scripted = z.strictObject({
  /** From the start, ms. */
  at: ms,
  fault: faultKind,
  /** Where: the cluster's number; without it, any. */
  cluster: count.optional(),
  /** Whose: the worker's or client's number in its cluster; without it, any. */
  node: count.optional(),
  /** The other cluster of a partition or slow link; without it, any. */
  other: count.optional(),
  /** How long, ms. */
  forMs: ms.optional(),
})
export type Scripted = z.infer<typeof scripted>

const policyNames = Object.keys(POLICIES)

/**
 * Everything that a run depends on besides its seed. The defaults are the founding case: 12 clusters at 80 % load, one
 * busier than the rest, a cluster killed every 10 s and brought back.
 */
export const parameters = z.strictObject({
  clusters: count.min(1).max(4096).default(12),
  /** In each cluster. */
  workers: count.default(300),
  slots: count.min(1).default(1),
  clients: count.default(1000),
  /** Tasks a second and client, on average over the clusters. */
  rate: z.number().positive().default(1),
  /** Share of all slots that the tasks keep busy, which makes the mean service time, unless that is given. */
  load: z.number().positive().default(0.8),
  /** Mean service time, ms; 0: what `load` makes it. */
  serviceMs: ms.default(0),
  /** How many times as many tasks the first cluster has as each other; the sum stays the same. */
  hot: z.number().positive().default(2),
  arrivals: z.enum(['poisson', 'bursts', 'wave']).default('poisson'),
  service: z.enum(['exponential', 'fixed', 'uniform', 'pareto']).default('exponential'),
  /** Tasks arrive, and faults happen, for so long, ms of virtual time. */
  durationMs: ms.default(120_000),

  localMs: ms.default(0.1),
  cloudMs: ms.default(10),
  jitter: z.number().min(0).default(0.2),
  highWater: count.min(1).default(4096),
  reconnectMs: z.number().positive().default(100),
  /** 0: a connection waits out a partition, however long. */
  silenceBreaksMs: ms.default(0),
  /** Clocks run fast or slow by up to this share. */
  drift: z.number().min(0).max(0.1).default(0.0001),

  notIdempotent: share.default(0.05),
  streams: share.default(0),
  restartStreams: share.default(0.5),
  failing: share.default(0.01),
  poison: share.default(0),
  failFast: share.default(0),
  /** Services that workers and tasks are spread over; the first is the anonymous one. */
  services: count.min(1).default(1),
  /** Share of bodies of `largeBytes`; the others have a few dozen octets. */
  large: share.default(0),
  largeBytes: count.default(65_536),
  bodyMax: count.default(1 << 20),

  timeoutMs: z.number().positive().default(2500),
  retries: count.min(1).default(3),
  deadlineMs: z.number().positive().default(60_000),
  /** Whether clients know the broker of the next cluster too. */
  secondEndpoint: z.boolean().default(false),

  queueMax: count.min(1).default(10_000),
  attemptsMax: count.min(1).default(3),
  workerHeartbeatMs: z.number().positive().default(1000),
  workerLiveness: count.min(1).default(3),
  stateIntervalMs: z.number().positive().default(500),
  stateCoalesceMs: ms.default(10),
  stateTtlMs: z.number().positive().default(1500),
  peerForgetMs: z.number().positive().default(600_000),
  policy: z.string().refine((name) => policyNames.includes(name), `one of ${policyNames.join(', ')}`).default('most-capacity'),
  repliesMax: count.default(10_000),
  replyAgeMs: ms.default(30_000),
  retryRatio: z.number().min(0).default(0.1),
  retryBurst: z.number().min(1).default(100),
  retryPerSecond: z.number().min(0).default(10),
  /** Whether each broker is told of all others at its start, or of the first only. */
  membership: z.enum(['all', 'first']).default('all'),

  faults: z.array(faultKind).default(['cluster']),
  /** Between faults, on average (exactly, for a single kind), ms; 0: none. */
  faultEveryMs: ms.default(10_000),
  /** How long a fault lasts, on average, ms. */
  faultForMs: ms.default(3000),
  script: z.array(scripted).default([]),
  /** Every so many turns of a broker its books are checked whole; 0: never. */
  checkBooksEvery: count.default(997),
  /** Records are frozen on the way, so that cores that write into what they were handed are found out. */
  freezeRecords: z.boolean().default(false),
})
export type Parameters = z.infer<typeof parameters>

/** A scenario file: a seed if it wants one, and parameters. */
const scenario = parameters.extend({ seed: count.optional() })
export type Scenario = z.infer<typeof scenario>

/** @throws ZodError, YAMLParseError */
export function parseScenario(yaml: string): Scenario {
  return scenario.parse(parse(yaml) ?? {})
}

/** The parameters that differ from the defaults: what a person has to type to get them. */
export function differences(given: Parameters): { [key: string]: unknown } {
  const usual = parameters.parse({})
  return Object.fromEntries(
    Object.entries(given).filter(
      ([key, value]) => JSON.stringify(value) !== JSON.stringify(Object.entries(usual).find(([k]) => k === key)?.[1]),
    ),
  )
}
