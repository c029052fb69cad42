import { z } from 'zod'
import { ConfigurationError } from '../settings/configuration-error.ts'
import { errorMessage } from '../settings/error-message.ts'
import { nearest } from '../settings/settings.ts'
import { parameters } from '../sim/scenario.ts'
import { flagOf } from './configuration.ts'

/** Lists of several things each: for a file, not for a flag. */
export const SCENARIO_ONLY: ReadonlySet<string> = new Set(['script', 'links'])

/** Processes that a command may start at once: as many as the largest machines have processors. */
export const JOBS_MAX = 1024

/** A list is one flag here, separated by commas. */
export function flagFor(field: string): string {
  return `--${flagOf({ field, type: 'text' })}`
}

/** Names with commas or spaces between them. An empty text is no list of none. */
export function namesIn(text: string): string[] {
  const names = text.split(/[\s,]+/).filter((name) => name !== '')
  return names.length === 0 ? [text] : names
}

type Verb = 'run' | 'compare'
/** The scenario file that gives a field its value; undefined when none does. The field '' is the whole. */
type FileOf = (field: string) => string | undefined

/** A line for each parameter that makes no sense. @param verb whose help tells what would */
export function explain(error: unknown, verb: Verb, fileOf: FileOf = () => undefined): string {
  if (error instanceof z.ZodError)
    return error.issues.flatMap((issue) => sentencesOf(issue, verb, fileOf)).join('\n')
  const message = errorMessage(error)
  const file = error instanceof ConfigurationError ? undefined : fileOf('')
  return file === undefined ? message : `${file}: ${message}`
}

function sentencesOf(issue: z.core.$ZodIssue, verb: Verb, fileOf: FileOf): string[] {
  const [field, ...place] = issue.path.map(String)
  const file = fileOf(field ?? '')
  const from = file === undefined ? '' : `${file}: `
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => {
      const close = field === undefined ? nearest(key, ['seed', ...Object.keys(parameters.shape)]) : null
      const meant = close === null ? '' : ` it may be ${close} that is meant;`
      const name = [...issue.path.map(String), key].join('.')
      return `${from}${name}: there is no such parameter;${meant} spillway sim ${verb} --help lists them, as flags`
    })
  }
  const value = field === undefined || issue.input === undefined ? '' : ` = ${JSON.stringify(issue.input)}`
  const name = nameOf(field, place, file !== undefined)
  return [`${from}${name}${value}: ${issue.message}; see spillway sim ${verb} --help`]
}

/** A parameter's flag, or its place in a scenario. */
function nameOf(field: string | undefined, place: readonly string[], isInFile: boolean): string {
  if (field === undefined) return 'scenario'
  return isInFile || SCENARIO_ONLY.has(field) ? [field, ...place].join('.') : flagFor(field)
}
