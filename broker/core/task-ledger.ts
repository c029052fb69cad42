import type { RecordOctets } from '../../protocol/octets.ts'
import type { Reply } from '../../protocol/record.ts'
import { type Answered, AnswerPages } from './answer-pages.ts'
import type { Task } from './task.ts'

/** What an answer takes besides its body, octets: an estimate, so that a million empty ones are not free. */
const OVERHEAD = 256

/** How much longer than its task's deadline a client may ask: the message's way, and clocks that drift. */
const ASKING_SLACK_MS = 5000

/** Entries to begin with; doubled as needed. */
const CAPACITY_MIN = 64

// What an entry is made of: the next one with the same head, or the next free one; its hash; where its answer lies.
const NEXT = 0
const HASH = 1
const PAGE_NUMBER = 2
const UNIT = 3
const STRIDE = 4

/**
 * Every task of our own clients by its id: under way, or answered a little while ago. One table for both, since the same
 * look-up asks for both. Answered ones leave in the order they came, when they are too many, too large or too old.
 *
 * A hash table with chains, in typed arrays: as a Map of objects it took a fifth of the broker's processor time, besides
 * what the garbage collector had to do for it.
 */
export class TaskLedger {
  readonly #answersMax: number
  /** So many make room at once: what one misses the cache for, the next is fetched meanwhile. */
  readonly #batch: number
  readonly #bytesMax: number
  readonly #ageMaxMs: number
  readonly #seed: number
  /** By hash: an entry, or 0. Twice as many as there are entries. */
  #heads = new Int32Array(2 * CAPACITY_MIN)
  /** Entries, {@link STRIDE} numbers each, side by side since they are read together. They count from 1. */
  #entries = new Int32Array((CAPACITY_MIN + 1) * STRIDE)
  /** By entry: the task while it is under way. */
  readonly #tasks: (Task | null)[] = [null]
  /** First of the chain of entries given back. */
  #free = 0
  /** Entries ever in use, so far. */
  #made = 0
  #capacity = CAPACITY_MIN
  readonly #answers = new AnswerPages()
  #answered = 0
  #underWay = 0
  #bytes = 0
  #forgottenUntil = Number.NEGATIVE_INFINITY

  /** @param seed random, 32 bits, known to nobody: with it a client could send ids that all hash alike */
  constructor(answersMax: number, bytesMax: number, ageMaxMs: number, seed: number) {
    this.#answersMax = Math.max(1, answersMax)
    this.#batch = Math.max(1, Math.min(64, this.#answersMax >>> 10))
    this.#bytesMax = bytesMax
    this.#ageMaxMs = ageMaxMs
    this.#seed = seed | 0
  }

  get answered(): number {
    return this.#answered
  }

  get underWay(): number {
    return this.#underWay
  }

