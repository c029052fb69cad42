// What workers under test do: write down that the task has started, hold a slot for a while, answer with the SHA-256 of the
// body. Plain JavaScript, since compiled workers load it.
import { createHash } from 'node:crypto'
import { openSync, writeSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'

// At once on disk, so to speak: what is written with one call outlives the process, also under SIGKILL.
const starts = openSync(process.env.STARTS_FILE, 'a')
const taskMs = Number(process.env.TASK_MS)

/** @param {{ id: string, attempt: number, body: Uint8Array }} task */
export default async function work(task) {
  writeSync(starts, `${task.id} ${task.attempt} ${Date.now()}\n`)
  await delay(taskMs)
  return createHash('sha256').update(task.body).digest()
}
