import type { PolicyName, Tuning } from './routing.ts'

/** What the broker's core is set up with. Parsed once, read-only after; `broker/config.ts` documents the defaults. */
export interface CoreConfig {
  /** The cluster's name: what peers, replies and metrics call it. */
  readonly name: string
  /** Addresses peers are told to reach this broker at. */
  readonly cloudfeAdvertised: string
  readonly statebeAdvertised: string

  /** Tasks that wait at once; beyond it clients get BUSY. */
  readonly queueMax: number
  /** Octets of a task's or a reply's body. */
  readonly bodyMax: number
  /** Distinct services known at once. */
  readonly servicesMax: number
  /** Workers (connections) signed in at once. */
  readonly workersMax: number
  /** Starts that may end with the worker's death before the client is told POISON. */
  readonly attemptsMax: number
  /** Time a stock client's task gets, since it cannot say, ms. */
  readonly stockTaskTimeMs: number
  /** Longer times asked for are cut to this, so that what a client left behind goes one day, ms. */
  readonly taskTimeMaxMs: number
  /** Time a worker that cannot beat while it works gets for a task before it is also given to another; 0: half of
   *  what the task has left. */
  readonly silentAttemptMs: number

  /** Between heartbeats to workers and peers, ms. */
  readonly workerHeartbeatIntervalMs: number
  /** Intervals of silence after which a worker is dead. */
  readonly workerLiveness: number
  /** State goes out at least this often, and so do heartbeats to peers, ms. */
  readonly stateIntervalMs: number
  /** Changes within this time go out as one state, ms. */
  readonly stateCoalesceMs: number
  /** State older than this counts as capacity 0; a peer silent for as long gives back its tasks, ms. */
  readonly stateTtlMs: number
  /** A peer silent for as long is forgotten unless it was configured, ms. */
  readonly peerForgetMs: number
  readonly peersMax: number
  readonly policy: PolicyName
  /** Left out, what measurements have shown to be best. */
  readonly tuning?: Tuning
  /** How long a peer's task may be expected to wait here for a worker before it is turned away instead, ms; 0: it runs at
   *  once or not at all. Peers are taken to do the same. */
  readonly guestWaitMs: number

  /** Answers kept for clients that ask again: how many, how large in all (octets), how long (ms). */
  readonly repliesMax: number
  readonly repliesBytesMax: number
  readonly replyAgeMaxMs: number

  /** Redispatches earned by each new task, and how many may be saved up; a trickle a second is earned by time. */
  readonly retryBudgetRatio: number
  readonly retryBudgetBurst: number
  readonly retryBudgetPerSecond: number

  /** BUSY tells the client to come back after this, ms. */
  readonly busyRetryAfterMs: number
}
