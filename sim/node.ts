import type { Message } from '../protocol/record.ts'
import type { EventQueue, Happening } from './event-queue.ts'
import type { Delivery, Pipe } from './network.ts'
import type { Random } from './random.ts'

/** A node's clock: it starts where it likes and runs a little fast or slow. */
export class Clock {
  readonly offsetMs: number
  /** How much it gains, in thousand-millionths: an integer, which lies in the object itself. */
  readonly gainPpb: number

  constructor(offsetMs: number, rate: number) {
    this.offsetMs = offsetMs
    this.gainPpb = Math.round((rate - 1) * 1e9)
  }
}

/** Timers of real reactors are no finer, and a wake-up that rounding made too early must not come again at once; ms. */
const TIMER_GRAIN_MS = 0.01

/** Messages that a process reads from one socket before it looks to its timer and lets out what it has to say. */
const SHARE = 64

/** What a process is doing. */
const Mode = { Rests: 0, Reads: 1, Leaves: 2 } as const
type Mode = (typeof Mode)[keyof typeof Mode]

/** A process's loop that takes its time to come round. */
class Loop implements Happening {
  readonly mark: number
  /** How long it may take, ms; 0: no longer, once it has come round. */
  turnMs = 0
  random: Random | null = null
  /** It will come round. */
  set = false
  inbox: Delivery[] = []
  mode: Mode = Mode.Rests
  readonly #node: Node

  constructor(node: Node) {
    this.mark = (10 << 24) | node.mark
    this.#node = node
  }

  happen(at: number): void {
    this.#node.turn(at, this)
  }
}

/** A process: it is run by what arrives and by its own timer, it dies at once, and it can be stopped as by SIGSTOP. */
export abstract class Node implements Happening {
  readonly mark: number
  readonly name: string
  readonly cluster: number
  alive = true
  frozen = false
  /** Cut off from everybody, its own cluster included. */
  isolated = false
  /** The first of the connections that it opened; each knows the next. */
  dialled: Pipe | null = null
  protected readonly queue: EventQueue
  readonly #offsetMs: number
  readonly #gainPpb: number
  /** What came while it was stopped. */
  #backlog: Happening[] | null = null
  /** null: it does each thing at once, by itself. */
  #loop: Loop | null = null

  constructor(queue: EventQueue, number: number, name: string, cluster: number, clock: Clock) {
    this.queue = queue
    this.mark = number
    this.name = name
    this.cluster = cluster
    this.#offsetMs = clock.offsetMs
    this.#gainPpb = clock.gainPpb
    queue.timers.add(number)
  }

  /** What its clock shows at virtual time `at`. */
  shows(at: number): number {
    return this.#offsetMs + at + at * this.#gainPpb * 1e-9
  }

  /** The virtual time at which its clock shows `shown`. */
  #whenItShows(shown: number): number {
    return (shown - this.#offsetMs) / (1 + this.#gainPpb * 1e-9)
  }

  /** Its core's, on its own clock. */
  protected abstract nextTimeout(): number
  protected abstract timeout(now: number, at: number): void

  /** Something came on a connection that it opened. */
  abstract answered(pipe: Pipe, message: Message, at: number): void
  /** A connection that it opened is gone; it will be tried again unless it was closed. */
  abstract hungUp(pipe: Pipe, at: number): void
  /** What its core had to say leaves. */
  protected abstract letOut(at: number): void

