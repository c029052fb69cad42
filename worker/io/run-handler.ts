import { ErrorCode } from '../../protocol/error-code.ts'
import { EMPTY_BODY } from '../../protocol/record.ts'
import type { Failure } from '../core/assignment.ts'
import { failureOf } from '../failure.ts'
import type { Handler } from '../handler.ts'
import { isAsyncIterable, isThenable, octetsOf } from '../result.ts'
import type { Run } from './run.ts'

/**
 * Runs a handler for a task and sees to it that exactly one `finished` or `failed` follows, whatever the handler does,
 * as soon as it has ended. A handler that returns at once costs no promise.
 */
export function runHandler(handler: Handler, run: Run): void {
  // Cancelled in the same message.
  if (run.stopped !== undefined) {
    run.owner.failed(run, run.stopped)
    return
  }
  let result: unknown
  let later: Promise<unknown> | undefined
  try {
    result = handler(run.task, run)
    if (result instanceof Promise) later = result
    // One of another make may say it twice, or throw. Adopted by one of ours, it says one thing.
    else if (isThenable(result)) later = Promise.resolve(result)
  } catch (error) {
    run.owner.failed(run, failureOf(error))
    return
  }
  if (later === undefined) settle(run, result)
  else {
    later.then(
      (value) => settle(run, value),
      (error: unknown) => run.owner.failed(run, failureOf(error)),
    )
  }
}

function settle(run: Run, value: unknown): void {
  let body: Uint8Array
  try {
    if (isAsyncIterable(value)) {
      void pour(run, value)
      return
    }
    body = octetsOf(value)
  } catch (error) {
    run.owner.failed(run, failureOf(error))
    return
  }
  run.owner.finished(run, body)
}

/** Passes the pieces on as fast as their reader takes them, or gathers them for a client that wants one answer. */
async function pour(run: Run, pieces: AsyncIterable<unknown>): Promise<void> {
  const gathered: Uint8Array[] = []
  let octets = 0
  let last: Uint8Array = EMPTY_BODY
  let failure: Failure | undefined
  let iterator: AsyncIterator<unknown> | undefined
  try {
    iterator = pieces[Symbol.asyncIterator]()
    while (run.stopped === undefined) {
      const { done, value } = await iterator.next()
      const body = octetsOf(value)
      if (done) {
        iterator = undefined
        last = body
        break
      }
      if (run.isStream) {
        if (!run.hasCredit) await run.creditOrStop()
        run.owner.partial(run, body)
        continue
      }
      gathered.push(body)
      octets += body.byteLength
      if (octets > run.owner.replyMax) {
        failure = tooLarge(run.owner.replyMax)
        break
      }
    }
  } catch (error) {
    failure = failureOf(error)
  }
  try {
    // It may have to clean up, and its slot is taken until it has.
    await iterator?.return?.()
  } catch (error) {
    failure ??= failureOf(error)
  }
  if (failure !== undefined || run.stopped !== undefined) {
    run.owner.failed(run, failure ?? failureOf(run.stopped))
  } else {
    run.owner.finished(run, gathered.length === 0 ? last : Buffer.concat([...gathered, last]))
  }
}

function tooLarge(replyMax: number): Failure {
  const message = `The reply has more than the ${replyMax} octets that the broker takes: raise its bodyMax, or ask for a stream.`
  return { code: ErrorCode.TooLarge, message, retryable: false }
}
