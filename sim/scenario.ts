import { parse } from 'yaml'
import { z } from 'zod'
import { HELLOS_PER_CONNECTION } from '../broker/core/peers.ts'
import { POLICIES, TUNING } from '../broker/core/routing.ts'
import { BODY_MIN } from './errand.ts'
import { longest } from './network.ts'

const ms = z.number().min(0)
const share = z.number().min(0).max(1)
const atLeast = (least: number) => z.number().int().min(least)
const count = atLeast(0)

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
  'lag',
  'vanish',
  'half-open',
] as const
export type FaultKind = (typeof FAULTS)[number]
export const faultKind = z.enum(FAULTS)

/** Faults of one worker, and of one client: what a fault's `node` numbers. For others it only tells which of several to take. */
const OF_A_WORKER: ReadonlySet<FaultKind> = new Set(['worker', 'freeze-worker', 'silent', 'twice'])
const OF_A_CLIENT: ReadonlySet<FaultKind> = new Set(['client', 'freeze-client'])
/** Clusters that may join a run. */
export const JOINS_MAX = 4

/** One fault of a script, at its exact time. */
const scripted = z.strictObject({
  /** From the start, ms. */
  at: ms,
  fault: faultKind,
  /** Where: the cluster's number; without it, any. */
  cluster: count.optional(),
  /** Whose: the worker's or client's number in its cluster; for other faults any number; without it, any. */
  node: count.optional(),
  /** The other cluster of a partition or slow link; without it, any. */
  other: count.optional(),
  /** How long, ms. */
  forMs: ms.optional(),
})
export type Scripted = z.infer<typeof scripted>

/** How what a message takes beyond the least is distributed. */
const distribution = z.enum(['uniform', 'exponential', 'lognormal'])
export type Distribution = z.infer<typeof distribution>

/** One way between two clusters, unlike the rest. */
const linkTerms = z.strictObject({
  from: count,
  to: count,
  /** Least time that a message takes, ms. */
  ms: ms.optional(),
  /** What it carries, Mbit/s; 0: any amount. */
  mbps: ms.optional(),
  /** How much longer a message takes at random, as a share, and how that is distributed. */
  jitter: z.number().min(0).optional(),
  distribution: distribution.optional(),
})
export type LinkTerms = z.infer<typeof linkTerms>

const policyNames = Object.keys(POLICIES)

