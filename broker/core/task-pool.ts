import type { Client } from './client.ts'
import type { Guest } from './guest.ts'
import type { Service } from './service.ts'
import { Task, type TaskFields } from './task.ts'
import { TurnPool } from './turn-pool.ts'

/** Tasks that are over, to be other tasks. */
export class TaskPool {
  readonly #pool = new TurnPool<Task>()

  take(
    service: Service,
    fields: TaskFields,
    client: Client | null,
    guest: Guest | null,
    arrivedAt: number,
    deadline: number,
  ): Task {
    const task = this.#pool.take()
    if (task === null) return new Task(service, fields, client, guest, arrivedAt, deadline)
    task.begin(service, fields, client, guest, arrivedAt, deadline)
    return task
  }

  /** It must be in no table, queue or wheel any more. */
  giveBack(task: Task): void {
    task.end()
    this.#pool.giveBack(task)
  }

  endTurn(): void {
    this.#pool.endTurn()
  }
}
