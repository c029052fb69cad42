import { readFileSync } from 'node:fs'
import { parseDocument } from 'yaml'
import type { z } from 'zod'
import { ConfigurationError, type ConfigurationProblem } from '../settings/configuration-error.ts'
import { parseSettings, type Setting, type Sources, settingsOf } from '../settings/settings.ts'

/** Where values come from. Each later source is beaten by the ones before it, and all beat the schema's defaults. */
export interface ConfigurationSources<S extends z.ZodType> {
  /** Of an object; its fields name the settings. */
  readonly schema: S
  /** By field, as the command line gave them: texts, lists of texts, or values. Undefined ones were not given. */
  readonly flags: Readonly<Record<string, unknown>>
  readonly env: Readonly<Record<string, string | undefined>>
  /** A YAML file. */
  readonly file?: string | undefined
  /** In front of the environment's names. Default `SPILLWAY_`. */
  readonly prefix?: string | undefined
  /** What complaints call the source of a flag. Default: the flag by the field's name, as in `--queue-max`. */
  readonly flagSource?: string | undefined
  /** Fields that a variable cannot give. */
  readonly notVariables?: readonly string[] | undefined
  /** Fields that an empty variable gives an empty name, or a list of one, instead of leaving them unset. */
  readonly emptyNames?: readonly string[] | undefined
}

/** What was given, by field, before it is checked. */
export interface GivenValues {
  readonly values: Readonly<Record<string, unknown>>
  readonly sources: Sources
}

export interface Configuration<S extends z.ZodType> {
  readonly values: z.output<S>
  /** What was given and where; what is not in it is a default. */
  readonly sources: Sources
}

/**
 * Flag before environment before file before default. `PREFIX_NAME_FILE` names a file that holds the value of
 * `PREFIX_NAME`, so that secrets need not be in the environment. An empty variable counts as not set, but for `emptyNames`.
 *
 * @throws ConfigurationError naming every field that is wrong, its value, where it comes from, and what was expected
 */
export function resolveConfiguration<S extends z.ZodType>(given: ConfigurationSources<S>): Configuration<S> {
  const { values, sources } = givenValues(given)
  return { values: parseSettings(given.schema, values, sources), sources }
}

/**
 * The same before it is checked against the schema, for rules between sources.
 *
 * @throws ConfigurationError naming every file and variable that cannot be read
 */
export function givenValues<S extends z.ZodType>(given: ConfigurationSources<S>): GivenValues {
  const { schema, flags, env, file, prefix = 'SPILLWAY_', flagSource } = given
  const { notVariables = [], emptyNames = [] } = given
  const settings = settingsOf(schema)
  const values: Record<string, unknown> = {}
  const sources = new Map<string, string>()
  const problems: ConfigurationProblem[] = []
  const put = (field: string, value: unknown, source: string) => {
    values[field] = value
    sources.set(field, source)
  }
  if (file !== undefined) {
    for (const [field, value] of Object.entries(readYaml(file))) put(field, value, `in ${file}`)
  }
  for (const setting of settings) {
    if (notVariables.includes(setting.field)) continue
    const variable = variableOf(setting.field, prefix)
    const mayBeEmpty = emptyNames.includes(setting.field)
    const found = readVariable(variable, env, mayBeEmpty)
    if (found === null) continue
    if (typeof found.value === 'string') {
      const names = mayBeEmpty && setting.type === 'list'
      put(setting.field, names ? found.value.split(',') : fromText(setting, found.value), found.source)
    } else
      problems.push({
        field: setting.field,
        value: found.file,
        expected: found.expected,
        source: found.source,
      })
  }
  for (const setting of settings) {
    const value = flags[setting.field]
    if (value !== undefined)
      put(
        setting.field,
        typeof value === 'string' ? fromText(setting, value) : value,
        flagSource ?? `--${flagOf(setting)}`,
      )
  }
  if (problems.length > 0) throw new ConfigurationError(problems)
  return { values, sources }
}

/** @returns as in `state-interval-ms`; a list's flag is repeated, and says so by its singular: `peer` */
export function flagOf({ field, type }: Pick<Setting, 'field' | 'type'>): string {
  const flag = words(field).join('-')
  return type === 'list' ? flag.replace(/s$/, '') : flag
}

/** @returns as in `SPILLWAY_STATE_INTERVAL_MS` */
export function variableOf(field: string, prefix = 'SPILLWAY_'): string {
  return prefix + words(field).join('_').toUpperCase()
}

function words(field: string): string[] {
  return field.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`).split(' ')
}

type Variable =
  | { readonly value: string; readonly source: string }
  | { readonly value: null; readonly source: string; readonly file: string; readonly expected: string }

function readVariable(
  name: string,
  env: Readonly<Record<string, string | undefined>>,
  mayBeEmpty: boolean,
): Variable | null {
  const direct = env[name] ?? ''
  const path = env[`${name}_FILE`] ?? ''
  if (path === '') {
    const unset = mayBeEmpty ? env[name] === undefined : direct === ''
    return unset ? null : { value: direct, source: name }
  }
  const source = `${name}_FILE`
  if (direct !== '')
    return { value: null, source, file: path, expected: `either ${name} or ${source}, not both` }
  try {
    return { value: readFileSync(path, 'utf8').replace(/\r?\n$/, ''), source }
  } catch (error) {
    return {
      value: null,
      source,
      file: path,
      expected: `the path of a file that can be read (${reasonOf(error)})`,
    }
  }
}

/** What a text stands for, by the setting's type. A text that does not stand for anything is left for the schema to refuse. */
export function fromText({ type }: Pick<Setting, 'type'>, text: string): unknown {
  switch (type) {
    case 'number':
      return text.trim() !== '' && Number.isFinite(Number(text)) ? Number(text) : text
    case 'boolean':
      return text === 'true' ? true : text === 'false' ? false : text
    case 'list':
      return text.split(/[\s,]+/).filter((part) => part !== '')
    default:
      return text
  }
}

function readYaml(path: string): Readonly<Record<string, unknown>> {
  const refuse = (expected: string): never => {
    throw new ConfigurationError([{ field: '', value: undefined, expected, source: path }])
  }
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    return refuse(`a file that can be read (${reasonOf(error)})`)
  }
  const document = parseDocument(text)
  const [error] = document.errors
  if (error !== undefined) return refuse(`YAML: ${error.message.split('\n')[0]?.replace(/:$/, '')}`)
  let content: unknown
  try {
    content = document.toJS({ maxAliasCount: 0 })
  } catch (error) {
    if (!(error instanceof ReferenceError)) throw error
    return refuse('YAML without aliases: put a value that begins with * in quotes')
  }
  if (content === null || content === undefined) return {}
  if (typeof content !== 'object' || Array.isArray(content))
    return refuse('settings by name, as in "name: west"')
  return Object.fromEntries(Object.entries(content))
}

function reasonOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error)
}
