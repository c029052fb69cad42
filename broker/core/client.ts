import type { Link } from './link.ts'
import type { Task } from './task.ts'
import { TaskTable } from './task-table.ts'
import { Timed } from './timing-wheel.ts'

/** Of stock clients, each of which has one task, and is found through it. */
const NO_TASKS = new TaskTable(0)

/**
 * A client with tasks here. It stands in the registry for as long as it has any, so that one that comes and goes leaves
 * nothing behind. While it reads streams it waits in the wheel for the end of its silence.
 */
export class Client extends Timed {
  readonly link: Link
  /** By the token the client gave them. */
  readonly tasks: TaskTable
  heardAt = Number.NEGATIVE_INFINITY
  readonly #registry: Map<string, Client> | null

  /**
   * @param registry null for a stock client, which is known only through its one task
   * @param seed for the table of its tasks
   */
  constructor(link: Link, registry: Map<string, Client> | null, seed: number) {
    super()
    this.tasks = registry === null ? NO_TASKS : new TaskTable(seed)
    this.link = link
    link.owner = this
    this.#registry = registry
  }

  add(task: Task): void {
    if (this.#registry === null) return
    if (this.tasks.size === 0) this.#registry.set(this.link.key, this)
    this.tasks.add(task)
  }

  remove(task: Task): void {
    if (this.#registry === null) return
    this.tasks.remove(task)
    if (this.tasks.size === 0) this.#registry.delete(this.link.key)
  }
}
