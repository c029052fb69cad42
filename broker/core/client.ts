import type { Token } from '../../protocol/record.ts'
import type { Link } from './link.ts'
import type { Task } from './task.ts'
import { TaskTable } from './task-table.ts'
import { Timed } from './timing-wheel.ts'

/** Where clients stand while they have tasks here. */
export interface ClientRegistry {
  /** For tables of tasks: random, 32 bits. */
  readonly seed: number
  /** It has its first task here. */
  enter(client: Client): void
  /** It has none left. */
  leave(client: Client): void
}

/**
 * A client with tasks here. It stands in the registry for as long as it has any, so that one that comes and goes leaves
 * nothing behind. While it reads streams it waits in the wheel for the end of its silence.
 */
export class Client extends Timed {
  readonly link: Link
  heardAt = Number.NEGATIVE_INFINITY
  /** Callers know it by its link. */
  byLink = false
  /** It stands in the registry by its key. */
  listed = false
  /** Its tasks, by the token it gave them: a single one, as most have; or several, until none is left. */
  #only: Task | null = null
  #several: TaskTable | null = null
  /** Null for a stock client, which is known only through its one task. */
  readonly #registry: ClientRegistry | null

  constructor(link: Link, registry: ClientRegistry | null) {
    super()
    this.link = link
    link.owner = this
    this.#registry = registry
  }

  get tasks(): number {
    if (this.#only !== null) return 1
    return this.#several === null ? 0 : this.#several.size
  }

  task(token: Token): Task | undefined {
    const only = this.#only
    if (only !== null) return only.token === token ? only : undefined
    return this.#several?.get(token)
  }

  /** A copy, to go through while tasks come and go; in no order. */
  allTasks(): Task[] {
    if (this.#only !== null) return [this.#only]
    return this.#several === null ? [] : this.#several.all()
  }

  /** Its token must not be taken. */
  add(task: Task): void {
    const registry = this.#registry
    if (registry === null) return
    if (this.tasks === 0) {
      this.#only = task
      registry.enter(this)
      return
    }
    this.#several ??= new TaskTable(registry.seed)
    if (this.#only !== null) this.#several.add(this.#only)
    this.#only = null
    this.#several.add(task)
  }

  remove(task: Task): void {
    const registry = this.#registry
    if (registry === null) return
    if (this.#only === task) this.#only = null
    else if (this.#several?.remove(task) !== true) return
    if (this.tasks === 0) registry.leave(this)
  }
}