  /** Its timer. */
  happen(at: number): void {
    const { timers } = this.queue
    if (at !== timers.get(this.mark) || !this.alive) return
    timers.set(this.mark, Number.POSITIVE_INFINITY)
    if (this.frozen || (this.#loop !== null && this.#waits(this.#loop, at))) return
    const now = this.shows(at)
    if (this.nextTimeout() <= now) this.timeout(now, at)
    this.rest(at)
  }

  // ---------------------------------------------------------------- turns

  /** From now on its loop takes up to so long to come round, ms; 0: it does each thing at once, by itself. */
  takeTurns(turnMs: number, random: Random): void {
    this.#loop ??= new Loop(this)
    this.#loop.turnMs = turnMs
    this.#loop.random = random
  }

  /** @returns true when it reads the message later, with whatever else has come by then */
  gathers(delivery: Delivery, at: number): boolean {
    const loop = this.#loop
    if (loop === null || !this.#waits(loop, at)) return false
    loop.inbox.push(delivery)
    return true
  }

  /** @returns true when nothing is done now: the loop comes round later */
  #waits(loop: Loop, at: number): boolean {
    if (loop.set) return true
    if (loop.turnMs === 0) return false
    loop.set = true
    this.queue.push(at + loop.turnMs * (loop.random?.uniform() ?? 1), loop, this.cluster)
    return true
  }

  /**
   * As the reactors of `io/` do it: one socket after the other, of each what has come, then what is due, and at the end all
   * that the core had to say, a message a destination.
   */
  turn(at: number, loop: Loop): void {
    if (this.postpone(loop)) return
    loop.set = false
    const bySocket = new Map<string, Delivery[]>()
    for (const delivery of loop.inbox) {
      const { socket } = delivery
      const some = bySocket.get(socket)
      if (some === undefined) bySocket.set(socket, [delivery])
      else some.push(delivery)
    }
    loop.inbox = []
    for (const deliveries of bySocket.values()) {
      loop.mode = Mode.Reads
      for (let i = 0; i < deliveries.length && this.alive; i++) {
        deliveries[i]?.handTo(this, at)
        if (i % SHARE === SHARE - 1) this.#leave(loop, at)
      }
      this.#leave(loop, at)
    }
    if (bySocket.size === 0) this.#leave(loop, at)
    loop.mode = Mode.Rests
  }

  #leave(loop: Loop, at: number): void {
    if (!this.alive) return
    loop.mode = Mode.Leaves
    const now = this.shows(at)
    if (this.nextTimeout() <= now) this.timeout(now, at)
    else this.letOut(at)
    loop.mode = Mode.Reads
  }

  /** Its owner has something to tell its core. */
  act(deed: () => void, at: number): void {
    deed()
    this.endTurn(at)
  }

  /** After everything that its core was told: what it had to say leaves, now or when the turn ends. */
  protected endTurn(at: number): void {
    const loop = this.#loop
    if (loop !== null) {
      if (loop.mode === Mode.Reads) return
      if (loop.mode === Mode.Rests && this.#waits(loop, at)) return
    }
    this.letOut(at)
  }

  /** After every turn: sees that the timer is set. */
  protected rest(at: number): void {
    const next = this.nextTimeout()
    if (next === Number.POSITIVE_INFINITY) return
    const wakeAt = Math.max(this.#whenItShows(next), at + TIMER_GRAIN_MS)
    const { timers } = this.queue
    if (wakeAt >= timers.get(this.mark)) return
    timers.set(this.mark, wakeAt)
    this.queue.push(wakeAt, this, this.cluster)
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
    this.queue.timers.set(this.mark, Number.POSITIVE_INFINITY)
    this.rest(at)
  }
}

/** A node that others open connections to. */
export abstract class Listener extends Node {
  /** The latest of the connections that others opened to it and that stand; each knows its neighbours. */
  #accepted: Pipe | null = null

  accept(pipe: Pipe): void {
    pipe.nextAccepted = this.#accepted
    if (this.#accepted !== null) this.#accepted.previousAccepted = pipe
    this.#accepted = pipe
  }

  partFrom(pipe: Pipe): void {
    const { nextAccepted, previousAccepted } = pipe
    if (previousAccepted !== null) previousAccepted.nextAccepted = nextAccepted
    else this.#accepted = nextAccepted
    if (nextAccepted !== null) nextAccepted.previousAccepted = previousAccepted
    pipe.nextAccepted = null
    pipe.previousAccepted = null
  }

  /** Connections that others opened to it and that stand, the oldest first. */
  acceptedPipes(): Pipe[] {
    const pipes: Pipe[] = []
    for (let pipe = this.#accepted; pipe !== null; pipe = pipe.nextAccepted) pipes.push(pipe)
    return pipes.reverse()
  }

  /** Something came on a connection that somebody else opened. */
  abstract arrived(pipe: Pipe, message: Message, at: number): void
  /** The connection to that socket that stands under this routing id. */
  abstract behind(socket: 'cloudfe' | 'localbe', key: string): Pipe | undefined
  /** Somebody has opened a connection to it. */
  abstract joined(pipe: Pipe): void
  /** A connection that somebody else opened is gone. */
  abstract lost(pipe: Pipe, at: number): void
}