const fields = z.strictObject({
  clusters: atLeast(1).max(4096).default(12).describe('clusters, a broker each'),
  workers: count.default(300).describe('workers in each cluster'),
  slots: atLeast(1).default(1).describe('tasks a worker does at once'),
  clients: count.default(1000).describe('clients in each cluster'),
  rate: z.number().positive().default(1).describe('tasks a second and client, averaged over clusters'),
  load: z
    .number()
    .positive()
    .default(0.8)
    .describe('share of all slots that the tasks keep busy; makes the mean service time'),
  serviceMs: ms.default(0).describe('mean service time, ms; 0: what --load makes it'),
  hot: z
    .number()
    .positive()
    .default(2)
    .describe('how many times as many tasks the first cluster has as each other'),
  arrivals: z.enum(['poisson', 'bursts', 'wave']).default('poisson').describe('how tasks arrive'),
  service: z
    .enum(['exponential', 'fixed', 'uniform', 'pareto'])
    .default('exponential')
    .describe('how service times are distributed'),
  durationMs: ms.default(120_000).describe('how long tasks arrive and faults happen, ms of virtual time'),

  localMs: ms.default(0.1).describe('one way within a cluster, ms'),
  cloudMs: ms.default(10).describe('one way between clusters, ms'),
  cloudSpread: z
    .number()
    .min(1)
    .default(1)
    .describe('links between clusters take cloudMs times or divided by up to this, each its own'),
  jitter: z
    .number()
    .min(0)
    .default(0.2)
    .describe('how much longer a message takes at random, as a share; half of it on average'),
  distribution: distribution.default('uniform').describe('how what it takes longer is distributed'),
  localMbps: ms.default(0).describe('what a connection within a cluster carries, Mbit/s; 0: any amount'),
  cloudMbps: ms
    .default(0)
    .describe('what all connections from one cluster to another carry, Mbit/s; 0: any amount'),
  links: z.array(linkTerms).default([]).describe('links between clusters that are unlike the rest'),
  turnMs: ms
    .default(0)
    .describe(
      'a process reads all that has come meanwhile, after up to this time, in one turn, ms; 0: each message at once',
    ),
  highWater: atLeast(1).default(4096).describe('messages that may wait on a connection, each way'),
  reconnectMs: z.number().positive().default(100).describe('between attempts to connect, ms'),
  silenceBreaksMs: ms
    .default(0)
    .describe('a connection through which nothing passes for so long breaks, ms; 0: never'),
  drift: z.number().min(0).max(0.1).default(0.0001).describe('clocks run fast or slow by up to this share'),

  notIdempotent: share.default(0.05).describe('share of tasks that may not start twice'),
  streams: share.default(0).describe('share of tasks that are streams'),
  restartStreams: share.default(0.5).describe('share of streams that may be started again'),
  failing: share.default(0.01).describe('share of tasks whose handler fails'),
  poison: share.default(0).describe('share of tasks that kill their worker'),
  cancelled: share.default(0).describe('share of tasks that their client cancels within a second'),
  failFast: share.default(0).describe('share of tasks that do not wait for a service nobody serves'),
  services: atLeast(1).default(1).describe('services that workers and tasks are spread over'),
  large: share.default(0).describe('share of tasks with a large body and answer'),
  largeBytes: atLeast(100)
    .default(65_536)
    .describe('octets of a large body at most; they are spread evenly over orders of magnitude'),
  bodyMax: atLeast(BODY_MIN)
    .default(1 << 20)
    .describe('octets that brokers take'),

  timeoutMs: z.number().positive().default(2500).describe('silence after which a client asks again, ms'),
  retries: atLeast(1).default(3).describe('tries of a client that may go unanswered in a row'),
  deadlineMs: z.number().positive().default(60_000).describe('time a task has, ms'),
  secondEndpoint: z.boolean().default(false).describe("clients know the next cluster's broker too"),

  queueMax: atLeast(1).default(10_000).describe('tasks that may wait at a broker'),
  attemptsMax: atLeast(1).default(3).describe('workers that may die of a task'),
  workerHeartbeatMs: z.number().positive().default(1000).describe('between heartbeats of and to workers, ms'),
  workerLiveness: atLeast(2).max(100).default(3).describe('heartbeats missed until a worker is dead'),
  stateIntervalMs: z.number().positive().default(500).describe('between states of a broker, ms'),
  stateCoalesceMs: ms.default(10).describe('changes within this time go out as one state, ms'),
  stateTtlMs: z
    .number()
    .positive()
    .default(1500)
    .describe('age at which a state, or a silent peer, counts for nothing, ms'),
  peerForgetMs: z
    .number()
    .positive()
    .default(600_000)
    .describe('silence after which a peer is forgotten, ms'),
  policy: z.enum(policyNames).default('soonest').describe('how a broker chooses among peers'),
  guestWaitMs: ms.default(100).describe("how long a peer's task may be expected to wait, ms; 0: not at all"),
  patience: z
    .number()
    .min(0)
    .default(TUNING.patience)
    .describe('how much of the way, by the share of slots free here, soonest rather has a task wait'),
  price: z
    .number()
    .min(0)
    .default(TUNING.price)
    .describe('ways there that soonest charges for what room a peer is expected to lack, in spreads'),
  steepness: z
    .number()
    .min(0)
    .default(TUNING.steepness)
    .describe(
      'how much soonest prefers the best, by the number of peers; 0: not at all, 10000: none but the best',
    ),
  rivalry: z
    .number()
    .min(0)
    .default(TUNING.rivalry)
    .describe('tasks that soonest takes each peer with a backlog to have sent, for each of its own'),
  looksAt: atLeast(1).default(TUNING.looksAt).describe('peers that soonest looks at for one task'),
  repliesMax: count.default(10_000).describe('answers a broker keeps'),
  replyAgeMs: ms.default(30_000).describe('how long it keeps them, ms'),
  retryRatio: z.number().min(0).default(0.1).describe('redispatches earned by each task'),
  retryBurst: z.number().min(1).default(100).describe('redispatches saved up at most'),
  retryPerSecond: z.number().min(0).default(10).describe('redispatches earned by time'),
  membership: z
    .enum(['all', 'first'])
    .default('all')
    .describe('whether brokers are told of all others, or of the first only'),

  faults: z.array(faultKind).default(['cluster']).describe('kinds of faults'),
  faultEveryMs: ms
    .default(10_000)
    .describe('between faults, ms: on average, or exactly for a single kind; 0: none'),
  faultForMs: ms.default(3000).describe('how long a fault lasts on average, ms'),
  slowBy: z
    .number()
    .min(2)
    .default(51)
    .describe('how many times slower a slow link is at most; at least twice'),
  lagMs: z
    .number()
    .positive()
    .default(500)
    .describe('time that a lagging process takes at most until its loop comes round, ms'),
  script: z.array(scripted).default([]).describe('faults at exact times'),
  checkBooksEvery: count.default(997).describe('turns of a broker between checks of its books; 0: never'),
  freezeRecords: z
    .boolean()
    .default(false)
    .describe('freeze records on their way, so that a core that writes into them throws'),
})
export type Parameters = z.infer<typeof fields>

