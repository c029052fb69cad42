/** What brokers under test are set up with, in the test's own process or in one of their own. */

import { type BrokerSettings as AllSettings, parseBrokerConfig, reactorOptions } from '../broker/config.ts'
import type { ReactorOptions } from '../broker/io/reactor.ts'

const ANY_PORT = 'tcp://127.0.0.1:*'

/** Heartbeats quick enough for a test to see somebody die; a broker's own defaults otherwise. */
const QUICK: AllSettings = {
  name: 'west',
  localfe: ANY_PORT,
  localbe: ANY_PORT,
  cloudfe: ANY_PORT,
  statebe: ANY_PORT,
  stockTaskTimeMs: 30_000,
  workerHeartbeatIntervalMs: 200,
  stateIntervalMs: 200,
  stateTtlMs: 600,
}

export type BrokerSettings = Partial<AllSettings>

/** Settings over defaults, with any free port of the loopback for each socket. */
export function reactorSettings(
  settings: BrokerSettings,
): Omit<ReactorOptions, 'onEvent' | 'onMalformed' | 'onDrained' | 'onFatal'> {
  return reactorOptions(parseBrokerConfig({ ...QUICK, ...settings }))
}
