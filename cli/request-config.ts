import { type RequestConfig, requestSchema } from '../client/config.ts'
import { ConfigurationError } from '../settings/configuration-error.ts'
import { parseSettings } from '../settings/settings.ts'
import { readYaml } from './configuration.ts'

/** Values of `spillway request` by field, as one source gives them. */
export type RequestValues = { readonly [Field in keyof RequestConfig]?: unknown }

/** The environment's name of each field. */
const VARIABLES = {
  connect: 'SPILLWAY_CONNECT',
  timeoutMs: 'SPILLWAY_TIMEOUT_MS',
  retries: 'SPILLWAY_RETRIES',
  deadlineMs: 'SPILLWAY_DEADLINE_MS',
  priority: 'SPILLWAY_PRIORITY',
  service: 'SPILLWAY_SERVICE',
  idempotent: 'SPILLWAY_IDEMPOTENT',
  failFast: 'SPILLWAY_FAIL_FAST',
  concurrency: 'SPILLWAY_CONCURRENCY',
} as const satisfies Record<keyof RequestConfig, string>

/**
 * Flag before environment before file before default.
 *
 * @throws ConfigurationError naming the field, its value, where it comes from and what was expected
 */
export function resolveRequestConfig(
  flags: RequestValues,
  environment: Readonly<Record<string, string | undefined>>,
  file: string | undefined,
): RequestConfig {
  const values: Record<string, unknown> = {}
  const sources = new Map<string, string>()
  const put = (field: string, value: unknown, source: string) => {
    values[field] = value
    sources.set(field, source)
  }
  const path = file ?? environment.SPILLWAY_CONFIG
  if (path !== undefined)
    for (const [field, value] of Object.entries(readYaml(path))) put(field, value, `in ${path}`)
  for (const [field, variable] of Object.entries(VARIABLES)) {
    const text = environment[variable]
    if (text === undefined) continue
    if (field === 'connect') put(field, text.split(','), variable)
    else if (field === 'service') put(field, text, variable)
    else put(field, scalar(text), variable)
  }
  for (const [field, value] of Object.entries(flags)) {
    if (value !== undefined) put(field, value, 'from the command line')
  }
  if (values.connect === undefined) {
    throw new ConfigurationError(
      'connect is missing: give the address of a broker’s localfe with --connect tcp://host:port or SPILLWAY_CONNECT',
    )
  }
  return parseSettings(requestSchema, values, sources)
}

/** A number or a boolean where the text is one; anything else stays as it is, for the schema to complain about. */
export function scalar(text: string): unknown {
  if (text === 'true') return true
  if (text === 'false') return false
  const number = Number(text)
  return text.trim() !== '' && Number.isFinite(number) ? number : text
}
