/** Load through NATS' own client: request-reply. */

import { connect } from 'nats'
import { runTasksWith } from './task-runner.ts'

const [servers = ''] = process.argv.slice(2)
const connection = await connect({ servers })
const options = { timeout: 60_000 }
runTasksWith(async (body) => (await connection.request('task', body, options)).data)
