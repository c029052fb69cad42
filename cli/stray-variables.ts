/** Variables that look like settings and are none: a misspelt one would be passed over in silence. */

import type { Logger } from 'pino'
import type { z } from 'zod'
import { brokerSchema } from '../broker/config.ts'
import { requestSchema } from '../client/config.ts'
import { nearest, settingsOf } from '../settings/settings.ts'
import { workerCommandSchema } from '../worker/config.ts'
import { benchSchema } from './bench-config.ts'
import { variableOf } from './configuration.ts'

const PREFIX = 'SPILLWAY_'

/** What is no setting of a verb's schema, and yet ours: of the command line itself, and what a task's program is told. */
const OTHERS = ['CONFIG', 'SUPERVISED', 'DEMO_TASK_MS', 'TASK_ID', 'ATTEMPT', 'TIME_LEFT_MS', 'SERVICE']

export interface StrayVariable {
  readonly name: string
  /** What was probably meant; null when nothing is like it. */
  readonly nearest: string | null
}

/**
 * Settings of any verb are known, since several may share one environment, and so are the variables by which Kubernetes and
 * container links announce a Service named `spillway…`.
 *
 * @param schema of the verb that runs: only its settings are proposed
 */
export function strayVariables(
  env: Readonly<Record<string, string | undefined>>,
  schema: z.ZodType,
): StrayVariable[] {
  const own = variablesOf(schema)
  const known = new Set([
    ...[brokerSchema, workerCommandSchema, requestSchema, benchSchema].flatMap(variablesOf),
    ...OTHERS.map((name) => PREFIX + name),
    ...own,
  ])
  return Object.keys(env)
    .filter((name) => name.startsWith(PREFIX))
    .filter((name) => !known.has(name) && !known.has(name.replace(/_FILE$/, '')))
    .filter((name) => !announcesService(name, env))
    .sort()
    .map((name) => ({ name, nearest: nearest(name, own) }))
}

export function warnOfStrayVariables(
  log: Logger,
  env: Readonly<Record<string, string | undefined>>,
  schema: z.ZodType,
): void {
  for (const stray of strayVariables(env, schema)) {
    const meant = stray.nearest === null ? '' : `; did you mean ${stray.nearest}?`
    log.warn(
      { event: 'stray-variable', variable: stray.name, nearest: stray.nearest },
      `${stray.name} is in the environment, and there is no such setting${meant}`,
    )
  }
}

function variablesOf(schema: z.ZodType): string[] {
  return settingsOf(schema).map(({ field }) => variableOf(field, PREFIX))
}

/** As in `SPILLWAY_BROKER_SERVICE_HOST` and `SPILLWAY_BROKER_PORT_7000_TCP_ADDR`, for a Service named `spillway-broker`. */
function announcesService(name: string, env: Readonly<Record<string, string | undefined>>): boolean {
  if (/_SERVICE_(HOST|PORT(_\w+)?)$/.test(name) || /_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?$/.test(name)) return true
  return name.endsWith('_PORT') && /^(tcp|udp|sctp):\/\//.test(env[name] ?? '')
}
