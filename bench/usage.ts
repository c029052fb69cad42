/** What processes use, from /proc: time on a processor by thread, memory. Linux only; elsewhere there is nothing to show. */

import { existsSync, readdirSync, readFileSync } from 'node:fs'

/** Microseconds on a processor since the process began, user and system. */
export interface ProcessTime {
  readonly main: number
  /** All other threads: libzmq's, Node's. */
  readonly others: number
}

const NONE: ProcessTime = { main: 0, others: 0 }

export const usageIsKnown = existsSync('/proc/self/schedstat')

export function processTime(pid: number): ProcessTime {
  if (!usageIsKnown) return NONE
  let main = 0
  let others = 0
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    // The first number of schedstat is nanoseconds on a processor; /proc/PID/stat has it in hundredths of a second only.
    const text = readText(`/proc/${pid}/task/${thread}/schedstat`)
    const microseconds = Number(text.slice(0, text.indexOf(' '))) / 1000
    if (thread === String(pid)) main += microseconds
    else others += microseconds
  }
  return { main, others }
}

export interface Memory {
  /** Now, and at its highest, octets. */
  readonly rss: number
  readonly peak: number
}

export function memoryOf(pid: number): Memory {
  if (!usageIsKnown) return { rss: 0, peak: 0 }
  const status = readText(`/proc/${pid}/status`)
  const kilobytes = (field: string): number =>
    Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? 0)
  return { rss: kilobytes('VmRSS') * 1024, peak: kilobytes('VmHWM') * 1024 }
}

/** Microseconds that all processors together were busy, or taken by the hypervisor, since the machine began. */
export function machineBusy(): number {
  if (!usageIsKnown) return 0
  const [, user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = (
    readText('/proc/stat').split('\n', 1)[0] ?? ''
  )
    .split(/\s+/)
    .map(Number)
  // In hundredths of a second on every Linux there is.
  return (user + nice + system + irq + softirq + steal) * 10_000
}

/** A thread that has just ended has no file any more. */
function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH'))
      return '0 0 0'
    throw error
  }
}
