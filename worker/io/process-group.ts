import { setTimeout as pause } from 'node:timers/promises'

const LOOK_EVERY_MS = 20
/** Who has been killed is gone within milliseconds, unless there is much memory to give back; or stays for ever, as a zombie
 *  that nobody asks after. */
const DYING_MAX_MS = 500

/** Signals a process group. @returns false when nobody is left in it */
export function signalGroup(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-pid, signal)
    return true
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    // EPERM: somebody is left who has changed their user, or (on macOS) nothing but zombies.
    if (code === 'ESRCH' || code === 'EPERM') return false
    throw error
  }
}

/**
 * Ends whoever is left in a process group: asks them, and kills those still there after `graceMs`. Then waits until they are
 * gone, so that what they held (a port, a lock, memory of a device) is there for who comes next.
 */
export async function endGroup(pid: number, graceMs: number): Promise<void> {
  if (!signalGroup(pid, 'SIGTERM')) return
  for (let waited = 0; waited < graceMs; waited += LOOK_EVERY_MS) {
    await pause(Math.min(LOOK_EVERY_MS, graceMs - waited))
    if (!signalGroup(pid, 0)) return
  }
  signalGroup(pid, 'SIGKILL')
  for (let waited = 0; waited < DYING_MAX_MS && signalGroup(pid, 0); waited += LOOK_EVERY_MS) {
    await pause(LOOK_EVERY_MS)
  }
}
