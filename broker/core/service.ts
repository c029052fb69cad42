import type { Offer } from './peer.ts'
import type { Task } from './task.ts'
import { TaskQueue } from './task-queue.ts'
import type { Membership } from './worker.ts'

/** A kind of work: who waits for it, which workers are free for it, which peers offer it. */
export class Service {
  readonly name: string
  /** Our own clients' tasks that wait: here, or for a peer. */
  readonly queue = new TaskQueue()
  /** Peers' tasks that wait for a worker here: they are not sent on. */
  readonly guests = new TaskQueue()
  /** What peers say they have for it. */
  readonly offers: Offer[] = []
  /** Slots of the workers that serve it, and how many of them are free. */
  slots = 0
  free = 0
  workers = 0
  /** Tasks that refer to it, waiting or under way. */
  tasks = 0
  /** Failed tasks that wait for the retry budget. */
  deferred = 0
  /** Time a handler takes, smoothed over tasks run here and at peers, ms; 0 while unknown. */
  runMs = 0
  /** Share of its slots that tasks of our own clients find taken when they come, smoothed; 1 while unknown. */
  load = 1
  /** `free`, `slots` and `waiting` as last published. */
  publishedFree = -1
  publishedSlots = -1
  publishedWaiting = 0

  #first: Membership | null = null
  #last: Membership | null = null

  constructor(name: string) {
    this.name = name
  }

  /** The free worker that has been in line longest since it was last given a task, or had no slot free. */
  get leastRecentlyUsed(): Membership | null {
    return this.#first
  }

  /** Tasks that wait for a worker here, our own and peers'. */
  get waiting(): number {
    return this.queue.length + this.guests.length
  }

  /** Of all that wait the one that a worker gets next: by priority, then one that was under way, then by age. */
  get next(): Task | null {
    const own = this.queue.head
    const guest = this.guests.head
    if (own === null) return guest
    if (guest === null) return own
    if (own.priority !== guest.priority) return own.priority > guest.priority ? own : guest
    return own.starts > 0 || own.arrivedAt <= guest.arrivedAt ? own : guest
  }

  /** How long a task may expect to wait here behind so many others, ms; Infinity where nobody serves it, or nobody knows. */
  waitMs(ahead: number, now: number): number {
    if (this.slots === 0 || this.runMs === 0) return Number.POSITIVE_INFINITY
    const expected = ((ahead + 1) * this.runMs) / this.slots
    // All slots may have tasks that take far longer than most: then the line moves as it has moved lately.
    const next = this.next
    return next === null ? expected : Math.max(expected, now - next.arrivedAt)
  }

  /** A task of one of our own clients has come. */
  arrived(): void {
    // By tasks and not by time, they see the same share (PASTA); over some four times as long as a task takes.
    if (this.slots > 0) this.load += (1 - this.free / this.slots - this.load) / (4 * this.slots)
  }

  /** A handler took so long. */
  ran(ms: number): void {
    // Half of it is forgotten after about twenty tasks.
    this.runMs = this.runMs === 0 ? ms : this.runMs + (ms - this.runMs) / 32
  }

  get idle(): boolean {
    return this.workers === 0 && this.tasks === 0 && this.offers.length === 0
  }

  /** Puts a worker with a free slot last in line. */
  link(membership: Membership): void {
    membership.linked = true
    membership.prev = this.#last
    membership.next = null
    if (this.#last !== null) this.#last.next = membership
    else this.#first = membership
    this.#last = membership
  }

  unlink(membership: Membership): void {
    if (!membership.linked) return
    const { prev, next } = membership
    if (prev !== null) prev.next = next
    else this.#first = next
    if (next !== null) next.prev = prev
    else this.#last = prev
    membership.linked = false
    membership.prev = null
    membership.next = null
  }
}

/** All services known, in bounded number: a name from outside costs memory only while somebody has a use for it. */
export class Services {
  readonly byName = new Map<string, Service>()
  readonly #max: number

  constructor(max: number) {
    this.#max = max
  }

  /** @returns null when there are too many already */
  open(name: string): Service | null {
    let service = this.byName.get(name)
    if (service === undefined) {
      if (this.byName.size >= this.#max) return null
      service = new Service(name)
      this.byName.set(name, service)
    }
    return service
  }

  /** Whether `open` would find it, or room for it. */
  hasRoomFor(name: string): boolean {
    return this.byName.size < this.#max || this.byName.has(name)
  }

  /** Forgets a service that nobody has a use for. */
  release(service: Service): void {
    if (service.idle) this.byName.delete(service.name)
  }
}