/**
 * Everything that a run depends on besides its seed. The defaults are the founding case: 12 clusters at 80 % load, one
 * busier than the rest, a cluster killed every 10 s and brought back.
 */
export const parameters = fields.superRefine((p, context) => {
  for (const { at, value, message } of contradictions(p))
    context.addIssue({ code: 'custom', path: [...at], message, input: value })
  for (const [index, link] of p.links.entries()) {
    for (const { at, value, message } of linkProblems(link, p.links.slice(0, index), p))
      context.addIssue({ code: 'custom', path: ['links', index, ...at], message, input: value })
  }
  for (const [index, fault] of p.script.entries()) {
    for (const { at, value, message } of faultProblems(fault, p))
      context.addIssue({ code: 'custom', path: ['script', index, ...at], message, input: value })
  }
})

/** Something that a scenario names and that is not there, or two things in it that cannot both be. */
interface Problem {
  readonly at: readonly string[]
  readonly value: unknown
  readonly message: string
}

/** Least waits that a broker needs of its parameters, as of its settings; most that messages may take for what waits for them. */
function contradictions(p: Parameters): Problem[] {
  const problems: Problem[] = []
  const expect = (holds: boolean, field: keyof Parameters, expected: string): void => {
    if (!holds) problems.push({ at: [field], value: p[field], message: `expected ${expected}` })
  }
  expect(
    p.workers > 0 || p.clients === 0,
    'workers',
    `at least 1 for the tasks of clients, which is ${p.clients}: nothing would be done`,
  )
  expect(
    p.stateTtlMs >= 2 * p.stateIntervalMs,
    'stateTtlMs',
    `at least 2 × stateIntervalMs, which is ${2 * p.stateIntervalMs}: one late message would lose a peer`,
  )
  expect(
    p.stateCoalesceMs <= p.stateIntervalMs,
    'stateCoalesceMs',
    `at most stateIntervalMs, which is ${p.stateIntervalMs}`,
  )
  // Of a broker's settings it is more than stateTtlMs; what is drawn was always allowed the least that this may be.
  expect(
    p.peerForgetMs > 2 * p.stateIntervalMs,
    'peerForgetMs',
    `more than 2 × stateIntervalMs, which is ${2 * p.stateIntervalMs}: a peer would be forgotten before it is lost`,
  )
  // From the client to the broker, to the worker and back; each of them may read up to a turn later, and write after another.
  const taskMs = 4 * p.localMs * longest(p) + 6 * p.turnMs
  const within = `localMs ${p.localMs}, jitter ${p.jitter} (${p.distribution}) and turnMs ${p.turnMs}`
  expect(
    p.clients === 0 || p.timeoutMs > taskMs,
    'timeoutMs',
    `more than ${shown(taskMs)} ms, which a task may be on its way to a worker and back with ${within}`,
  )
  const silenceMs = p.workerLiveness * p.workerHeartbeatMs
  const beatMs = 4 * p.localMs * longest(p) + 4 * p.turnMs
  expect(
    p.workers === 0 || silenceMs > beatMs,
    'workerHeartbeatMs',
    `workerLiveness, which is ${p.workerLiveness}, times as much to be more than ${shown(beatMs)} ms, which it may take to connect and be answered with ${within}`,
  )
  if (p.clusters + joinsBy(Number.POSITIVE_INFINITY, p) > 1) problems.push(...farProblems(p))
  return problems
}

