import type { Offer } from './peer.ts'
import { TaskQueue } from './task-queue.ts'
import type { Membership } from './worker.ts'

/** A kind of work: who waits for it, which workers are free for it, which peers offer it. */
export class Service {
  readonly name: string
  readonly queue = new TaskQueue()
  /** What peers say they have for it. */
  readonly offers: Offer[] = []
  /** Slots of the workers that serve it, and how many of them are free. */
  slots = 0
  free = 0
  workers = 0
  /** Tasks that refer to it, waiting or under way. */
  tasks = 0
  /** `free` and `slots` as last published. */
  publishedFree = -1
  publishedSlots = -1

  #first: Membership | null = null
  #last: Membership | null = null

  constructor(name: string) {
    this.name = name
  }

  /** The free worker that was given a task longest ago. */
  get leastRecentlyUsed(): Membership | null {
    return this.#first
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

  /** Forgets a service that nobody has a use for. */
  release(service: Service): void {
    if (service.idle) this.byName.delete(service.name)
  }
}
