import { onAbort } from './abort.ts'
import type { CallTerms } from './core/call.ts'
import type { Outcome } from './core/outcome.ts'
import { errorOf } from './errors.ts'
import { PendingCall } from './io/pending-call.ts'
import { Reply } from './reply.ts'

/** A request somebody awaits. */
export class PendingReply extends PendingCall {
  readonly promise: Promise<Reply>
  #resolve: (reply: Reply) => void = unset
  #reject: (reason: unknown) => void = unset
  #unlisten: (() => void) | undefined

  constructor(terms: CallTerms) {
    super(terms)
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  /** Watches a signal that has not fired yet; the call must be cancelled in `abort`. */
  listen(signal: AbortSignal, abort: () => void): void {
    this.#unlisten = onAbort(signal, () => {
      abort()
      this.#reject(signal.reason)
    })
  }

  override ended(outcome: Outcome, now: number): void {
    this.#unlisten?.()
    if (outcome.kind === 'failure' || outcome.code !== '') this.#reject(errorOf(this.taskId, outcome))
    else this.#resolve(new Reply(this.taskId, outcome, now - this.startedAt))
  }

  override piece(): void {
    // The core passes on pieces of streams only.
  }
}

function unset(): void {}
