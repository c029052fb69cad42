import type { RecordOctets } from '../../protocol/octets.ts'
import { Kind, type Record, type Reply } from '../../protocol/record.ts'
import { type Answered, AnswerPages } from './answer-pages.ts'
import type { Task } from './task.ts'

/** What an answer takes besides its body and the words of an error, octets: an estimate, so that a million empty ones are not free. */
const OVERHEAD = 256

/** How much longer than its task's deadline a client may ask: the message's way, and clocks that drift. */
const ASKING_SLACK_MS = 5000

/** Ids that a table takes at first; doubled as needed. */
const TAKEN_MIN = 32

// A place in a table: an id's hash, and its entry; 0: nothing was ever here.
const PLACE_HASH = 0
const PLACE_ENTRY = 1
const PLACE = 2

// What an entry is made of: its hash; the table its place is in, or the next free entry; where its answer lies.
const HASH = 0
const TABLE = 1
const NEXT = 1
const PAGE_NUMBER = 2
const UNIT = 3
const STRIDE = 4

/** {@link UNIT} of an entry without an answer: its task is under way, or it is free. */
const NO_ANSWER = -1

/**
 * Every task of our own clients by its id: under way, or answered a little while ago. One table for both, since the same
 * look-up asks for both. Answered ones leave in the order they came, when they are too many, too large or too old.
 *
 * Hash tables in typed arrays: as a Map of objects it took a fifth of the broker's processor time, besides what the
 * garbage collector had to do for it. There are two, and nothing is ever taken out of either: when the younger has taken
 * as many ids as it may, it becomes the older, and the older is emptied, of which by then hardly any id is needed. So an
 * id costs two waits for memory, both at once, and forgetting it none; a table from which ids are taken out, four.
 */
export class TaskLedger {
  readonly #answersMax: number
  /** So many make room at once: what one misses the cache for, the next is fetched meanwhile. */
  readonly #batch: number
  readonly #bytesMax: number
  readonly #ageMaxMs: number
  readonly #seed: number
  /** Places of the ids that came last, twice as many as it takes; and of those before them. */
  #young = new Int32Array(2 * TAKEN_MIN * PLACE)
  #old = new Int32Array(2 * TAKEN_MIN * PLACE)
  /** Places of a table, less one. */
  #mask = 2 * TAKEN_MIN - 1
  /** Ids that the younger table has taken. */
  #taken = 0
  /** The younger table's number; the older's is one less. By their last bit, how many of their ids are in use. */
  #number = 0
  readonly #inUse = [0, 0]
  /** Entries, {@link STRIDE} numbers each, side by side since they are read together. They count from 1. */
  #entries = new Int32Array((TAKEN_MIN + 1) * STRIDE)
  /** By entry: the task while it is under way. */
  readonly #tasks: (Task | null)[] = [null]
  /** First of the chain of entries given back. */
  #free = 0
  /** Entries ever in use, so far. */
  #made = 0
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

  /**
   * Asks for the memory that the ids of a whole message will be looked for in, so that one wait is for all of them: each by
   * itself would take a tenth of what a task takes.
   */
  fetch(records: readonly Record[]): void {
    for (const record of records) {
      if (record.kind === Kind.Request && record.octets !== undefined) this.#hashOctets(record.octets)
    }
    // In a loop of its own, so short that the processor is at the next before the last has come.
    const young = this.#young
    const old = this.#old
    const mask = this.#mask
    let seen = 0
    for (const record of records) {
      if (record.kind !== Kind.Request || record.octets === undefined) continue
      const at = (record.octets.idHash & mask) * PLACE + PLACE_ENTRY
      seen |= (young[at] ?? 0) | (old[at] ?? 0)
    }
    this.fetched = seen
  }
  /** What was seen there: of no use, but what nobody can use is not fetched. */
  fetched = 0

  /** @param key an id, in either form */
  find(key: string | RecordOctets): Task | Answered | undefined {
    const hash = this.#hash(key)
    return this.#findIn(this.#young, hash, key) ?? this.#findIn(this.#old, hash, key)
  }

  #findIn(table: Int32Array, hash: number, key: string | RecordOctets): Task | Answered | undefined {
    const mask = this.#mask
    for (let place = hash & mask; ; place = (place + 1) & mask) {
      const entry = table[place * PLACE + PLACE_ENTRY] ?? 0
      if (entry === 0) return undefined
      if (table[place * PLACE + PLACE_HASH] !== hash) continue
      // The entry may be another's by now: the id decides.
      const task = this.#tasks[entry] ?? null
      if (task !== null) {
        if (task.hasId(key)) return task
        continue
      }
      const unit = this.#entries[entry * STRIDE + UNIT] ?? NO_ANSWER
      if (unit === NO_ANSWER) continue
      const pageNumber = this.#entries[entry * STRIDE + PAGE_NUMBER] ?? 0
      if (this.#answers.isOf(pageNumber, unit, key)) return this.#answers.read(pageNumber, unit)
    }
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
    const size = (reply.octets?.bodyLength ?? reply.body.byteLength) + reply.message.length + OVERHEAD
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
    this.#bytes -= answers.oldestSize + OVERHEAD
    this.#answered--
    this.#giveBack(answers.oldestEntry)
    answers.dropOldest()
  }

