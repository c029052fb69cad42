import { z } from 'zod'

/** What may go wrong in a live run: the words of the simulation, as far as signals and a proxy can do it. */
export const KILLS = ['cluster', 'broker', 'worker', 'client'] as const
export const FREEZES = ['freeze-broker', 'freeze-worker', 'freeze-client', 'freeze-cluster'] as const
export const LINK_FAULTS = ['slow', 'partition', 'one-way', 'break'] as const
export const LIVE_FAULTS = [...KILLS, ...FREEZES, ...LINK_FAULTS] as const
export type LiveFault = (typeof LIVE_FAULTS)[number]

const UNITS: { readonly [unit: string]: number } = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

/** @returns ms, as `500ms`, `2s`, `5m`, `1h` or 0 mean them; null for anything else */
export function readDuration(text: string): number | null {
  if (text === '0') return 0
  const [, figure, unit = ''] = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text) ?? []
  return figure === undefined ? null : Number(figure) * (UNITS[unit] ?? 0)
}

const SOME = 'as in 500ms, 2s or 5m'

function duration(usual: string, min: number, max: number, description: string) {
  return z
    .string()
    .default(usual)
    .transform((text, context) => {
      const ms = readDuration(text)
      if (ms !== null && ms >= min && ms <= max) return ms
      const never = min === 0 ? ', or 0 for never' : ''
      context.addIssue({
        code: 'custom',
        message: `a time from ${shown(min)} to ${shown(max)}, ${SOME}${never}`,
      })
      return z.NEVER
    })
    .describe(description)
}

function shown(ms: number): string {
  if (ms >= 3_600_000) return `${ms / 3_600_000}h`
  return ms >= 1000 ? `${ms / 1000}s` : `${ms}ms`
}

function count(min: number, max: number, usual: number, description: string) {
  return z.int().min(min).max(max).default(usual).describe(description)
}

const faults = z
  .string()
  .default('all')
  .transform((text, context): readonly LiveFault[] => {
    if (text === 'all') return LIVE_FAULTS
    if (text === 'none') return []
    const wanted = text.split(',')
    const found = LIVE_FAULTS.filter((fault) => wanted.includes(fault))
    if (found.length === new Set(wanted).size) return found
    context.addIssue({ code: 'custom', message: `all, none, or some of ${LIVE_FAULTS.join(',')}` })
    return z.NEVER
  })
  .describe('kinds of faults, separated by commas')

/** What a live run depends on, as flags give it. Durations are texts with a unit; they come out as ms. */
export const liveParameters = z
  .strictObject({
    seed: count(0, Number.MAX_SAFE_INTEGER, 1, 'what is random is drawn from this'),
    clusters: count(2, 20, 3, 'clusters, a broker each'),
    workers: count(1, 1000, 20, 'workers in each cluster, each with its own connection'),
    slots: count(1, 64, 1, 'tasks a worker does at once'),
    clients: count(1, 1000, 50, 'clients in each cluster, each with its own connection'),
    workerHosts: count(
      1,
      100,
      2,
      "processes over which a cluster's workers are spread; what is killed is a process",
    ),
    clientHosts: count(1, 100, 2, "processes over which a cluster's clients are spread"),
    rate: z.number().positive().max(1000).default(2).describe('tasks a second and client, on average'),
    hot: z
      .number()
      .min(1)
      .max(100)
      .default(3)
      .describe('how many times as many tasks the first cluster has as each other'),
    taskMin: duration('5ms', 0, 60_000, 'the shortest task'),
    taskMax: duration('50ms', 0, 60_000, 'the longest task'),
    notIdempotent: z.number().min(0).max(1).default(0.1).describe('share of tasks that may not start twice'),
    streams: z
      .number()
      .min(0)
      .max(1)
      .default(0.15)
      .describe('share of tasks that are answered piece by piece; half of those may be begun anew'),
    rare: z
      .number()
      .min(0)
      .max(1)
      .default(0.15)
      .describe('share of tasks for a service that only every second cluster offers'),
    delay: duration('2ms', 0, 1000, 'one way between clusters, when the link is not slow'),
    duration: duration('60s', 1000, 24 * 3_600_000, 'how long tasks are sent and things go wrong'),
    killEvery: duration('2s', 0, 3_600_000, 'between kills, on average; 0: never'),
    freezeEvery: duration('5s', 0, 3_600_000, 'between freezes, on average; 0: never'),
    linkEvery: duration('5s', 0, 3_600_000, 'between faults of links, on average; 0: never'),
    faultFor: duration('2s', 100, 600_000, 'how long a fault lasts, on average'),
    settle: duration('60s', 1000, 3_600_000, 'how long what is left may take when the faults are over'),
    faults,
  })
  .superRefine((p, context) => {
    const wrong = (field: keyof typeof p, message: string) =>
      context.addIssue({ code: 'custom', path: [field], message })
    if (p.workerHosts > p.workers) wrong('workerHosts', `at most workers, which is ${p.workers}`)
    if (p.clientHosts > p.clients) wrong('clientHosts', `at most clients, which is ${p.clients}`)
    if (p.taskMin > p.taskMax) wrong('taskMin', `at most taskMax, which is ${p.taskMax} ms`)
  })

export type LiveParameters = z.output<typeof liveParameters>
