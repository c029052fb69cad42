import { z } from 'zod'
import { bindEndpoint, connectEndpoint, parseHttpAddress } from '../settings/endpoint.ts'
import { parseSettings, type Sources } from '../settings/settings.ts'
import type { CoreConfig } from './core/config.ts'
import { POLICIES, type PolicyName } from './core/routing.ts'
import type { ReactorOptions } from './io/reactor.ts'

const MINUTE_MS = 60_000
const DAY_MS = 86_400_000
/** Longest time for what is under way when the broker is told to leave, ms. */
export const DRAIN_DEADLINE_MAX_MS = DAY_MS
const MIB = 1 << 20

/** What a client with default settings takes at most to ask again: 2500 ms × 3. */
const CLIENT_RETRY_SPAN_MS = 7500

/** Shown in help, and kept short; the comments beside say what happens at the extremes. */
function milliseconds(least: number, most: number, standard: number, description: string) {
  return z.int().min(least).max(most).default(standard).describe(description)
}

function count(least: number, most: number, standard: number, description: string) {
  return z.int().min(least).max(most).default(standard).describe(description)
}

const policies = Object.keys(POLICIES).filter((name): name is PolicyName => name in POLICIES)

const settings = z.strictObject({
  /** The cluster's name: what peers, answers, logs and metrics call it, and this broker's routing id at its peers. No two
   *  brokers of a federation may share it. 1 to 63 of `A-Z a-z 0-9 . _ -`. No default. */
  name: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,63}$/, '1 to 63 letters, digits, dots, underscores or hyphens')
    .describe("the cluster's name, unique in the federation"),

  /** Where clients connect. Default tcp://127.0.0.1:5555: this host only. With port `*` or 0 the system picks one. */
  localfe: bindEndpoint.default('tcp://127.0.0.1:5555').describe('bound for clients'),
  /** Where workers connect. Default tcp://127.0.0.1:5556. */
  localbe: bindEndpoint.default('tcp://127.0.0.1:5556').describe('bound for workers'),
  /** Where peers send their tasks. Default tcp://127.0.0.1:5557. */
  cloudfe: bindEndpoint.default('tcp://127.0.0.1:5557').describe("bound for peers' tasks"),
  /** Where peers hear of our spare capacity. Default tcp://127.0.0.1:5558. */
  statebe: bindEndpoint.default('tcp://127.0.0.1:5558').describe('bound to publish spare capacity to peers'),
  /** How peers reach `cloudfe`. Default empty: the address it is bound to, with the host's name for a wildcard. A wrong
   *  one shows as a peer that joins and never comes up. */
  cloudfeAdvertised: z
    .union([z.literal(''), connectEndpoint])
    .default('')
    .describe("the address of cloudfe that peers are told; empty: the bound one, with this host's name"),
  /** How peers reach `statebe`. Default empty, as above. */
  statebeAdvertised: z
    .union([z.literal(''), connectEndpoint])
    .default('')
    .describe("the address of statebe that peers are told; empty: the bound one, with this host's name"),
  /** The cloudfe of peers; one is enough to join a federation. Default none: wait to be found. These are never forgotten. */
  peers: z
    .array(connectEndpoint)
    .max(10_000)
    .superRefine((peers, context) => {
      for (const [index, peer] of peers.entries()) {
        if (peers.indexOf(peer) < index)
          context.addIssue({ code: 'custom', path: [index], message: 'each peer only once' })
      }
    })
    .readonly()
    .default([])
    .describe('the cloudfe of a peer; any number'),

  /** Where the admin HTTP is served: `host:port`, a port alone for loopback, 0 for any free one, `off` for nowhere.
   *  Default off. It has no password: whoever reaches it may drain this broker and change its peers. */
  http: z
    .string()
    .refine((address) => address === 'off' || parseHttpAddress(address) !== null, {
      error: 'host:port with a port up to 65535, as in 127.0.0.1:9464, a port alone for loopback, or off',
    })
    .default('off')
    .describe('where metrics, health, status and administration are served: host:port, or off'),

  /** Tasks that wait at once, all services together. Default 10,000. 0: nothing waits, no free slot is BUSY. A million
   *  of 1 MiB each would take a terabyte. */
  queueMax: count(0, 10_000_000, 10_000, 'tasks that wait at once; beyond it clients are told BUSY'),
  /** Largest body of a task or an answer, octets. Default 1 MiB. Should be the same at all brokers. A peer's message may
   *  take twice as much memory while it is read. */
  bodyMax: count(1, 1 << 30, MIB, "octets of a task's or an answer's body"),
  /** Distinct services known at once, by workers, waiting tasks and peers. Default 1024. Beyond it tasks for others are
   *  refused. */
  servicesMax: count(1, 65_535, 1024, 'services known at once'),
  /** Connections of workers signed in at once. Default 10,000. Beyond it new ones are refused. */
  workersMax: count(1, 1_000_000, 10_000, 'workers signed in at once'),
  /** Workers that may die with a task before its client is told POISON. Default 3. 1: no second chance. */
  attemptsMax: count(1, 100, 3, 'workers that may die with a task before it is given up as POISON'),
  /** Time that a stock client's task gets, since it cannot say, ms. Default 30,000. Must outlast the discovery of a dead
   *  worker, or a task would expire before it can be started again. */
  stockTaskTimeMs: milliseconds(100, DAY_MS, 30_000, "time a stock client's task gets, ms"),
  /** The longest time a task may ask for, ms; a longer one is cut. Default a day. What a client that has gone left waiting
   *  stays for so long; a task that needs more ends EXPIRED. */
  taskTimeMaxMs: milliseconds(1000, 30 * DAY_MS, DAY_MS, 'longest time a task may ask for, ms'),
  /** Time that a stock worker, which cannot beat while it works, has for a task before it is also given to another, ms.
   *  Default 0: half of what the task has left. Too short a one runs slow tasks twice. */
  silentAttemptMs: milliseconds(
    0,
    DAY_MS,
    0,
    "time a stock worker has for a task before another gets it too, ms; 0: half of the task's",
  ),

  /** Between heartbeats to workers, ms. Default 1000. Short ones cost messages, long ones find the dead late. */
  workerHeartbeatIntervalMs: milliseconds(10, 10 * MINUTE_MS, 1000, 'between heartbeats to workers, ms'),
  /** Intervals of silence after which a worker is dead. Default 3. Below 2 a single late message would kill. */
  workerLiveness: count(2, 100, 3, 'heartbeats missed until a worker is dead'),

  /** Spare capacity is published at least this often, and peers are sent heartbeats, ms. Default 500. Should be the same at
   *  all brokers. */
  stateIntervalMs: milliseconds(
    10,
    10 * MINUTE_MS,
    500,
    'between publications of spare capacity, at most, ms',
  ),
  /** Changes of capacity within this time are published as one, ms. Default 10. 0: each by itself, at a message a
   *  peer each time; long ones make peers choose by old news. With more than 8 peers it is longer in proportion, but never
   *  than `stateIntervalMs`: with 64 peers it is 80 ms. */
  stateCoalesceMs: milliseconds(
    0,
    MINUTE_MS,
    10,
    'changes of capacity within this time are published as one, ms',
  ),
  /** News of a peer older than this counts as no capacity; a peer silent for as long gives back its tasks, ms. Default
   *  3 × stateIntervalMs. At least 2 ×, or one late message would make a peer come and go. */
  stateTtlMs: z
    .int()
    .min(20)
    .max(30 * MINUTE_MS)
    .optional()
    .describe('silence after which a peer counts as lost, ms (default: 3 × stateIntervalMs)'),
  /** A peer silent for so long is forgotten, unless it was configured, ms. Default 60,000. */
  peerForgetMs: milliseconds(
    100,
    7 * DAY_MS,
    MINUTE_MS,
    'silence after which a peer that was not configured is forgotten, ms',
  ),
  /** Peers known at once. Default 2000. Each is two connections. */
  peersMax: count(1, 10_000, 2000, 'peers known at once'),
  /** How a peer is chosen. Default soonest: where the task is expected to start first, here included. The others send it to a
   *  peer with free slots whenever there is none here, to one with the most of them or by chance; docs/routing.md compares. */
  policy: z.enum(policies).default('soonest').describe('how a peer is chosen'),

  /** How long a peer's task may be expected to wait here for a worker before it is turned away instead, ms. Default 100:
   *  long enough that a slot is never idle for want of news, short enough that few tasks are lost with a cluster that dies
   *  and must be taken back. 0: it starts at once or goes back. Should be the same at all brokers: what one sends another
   *  must take. */
  guestWaitMs: milliseconds(
    0,
    10 * MINUTE_MS,
    100,
    "longest expected wait of a peer's task here; beyond it the task is turned away, ms",
  ),

  /** Answers kept for clients that ask again: how many (default 100,000) … */
  repliesMax: count(1, 10_000_000, 100_000, 'answers kept for clients that ask again'),
  /** … how large in all, octets (default 64 MiB) … */
  repliesBytesMax: count(0, 64 * 1024 * MIB, 64 * MIB, 'octets of answers kept for clients that ask again'),
  /** … and how long, ms (default 60,000). Must outlast a client's retries, or what it asks for again would run again. */
  replyAgeMaxMs: milliseconds(0, DAY_MS, MINUTE_MS, 'time answers are kept for clients that ask again, ms'),

  /** Redispatches that each new task earns. Default 0.1: failures may add a tenth to the load. 0: only by time. */
  retryBudgetRatio: z.number().min(0).max(10).default(0.1).describe('redispatches earned by each new task'),
  /** Redispatches that may be saved up. Default 1000. Should cover what a dying worker or peer holds. */
  retryBudgetBurst: count(1, 10_000_000, 1000, 'redispatches that may be saved up'),
  /** Redispatches earned by time, a second. Default 100. 0: a broker without new tasks starts nothing again once the savings
   *  are spent. */
  retryBudgetPerSecond: z
    .number()
    .min(0)
    .max(1_000_000)
    .default(100)
    .describe('redispatches earned by time, a second'),

  /** When the queue is full clients are told to come back after this, ms. Default 100. */
  busyRetryAfterMs: milliseconds(
    1,
    10 * MINUTE_MS,
    100,
    'when a client that was told BUSY should come back, ms',
  ),
  /** Time for what is under way when the broker is told to leave, ms. Default 30,000. 0: leave at once; what is under way is
   *  answered DRAINING. */
  drainDeadlineMs: milliseconds(
    0,
    DRAIN_DEADLINE_MAX_MS,
    30_000,
    'time for what is under way when the broker is told to leave, ms',
  ),

  /** libzmq's threads for all sockets of the process. Default 2. One is enough below 1 GB/s. */
  ioThreads: count(1, 64, 2, 'threads that move messages between sockets and the network'),
  /** Least serious lines that are logged. Default info: one a change of state, never one a task. */
  logLevel: z
    .enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
    .default('info')
    .describe('least serious lines that are logged'),
  /** How: a JSON object a line, or for people. Default auto: for people when stderr is a terminal. */
  logFormat: z.enum(['auto', 'json', 'pretty']).default('auto').describe('how lines are logged'),
})

