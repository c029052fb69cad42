/** Load through NATS' own client: request-reply. */

import { setTimeout as pause } from 'node:timers/promises'
import { connect } from 'nats'
import { runTasksWith } from './task-runner.ts'

const [servers = ''] = process.argv.slice(2)
const connection = await connect({ servers })
const options = { timeout: 60_000 }

// Gateways tell each other of subscribers when they like: until then there are "no responders".
const PATIENCE_MS = 15_000
const giveUpAt = performance.now() + PATIENCE_MS
for (;;) {
  const answered = await connection.request('task', Buffer.alloc(0), { timeout: 1000 }).then(
    () => true,
    () => false,
  )
  if (answered) break
  if (performance.now() > giveUpAt) throw new Error('no worker answers through these servers')
  await pause(50)
}
runTasksWith(async (body) => (await connection.request('task', body, options)).data)
