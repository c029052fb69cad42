/** The process that an isolated handler runs in, one task at a time. Arguments: the module's URL, the parent's pid. */

import { performance } from 'node:perf_hooks'
import { inspect } from 'node:util'
import { Worker as Thread } from 'node:worker_threads'
import { errorMessage } from '../../settings/error-message.ts'
import { Assignment } from '../core/assignment.ts'
import { failureOf } from '../failure.ts'
import type { Context, Handler } from '../handler.ts'
import type { Log } from '../log.ts'
import { isAsyncIterable, octetsOf } from '../result.ts'
import { Task } from '../task.ts'
import { loadHandler } from './handler-module.ts'
import type { Enveloped, FromChild, ToChild } from './isolation-messages.ts'

const [url = '', parent = ''] = process.argv.slice(2)
let controller = new AbortController()
let goOn = () => {}

function tell(message: FromChild): void {
  // Refused when the parent has gone, which ends this process as well.
  const enveloped: Enveloped = { spillway: message }
  if (process.connected) process.send?.(enveloped)
}

const log: Log = {
  debug: (fields, message) => write('debug', fields, message),
  info: (fields, message) => write('info', fields, message),
  warn: (fields, message) => write('warn', fields, message),
  error: (fields, message) => write('error', fields, message),
}

/** What cannot be sent to another process, as a function, is sent as what it looks like. */
function write(level: keyof Log, fields: object, message: string): void {
  try {
    tell({ type: 'log', level, fields, message })
  } catch {
    const shown = Object.entries(fields).map(([name, value]) => [name, inspect(value)])
    tell({ type: 'log', level, fields: Object.fromEntries(shown), message })
  }
}

async function perform(handler: Handler, task: Task): Promise<void> {
  controller = new AbortController()
  const { signal } = controller
  const context: Context = { signal, log }
  try {
    const result = await handler(task, context)
    const body = isAsyncIterable(result) ? await pour(result, signal) : octetsOf(result)
    tell({ type: 'done', body })
  } catch (error) {
    tell({ type: 'failed', failure: failureOf(error) })
  }
}

/** One piece at a time: the next is made when the parent has got rid of the one before. */
async function pour(pieces: AsyncIterable<unknown>, signal: AbortSignal): Promise<Uint8Array> {
  const iterator = pieces[Symbol.asyncIterator]()
  for (;;) {
    const { done, value } = await iterator.next()
    if (done) return octetsOf(value)
    if (!signal.aborted) {
      const asked = new Promise<void>((resolve) => {
        goOn = resolve
      })
      tell({ type: 'piece', body: octetsOf(value) })
      await asked
    }
    if (signal.aborted) {
      await iterator.return?.()
      throw signal.reason
    }
  }
}

// A blocked process does not notice that its parent was killed: a thread does.
new Thread(
  `setInterval(() => { if (process.ppid !== ${Number(parent)}) process.kill(process.pid, 'SIGKILL') }, 1000)`,
  { eval: true, execArgv: [] },
).unref()
process.on('disconnect', () => process.exit(0))

try {
  const handler = await loadHandler(url)
  process.on('message', (message: ToChild) => {
    switch (message.type) {
      case 'task':
        tell({ type: 'begun' })
        void perform(handler, new Task(new Assignment(message.request, performance.now())))
        break
      case 'more':
        goOn()
        break
      case 'cancel':
        controller.abort(
          new DOMException(message.message, message.code === 'EXPIRED' ? 'TimeoutError' : 'AbortError'),
        )
        goOn()
        break
    }
  })
  tell({ type: 'ready' })
} catch (error) {
  tell({ type: 'unusable', message: errorMessage(error) })
}
