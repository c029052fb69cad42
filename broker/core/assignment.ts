import type { Token } from '../../protocol/record.ts'
import type { Peer } from './peer.ts'
import type { Task } from './task.ts'
import { Timed } from './timing-wheel.ts'
import { TurnPool } from './turn-pool.ts'
import type { Worker } from './worker.ts'

/**
 * One start of a task at one executor. It outlives the task's interest in it: a cancelled task's slot is taken until
 * the worker says otherwise. In the wheel it waits for the time at which a silent worker's task is given to another.
 */
export class Assignment extends Timed {
  token: Token = 0
  /** Null once nobody waits for this attempt. */
  task: Task | null = null
  executor: Worker | Peer
  /** Its number among the REQUESTs sent to the executor, from 1: compared with what an INVENTORY covers. */
  number = 0
  startedAt = 0
  /** It is in the table and in its executor's list. */
  open = false
  /** Neighbours in the executor's list, oldest first. */
  prev: Assignment | null = null
  next: Assignment | null = null
  poolNext: Assignment | null = null

  constructor(token: Token, task: Task, executor: Worker | Peer, number: number, startedAt: number) {
    super()
    this.executor = executor
    this.begin(token, task, executor, number, startedAt)
  }

  begin(token: Token, task: Task, executor: Worker | Peer, number: number, startedAt: number): void {
    this.token = token
    this.task = task
    this.executor = executor
    this.number = number
    this.startedAt = startedAt
    this.open = true
    this.next = null
  }
}

const NONCES = 2 ** 32
/** Indices fit the 21 bits a token leaves them. */
export const ASSIGNMENTS_MAX = 2 ** 21

/**
 * Finds an assignment by the token its executor echoes. The token's low half is a nonce that differs from one use of an
 * index to the next (a Weyl sequence from a random start: all 2^32 values before one repeats), so an answer from an
 * earlier attempt, or to an earlier life of this broker, finds nothing.
 *
 * Closed ones become others, but not before the turn has ended: whoever came across one during the turn finds it closed.
 */
export class AssignmentTable {
  readonly #entries: (Assignment | null)[] = []
  readonly #free: number[] = []
  #nonce: number
  readonly #pool = new TurnPool<Assignment>((assignment) => {
    assignment.task = null
  })

  constructor(random: () => number) {
    this.#nonce = Math.floor(random() * NONCES) >>> 0
  }

  get size(): number {
    return this.#entries.length - this.#free.length
  }

  /** No index is left: tasks wait, as if no slot were free. */
  get full(): boolean {
    return this.size >= ASSIGNMENTS_MAX
  }

  open(task: Task, executor: Worker | Peer, number: number, now: number): Assignment {
    const index = this.#free.pop() ?? this.#entries.length
    this.#nonce = (this.#nonce + 0x9e3779b9) >>> 0
    const token = index * NONCES + this.#nonce
    let assignment = this.#pool.take()
    if (assignment === null) assignment = new Assignment(token, task, executor, number, now)
    else assignment.begin(token, task, executor, number, now)
    this.#entries[index] = assignment
    return assignment
  }

  find(token: Token): Assignment | null {
    const assignment = this.#entries[Math.floor(token / NONCES)] ?? null
    return assignment !== null && assignment.token === token ? assignment : null
  }

  *all(): Iterable<Assignment> {
    for (const assignment of this.#entries) if (assignment !== null) yield assignment
  }

  close(assignment: Assignment): void {
    const index = Math.floor(assignment.token / NONCES)
    this.#entries[index] = null
    this.#free.push(index)
    assignment.open = false
    this.#pool.giveBack(assignment)
  }

  endTurn(): void {
    this.#pool.endTurn()
  }
}
