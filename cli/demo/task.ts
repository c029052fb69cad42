/** The work of the demonstration, as workers load it: compresses a piece of a file and takes its SHA-256. */

import { createHash } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { gunzip, gzip } from 'node:zlib'

const HASH_OCTETS = 32

/** A slot is taken for at least so long, ms: three clusters shall be busy without two cores being so. */
const TASK_MIN_MS = Number(process.env.SPILLWAY_DEMO_TASK_MS ?? 0)

/** @returns SHA-256 of the body, then the body compressed */
export default async function work(task: { readonly body: Uint8Array }): Promise<Uint8Array> {
  const [compressed] = await Promise.all([promisify(gzip)(task.body), delay(TASK_MIN_MS)])
  return Buffer.concat([sha256(task.body), compressed])
}

/** Whether an answer is what `work` makes of a body: the hash is ours, and what was compressed can be had back. */
export async function isRight(answer: Uint8Array, body: Uint8Array, hash: Uint8Array): Promise<boolean> {
  if (!hash.every((octet, index) => octet === answer[index])) return false
  try {
    return (await promisify(gunzip)(answer.subarray(HASH_OCTETS))).equals(body)
  } catch {
    return false
  }
}

export function sha256(body: Uint8Array): Uint8Array {
  return createHash('sha256').update(body).digest()
}