/** Of what passes between clusters: a greeting must be answered on the connection that it was sent on, and states must not stay away. */
function farProblems(p: Parameters): Problem[] {
  const usualMs = p.cloudMs * p.cloudSpread
  let leastMs = usualMs
  let spreadMs = usualMs * (longest(p) - 1)
  for (const { ms = usualMs, jitter = p.jitter, distribution = p.distribution } of p.links) {
    leastMs = Math.max(leastMs, ms)
    spreadMs = Math.max(spreadMs, ms * (longest({ jitter, distribution }) - 1))
  }
  const problems: Problem[] = []
  const links = `cloudMs ${p.cloudMs}, cloudSpread ${p.cloudSpread}, turnMs ${p.turnMs}${p.links.length > 0 ? ' and links' : ''}`
  // To connect and back, to greet and back. What a message takes beyond the least does not count: the next may fare better.
  const greetingMs = 4 * leastMs + 2 * p.turnMs
  if (HELLOS_PER_CONNECTION * p.stateIntervalMs < greetingMs) {
    const message = `expected at least ${shown(greetingMs / HELLOS_PER_CONNECTION)} ms: a broker greets a peer ${HELLOS_PER_CONNECTION} times, so far apart, before it connects anew, and to connect and be answered takes ${shown(greetingMs)} ms with ${links}`
    problems.push({ at: ['stateIntervalMs'], value: p.stateIntervalMs, message })
  }
  // Half as much again as between two, as brokers do not beat to the ms.
  const gapMs = 1.5 * p.stateIntervalMs + spreadMs + p.turnMs
  if (p.stateTtlMs < gapMs) {
    const message = `expected at least ${shown(gapMs)} ms, which may pass between two states of a peer with stateIntervalMs ${p.stateIntervalMs}, jitter ${p.jitter} (${p.distribution}), ${links}`
    problems.push({ at: ['stateTtlMs'], value: p.stateTtlMs, message })
  }
  return problems
}

function shown(ms: number): number {
  return Math.ceil(ms * 1000) / 1000
}

function linkProblems(link: LinkTerms, before: readonly LinkTerms[], p: Parameters): Problem[] {
  const { from, to } = link
  const clusters = p.clusters + joinsBy(Number.POSITIVE_INFINITY, p)
  const problems = [...absent('cluster', 'from', from, clusters), ...absent('cluster', 'to', to, clusters)]
  if (from === to) {
    const message = 'expected another cluster than that from which it goes'
    problems.push({ at: ['to'], value: to, message })
  }
  if (before.some((other) => other.from === from && other.to === to)) {
    const message = `expected each link once each way; that from ${from} to ${to} is there already`
    problems.push({ at: [], value: link, message })
  }
  return problems
}

