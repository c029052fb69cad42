/** A process of a live run that holds some of a cluster's workers, each with a connection of its own. */

import { setTimeout as delay } from 'node:timers/promises'
import { type Context, type Task, Worker } from '../../worker/main.ts'
import { workerHostSchema } from './host-terms.ts'
import { clockMs, LedgerFile } from './ledger.ts'
import { answerTo, readWork } from './work.ts'

/** A broker that was killed is back within seconds. */
const RECONNECT_MIN_MS = 100
const RECONNECT_MAX_MS = 1000

const terms = workerHostSchema.parse(JSON.parse(process.argv[2] ?? ''))
const ledger = new LedgerFile(terms.folder, terms.host)

async function work(worker: string, { body }: Task, { signal }: Context): Promise<string> {
  const asked = readWork(body)
  if (asked === null) throw new Error('this is no task of a live run')
  const { task, serviceMs, once } = asked
  ledger.write({ what: 'started', at: clockMs(), task, worker, slots: terms.slots, once })
  try {
    await delay(serviceMs, undefined, { signal })
    return answerTo(task, body)
  } finally {
    // Before the broker hears of it, and so before another can be started here.
    ledger.write({ what: 'ended', at: clockMs(), task, worker })
  }
}

for (let n = 0; n < terms.workers; n++) {
  const name = `${terms.host}/${n}`
  const worker = new Worker({
    connect: terms.connect,
    name,
    slots: terms.slots,
    reconnectMinMs: RECONNECT_MIN_MS,
    reconnectMaxMs: RECONNECT_MAX_MS,
    drainOnSigterm: false,
    handler: (task, context) => work(name, task, context),
  })
  void worker.stopped
}
process.once('SIGTERM', () => process.exit(0))
