import { bodyOf } from '../protocol/body.ts'
import { EMPTY_BODY } from '../protocol/record.ts'

/**
 * What a handler has returned, as octets.
 * @throws TypeError for what JSON cannot hold
 */
export function octetsOf(value: unknown): Uint8Array {
  if (value === undefined) return EMPTY_BODY
  const body = bodyOf(value)
  if (body === undefined) {
    throw new TypeError(
      `the handler returned a ${typeof value}: return octets, a string or something JSON can hold`,
    )
  }
  return body
}

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}

export function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value
}
