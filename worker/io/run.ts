import type { Request } from '../../protocol/record.ts'
import { Assignment, type Failure } from '../core/assignment.ts'
import type { Context } from '../handler.ts'
import type { Log } from '../log.ts'
import { Task } from '../task.ts'

/** Whoever passes a run's results on. */
export interface RunOwner {
  readonly log: Log
  /** Largest result the broker takes, octets. */
  readonly replyMax: number
  finished(run: Run, body: Uint8Array): void
  failed(run: Run, failure: Failure): void
  partial(run: Run, body: Uint8Array): void
}

/** A task under way, and what its handler sees of the world. */
export class Run extends Assignment implements Context {
  readonly task: Task
  readonly owner: RunOwner
  /** Made when it is asked for: most handlers never look, and one costs more than all the rest of a short task. */
  #controller: AbortController | undefined
  #wake: (() => void) | undefined

  constructor(request: Request, now: number, owner: RunOwner) {
    super(request, now)
    this.owner = owner
    this.task = new Task(this)
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.stopped !== undefined) this.#controller.abort(reasonOf(this.stopped))
    }
    return this.#controller.signal
  }

  get log(): Log {
    return this.owner.log
  }

  /** Nobody wants the result any more. */
  stop(why: Failure): void {
    this.#controller?.abort(reasonOf(why))
    this.wake()
  }

  /** There is credit again, or no sense in waiting for it. */
  wake(): void {
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }

  /** Until the stream's reader takes more, or the task has been stopped. */
  async creditOrStop(): Promise<void> {
    while (!this.hasCredit && this.stopped === undefined) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }
}

function reasonOf({ code, message }: Failure): DOMException {
  return new DOMException(message, code === 'EXPIRED' ? 'TimeoutError' : 'AbortError')
}
