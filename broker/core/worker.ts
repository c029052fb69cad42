import type { Token } from '../../protocol/record.ts'
import { Executor } from './executor.ts'
import type { Link } from './link.ts'
import type { Service } from './service.ts'

/** A worker's place in one service's list of free workers. */
export class Membership {
  readonly worker: Worker
  readonly service: Service
  linked = false
  prev: Membership | null = null
  next: Membership | null = null
  /** Its worker's next one. */
  readonly other: Membership | null

  constructor(worker: Worker, service: Service, other: Membership | null) {
    this.worker = worker
    this.service = service
    this.other = other
  }
}

/** A worker process (one connection), as the broker sees it. In the wheel it waits for the end of its silence. */
export class Worker extends Executor {
  readonly link: Link
  /** The first of its memberships, each of which knows the next: nearly always the only one. */
  serves: Membership | null
  /** It has left, or was given up: whatever else its message says is void. */
  gone: boolean
  /** It gets no task until it has been heard from again: its pipe is full, or it said that it has no slot. */
  blocked: boolean
  /** From the first a double, which each change is written into. */
  heardAt: number
  slots: number
  /** Free slots as its services have counted them. */
  countedFree: number
  /** REQUESTs sent, and final answers received: compared with the worker's own counts at each heartbeat. */
  sent: number
  answered: number
  /** Tokens it says it holds that are nobody's any more: each still takes a slot until it is answered. Mostly there are none. */
  ghosts: Set<Token> | null
  /** Answers it says it has sent beyond those, until an INVENTORY makes up for them. */
  missing: number
  name: string
  /** Between its heartbeats, ms. */
  heartbeatIntervalMs: number
  /** Of what it holds that which nobody waits for any more. */
  unwanted: number

  /** In this order its fields lie, what each task needs first: hundreds of workers do not fit into the nearest cache. */
  constructor(link: Link, name: string, heartbeatIntervalMs: number, now: number) {
    super()
    this.link = link
    link.owner = this
    this.serves = null
    this.gone = false
    this.blocked = false
    this.heardAt = Number.NEGATIVE_INFINITY
    this.heardAt = now
    this.slots = 0
    this.countedFree = 0
    this.sent = 0
    this.answered = 0
    this.ghosts = null
    this.missing = 0
    this.unwanted = 0
    this.name = name
    this.heartbeatIntervalMs = heartbeatIntervalMs
  }

  /** What it serves, in the order in which it said so. */
  services(): Service[] {
    const services: Service[] = []
    for (let m = this.serves; m !== null; m = m.other) services.push(m.service)
    return services
  }

  /** It can beat while it works, so silence means death even then. Stock workers are single-threaded. */
  get beatsWhileWorking(): boolean {
    return this.link.dialect === 'native'
  }

  get busy(): number {
    return this.held + (this.ghosts === null ? 0 : this.ghosts.size)
  }

  get free(): number {
    return this.blocked ? 0 : Math.max(0, this.slots - this.busy)
  }
}
