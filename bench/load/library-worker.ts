/** A worker that answers each task with its own body, through the worker library, as a user's program would be. */

import { Worker } from '../../worker/main.ts'
import { say } from './orders.ts'

const [connect = '', slots = '1'] = process.argv.slice(2)
new Worker({ connect, slots: Number(slots), handler: (task) => task.body })
say({ type: 'ready' })
process.stdin.resume().on('end', () => process.exit(0))
