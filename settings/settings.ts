import { z } from 'zod'
import { ConfigurationError, type ConfigurationProblem } from './configuration-error.ts'

/** What a schema says of one of its fields: enough for a flag, an environment variable, a line of help, a complaint. */
export interface Setting {
  readonly field: string
  readonly type: 'number' | 'boolean' | 'text' | 'list'
  readonly description: string
  /** Undefined when it has to be given, or is worked out from others. */
  readonly default: unknown
  readonly required: boolean
  /** Ends the sentence "expected …". */
  readonly expected: string
  readonly choices: readonly string[]
}

/** Where values come from, by field. */
export type Sources = ReadonlyMap<string, string>

const NO_SOURCES: Sources = new Map()

const jsonSchema = z.looseObject({
  type: z.string().optional(),
  description: z.string().optional(),
  default: z.unknown().optional(),
  enum: z.array(z.string()).optional(),
  minimum: z.number().optional(),
  maximum: z.number().optional(),
  minItems: z.number().optional(),
  maxItems: z.number().optional(),
  anyOf: z.array(z.looseObject({ type: z.string().optional(), minItems: z.number().optional() })).optional(),
})
const jsonObjectSchema = z.looseObject({
  properties: z.record(z.string(), jsonSchema),
  required: z.array(z.string()).default([]),
})

/** The settings of a schema of an object, in its order. */
export function settingsOf(schema: z.ZodType): Setting[] {
  const { properties, required } = jsonObjectSchema.parse(
    z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }),
  )
  return Object.entries(properties).map(([field, json]) => ({
    field,
    type: typeOf(json),
    description: json.description ?? '',
    default: json.default,
    required: required.includes(field),
    expected: expectedOf(json),
    choices: json.enum ?? [],
  }))
}

function typeOf(json: z.output<typeof jsonSchema>): Setting['type'] {
  const types = [json.type, ...(json.anyOf ?? []).map(({ type }) => type)]
  if (types.includes('array')) return 'list'
  if (types.includes('boolean')) return 'boolean'
  return types.includes('number') || types.includes('integer') ? 'number' : 'text'
}

function expectedOf(json: z.output<typeof jsonSchema>): string {
  if (json.enum !== undefined) return `one of ${json.enum.join(', ')}`
  switch (typeOf(json)) {
    case 'number': {
      const { minimum = 0, maximum = Number.MAX_SAFE_INTEGER } = json
      return `${json.type === 'integer' ? 'an integer' : 'a number'} from ${minimum} to ${maximum}`
    }
    case 'boolean':
      return 'true or false'
    case 'list': {
      const least = json.minItems ?? json.anyOf?.find(({ type }) => type === 'array')?.minItems ?? 0
      const single = json.anyOf?.some(({ type }) => type === 'string') ? 'a text or ' : ''
      if (json.maxItems !== undefined) return `${single}a list of ${least} to ${json.maxItems}`
      return least > 0 ? `${single}a list of at least ${least}` : `${single}a list`
    }
    default:
      return 'a text'
  }
}

/**
 * Checks values against a schema of an object.
 *
 * @param sources where the value of a field comes from, where that is worth telling
 * @throws ConfigurationError naming every field that is wrong
 */
export function parseSettings<S extends z.ZodType>(
  schema: S,
  values: unknown,
  sources: Sources = NO_SOURCES,
): z.output<S> {
  const result = schema.safeParse(values)
  if (result.success) return result.data
  const settings = new Map(settingsOf(schema).map((setting) => [setting.field, setting]))
  throw new ConfigurationError(
    result.error.issues.flatMap((issue) => problemsOf(issue, values, settings, sources)),
  )
}

function problemsOf(
  issue: z.core.$ZodIssue,
  values: unknown,
  settings: ReadonlyMap<string, Setting>,
  sources: Sources,
): ConfigurationProblem[] {
  if (issue.code === 'unrecognized_keys' && issue.path.length === 0) {
    return issue.keys.map((field) => ({
      field,
      value: at(values, [field]),
      expected: unknownSetting(field, [...settings.keys()]),
      source: sources.get(field) ?? '',
    }))
  }
  const [field = ''] = issue.path.map(String)
  const whole = issue.path.length <= 1
  const setting = settings.get(field)
  const value = at(values, issue.path)
  const builtIn = issue.code !== 'custom' && issue.code !== 'invalid_format'
  return [
    {
      field: issue.path.map((key, index) => (index === 0 ? String(key) : `[${String(key)}]`)).join(''),
      value: value === undefined && whole ? setting?.default : value,
      expected:
        setting === undefined || !whole || !builtIn
          ? issue.message
          : value === undefined &&
              (setting.type === 'text' || (setting.required && setting.description !== ''))
            ? setting.description
            : setting.expected,
      source: sources.get(field) ?? (value === undefined && setting?.required === false ? 'default' : ''),
    },
  ]
}

/** @returns what ends the sentence "expected …" about a setting that does not exist */
export function unknownSetting(name: string, known: readonly string[]): string {
  const close = nearest(name, known)
  return close === null ? `one of ${known.join(', ')}` : `${close}; there is no setting ${name}`
}

function at(values: unknown, path: readonly PropertyKey[]): unknown {
  let value = values
  for (const key of path)
    value = typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined
  return value
}

/** The known name that was probably meant; null when none is close. */
export function nearest(name: string, known: readonly string[]): string | null {
  const plain = (text: string) => text.toLowerCase().replace(/[-_]/g, '')
  let best: string | null = null
  let least = Math.max(1, Math.floor(name.length / 3)) + 1
  for (const candidate of known) {
    const distance = editDistance(plain(name), plain(candidate))
    if (distance >= least) continue
    least = distance
    best = candidate
  }
  return best
}

/** Insertions, deletions and replacements that make one text of the other (Levenshtein). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}
