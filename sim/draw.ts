import { POLICIES } from '../broker/core/routing.ts'
import { Random } from './random.ts'
import { FAULTS, type FaultKind, type Parameters, parameters } from './scenario.ts'

const USUAL_POLICY = parameters.parse({}).policy

/**
 * Parameters drawn from a seed: small federations, short times, all sorts of work and trouble. Whole features are left
 * out at random (swarm testing, ISSTA 2012: what is always there hides what shows only in its absence).
 */
export function drawParameters(seed: number): Parameters {
  const r = new Random(seed, 'parameters')
  // What was added later draws from a stream of its own: the seeds of before keep the rest of what they were.
  const q = new Random(seed, 'further parameters')
  const l = new Random(seed, 'latest parameters')
  const some = (probability: number, low: number, high: number): number =>
    r.chance(probability) ? r.logBetween(low, high) : 0
  const stateIntervalMs = r.pick([50, 200, 500]) ?? 500
  const workerHeartbeatMs = r.pick([100, 300, 1000]) ?? 1000
  const cloudMs = r.logBetween(0.1, 60)
  const addedLater = new Map<FaultKind, Random>([
    ['lag', q],
    ['vanish', l],
    ['half-open', l],
  ])
  const faults = FAULTS.filter((kind) => (addedLater.get(kind) ?? r).chance(0.35))
  const roomy = r.chance(0.5)
  const distribution = q.pick(['uniform', 'uniform', 'exponential', 'lognormal'])
  const cloudSpread = q.chance(0.7) ? 1 : q.logBetween(1, 4)
  const tail = distribution === 'uniform' ? 1 : 0.3
  const drawn = {
    clusters: r.integer(1, 5),
    workers: r.integer(1, 8),
    slots: r.chance(0.6) ? 1 : r.integer(2, 4),
    clients: r.integer(1, 8),
    rate: r.logBetween(1, 15),
    load: r.logBetween(0.2, 1.5),
    hot: r.chance(0.5) ? 1 : r.logBetween(1, 10),
    arrivals: r.pick(['poisson', 'poisson', 'bursts', 'wave']),
    service: r.pick(['exponential', 'fixed', 'uniform', 'pareto']),
    durationMs: r.logBetween(1500, 12_000),
    localMs: r.logBetween(0.05, 2),
    cloudMs,
    cloudSpread,
    jitter: r.chance(0.3) ? 0 : tail * r.logBetween(0.05, 3),
    distribution,
    turnMs: q.chance(0.6) ? 0 : q.logBetween(0.1, 20),
    highWater: r.chance(0.1) ? r.integer(20, 200) : 4096,
    reconnectMs: r.logBetween(10, 300),
    silenceBreaksMs: some(0.4, 100, 3000),
    drift: r.chance(0.3) ? 0 : r.logBetween(1e-5, 0.01),
    notIdempotent: some(0.6, 0.02, 1),
    streams: some(0.4, 0.02, 1),
    restartStreams: r.uniform(),
    failing: some(0.4, 0.01, 0.2),
    poison: some(0.15, 0.001, 0.03),
    failFast: some(0.2, 0.05, 1),
    services: r.chance(0.7) ? 1 : r.integer(2, 4),
    large: some(0.2, 0.01, 0.3),
    largeBytes: r.pick([5000, 20_000]),
    bodyMax: r.chance(0.15) ? 10_000 : 1 << 20,
    timeoutMs: r.logBetween(300, 3000),
    retries: r.integer(1, 4),
    deadlineMs: roomy ? 120_000 : r.logBetween(200, 20_000),
    secondEndpoint: r.chance(0.15),
    queueMax: r.chance(0.2) ? r.integer(1, 20) : 10_000,
    attemptsMax: r.integer(1, 5),
    workerHeartbeatMs,
    workerLiveness: r.integer(2, 4),
    stateIntervalMs,
    stateCoalesceMs: r.pick([0, 1, 10, 50]),
    // A state must have time to arrive before it is too old.
    stateTtlMs: Math.max(3 * stateIntervalMs, stateIntervalMs + 20 * cloudMs * cloudSpread),
    peerForgetMs: r.chance(0.2) ? r.logBetween(2000, 10_000) : 600_000,
    policy: r.pick(Object.keys(POLICIES).filter((name) => name !== USUAL_POLICY)),
    repliesMax: r.chance(0.1) ? r.integer(1, 20) : 10_000,
    retryRatio: r.logBetween(0.02, 1),
    retryBurst: r.logBetween(1, 100),
    retryPerSecond: r.logBetween(5, 100),
    membership: r.chance(0.7) ? 'all' : 'first',
    faults,
    faultEveryMs: r.chance(0.15) ? 0 : r.logBetween(100, 4000),
    faultForMs: r.logBetween(50, 4000),
    lagMs: q.logBetween(10, 2000),
    checkBooksEvery: 1,
    freezeRecords: true,
  }
  // A link that never gets through what it is given proves nothing: from a little more than needed to plenty.
  const octetsPerMs =
    ((drawn.clients * drawn.clusters * drawn.rate) / 1000) * (400 + drawn.large * (drawn.largeBytes ?? 0))
  const mbps = (): number => (q.chance(0.6) ? 0 : Math.max(1, octetsPerMs * 0.008 * q.logBetween(4, 200)))
  return parameters.parse({
    ...drawn,
    cloudMbps: mbps(),
    localMbps: mbps(),
    cancelled: l.chance(0.4) ? l.logBetween(0.02, 1) : 0,
    ...(l.chance(0.3) ? storm(l, FAULTS) : {}),
    ...(l.chance(0.15) ? unreadStreams(l) : {}),
    guestWaitMs: q.chance(0.2) ? 0 : q.logBetween(10, 3000),
    // What nearly everybody runs has to be tried most.
    policy: q.chance(0.5) ? USUAL_POLICY : drawn.policy,
  })
}

/** Few kinds of faults, and many of each: what takes two of them at the same worker would hardly happen among twenty kinds. */
function storm(r: Random, of: readonly FaultKind[]): { faults: FaultKind[]; faultEveryMs: number } {
  const faults = new Set<FaultKind>()
  for (let i = r.integer(1, 3); i > 0; i--) faults.add(r.pick(of) ?? 'break')
  return { faults: [...faults], faultEveryMs: r.logBetween(30, 300) }
}

/** Faults in which one end goes on and does not learn of the other's, or that it was not heard. */
const UNNOTICED: readonly FaultKind[] = [
  'half-open',
  'vanish',
  'isolate',
  'break',
  'partition',
  'one-way',
  'freeze-broker',
  'freeze-client',
  'freeze-cluster',
  'lag',
]

/** Streams whose readers want them no more or are gone: what such a one keeps, it would keep until its time is up. */
function unreadStreams(r: Random) {
  return {
    streams: r.logBetween(0.2, 1),
    cancelled: r.logBetween(0.05, 1),
    deadlineMs: 120_000,
    ...storm(r, UNNOTICED),
  }
}
