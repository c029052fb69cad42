/** What brokers under test are set up with, in the test's own process or in one of their own. */

import type { CoreConfig } from '../broker/core/config.ts'
import type { ReactorOptions } from '../broker/io/reactor.ts'

/** The defaults of a real broker, but with heartbeats quick enough for a test to see somebody die. */
const CORE: CoreConfig = {
  name: 'west',
  cloudfeAdvertised: '',
  statebeAdvertised: '',
  queueMax: 10_000,
  bodyMax: 1 << 20,
  servicesMax: 1000,
  workersMax: 10_000,
  attemptsMax: 3,
  stockTaskTimeMs: 30_000,
  silentAttemptMs: 0,
  workerHeartbeatIntervalMs: 200,
  workerLiveness: 3,
  stateIntervalMs: 200,
  stateCoalesceMs: 10,
  stateTtlMs: 600,
  peerForgetMs: 60_000,
  peersMax: 1000,
  policy: 'most-capacity',
  repliesMax: 10_000,
  repliesBytesMax: 16 << 20,
  replyAgeMaxMs: 60_000,
  retryBudgetRatio: 0.1,
  retryBudgetBurst: 1000,
  retryBudgetPerSecond: 100,
  busyRetryAfterMs: 100,
}

const ANY_PORT = 'tcp://127.0.0.1:*'

export interface BrokerSettings extends Partial<CoreConfig> {
  readonly localfe?: string
  readonly localbe?: string
  readonly cloudfe?: string
  readonly statebe?: string
  readonly peers?: readonly string[]
}

/** Settings over defaults, with any free port of the loopback for each socket. */
export function reactorSettings(
  settings: BrokerSettings,
): Omit<ReactorOptions, 'onEvent' | 'onMalformed' | 'onDrained' | 'onFatal'> {
  const { localfe, localbe, cloudfe, statebe, peers, ...core } = settings
  return {
    core: { ...CORE, ...core },
    localfe: localfe ?? ANY_PORT,
    localbe: localbe ?? ANY_PORT,
    cloudfe: cloudfe ?? ANY_PORT,
    statebe: statebe ?? ANY_PORT,
    peers: peers ?? [],
  }
}
