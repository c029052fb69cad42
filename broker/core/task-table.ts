import { WORD } from '../../protocol/native.ts'
import type { Token } from '../../protocol/record.ts'
import type { Task } from './task.ts'

const HEADS_MIN = 4

/**
 * The tasks of one correspondent by the tokens it gave them: a hash table whose chains run through the tasks themselves, so
 * that one more takes nothing but its place. A Map of them, with its keys boxed and its table made anew at every few
 * hundred changes, took a twentieth of the broker's processor time.
 */
export class TaskTable {
  readonly #seed: number
  #heads: (Task | null)[] | null = null
  #size = 0

  /** @param seed random, 32 bits: with it known, tokens could be chosen that all hash alike */
  constructor(seed: number) {
    this.#seed = seed
  }

  get size(): number {
    return this.#size
  }

  get(token: Token): Task | undefined {
    if (this.#size === 0 || this.#heads === null) return undefined
    let task = this.#heads[this.#head(token, this.#heads)] ?? null
    while (task !== null) {
      if (task.token === token) return task
      task = task.tableNext
    }
    return undefined
  }

  has(token: Token): boolean {
    return this.get(token) !== undefined
  }

  /** Its token must not be taken. While it is here the token stays as it is. */
  add(task: Task): void {
    let heads = this.#heads
    if (heads === null || this.#size === heads.length) heads = this.#grow()
    this.#put(task, heads)
    this.#size++
  }

  /** @returns false when it is not here */
  remove(task: Task): boolean {
    if (this.#heads === null) return false
    const head = this.#head(task.token, this.#heads)
    let before: Task | null = null
    for (let at = this.#heads[head] ?? null; at !== null; at = at.tableNext) {
      if (at === task) {
        if (before === null) this.#heads[head] = task.tableNext
        else before.tableNext = task.tableNext
        task.tableNext = null
        this.#size--
        return true
      }
      before = at
    }
    return false
  }

  /** A copy, to go through while tasks come and go; in no order. */
  all(): Task[] {
    const tasks: Task[] = []
    if (this.#heads === null) return tasks
    for (const head of this.#heads) for (let at = head; at !== null; at = at.tableNext) tasks.push(at)
    return tasks
  }

  #head(token: Token, heads: readonly unknown[]): number {
    let hash = Math.imul((token / WORD) ^ this.#seed, 0x9e3779b1)
    // `token ^ …` takes the low 32 bits; a remainder would be a call into the C library.
    hash = Math.imul(hash ^ (hash >>> 15) ^ token, 0x85ebca6b)
    return (hash ^ (hash >>> 13)) & (heads.length - 1)
  }

  #put(task: Task, heads: (Task | null)[]): void {
    const head = this.#head(task.token, heads)
    task.tableNext = heads[head] ?? null
    heads[head] = task
  }

  #grow(): (Task | null)[] {
    const tasks = this.all()
    const heads = new Array<Task | null>(this.#heads === null ? HEADS_MIN : 2 * this.#heads.length).fill(null)
    for (const task of tasks) this.#put(task, heads)
    this.#heads = heads
    return heads
  }
}
