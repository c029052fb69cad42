import type { Log } from './log.ts'
import type { Task } from './task.ts'

/** What a handler gets beside its task. */
export interface Context {
  /** Fires when the task's time is up or nobody waits for it any more: end soon, the slot is taken until you have. */
  readonly signal: AbortSignal
  /** The worker's log. */
  readonly log: Log
}

/**
 * Does a task. What it returns, or its promise fulfils, is the result: octets as they are (do not write to them
 * afterwards), a string as UTF-8, undefined as nothing, anything else as JSON. An async iterable, as an async generator
 * returns, is a stream: each piece it yields, and last what it returns. A client that asked for no stream gets them in
 * one.
 *
 * What it throws becomes the task's error: `code` (default TASK_FAILED), `message` and `retryable` (default false)
 * are taken from it.
 */
export type Handler = (task: Task, context: Context) => unknown
