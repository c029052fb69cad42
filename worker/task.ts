import { performance } from 'node:perf_hooks'
import { Flag } from '../protocol/record.ts'
import type { Assignment } from './core/assignment.ts'

/** A task as its handler sees it. */
export class Task {
  /** The same over all retries and attempts. */
  readonly id: string
  /** 1 at the first start; more when an earlier worker was lost with it. */
  readonly attempt: number
  /** A view of the message it came in: `slice()` it to keep a small one for long. */
  readonly body: Uint8Array
  /** Empty: the anonymous service. */
  readonly service: string
  /** From 0 (last) to 9 (first). */
  readonly priority: number
  /** W3C trace context; empty if the client gave none. */
  readonly traceparent: string
  /** False: it is not started a second time, not even when this worker dies with it. */
  readonly idempotent: boolean
  /** The client takes the result piece by piece. */
  readonly stream: boolean
  readonly #deadlineAt: number

  constructor({ request, isIdempotent, isStream, deadlineAt }: Assignment) {
    this.id = request.id
    this.attempt = request.attempt
    this.body = request.body
    this.service = request.service
    this.priority = request.priority
    this.traceparent = request.traceparent
    this.idempotent = isIdempotent
    this.stream = isStream
    this.#deadlineAt = deadlineAt
  }

  /** Time until nobody wants the result any more, ms, from now. */
  get timeLeftMs(): number {
    return Math.max(0, this.#deadlineAt - performance.now())
  }

  /** The body as UTF-8; malformed octets become U+FFFD. */
  text(): string {
    const { body } = this
    return Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8')
  }

  /** The body parsed as JSON. @throws SyntaxError when it is none */
  json(): unknown {
    return JSON.parse(this.text())
  }
}

/** What a task's flags say, for whoever has to make them up. */
export function flagsOf(task: Pick<Task, 'idempotent' | 'stream'>): number {
  return (task.idempotent ? 0 : Flag.NotIdempotent) | (task.stream ? Flag.Stream : 0)
}
