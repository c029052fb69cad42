import { z } from 'zod'
import { flagOf } from './configuration.ts'

/** Lists of several things each: for a file, not for a flag. */
export const SCENARIO_ONLY: ReadonlySet<string> = new Set(['script', 'links'])

/** A list is one flag here, separated by commas. */
export function flagFor(field: string): string {
  return `--${flagOf({ field, type: 'text' })}`
}

/** A line for each parameter that makes no sense. @param verb whose help tells what would */
export function explain(error: unknown, verb: 'run' | 'compare'): string {
  if (error instanceof z.ZodError) {
    return error.issues
      .map(({ path, message, input }) => {
        const given = path.length === 0 || input === undefined ? '' : ` = ${JSON.stringify(input)}`
        return `${nameOf(path)}${given}: ${message}; see spillway sim ${verb} --help`
      })
      .join('\n')
  }
  return error instanceof Error ? error.message : String(error)
}

/** A parameter's flag, or its place in a scenario. */
function nameOf([field, ...place]: readonly PropertyKey[]): string {
  if (field === undefined) return 'scenario'
  const name = String(field)
  if (SCENARIO_ONLY.has(name)) return [name, ...place.map(String)].join('.')
  return flagFor(name)
}