function faultProblems({ at, fault, cluster, other, node }: Scripted, p: Parameters): Problem[] {
  const clusters = p.clusters + joinsBy(at, p)
  const problems = [
    ...absent('cluster', 'cluster', cluster, clusters),
    ...absent('cluster', 'other', other, clusters),
  ]
  if (OF_A_WORKER.has(fault)) problems.push(...absent('worker', 'node', node, p.workers))
  if (OF_A_CLIENT.has(fault)) problems.push(...absent('client', 'node', node, p.clients))
  if (at >= p.durationMs) {
    const message = `expected a time before the end of the faults, durationMs, which is ${p.durationMs}`
    problems.push({ at: ['at'], value: at, message })
  }
  return problems
}

function absent(what: string, field: string, number: number | undefined, there: number): Problem[] {
  if (number === undefined || number < there) return []
  const message =
    there === 0
      ? `expected no ${what}, as there is none`
      : `expected a ${what} that is there, from 0 to ${there - 1}`
  return [{ at: [field], value: number, message }]
}

/** Clusters that may have joined by then. */
function joinsBy(at: number, { script, faults, faultEveryMs }: Parameters): number {
  if (faultEveryMs > 0 && faults.includes('join')) return JOINS_MAX
  return Math.min(
    JOINS_MAX,
    script.filter((scripted) => scripted.fault === 'join' && scripted.at <= at).length,
  )
}

/** Which worker or client a fault is about, of as many as there are; null when it is about none. */
export function numberOfNode(
  fault: FaultKind,
  node: number,
  { workers, clients }: Pick<Parameters, 'workers' | 'clients'>,
): number | null {
  if (OF_A_WORKER.has(fault)) return node % Math.max(1, workers)
  if (OF_A_CLIENT.has(fault)) return node % Math.max(1, clients)
  return null
}

/** Without the links and faults that have lost what they name, when there is less of everything than there was. */
export function fitting(p: Parameters): Parameters {
  const links = p.links.filter((link) => linkProblems(link, [], p).length === 0)
  const script = p.script
    .map((scripted) => {
      const { fault, node } = scripted
      const number = node === undefined ? null : numberOfNode(fault, node, p)
      return number === null ? scripted : { ...scripted, node: number }
    })
    .filter((scripted) => faultProblems(scripted, p).length === 0)
  return { ...p, links, script }
}

/** A scenario file: a seed if it wants one, and parameters. */
const scenario = fields.extend({ seed: count.optional() })
export type Scenario = z.infer<typeof scenario>

/** What a scenario file says, and the usual where it says nothing. @throws ZodError, YAMLParseError, SyntaxError when empty */
export function parseScenario(yaml: string): Scenario {
  return scenario.parse(contentOf(yaml), { reportInput: true })
}

/** A file that says nothing was hardly meant to be the founding case: something has emptied it, or it was never written. */
function contentOf(yaml: string): unknown {
  const content: unknown = parse(yaml)
  if (content === null || content === undefined)
    throw new SyntaxError('it is empty; expected parameters by name, as in "clusters: 3"')
  return content
}

/** Only what a scenario file says itself, by name, its seed apart. @throws ZodError, YAMLParseError, SyntaxError when empty */
export function saidIn(yaml: string): { seed: number | undefined; said: { [key: string]: unknown } } {
  const raw = contentOf(yaml)
  const { seed, ...whole } = scenario.parse(raw, { reportInput: true })
  const said = Object.entries(whole).filter(([key]) => Object.hasOwn(Object(raw), key))
  return { seed, said: Object.fromEntries(said) }
}

/** The parameters that differ from the defaults, or from others: what a person has to type to get them. */
export function differences(
  given: Parameters,
  usual: { readonly [key: string]: unknown } = parameters.parse({}),
): { [key: string]: unknown } {
  return Object.fromEntries(
    Object.entries(given).filter(([key, value]) => JSON.stringify(value) !== JSON.stringify(usual[key])),
  )
}
