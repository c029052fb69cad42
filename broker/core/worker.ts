import type { Token } from '../../protocol/record.ts'
import { AssignmentList } from './assignment.ts'
import type { Link } from './link.ts'
import type { Service } from './service.ts'
import { Timed } from './timing-wheel.ts'

/** A worker's place in one service's list of free workers. */
export class Membership {
  readonly worker: Worker
  readonly service: Service
  linked = false
  prev: Membership | null = null
  next: Membership | null = null

  constructor(worker: Worker, service: Service) {
    this.worker = worker
    this.service = service
  }
}

/** A worker process (one connection), as the broker sees it. In the wheel it waits for the end of its silence. */
export class Worker extends Timed {
  readonly link: Link
  name: string
  memberships: Membership[] = []
  slots = 0
  /** What it runs for us. */
  readonly assignments = new AssignmentList()
  /** Tokens it says it holds that are nobody's any more: each still takes a slot until it is answered. Mostly there are none. */
  ghosts: Set<Token> | null = null
  /** REQUESTs sent, and final answers received: compared with the worker's own counts at each heartbeat. */
  sent = 0
  answered = 0
  /** Answers it says it has sent beyond those, until an INVENTORY makes up for them. */
  missing = 0
  /** From the first a double, which each change is written into. */
  heardAt = Number.NEGATIVE_INFINITY
  /** Between its heartbeats, ms. */
  heartbeatIntervalMs: number
  /** Of its assignments those that nobody waits for any more. */
  unwanted = 0
  /** It gets no task until it has been heard from again: its pipe is full, or it said that it has no slot. */
  blocked = false
  /** It has left, or was given up: whatever else its message says is void. */
  gone = false
  /** Free slots as its services have counted them. */
  countedFree = 0

  constructor(link: Link, name: string, heartbeatIntervalMs: number, now: number) {
    super()
    this.link = link
    link.owner = this
    this.name = name
    this.heartbeatIntervalMs = heartbeatIntervalMs
    this.heardAt = now
  }

  /** It can beat while it works, so silence means death even then. Stock workers are single-threaded. */
  get beatsWhileWorking(): boolean {
    return this.link.dialect === 'native'
  }

  get busy(): number {
    return this.assignments.length + (this.ghosts === null ? 0 : this.ghosts.size)
  }

  get free(): number {
    return this.blocked ? 0 : Math.max(0, this.slots - this.busy)
  }
}
