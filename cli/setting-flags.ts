import { type Command, Option } from 'commander'
import type { z } from 'zod'
import { type Setting, settingsOf } from '../settings/settings.ts'
import { flagOf, variableOf } from './configuration.ts'

/** Gives a command a flag for each setting of a schema. Defaults are told, not set: a flag that was not given beats nothing. */
export function addSettingFlags(command: Command, schema: z.ZodType): void {
  for (const setting of settingsOf(schema)) command.addOption(optionOf(setting))
}

/** What was given of them, by the settings' names. */
export function settingFlags(command: Command, schema: z.ZodType): Record<string, unknown> {
  const given: Record<string, unknown> = command.opts()
  return Object.fromEntries(
    settingsOf(schema).map((setting) => [setting.field, given[optionOf(setting).attributeName()]]),
  )
}

function optionOf(setting: Setting): Option {
  const { type, choices, description } = setting
  const option = new Option(
    type === 'boolean'
      ? `--${flagOf(setting)} [true|false]`
      : `--${flagOf(setting)} <${placeholder(setting)}>`,
    `${description}${defaultText(setting)}`,
  )
  // For help and completion. What is not among them is refused with all that is wrong, not by itself as wrong usage.
  if (choices.length > 0) option.argChoices = [...choices]
  if (type === 'boolean') option.preset('true')
  if (type === 'list') {
    option.argParser((value: string, before: string[] | undefined) => [
      ...(before ?? []),
      ...value.split(/[\s,]+/).filter((part) => part !== ''),
    ])
  }
  return option
}

function placeholder({ field, type }: Setting): string {
  if (type === 'number') return field.endsWith('Ms') ? 'ms' : 'n'
  return type === 'list' ? 'endpoint' : /fe$|be$|Advertised$/.test(field) ? 'endpoint' : 'value'
}

function defaultText({ default: value, required }: Setting): string {
  if (required) return ' (required)'
  if (value === undefined || value === '' || (Array.isArray(value) && value.length === 0)) return ''
  return ` (default: ${String(value)})`
}

/** What help says of the other ways to give a setting. */
export function settingSources(example: string): string {
  return `Every setting may also come from the environment (${variableOf(example)}, or ${variableOf(example)}_FILE for a file
that holds it) or from the YAML file (${example}); a flag wins over the environment, the environment over the file.`
}
