import { PRIORITY_MAX } from '../../protocol/record.ts'
import type { Task } from './task.ts'

/**
 * Tasks that wait for one service: by priority; those that were under way before those that never were; then by age.
 * Linked through the tasks themselves, so that a task whose time is up leaves from the middle in O(1).
 */
export class TaskQueue {
  readonly #heads: (Task | null)[] = new Array<Task | null>(PRIORITY_MAX + 1).fill(null)
  readonly #tails: (Task | null)[] = new Array<Task | null>(PRIORITY_MAX + 1).fill(null)
  /** One bit a priority that has somebody waiting. */
  #waiting = 0
  #length = 0

  get length(): number {
    return this.#length
  }

  /** The task to serve next. */
  get head(): Task | null {
    if (this.#waiting === 0) return null
    return this.#heads[31 - Math.clz32(this.#waiting)] ?? null
  }

  /** The task that would be served last. */
  get tail(): Task | null {
    if (this.#waiting === 0) return null
    return this.#tails[31 - Math.clz32(this.#waiting & -this.#waiting)] ?? null
  }

  *[Symbol.iterator](): Iterator<Task> {
    for (let priority = PRIORITY_MAX; priority >= 0; priority--) {
      for (let task = this.#heads[priority] ?? null; task !== null; task = task.queueNext) yield task
    }
  }

  push(task: Task): void {
    const tail = this.#tails[task.priority] ?? null
    this.#insert(task, tail, null)
  }

  /**
   * A task that was sent away comes back. If it was under way, it has lost its time there and goes before all that never
   * were, however young it is: the youngest are lent first where the line is long. Turned away it takes its place by age.
   */
  restore(task: Task): void {
    let next = this.#heads[task.priority] ?? null
    const tail = this.#tails[task.priority] ?? null
    if (task.starts === 0 && next !== null && tail !== null && nearer(tail, next, task)) {
      let prev: Task | null = tail
      while (prev !== null && isBefore(task, prev)) prev = prev.queuePrev
      this.#insert(task, prev, prev === null ? next : prev.queueNext)
      return
    }
    while (next !== null && !isBefore(task, next)) next = next.queueNext
    this.#insert(task, next === null ? tail : next.queuePrev, next)
  }

  remove(task: Task): void {
    const { queuePrev, queueNext, priority } = task
    if (queuePrev !== null) queuePrev.queueNext = queueNext
    else this.#heads[priority] = queueNext
    if (queueNext !== null) queueNext.queuePrev = queuePrev
    else this.#tails[priority] = queuePrev
    if (this.#heads[priority] === null) this.#waiting &= ~(1 << priority)
    task.queuePrev = null
    task.queueNext = null
    task.queued = false
    this.#length--
  }

  #insert(task: Task, prev: Task | null, next: Task | null): void {
    task.queuePrev = prev
    task.queueNext = next
    if (prev !== null) prev.queueNext = task
    else this.#heads[task.priority] = task
    if (next !== null) next.queuePrev = task
    else this.#tails[task.priority] = task
    this.#waiting |= 1 << task.priority
    task.queued = true
    this.#length++
  }
}

/** Does one that comes back go before another of its priority? Before others as old, too. */
function isBefore(task: Task, other: Task): boolean {
  if (task.starts > 0 !== other.starts > 0) return task.starts > 0
  return task.arrivedAt <= other.arrivedAt
}

/** Is one end of the line nearer in age than the other? What is turned away has mostly just come. */
function nearer(end: Task, otherEnd: Task, task: Task): boolean {
  return Math.abs(end.arrivedAt - task.arrivedAt) < Math.abs(otherEnd.arrivedAt - task.arrivedAt)
}
