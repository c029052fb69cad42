import { type RequestConfig, requestSchema } from '../client/config.ts'
import { ConfigurationError } from '../settings/configuration-error.ts'
import { parseSettings } from '../settings/settings.ts'
import { givenValues } from './configuration.ts'

/** Values of `spillway request` by field, as one source gives them. */
export type RequestValues = { readonly [Field in keyof RequestConfig]?: unknown }

/**
 * Flag before environment before file before default.
 *
 * @throws ConfigurationError naming the field, its value, where it comes from and what was expected
 */
export function resolveRequestConfig(
  flags: RequestValues,
  env: Readonly<Record<string, string | undefined>>,
  file: string | undefined,
): RequestConfig {
  const { values, sources } = givenValues({
    schema: requestSchema,
    flags,
    env,
    file: file ?? (env.SPILLWAY_CONFIG || undefined),
    // Some flags have shorter names than their fields.
    flagSource: 'from the command line',
    emptyNames: ['service'],
  })
  if (values.connect === undefined) {
    throw new ConfigurationError(
      'connect is missing: give the address of a broker’s localfe with --connect tcp://host:port or SPILLWAY_CONNECT',
    )
  }
  return parseSettings(requestSchema, values, sources)
}
