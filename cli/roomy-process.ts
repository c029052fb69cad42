import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { z } from 'zod'
import { parameters } from '../sim/scenario.ts'
import { Exit } from './exit-status.ts'
import { SIGNALS } from './interruption.ts'

/** Clusters beyond which memory is scarce: what each pair of them has fills it. */
const MANY_CLUSTERS = 200

/** What the process is told to run: not to be read again, since a scenario may have come through a pipe. */
const order = z.object({ seed: z.number(), parameters, typed: z.string(), parent: z.number() })
export type Order = z.infer<typeof order>

/** Megabytes that V8 may take for each half of what lives shortly, which has three, and for all that lives longer. */
interface HeapLimits {
  readonly semiSpace: number
  readonly old: number
  /**
   * With little that lives long: collects with one thread, since what others share of it costs more than it saves, and has all
   * the room from the beginning.
   */
  readonly alone: boolean
}

/**
 * With a thousand clusters what their pairs have fills the memory. Semi-spaces of 128 MB take 0.1 GB more than those of 16,
 * and a fifth less time, since a message to each of a million pairs outlives the smaller; those of 256, 0.4 GB more.
 */
function memoryFor(clusters: number): HeapLimits {
  if (clusters <= MANY_CLUSTERS) return { semiSpace: 256, old: 6144, alone: true }
  return { semiSpace: 128, old: Math.ceil(3500 * Math.max(1, (clusters / 1000) ** 2)), alone: false }
}

/**
 * The same command in a process whose heap is made for it. The young generation is large: most of what a run makes dies within
 * a task's time. Of up to 200 clusters it is as large from the beginning, so that what is made for the whole run is not moved
 * about before it is all there, and it may be collected from within: what a client or a worker consists of then lies together,
 * in the order it was made, on a page or two instead of ten all over the heap. For a run that waits for memory more than half
 * of its time that is a seventh less.
 *
 * It ends with this one, also when that is killed ({@link endWithout}).
 * @returns how it has ended
 */
export function inRoomyProcess(what: Omit<Order, 'parent'>): Promise<number> {
  const { semiSpace, old, alone } = memoryFor(what.parameters.clusters)
  const args = [
    `--max-semi-space-size=${semiSpace}`,
    `--max-old-space-size=${old}`,
    ...(alone ? ['--single-threaded-gc', `--min-semi-space-size=${semiSpace}`] : []),
    '--expose-gc',
    ...process.execArgv,
    ...process.argv.slice(1),
    '--as-child',
  ]
  const child = spawn(process.execPath, args, {
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    serialization: 'advanced',
  })
  // One that cannot be started, or dies at once, says so below.
  child.send({ ...what, parent: process.pid }, () => {})
  for (const signal of SIGNALS) process.on(signal, () => child.kill(signal))
  return new Promise((resolve) => {
    child.once('error', (error) => {
      process.stderr.write(`spillway sim run: cannot start the process it runs in: ${error.message}\n`)
      resolve(Exit.CannotRun)
    })
    child.once('exit', (status, signal) => {
      if (signal === null) {
        resolve(status ?? Exit.CannotRun)
        return
      }
      // V8 aborts at its limit, the system kills at its own. Neither says anything about a promise.
      if (signal === 'SIGABRT' || signal === 'SIGKILL') process.stderr.write(`${OUT_OF_MEMORY}\n`)
      resolve(128 + constants.signals[signal])
    })
  })
}

/** In the child: what is to be run. Ends with the parent, if that goes before it has said so. */
export function ordered(): Promise<Order> {
  const alone = () => process.exit(Exit.CannotRun)
  if (!process.connected) alone()
  process.once('disconnect', alone)
  return new Promise((resolve) => {
    process.once('message', (message) => {
      process.off('disconnect', alone)
      resolve(order.parse(message))
    })
  })
}

/** In the child, to be called now and then: a run takes the whole thread, so that nothing else would notice. */
export function endWithout(parent: number): void {
  if (process.ppid !== parent) process.exit(Exit.CannotRun)
}

const OUT_OF_MEMORY = `spillway sim run: the simulation has probably run out of memory, and has come to no verdict. Give it
less to hold (--clusters, --workers, --clients, --duration-ms), or more room where there is some:
node --max-old-space-size=<MB> with the path of spillway and the same command.`
