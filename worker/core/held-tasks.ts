import type { Token } from '../../protocol/record.ts'
import type { Assignment } from './assignment.ts'

/** So many are looked through one by one: a worker of few slots needs no table, which would be made anew again and again. */
const FEW_MAX = 8

/** Several tasks that a broker expects answers for, by token, in the order in which they came. */
export class HeldTasks<A extends Assignment> {
  readonly #few: A[] = []
  /** In use from the moment there are more than a few, until none is left. */
  #many: Map<Token, A> | null = null

  get size(): number {
    return this.#many === null ? this.#few.length : this.#many.size
  }

  get(token: Token): A | undefined {
    if (this.#many !== null) return this.#many.get(token)
    for (const assignment of this.#few) if (assignment.token === token) return assignment
    return undefined
  }

  add(assignment: A): void {
    if (this.#many === null && this.#few.length === FEW_MAX) {
      this.#many = new Map(this.#few.map((each) => [each.token, each]))
      this.#few.length = 0
    }
    if (this.#many === null) this.#few.push(assignment)
    else this.#many.set(assignment.token, assignment)
  }

  delete(assignment: A): void {
    if (this.#many !== null) {
      this.#many.delete(assignment.token)
      if (this.#many.size === 0) this.#many = null
      return
    }
    const index = this.#few.indexOf(assignment)
    if (index === this.#few.length - 1) this.#few.pop()
    else if (index >= 0) this.#few.splice(index, 1)
  }

  /** As they are now: whoever goes through them may delete them. */
  values(): Iterable<A> {
    return this.#many === null ? [...this.#few] : this.#many.values()
  }
}
