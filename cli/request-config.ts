import { readFileSync } from 'node:fs'
import { parse } from 'yaml'
import { ConfigError, parseConfig, type RequestConfig, requestSchema } from '../client/config.ts'

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
 * @throws ConfigError naming the field, its value, where it comes from and what was expected
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
  if (path !== undefined) for (const [field, value] of readFile(path)) put(field, value, `in ${path}`)
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
    throw new ConfigError(
      'connect is missing: give the address of a broker’s localfe with --connect tcp://host:port or SPILLWAY_CONNECT',
    )
  }
  return parseConfig(requestSchema, values, sources)
}

/** A number or a boolean where the text is one; anything else stays as it is, for the schema to complain about. */
export function scalar(text: string): unknown {
  if (text === 'true') return true
  if (text === 'false') return false
  const number = Number(text)
  return text.trim() !== '' && Number.isFinite(number) ? number : text
}

function readFile(path: string): [string, unknown][] {
  let values: unknown
  try {
    values = parse(readFileSync(path, 'utf8'))
  } catch (error) {
    throw new ConfigError(`${path} cannot be used: ${error instanceof Error ? error.message : String(error)}`)
  }
  if (values === null || values === undefined) return []
  if (typeof values !== 'object' || Array.isArray(values)) {
    throw new ConfigError(`${path}: expected fields with values, as in "connect: tcp://127.0.0.1:5555"`)
  }
  return Object.entries(values)
}
