import type { PromiseKept } from '../report/report.ts'
import type { Breach } from './breach.ts'
import { NO_ANSWER_ASTRAY } from './invariants.ts'
import type { Simulation } from './simulation.ts'
import { NO_TASK_IS_LOST } from './simulation.ts'

const ERRORS_ARE_TRUE = 'an error only when it is true'

/** What was promised, how often it was looked at, and whether it was kept; a breach of none of these has a line of its own. */
export function promisesOf(simulation: Simulation, breach: Breach | null): PromiseKept[] {
  const { ledger, p } = simulation
  const answered = ledger.outcomes.get('') ?? 0
  const books = p.checkBooksEvery === 0 ? 0 : Math.floor(ledger.turns / p.checkBooksEvery)
  // What is settled was not lost; what is not settled is judged when it has had its time.
  const kept = ledger.settledCount
  const ended = simulation.recovered ? 1 : 0
  const checks: readonly (readonly [string, number])[] = [
    ['every request settles exactly once', ledger.settledCount + ledger.pieces],
    [NO_ANSWER_ASTRAY, ledger.settledCount + ledger.unaskedCount],
    ['no answer of the wrong task', ledger.starts + answered + ledger.pieces],
    ['no answer out of thin air', answered],
    ['a stream is whole', ledger.pieces],
    [ERRORS_ARE_TRUE, ledger.settledCount - answered],
    ['a task that is not idempotent never starts twice', ledger.onceCount],
    ['no task starts twice without a cause', ledger.restarts],
    ['no slot holds two tasks', ledger.starts],
    ['no task is sent on by a borrower', ledger.forwarded],
    ['every queue stays within its bound', ledger.turns],
    ["a broker's books are right", books],
    ['no task waits while a local worker is free', books],
    ['capacity advertised never exceeds what is free', ledger.offersChecked],
    ['nobody who lives is given up', ledger.givenUp],
    ['a core never throws', simulation.events],
    [NO_TASK_IS_LOST, kept],
    ['after faults end, all work drains and everybody agrees who is there', ended],
    ['when nothing is wrong, a task is done', simulation.probes],
  ]
  const broken = breach === null ? null : nameOf(breach.promise)
  const promises = checks.map(
    ([promise, checked]): PromiseKept => ({
      promise,
      // The check that failed was not counted as it ended the run.
      checked: promise === broken ? checked + 1 : checked,
      broken: promise === broken ? 1 : 0,
    }),
  )
  if (broken !== null && !checks.some(([promise]) => promise === broken))
    promises.push({ promise: broken, checked: 1, broken: 1 })
  return promises
}

/** Each code has a promise of its own; in a table they are one. */
function nameOf(promise: string): string {
  return promise.endsWith(' only when it is true') ? ERRORS_ARE_TRUE : promise
}
