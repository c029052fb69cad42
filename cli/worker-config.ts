import { ConfigurationError } from '../settings/configuration-error.ts'
import { parseSettings } from '../settings/settings.ts'
import { type WorkerCommandConfig, workerCommandSchema } from '../worker/config.ts'
import { readYaml } from './configuration.ts'
import { scalar } from './request-config.ts'

/** Values of `spillway worker` by field, as one source gives them. */
export type WorkerValues = { readonly [Field in keyof WorkerCommandConfig]?: unknown }

/** The environment's name of each field. Tasks' programs get SPILLWAY_SERVICE and others: none of them may be here. */
const VARIABLES = {
  connect: 'SPILLWAY_CONNECT',
  slots: 'SPILLWAY_SLOTS',
  services: 'SPILLWAY_SERVICES',
  name: 'SPILLWAY_NAME',
  heartbeatIntervalMs: 'SPILLWAY_HEARTBEAT_INTERVAL_MS',
  liveness: 'SPILLWAY_LIVENESS',
  reconnectMinMs: 'SPILLWAY_RECONNECT_MIN_MS',
  reconnectMaxMs: 'SPILLWAY_RECONNECT_MAX_MS',
  bodyMax: 'SPILLWAY_BODY_MAX',
  keptMax: 'SPILLWAY_KEPT_MAX',
  drainDeadlineMs: 'SPILLWAY_DRAIN_DEADLINE_MS',
  killGraceMs: 'SPILLWAY_KILL_GRACE_MS',
  isolate: 'SPILLWAY_ISOLATE',
  handler: 'SPILLWAY_HANDLER',
  restart: 'SPILLWAY_RESTART',
  logLevel: 'SPILLWAY_LOG_LEVEL',
} as const satisfies Record<Exclude<keyof WorkerCommandConfig, 'program'>, string>

/** Fields whose text is taken as it is, even if it looks like a number. */
const TEXTS: ReadonlySet<string> = new Set(['name', 'handler', 'logLevel'])

/**
 * Flag before environment before file before default.
 *
 * @throws ConfigurationError naming the field, its value, where it comes from and what was expected
 */
export function resolveWorkerConfig(
  flags: WorkerValues,
  environment: Readonly<Record<string, string | undefined>>,
  file: string | undefined,
): WorkerCommandConfig {
  const values: Record<string, unknown> = {}
  const sources = new Map<string, string>()
  const put = (field: string, value: unknown, source: string) => {
    // Whoever says how tasks are done says it whole.
    if (field === 'program') delete values.handler
    if (field === 'handler') delete values.program
    values[field] = value
    sources.set(field, source)
  }
  const path = file ?? environment.SPILLWAY_CONFIG
  if (path !== undefined) for (const [field, value] of readFile(path)) put(field, value, `in ${path}`)
  for (const [field, variable] of Object.entries(VARIABLES)) {
    const text = environment[variable]
    if (text === undefined) continue
    if (field === 'connect' || field === 'services') put(field, text.split(','), variable)
    else put(field, TEXTS.has(field) ? text : scalar(text), variable)
  }
  for (const [field, value] of Object.entries(flags)) {
    if (value !== undefined) put(field, value, 'from the command line')
  }
  if (values.connect === undefined) {
    throw new ConfigurationError(
      'connect is missing: give the address of a broker’s localbe with --connect tcp://host:port or SPILLWAY_CONNECT',
    )
  }
  const config = parseSettings(workerCommandSchema, values, sources)
  if (config.handler === undefined && config.program === undefined) {
    throw new ConfigurationError(
      'nothing is said of how tasks are done: give a program after --, or a module with --handler ./handler.mjs',
    )
  }
  return config
}

function readFile(path: string): [string, unknown][] {
  const values = readYaml(path)
  if ('handler' in values && 'program' in values) {
    throw new ConfigurationError(`${path}: handler and program do not go together; leave one of them out`)
  }
  return Object.entries(values)
}
