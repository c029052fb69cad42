import type { Record, Request } from '../../protocol/record.ts'
import type { Assignment, Failure } from './assignment.ts'
import type { WorkerEvent } from './event.ts'

/**
 * Everything the worker's core does to the world, at one place. The caller carries each out in order; records that come
 * out in one turn travel as one message. None of these may call back into the core before it has returned.
 */
export interface WorkerPort<A extends Assignment> {
  /** Connects to a broker's localbe. There is one connection at a time. */
  open(endpoint: string): void
  /** Closes it; what was not sent yet is lost, except after a `farewell`, which gets a moment to leave. */
  close(farewell: boolean): void
  /** Gathers a record; it leaves when the turn ends. `to` is the broker's epoch, 0 until known. */
  send(record: Record, to: number): void
  /** Starts a task, and returns what stands for it. Exactly one `finished` or `failed` is to follow. */
  start(request: Request, now: number): A
  /** The result is not wanted any more: the task should end soon, but its slot is taken until it has. */
  cancel(assignment: A, why: Failure): void
  /** The stream's reader takes more. */
  credit(assignment: A): void
  event(event: WorkerEvent): void
  /** The end. With an error when there is no point in going on: an operator has to do something. */
  stopped(error: Failure | undefined): void
}
