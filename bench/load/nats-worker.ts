/** A member of a NATS queue group that answers each request with its own body. */

import { connect } from 'nats'
import { say } from './orders.ts'

const [servers = ''] = process.argv.slice(2)
const connection = await connect({ servers })
connection.subscribe('task', {
  queue: 'workers',
  callback: (error, message) => {
    if (error === null) message.respond(message.data)
  },
})
await connection.flush()
say({ type: 'ready' })
process.stdin.resume().on('end', () => process.exit(0))
