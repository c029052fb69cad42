import type { Client } from './client.ts'
import type { Guest } from './guest.ts'
import type { Service } from './service.ts'
import { Task, type TaskFields } from './task.ts'

/** Tasks kept for others to come, at most. */
const KEPT_MAX = 1024

/**
 * Tasks that are over, to be other tasks: each would else be 400 octets for the garbage collector, and as many to be fetched
 * from memory that was not touched for long. One that is given back stays as it is until the turn has ended: whoever came
 * across it during the turn finds it settled, never another's.
 */
export class TaskPool {
  /** Chained through `queueNext`: those that may be taken; and those that were given back in this turn. */
  #free: Task | null = null
  #resting: Task | null = null
  /** The one that was given back first in this turn. */
  #restingLast: Task | null = null
  #kept = 0

  take(
    service: Service,
    fields: TaskFields,
    client: Client | null,
    guest: Guest | null,
    arrivedAt: number,
    deadline: number,
  ): Task {
    const task = this.#free
    if (task === null) return new Task(service, fields, client, guest, arrivedAt, deadline)
    this.#free = task.queueNext
    this.#kept--
    task.begin(service, fields, client, guest, arrivedAt, deadline)
    return task
  }

  /** It must be in no table, queue or wheel any more. */
  giveBack(task: Task): void {
    task.end()
    if (this.#kept >= KEPT_MAX) return
    this.#kept++
    task.queueNext = this.#resting
    this.#resting = task
    this.#restingLast ??= task
  }

  /** Nobody who came across a task in this turn is still at it. */
  endTurn(): void {
    if (this.#restingLast === null) return
    this.#restingLast.queueNext = this.#free
    this.#free = this.#resting
    this.#resting = null
    this.#restingLast = null
  }
}
