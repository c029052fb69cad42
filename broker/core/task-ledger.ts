import type { Reply } from '../../protocol/record.ts'
import { Task } from './task.ts'

/** The answer of a task that has ended, for a client that asks again because the first copy was lost on its way. */
export class Answered {
  readonly id: string
  readonly reply: Reply
  readonly at: number
  /** Until when forgetting it could make the task start twice: the deadline of one that may not. */
  readonly neededUntil: number

  constructor(id: string, reply: Reply, at: number, neededUntil: number) {
    this.id = id
    this.reply = reply
    this.at = at
    this.neededUntil = neededUntil
  }
}

/** What an answer takes besides its body, octets: an estimate, so that a million empty ones are not free. */
const OVERHEAD = 256

/** How much longer than its task's deadline a client may ask: the message's way, and clocks that drift. */
const ASKING_SLACK_MS = 5000

/**
 * Every task of our own clients by its id: under way, or answered a little while ago. One map for both, since the same
 * look-up asks for both. Answered ones leave in the order they came, when they are too many, too large or too old.
 */
export class TaskLedger {
  readonly #entries = new Map<string, Task | Answered>()
  /** A ring: the oldest answer is at `#oldest`. */
  readonly #ring: (Answered | null)[]
  readonly #bytesMax: number
  readonly #ageMaxMs: number
  #oldest = 0
  #answered = 0
  #bytes = 0
  readonly #pages = new Pages()
  #forgottenUntil = Number.NEGATIVE_INFINITY

  constructor(answersMax: number, bytesMax: number, ageMaxMs: number) {
    this.#ring = new Array<Answered | null>(Math.max(1, answersMax)).fill(null)
    this.#bytesMax = bytesMax
    this.#ageMaxMs = ageMaxMs
  }

  get answered(): number {
    return this.#answered
  }

  get underWay(): number {
    return this.#entries.size - this.#answered
  }

  find(id: string): Task | Answered | undefined {
    return this.#entries.get(id)
  }

  add(task: Task): void {
    this.#entries.set(task.id, task)
  }

  /** Forgets a task that ended in a way worth trying again. */
  remove(task: Task): void {
    if (this.#entries.get(task.id) === task) this.#entries.delete(task.id)
  }

  /** The task has ended: its answer takes its place. */
  answer(task: Task, reply: Reply, now: number): void {
    const size = reply.body.byteLength + OVERHEAD
    const neededUntil = task.mayStartTwice ? Number.NEGATIVE_INFINITY : task.deadline
    if (size > this.#bytesMax) {
      this.#forgottenUntil = Math.max(this.#forgottenUntil, neededUntil)
      this.remove(task)
      return
    }
    while (
      this.#answered === this.#ring.length ||
      (this.#answered > 0 && this.#bytes + size > this.#bytesMax)
    ) {
      this.#dropOldest()
    }
    const entry = new Answered(task.id, { ...reply, body: this.#pages.keep(reply.body) }, now, neededUntil)
    this.#ring[(this.#oldest + this.#answered) % this.#ring.length] = entry
    this.#answered++
    this.#bytes += size
    this.#entries.set(task.id, entry)
  }

  /** Drops what is too old. @returns when to come again; Infinity when nothing is kept */
  expire(now: number): number {
    while (this.#answered > 0) {
      const at = this.#ring[this.#oldest]?.at ?? now
      if (at + this.#ageMaxMs > now) return at + this.#ageMaxMs
      this.#dropOldest()
    }
    return Number.POSITIVE_INFINITY
  }

  /** Could the answer of a task that must not start twice have been dropped, while its client may still ask for it? */
  mayHaveForgotten(now: number): boolean {
    return now <= this.#forgottenUntil + ASKING_SLACK_MS
  }

  *tasks(): Iterable<Task> {
    for (const entry of this.#entries.values()) if (entry instanceof Task) yield entry
  }

  #dropOldest(): void {
    const entry = this.#ring[this.#oldest]
    if (entry === null || entry === undefined) return
    this.#ring[this.#oldest] = null
    this.#oldest = (this.#oldest + 1) % this.#ring.length
    this.#answered--
    this.#bytes -= entry.reply.body.byteLength + OVERHEAD
    if (entry.neededUntil > this.#forgottenUntil) this.#forgottenUntil = entry.neededUntil
    if (this.#entries.get(entry.id) === entry) this.#entries.delete(entry.id)
  }
}

/**
 * Copies of small bodies, side by side in pages. A body is a slice of the message it came in: kept as it is, an answer of
 * ten octets could hold 64 KiB; in an ArrayBuffer of its own it costs more to allocate and to collect than to copy. Answers
 * are dropped in the order they came, so a page is free when its last one goes.
 */
class Pages {
  #page = new Uint8Array(0)
  #used = 0

  keep(body: Uint8Array): Uint8Array {
    const size = body.byteLength
    if (size * 2 >= body.buffer.byteLength || size > PAGE_SIZE / 4) return body
    if (this.#used + size > this.#page.byteLength) {
      this.#page = new Uint8Array(PAGE_SIZE)
      this.#used = 0
    }
    const copy = this.#page.subarray(this.#used, this.#used + size)
    copy.set(body)
    this.#used += size
    return copy
  }
}

const PAGE_SIZE = 65_536
