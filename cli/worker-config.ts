import { ConfigurationError } from '../settings/configuration-error.ts'
import { parseSettings } from '../settings/settings.ts'
import { type WorkerCommandConfig, workerCommandSchema } from '../worker/config.ts'
import { type GivenValues, givenValues } from './configuration.ts'

/** Values of `spillway worker` by field, as one source gives them. */
export type WorkerValues = { readonly [Field in keyof WorkerCommandConfig]?: unknown }

/**
 * Flag before environment before file before default.
 *
 * @throws ConfigurationError naming the field, its value, where it comes from and what was expected
 */
export function resolveWorkerConfig(
  flags: WorkerValues,
  env: Readonly<Record<string, string | undefined>>,
  file: string | undefined,
): WorkerCommandConfig {
  const path = file ?? (env.SPILLWAY_CONFIG || undefined)
  const given = givenValues({
    schema: workerCommandSchema,
    flags,
    env,
    file: path,
    // Some flags have shorter names than their fields.
    flagSource: 'from the command line',
    // It is a list of arguments, any of which may have blanks and commas.
    notVariables: ['program'],
    emptyNames: ['services'],
  })
  const values = withOneWay(given, flags)
  if (values.connect === undefined) {
    throw new ConfigurationError(
      'connect is missing: give the address of a broker’s localbe with --connect tcp://host:port or SPILLWAY_CONNECT',
    )
  }
  const config = parseSettings(workerCommandSchema, values, given.sources)
  if (config.handler === undefined && config.program === undefined) {
    throw new ConfigurationError(
      'nothing is said of how tasks are done: give a program after --, or a module with --handler ./handler.mjs',
    )
  }
  return config
}

/** Whoever says how tasks are done says it whole: a handler or a program from a later source is left out. */
function withOneWay({ values, sources }: GivenValues, flags: WorkerValues): GivenValues['values'] {
  const { handler, program, ...others } = values
  if (handler === undefined || program === undefined) return values
  if (flags.program !== undefined) return { ...others, program }
  const source = sources.get('program')
  if (source !== sources.get('handler')) return { ...others, handler }
  throw new ConfigurationError(
    `handler and program (${source}): they do not go together; leave one of them out`,
  )
}
