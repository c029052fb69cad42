// An example of a task handler: the SHA-256 of the body. Put your own in its place.
import { createHash } from 'node:crypto'

export default (task) => createHash('sha256').update(task.body).digest('hex')
