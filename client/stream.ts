import type { Partial } from '../protocol/record.ts'
import { onAbort } from './abort.ts'
import type { CallTerms } from './core/call.ts'
import type { Outcome } from './core/outcome.ts'
import { errorOf } from './errors.ts'
import { PendingCall } from './io/pending-call.ts'
import { Piece, Reply } from './reply.ts'

/** What a stream tells the client that made it. */
export interface StreamOwner {
  taken(call: PendingCall, attempt: number): void
  cancel(call: PendingCall): void
}

interface Reader {
  resolve(result: IteratorResult<Piece, undefined>): void
  reject(reason: unknown): void
}

/** A stream under way: at most a window's pieces wait here for the consumer. */
export class PendingStream extends PendingCall {
  readonly stream: ReplyStream
  readonly #owner: StreamOwner
  readonly #resolveFinal: (reply: Reply) => void
  readonly #rejectFinal: (reason: unknown) => void
  #pieces: Piece[] = []
  #first = 0
  #reader: Reader | undefined
  #over = false
  #error: unknown
  #unlisten: (() => void) | undefined

  constructor(terms: CallTerms, owner: StreamOwner) {
    super(terms)
    this.#owner = owner
    let resolveFinal: (reply: Reply) => void = () => {}
    let rejectFinal: (reason: unknown) => void = () => {}
    const final = new Promise<Reply>((resolve, reject) => {
      resolveFinal = resolve
      rejectFinal = reject
    })
    // The loop over the pieces throws the same error: nobody need look at both.
    final.catch(() => {})
    this.#resolveFinal = resolveFinal
    this.#rejectFinal = rejectFinal
    this.stream = new ReplyStream(this, final)
  }

  /** Watches a signal that has not fired yet. */
  listen(signal: AbortSignal): void {
    this.#unlisten = onAbort(signal, () => this.stop(signal.reason))
  }

  /** The consumer wants no more: the task is cancelled, what waits here is dropped. */
  stop(reason: unknown): void {
    if (!this.#over) this.#owner.cancel(this)
    this.#pieces = []
    this.#first = 0
    this.#end(reason)
  }

  override piece(record: Partial): void {
    const { body, index, cluster, worker } = record
    const piece = new Piece(body, index, this.attempt, cluster, worker)
    // Begun anew: what waits here is of an attempt that came to nothing.
    if (index === 0) {
      this.#pieces = []
      this.#first = 0
    }
    const reader = this.#reader
    if (reader === undefined) {
      this.#pieces.push(piece)
      return
    }
    this.#reader = undefined
    reader.resolve({ done: false, value: piece })
    // Credit is given once the core has finished with this piece: it must not be called back meanwhile.
    queueMicrotask(() => this.#owner.taken(this, piece.attempt))
  }

  override ended(outcome: Outcome, now: number): void {
    if (outcome.kind === 'failure' || outcome.code !== '') {
      this.#end(errorOf(this.taskId, outcome))
      return
    }
    this.#resolveFinal(new Reply(this.taskId, outcome, now - this.startedAt))
    this.#end(undefined)
  }

  next(): Promise<IteratorResult<Piece, undefined>> {
    const piece = this.#pieces[this.#first]
    if (piece !== undefined) {
      this.#first++
      if (this.#first === this.#pieces.length) {
        this.#pieces = []
        this.#first = 0
      }
      this.#owner.taken(this, piece.attempt)
      return Promise.resolve({ done: false, value: piece })
    }
    if (this.#over) {
      const error = this.#error
      this.#error = undefined
      return error === undefined ? Promise.resolve({ done: true, value: undefined }) : Promise.reject(error)
    }
    if (this.#reader !== undefined)
      return Promise.reject(new TypeError('a stream has one reader that awaits one piece at a time'))
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject }
    })
  }

  #end(error: unknown): void {
    if (this.#over) return
    this.#over = true
    this.#unlisten?.()
    if (error !== undefined) this.#rejectFinal(error)
    const reader = this.#reader
    this.#reader = undefined
    if (reader === undefined) this.#error = error
    else if (error === undefined) reader.resolve({ done: true, value: undefined })
    else reader.reject(error)
  }
}

/**
 * The pieces of a task's answer, in order. A slow reader slows the worker down; leaving the loop early cancels the
 * task. Can be read once.
 */
export class ReplyStream implements AsyncIterableIterator<Piece, undefined> {
  /** The last word: its body and provenance. Rejects as the loop does, and when the loop is left early. */
  readonly final: Promise<Reply>
  readonly #call: PendingStream

  constructor(call: PendingStream, final: Promise<Reply>) {
    this.#call = call
    this.final = final
  }

  get taskId(): string {
    return this.#call.taskId
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<IteratorResult<Piece, undefined>> {
    return this.#call.next()
  }

  /** Cancels what is still to come. */
  return(): Promise<IteratorResult<Piece, undefined>> {
    this.#call.stop(new DOMException('the stream was left before its end', 'AbortError'))
    return Promise.resolve({ done: true, value: undefined })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }
}
