/**
 * A client's pod: keeps so many tasks outstanding, checks every answer, and says every so often how it goes. On SIGTERM it
 * sends no more, waits for what is outstanding, and says how it went.
 *
 *   load.ts BROKER OUTSTANDING
 */

import { createHash } from 'node:crypto'
import { Client, SpillwayError } from '../../../client/main.ts'
import type { LoadReport } from './load-report.ts'

const [broker = '', outstanding = ''] = process.argv.slice(2)

const report = { sent: 0, answered: 0, wrong: 0, again: 0, longestMs: 0, failed: {}, ranIn: {}, done: false }
const failed: Record<string, number> = report.failed
const ranIn: Record<string, number> = report.ranIn
let asked = false

const client = new Client({ connect: broker, retries: 30, deadlineMs: 75_000 })

async function sendOneAfterAnother(): Promise<void> {
  while (!asked) {
    const body = `task ${report.sent++}`
    try {
      const reply = await client.request(body)
      report.answered++
      if (reply.text() !== createHash('sha256').update(body).digest('hex')) report.wrong++
      if (reply.attempts > 1) report.again++
      report.longestMs = Math.max(report.longestMs, Math.round(reply.totalMs))
      ranIn[reply.cluster] = (ranIn[reply.cluster] ?? 0) + 1
    } catch (error) {
      if (!(error instanceof SpillwayError)) throw error
      failed[error.code] = (failed[error.code] ?? 0) + 1
    }
  }
}

function say(): void {
  process.stdout.write(`${JSON.stringify(report satisfies LoadReport)}\n`)
}

process.on('SIGTERM', () => {
  asked = true
})
const saying = setInterval(say, 100)
await Promise.all(Array.from({ length: Number(outstanding) }, sendOneAfterAnother))
clearInterval(saying)
await client.close()
report.done = true
say()
