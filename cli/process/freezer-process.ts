/**
 * Stops processes as by SIGSTOP and lets them go on, for whoever started this one. Nobody else could let them go when that one
 * is gone: who is stopped does not notice that its leash has been let go.
 */

import { z } from 'zod'

const orderSchema = z.object({ type: z.enum(['freeze', 'thaw']), group: z.int().min(2) })

const frozen = new Set<number>()

function signal(group: number, name: NodeJS.Signals): void {
  try {
    process.kill(-group, name)
  } catch {
    // It has been killed meanwhile.
  }
}

process.channel?.ref()
process.on('message', (message) => {
  const { type, group } = orderSchema.parse(message)
  if (type === 'freeze') frozen.add(group)
  else frozen.delete(group)
  signal(group, type === 'freeze' ? 'SIGSTOP' : 'SIGCONT')
})
// The leash ends this process at once when it is let go: this is the last moment.
process.on('exit', () => {
  for (const group of frozen) signal(group, 'SIGKILL')
})
