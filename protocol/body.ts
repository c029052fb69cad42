import { isAnyArrayBuffer } from 'node:util/types'

/**
 * A body as a program gives it, as octets: a text in UTF-8, what is octets already without a copy, all else as JSON.
 *
 * @returns undefined for what JSON cannot hold
 * @throws what JSON says of a BigInt, or of what refers to itself
 */
export function bodyOf(value: unknown): Uint8Array | undefined {
  if (typeof value === 'string') return Buffer.from(value)
  if (value instanceof Uint8Array) return value
  if (isAnyArrayBuffer(value)) return new Uint8Array(value)
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
  const json = JSON.stringify(value)
  return json === undefined ? undefined : Buffer.from(json)
}