  /** @param key an id, in either form */
  find(key: string | RecordOctets): Task | Answered | undefined {
    const hash = this.#hash(key)
    const entries = this.#entries
    let entry = this.#heads[hash & (this.#heads.length - 1)] ?? 0
    while (entry !== 0) {
      const at = entry * STRIDE
      if (entries[at + HASH] === hash) {
        const task = this.#tasks[entry] ?? null
        if (task !== null) {
          if (task.hasId(key)) return task
        } else {
          const pageNumber = entries[at + PAGE_NUMBER] ?? 0
          const unit = entries[at + UNIT] ?? 0
          if (this.#answers.isOf(pageNumber, unit, key)) return this.#answers.read(pageNumber, unit)
        }
      }
      entry = entries[at + NEXT] ?? 0
    }
    return undefined
  }

  add(task: Task): void {
    const entry = this.#take(this.#hash(task.key))
    this.#tasks[entry] = task
    task.ledgerEntry = entry
    this.#underWay++
  }

  /** Forgets a task that ended in a way worth trying again. */
  remove(task: Task): void {
    const entry = task.ledgerEntry
    if (entry === 0) return
    task.ledgerEntry = 0
    this.#tasks[entry] = null
    this.#underWay--
    this.#giveBack(entry)
  }

  /** The task has ended: its answer takes its place. */
  answer(task: Task, reply: Reply, now: number): void {
    const size = (reply.octets?.bodyLength ?? reply.body.byteLength) + OVERHEAD
    const neededUntil = task.mayStartTwice ? Number.NEGATIVE_INFINITY : task.deadline
    if (size > this.#bytesMax) {
      this.#forgottenUntil = Math.max(this.#forgottenUntil, neededUntil)
      this.remove(task)
      return
    }
    if (this.#answered === this.#answersMax) {
      for (let n = 0; n < this.#batch; n++) this.#dropOldest()
    }
    while (this.#answered > 0 && this.#bytes + size > this.#bytesMax) this.#dropOldest()
    let entry = task.ledgerEntry
    if (entry === 0) entry = this.#take(this.#hash(task.key))
    else {
      task.ledgerEntry = 0
      this.#tasks[entry] = null
      this.#underWay--
    }
    this.#answers.push(entry, task.key, reply, now, neededUntil)
    this.#entries[entry * STRIDE + PAGE_NUMBER] = this.#answers.pageNumber
    this.#entries[entry * STRIDE + UNIT] = this.#answers.unit
    this.#answered++
    this.#bytes += size
  }

  /** Drops what is too old. @returns when to come again; Infinity when nothing is kept */
  expire(now: number): number {
    while (this.#answered > 0) {
      const due = this.#answers.oldestAt + this.#ageMaxMs
      if (due > now) return due
      this.#dropOldest()
    }
    return Number.POSITIVE_INFINITY
  }

  /** Could the answer of a task that must not start twice have been dropped, while its client may still ask for it? */
  mayHaveForgotten(now: number): boolean {
    return now <= this.#forgottenUntil + ASKING_SLACK_MS
  }

  #dropOldest(): void {
    const answers = this.#answers
    const neededUntil = answers.oldestNeededUntil
    if (neededUntil > this.#forgottenUntil) this.#forgottenUntil = neededUntil
    this.#bytes -= answers.oldestBodySize + OVERHEAD
    this.#answered--
    this.#giveBack(answers.oldestEntry)
    answers.dropOldest()
  }

  // ---------------------------------------------------------------- the table

  /** Each step mixes all that came before with the seed, so that ids that hash alike with one do not with another. */
  #hash(key: string | RecordOctets): number {
    return typeof key === 'string' ? this.#hashText(key) : this.#hashOctets(key)
  }

  #hashOctets({ frame, idAt, idLength }: RecordOctets): number {
    let hash = this.#seed
    if (frame === null) return hash
    const { view } = frame
    for (let at = idAt; at < idAt + idLength; at++) {
      hash = Math.imul(hash ^ view.getUint8(at), 0x9e3779b1)
      hash ^= hash >>> 15
    }
    return hash
  }

  #hashText(id: string): number {
    let hash = this.#seed
    for (let i = 0; i < id.length; i++) {
      hash = Math.imul(hash ^ id.charCodeAt(i), 0x9e3779b1)
      hash ^= hash >>> 15
    }
    return hash
  }

  /** An entry in its chain. */
  #take(hash: number): number {
    let entry = this.#free
    if (entry !== 0) this.#free = this.#entries[entry * STRIDE + NEXT] ?? 0
    else {
      if (this.#made === this.#capacity) this.#grow()
      this.#made++
      entry = this.#made
      this.#tasks[entry] = null
    }
    this.#entries[entry * STRIDE + HASH] = hash
    this.#link(entry, hash)
    return entry
  }

  #link(entry: number, hash: number): void {
    const head = hash & (this.#heads.length - 1)
    this.#entries[entry * STRIDE + NEXT] = this.#heads[head] ?? 0
    this.#heads[head] = entry
  }

  #giveBack(entry: number): void {
    const entries = this.#entries
    const at = entry * STRIDE
    const head = (entries[at + HASH] ?? 0) & (this.#heads.length - 1)
    const next = entries[at + NEXT] ?? 0
    let before = this.#heads[head] ?? 0
    if (before === entry) this.#heads[head] = next
    else {
      while (entries[before * STRIDE + NEXT] !== entry) before = entries[before * STRIDE + NEXT] ?? 0
      entries[before * STRIDE + NEXT] = next
    }
    entries[at + NEXT] = this.#free
    this.#free = entry
  }

  /** Room for twice as many; all are in chains, since none is free. */
  #grow(): void {
    this.#capacity *= 2
    const entries = new Int32Array((this.#capacity + 1) * STRIDE)
    entries.set(this.#entries)
    this.#entries = entries
    this.#heads = new Int32Array(2 * this.#capacity)
    for (let entry = 1; entry <= this.#made; entry++) this.#link(entry, entries[entry * STRIDE + HASH] ?? 0)
  }
}
