/** A process of a live run that holds some of a cluster's workers, each with a connection of its own. */

import { setTimeout as delay } from 'node:timers/promises'
import { type Context, type Task, Worker } from '../../worker/main.ts'
import { workerHostSchema } from './host-terms.ts'
import { clockMs, LedgerFile } from './ledger.ts'
import { onStandstill } from './standstill.ts'
import { answerTo, pieceOf, readWork, type Work } from './work.ts'

/** A broker that was killed is back within seconds. */
const RECONNECT_MIN_MS = 100
const RECONNECT_MAX_MS = 1000

const terms = workerHostSchema.parse(JSON.parse(process.argv[2] ?? ''))
const ledger = new LedgerFile(terms.folder, terms.host)
onStandstill(clockMs, (since, at) => ledger.write({ what: 'stood still', at, since, host: terms.host }))

function handle(worker: string, task: Task, context: Context): unknown {
  const work = readWork(task.body)
  if (work === null) throw new Error('this is no task of a live run')
  return work.pieces > 0 ? tell(worker, work, task, context) : answer(worker, work, task, context)
}

async function answer(
  worker: string,
  work: Work,
  { service, body }: Task,
  { signal }: Context,
): Promise<string> {
  started(worker, work, service)
  try {
    await delay(work.serviceMs, undefined, { signal })
    return answerTo(work.task, service, body)
  } finally {
    ended(worker, work)
  }
}

/** The same, piece by piece. */
async function* tell(
  worker: string,
  work: Work,
  { service, body }: Task,
  { signal }: Context,
): AsyncGenerator<string, string> {
  started(worker, work, service)
  try {
    const answer = answerTo(work.task, service, body)
    for (let index = 0; index < work.pieces; index++) {
      await delay(work.serviceMs / work.pieces, undefined, { signal })
      yield pieceOf(answer, index)
    }
    return answer
  } finally {
    ended(worker, work)
  }
}

function started(worker: string, { task, once }: Work, service: string): void {
  ledger.write({ what: 'started', at: clockMs(), task, worker, slots: terms.slots, once, service })
}

/** Before the broker hears of it, and so before another can be started here. */
function ended(worker: string, { task }: Work): void {
  ledger.write({ what: 'ended', at: clockMs(), task, worker })
}

for (let n = 0; n < terms.workers; n++) {
  const name = `${terms.host}/${n}`
  const worker = new Worker({
    connect: terms.connect,
    name,
    slots: terms.slots,
    services: terms.services,
    reconnectMinMs: RECONNECT_MIN_MS,
    reconnectMaxMs: RECONNECT_MAX_MS,
    drainOnSigterm: false,
    handler: (task, context) => handle(name, task, context),
  })
  void worker.stopped
}
process.once('SIGTERM', () => process.exit(0))
