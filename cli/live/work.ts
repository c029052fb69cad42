import { createHash } from 'node:crypto'

/** What every cluster's workers do. */
export const COMMON = 'common'
/** What only some do: from all others it has to be subcontracted. */
export const RARE = 'rare'

/** What the workers of a cluster do: every second one, from the second on, both. */
export function servicesOf(cluster: number): string[] {
  return cluster % 2 === 1 ? [COMMON, RARE] : [COMMON]
}

/** What a task's body says: its name, how long it takes, ms, and something to compute with. */
export interface Work {
  /** As {@link taskName} gives it. */
  readonly task: string
  readonly serviceMs: number
  /** Starting twice would be wrong. Said again here, so that workers can write it down. */
  readonly once: boolean
  /** Pieces that it is answered in, before its last word; 0: it is no stream. */
  readonly pieces: number
}

const DIGEST_DIGITS = 12

/**
 * The name of a task, unique in a run: cluster, client process and its life, client, number.
 * @param host as {@link hostName} gives it
 */
export function taskName(host: string, client: number, number: number): string {
  return `${host}/${client}.${number}`
}

/** Names one life of a process that holds clients (`h`) or workers (`w`): `c0h1.3`. */
export function hostName(cluster: number, kind: 'client' | 'worker', number: number, life: number): string {
  return `c${cluster}${kind === 'client' ? 'h' : 'w'}${number}.${life}`
}

/** The life of a process that a task, client or worker belongs to. */
export function hostOf(name: string): string {
  return name.slice(0, name.indexOf('/'))
}

/** The cluster of whatever has a name here; -1 for what has none. */
export function clusterOf(name: string): number {
  const found = /^c(\d+)[hw]/.exec(name)
  return found === null ? -1 : Number(found[1])
}

/** Whether a name as {@link hostName} gives it is one of workers. */
export function isWorkers(host: string): boolean {
  return /^c\d+w/.test(host)
}

export function writeWork({ task, serviceMs, once, pieces }: Work, payload: Uint8Array): Uint8Array {
  const head = `${task} ${serviceMs.toFixed(3)} ${once ? 1 : 0} ${pieces}\n`
  return Buffer.concat([Buffer.from(head), payload])
}

/** @returns null for a body that no client here has written */
export function readWork(body: Uint8Array): Work | null {
  const end = body.indexOf(0x0a)
  if (end < 0 || end > 200) return null
  const [task = '', serviceMs, once, pieces] = Buffer.from(body.buffer, body.byteOffset, end)
    .toString('latin1')
    .split(' ')
  if (clusterOf(task) < 0) return null
  return { task, serviceMs: Number(serviceMs), once: once === '1', pieces: Number(pieces) }
}

/** The name of the task that a body is of; null for a body that no client here has written. */
export function taskOf(body: Uint8Array): string | null {
  return readWork(body)?.task ?? null
}

/** The one right answer to a task: its name, and the beginning of the SHA-256 of its service and whole body. */
export function answerTo(task: string, service: string, body: Uint8Array): string {
  const digest = createHash('sha256').update(`${service}\n`).update(body).digest('hex')
  return `${task}:${digest.slice(0, DIGEST_DIGITS)}`
}

/** A piece of a stream, by its index, when `answer` is the right one to the task. */
export function pieceOf(answer: string, index: number): string {
  return `${answer}#${index}`
}

/** The task that an answer is to; null for an answer that no worker here has given. */
export function taskAnswered(answer: string): string | null {
  const task = answer.slice(0, Math.max(0, answer.indexOf(':')))
  return clusterOf(task) < 0 ? null : task
}
