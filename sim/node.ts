import type { Message } from '../protocol/record.ts'
import type { EventQueue, Happening } from './event-queue.ts'
import type { Pipe } from './network.ts'

/** A node's clock: it starts where it likes and runs a little fast or slow. */
export class Clock {
  readonly offsetMs: number
  readonly rate: number

  constructor(offsetMs: number, rate: number) {
    this.offsetMs = offsetMs
    this.rate = rate
  }

  /** What the node's clock shows at virtual time `at`. */
  read(at: number): number {
    return this.offsetMs + this.rate * at
  }

  /** The virtual time at which the node's clock shows `shown`. */
  when(shown: number): number {
    return (shown - this.offsetMs) / this.rate
  }
}

/** Timers of real reactors are no finer, and a wake-up that rounding made too early must not come again at once; ms. */
const TIMER_GRAIN_MS = 0.01

/** A process: it is run by what arrives and by its own timer, it dies at once, and it can be stopped as by SIGSTOP. */
export abstract class Node implements Happening {
  readonly mark: number
  readonly name: string
  readonly cluster: number
  readonly clock: Clock
  alive = true
  frozen = false
  /** Cut off from everybody, its own cluster included. */
  isolated = false
  /** The first of the connections that it opened; each knows the next. */
  dialled: Pipe | null = null
  protected readonly queue: EventQueue
  #wakeAt = Number.POSITIVE_INFINITY
  /** What came while it was stopped. */
  #backlog: Happening[] | null = null

  constructor(queue: EventQueue, number: number, name: string, cluster: number, clock: Clock) {
    this.queue = queue
    this.mark = number
    this.name = name
    this.cluster = cluster
    this.clock = clock
  }

  /** Its core's, on its own clock. */
  protected abstract nextTimeout(): number
  protected abstract timeout(now: number, at: number): void

  /** Something came on a connection that it opened. */
  abstract answered(pipe: Pipe, message: Message, at: number): void
  /** A connection that it opened is gone; it will be tried again unless it was closed. */
  abstract hungUp(pipe: Pipe, at: number): void

  /** Its timer. */
  happen(at: number): void {
    if (at !== this.#wakeAt || !this.alive) return
    this.#wakeAt = Number.POSITIVE_INFINITY
    if (this.frozen) return
    const now = this.clock.read(at)
    if (this.nextTimeout() <= now) this.timeout(now, at)
    this.rest(at)
  }

  /** After every turn: sees that the timer is set. */
  protected rest(at: number): void {
    const next = this.nextTimeout()
    if (next === Number.POSITIVE_INFINITY) return
    const wakeAt = Math.max(this.clock.when(next), at + TIMER_GRAIN_MS)
    if (wakeAt >= this.#wakeAt) return
    this.#wakeAt = wakeAt
    this.queue.push(wakeAt, this)
  }

  /** @returns true when it cannot be done now: the process is stopped, and it is kept for later, or dead. */
  postpone(happening: Happening): boolean {
    if (!this.alive) return true
    if (!this.frozen) return false
    if (this.#backlog === null) this.#backlog = [happening]
    else this.#backlog.push(happening)
    return true
  }

  freeze(): void {
    this.frozen = true
  }

  thaw(at: number): void {
    if (!this.frozen) return
    this.frozen = false
    const backlog = this.#backlog
    this.#backlog = null
    if (backlog !== null) for (const happening of backlog) happening.happen(at)
    if (!this.alive) return
    this.#wakeAt = Number.POSITIVE_INFINITY
    this.rest(at)
  }
}

/** A node that others open connections to. */
export abstract class Listener extends Node {
  /** Connections that others opened to it and that stand. */
  readonly accepted = new Set<Pipe>()

  /** Something came on a connection that somebody else opened. */
  abstract arrived(pipe: Pipe, message: Message, at: number): void
  /** Somebody has opened a connection to it. */
  abstract joined(pipe: Pipe): void
  /** A connection that somebody else opened is gone. */
  abstract lost(pipe: Pipe, at: number): void
}
