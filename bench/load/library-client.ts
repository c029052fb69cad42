/** Load through the client library, as a user's program would make it. */

import { Client } from '../../client/main.ts'
import { runTasksWith } from './task-runner.ts'

const [connect = ''] = process.argv.slice(2)
const client = new Client({ connect, timeoutMs: 60_000, retries: 1 })
runTasksWith(async (body) => (await client.request(body)).body)