  // ---------------------------------------------------------------- the table

  /** Each step mixes all that came before with the seed, so that ids that hash alike with one do not with another. */
  #hash(key: string | RecordOctets): number {
    return typeof key === 'string' ? this.#hashText(key) : this.#hashOctets(key)
  }

  #hashOctets(octets: RecordOctets): number {
    const { frame, idAt, idLength, idHash } = octets
    if (idHash !== 0 || frame === null) return idHash
    let hash = this.#seed
    const { view } = frame
    for (let at = idAt; at < idAt + idLength; at++) {
      hash = Math.imul(hash ^ view.getUint8(at), 0x9e3779b1)
      hash ^= hash >>> 15
    }
    octets.idHash = hash
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

  /** An entry, and its place in the younger table. */
  #take(hash: number): number {
    if (this.#taken > this.#mask >>> 1) this.#turnOver()
    let entry = this.#free
    if (entry !== 0) this.#free = this.#entries[entry * STRIDE + NEXT] ?? 0
    else {
      this.#made++
      entry = this.#made
      this.#tasks[entry] = null
      if (entry * STRIDE === this.#entries.length) {
        const entries = new Int32Array(2 * this.#entries.length)
        entries.set(this.#entries)
        this.#entries = entries
      }
    }
    const at = entry * STRIDE
    this.#entries[at + HASH] = hash
    this.#entries[at + UNIT] = NO_ANSWER
    this.#place(entry, hash)
    return entry
  }

  #place(entry: number, hash: number): void {
    const table = this.#young
    const mask = this.#mask
    let place = hash & mask
    for (;;) {
      const other = table[place * PLACE + PLACE_ENTRY] ?? 0
      if (other === 0) {
        this.#taken++
        break
      }
      // What was given back under the same hash makes room: or who sends one id again and again, and takes it back each time,
      // would fill the table with places that everybody near them has to pass.
      if (table[place * PLACE + PLACE_HASH] === hash && !this.#isUsedHere(other, hash)) break
      place = (place + 1) & mask
    }
    table[place * PLACE + PLACE_HASH] = hash
    table[place * PLACE + PLACE_ENTRY] = entry
    this.#entries[entry * STRIDE + TABLE] = this.#number
    const number = this.#number & 1
    this.#inUse[number] = (this.#inUse[number] ?? 0) + 1
  }

  /** Is the entry that a place of the younger table names still the one that was put there? */
  #isUsedHere(entry: number, hash: number): boolean {
    const at = entry * STRIDE
    const isUsed = this.#tasks[entry] !== null || this.#entries[at + UNIT] !== NO_ANSWER
    return isUsed && this.#entries[at + HASH] === hash && this.#entries[at + TABLE] === this.#number
  }

  #giveBack(entry: number): void {
    const at = entry * STRIDE
    const number = (this.#entries[at + TABLE] ?? 0) & 1
    this.#inUse[number] = (this.#inUse[number] ?? 0) - 1
    this.#entries[at + UNIT] = NO_ANSWER
    this.#entries[at + NEXT] = this.#free
    this.#free = entry
  }

  /** The younger table becomes the older. What is in use of the older finds a place among the young. */
  #turnOver(): void {
    const young = this.#young
    const old = this.#old
    const places = this.#mask + 1
    const number = this.#number + 1
    const left = this.#inUse[number & 1] ?? 0
    this.#number = number
    this.#taken = 0
    this.#inUse[number & 1] = 0
    if (left * 4 <= places) {
      this.#young = left === 0 ? old.fill(0) : new Int32Array(places * PLACE)
      this.#old = young
      if (left > 0) this.#placeAgain(old, number - 2)
      return
    }
    // With so many it would soon come to this again: room for twice as many, in which all of them are young.
    this.#inUse[(number - 1) & 1] = 0
    this.#young = new Int32Array(2 * places * PLACE)
    this.#old = new Int32Array(2 * places * PLACE)
    this.#mask = 2 * places - 1
    this.#placeAgain(old, number - 2)
    this.#placeAgain(young, number - 1)
  }

  #placeAgain(table: Int32Array, number: number): void {
    const entries = this.#entries
    for (let at = 0; at < table.length; at += PLACE) {
      const entry = table[at + PLACE_ENTRY] ?? 0
      if (entry === 0) continue
      const hash = table[at + PLACE_HASH] ?? 0
      const inUse = this.#tasks[entry] !== null || entries[entry * STRIDE + UNIT] !== NO_ANSWER
      if (inUse && entries[entry * STRIDE + TABLE] === number && entries[entry * STRIDE + HASH] === hash)
        this.#place(entry, hash)
    }
  }
}