const BOUND = ['localfe', 'localbe', 'cloudfe', 'statebe'] as const

/** All settings of a broker, with their defaults and the rules between them. */
export const brokerSchema = settings
  .transform((given) => ({ ...given, stateTtlMs: given.stateTtlMs ?? 3 * given.stateIntervalMs }))
  .superRefine((s, context) => {
    const wrong = (field: keyof typeof s, message: string) =>
      context.addIssue({ code: 'custom', path: [field], message })
    for (const [index, socket] of BOUND.entries()) {
      const twin = BOUND.slice(0, index).find((other) => s[other] === s[socket])
      if (twin !== undefined && !/^tcp:.*:(\*|0)$/.test(s[socket]))
        wrong(socket, `an address of its own: ${twin} has the same`)
    }
    if (s.stateTtlMs < 2 * s.stateIntervalMs)
      wrong(
        'stateTtlMs',
        `at least 2 × stateIntervalMs, which is ${2 * s.stateIntervalMs}: one late message would lose a peer`,
      )
    if (s.stateCoalesceMs > s.stateIntervalMs)
      wrong('stateCoalesceMs', `at most stateIntervalMs, which is ${s.stateIntervalMs}`)
    if (s.peerForgetMs <= s.stateTtlMs)
      wrong(
        'peerForgetMs',
        `more than stateTtlMs, which is ${s.stateTtlMs}: a peer is lost before it is forgotten`,
      )
    const workerSilenceMs = s.workerLiveness * s.workerHeartbeatIntervalMs
    if (s.stockTaskTimeMs <= workerSilenceMs)
      wrong(
        'stockTaskTimeMs',
        `more than workerLiveness × workerHeartbeatIntervalMs, which is ${workerSilenceMs}: a task must outlast a dead worker`,
      )
    if (s.silentAttemptMs > s.stockTaskTimeMs)
      wrong('silentAttemptMs', `at most stockTaskTimeMs, which is ${s.stockTaskTimeMs}`)
    if (s.replyAgeMaxMs < CLIENT_RETRY_SPAN_MS)
      wrong(
        'replyAgeMaxMs',
        `at least ${CLIENT_RETRY_SPAN_MS}: a client asks again for 2500 ms × 3, and must find its answer still there`,
      )
    if (s.repliesBytesMax < s.bodyMax)
      wrong('repliesBytesMax', `at least bodyMax, which is ${s.bodyMax}: the largest answer must find room`)
  })

/** A broker's settings as they are given: all but the name have defaults. */
export type BrokerSettings = z.input<typeof brokerSchema>

/** A broker's settings, complete and checked. */
export type BrokerConfig = z.output<typeof brokerSchema>

/**
 * Completes and checks a broker's settings.
 * @throws ConfigurationError naming every field that is wrong
 */
export function parseBrokerConfig(values: unknown, sources?: Sources): BrokerConfig {
  return parseSettings(brokerSchema, values, sources)
}

/** The part of the settings that the core is made with. */
export function coreConfig(config: BrokerConfig): CoreConfig {
  const { localfe, localbe, cloudfe, statebe, peers, http, ioThreads, drainDeadlineMs, ...rest } = config
  const { logLevel, logFormat, ...core } = rest
  return core
}

/** The part of the settings that the reactor is made with. */
export function reactorOptions(
  config: BrokerConfig,
): Omit<ReactorOptions, 'onEvent' | 'onMalformed' | 'onDrained' | 'onFatal'> {
  const { localfe, localbe, cloudfe, statebe, peers, ioThreads } = config
  return { core: coreConfig(config), localfe, localbe, cloudfe, statebe, peers, ioThreads }
}
