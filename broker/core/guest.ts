import type { Link } from './link.ts'
import { TaskTable } from './task-table.ts'
import { Timed } from './timing-wheel.ts'

/** A peer as a customer: it sends us its tasks over cloudfe. In the wheel it waits for the end of its silence. */
export class Guest extends Timed {
  readonly name: string
  readonly link: Link
  /** Its tasks here, running or waiting, by the token it gave them. */
  readonly tasks: TaskTable
  /** REQUESTs received from this epoch of it. */
  received = 0
  /** Final answers sent to it. */
  answered = 0
  /** From the first a double, as a Peer's. */
  heardAt = Number.NEGATIVE_INFINITY
  /** `received` as last published, so that an idle guest does not fill every state. */
  published = 0
  /** A slot that its task has left is news for it in this turn; and the next guest of whom that is so. */
  toTell = false
  nextToTell: Guest | null = null
  /** So many heartbeats are answered with an inventory: from the first on the counts agree, and each may be lost. */
  inventoriesLeft = 0
  /** Until when its count is repeated in every state: a lost publication must not leave it guessing. */
  publishUntil = Number.NEGATIVE_INFINITY

  /** @param seed for the table of its tasks */
  constructor(name: string, link: Link, seed: number, now: number) {
    super()
    this.tasks = new TaskTable(seed)
    this.name = name
    this.link = link
    link.owner = this
    this.heardAt = now
  }
}
