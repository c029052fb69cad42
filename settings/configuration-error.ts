import { inspect } from 'node:util'

/** One setting that cannot be used. */
export interface ConfigurationProblem {
  /** Empty when it is about the whole. */
  readonly field: string
  readonly value: unknown
  /** Ends the sentence "expected …". */
  readonly expected: string
  /** Where the value comes from, as in `SPILLWAY_QUEUE_MAX`; empty when there is nothing to tell. */
  readonly source: string
}

/** Settings that cannot be used: all of them at once, each with its field, its value, and what was expected. */
export class ConfigurationError extends Error {
  override readonly name = 'ConfigurationError'
  readonly code = 'CONFIG'
  /** Empty when a sentence says it all. */
  readonly problems: readonly ConfigurationProblem[]

  /** @param problems or a sentence, where what is wrong is not a value by itself: a module that cannot be loaded */
  constructor(problems: readonly ConfigurationProblem[] | string) {
    super(typeof problems === 'string' ? problems : problems.map(sentence).join('\n'))
    this.problems = typeof problems === 'string' ? [] : problems
  }
}

/** The error for one value that a program or a flag has given. @param expected ends the sentence "expected …" */
export function notA(field: string, value: unknown, expected: string): ConfigurationError {
  return new ConfigurationError([{ field, value, expected, source: '' }])
}

function sentence({ field, value, expected, source }: ConfigurationProblem): string {
  const from = source === '' ? '' : ` (${source})`
  if (field === '') return `${source === '' ? '' : `${source}: `}expected ${expected}`
  const text = value === undefined ? 'is missing' : `= ${shown(value)}`
  return `${field} ${text}${from}: expected ${expected}`
}

/** As JSON, where JSON can hold it: a BigInt, or what refers to itself, must not end in an error about JSON. */
function shown(value: unknown): string {
  if (typeof value !== 'string' && typeof value !== 'object') return inspect(value)
  try {
    return JSON.stringify(value)
  } catch {
    return inspect(value, { depth: 1, breakLength: Number.POSITIVE_INFINITY })
  }
}
