import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ConfigurationError } from '../../settings/configuration-error.ts'
import { errorMessage } from '../../settings/error-message.ts'
import type { Handler } from '../handler.ts'
import type { Workshop } from './workshop.ts'

/** The address of a module given as a path from the working directory, a file: URL, or one as text. */
export function moduleUrl(module: string | URL): string {
  if (module instanceof URL) return module.href
  return module.startsWith('file:') ? module : pathToFileURL(resolve(module)).href
}

/**
 * Loads the handler that a module exports, as its default or as `handler`.
 * @throws ConfigurationError that says what is wrong with it
 */
export async function loadHandler(url: string): Promise<Handler> {
  let exported: unknown
  try {
    exported = await import(url)
  } catch (error) {
    throw new ConfigurationError(`handler = ${url} cannot be loaded: ${errorMessage(error)}`)
  }
  const handler = member(exported, 'default') ?? member(exported, 'handler')
  if (isHandler(handler)) return handler
  throw new ConfigurationError(
    `handler = ${url} exports no function: give it one as its default export, or as "handler", taking (task, { signal, log })`,
  )
}

/** A module's handler in this process. */
export class HandlerModule implements Workshop {
  readonly #url: string
  #handler: Handler = () => {
    throw new Error('the handler has not been loaded')
  }

  constructor(url: string) {
    this.#url = url
  }

  readonly handler: Handler = (task, context) => this.#handler(task, context)

  async open(): Promise<void> {
    this.#handler = await loadHandler(this.#url)
  }

  async close(): Promise<void> {}
}

function member(exported: unknown, name: string): unknown {
  return typeof exported === 'object' && exported !== null ? Reflect.get(exported, name) : undefined
}

function isHandler(value: unknown): value is Handler {
  return typeof value === 'function'
}
