import type { Reply as ReplyRecord } from '../protocol/record.ts'

/** The result of a task, and where it comes from. */
export class Reply {
  readonly taskId: string
  /** As the handler returned it. A view of the message it came in: `slice()` a small one that is kept for long. */
  readonly body: Uint8Array
  /** Cluster and worker that ran it. */
  readonly cluster: string
  readonly worker: string
  /** How often it was started, from 1. */
  readonly attempts: number
  /** From its arrival at the first broker to its last start, ms. */
  readonly queuedMs: number
  /** From that start to its end, ms. */
  readonly runMs: number
  /** From the call to the answer, as this client saw it, ms. */
  readonly totalMs: number

  constructor(taskId: string, record: ReplyRecord, totalMs: number) {
    this.taskId = taskId
    this.body = record.body
    this.cluster = record.cluster
    this.worker = record.worker
    this.attempts = record.attempts
    this.queuedMs = record.queuedUs / 1000
    this.runMs = record.runUs / 1000
    this.totalMs = totalMs
  }

  /** The body as UTF-8; malformed octets become U+FFFD. */
  text(): string {
    return text(this.body)
  }

  /** The body parsed as JSON. @throws SyntaxError when it is none */
  json(): unknown {
    return JSON.parse(text(this.body))
  }
}

/** One piece of a stream. */
export class Piece {
  readonly body: Uint8Array
  /** Counts from 0 within an attempt. */
  readonly index: number
  /** Grows when a stream was begun anew (`restart: true`): what earlier attempts sent is void. */
  readonly attempt: number
  readonly cluster: string
  readonly worker: string

  constructor(body: Uint8Array, index: number, attempt: number, cluster: string, worker: string) {
    this.body = body
    this.index = index
    this.attempt = attempt
    this.cluster = cluster
    this.worker = worker
  }

  /** The body as UTF-8; malformed octets become U+FFFD. */
  text(): string {
    return text(this.body)
  }
}

function text(body: Uint8Array): string {
  return Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8')
}
