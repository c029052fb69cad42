import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { COPIED_FRAME_MAX } from '../../protocol/native.ts'

/** What V8's collector is asked for. */
type Collect = (options: { readonly type: 'minor' }) => void

/** What a larger frame keeps of libzmq's memory at least: what it was received into, octets. */
const RECEIVED_INTO = 8192

/**
 * A quarter of what makes V8 mark all of its memory: 64 MiB outside of it, of which zeromq.js and V8 each count every
 * octet. Less is not worth a collection.
 */
const PASSED_ON_MAX = 16 << 20

/**
 * Frees bodies that have been passed on. They lie outside V8's memory, and V8 collects by how much of its own is used: with
 * large bodies it never comes to the cheap collection of what is young, which would free nearly all of them, before their
 * size makes it mark everything, again and again. With bodies of 64 KiB that took a quarter of the broker's time and half
 * as much again on other threads. So the cheap collection is asked for in time.
 */
export class BodyMemory {
  readonly #collect: Collect
  #octets = 0

  constructor(collect: Collect = collector()) {
    this.#collect = collect
  }

  /** A frame has come in. */
  add(octets: number): void {
    if (octets > COPIED_FRAME_MAX) this.#octets += Math.max(octets, RECEIVED_INTO)
  }

  /** A packed frame was made, to be sent. What is passed on as it is has been counted when it came in. */
  addMade(octets: number): void {
    this.#octets += octets
  }

  /** At the end of a turn, when what came in has been passed on. */
  release(): void {
    if (this.#octets < PASSED_ON_MAX) return
    this.#octets = 0
    this.#collect({ type: 'minor' })
  }
}

/** V8's collector, as Node gives it to programs started with `--expose-gc`; no global is left behind. */
function collector(): Collect {
  setFlagsFromString('--expose-gc')
  const collect: unknown = runInNewContext('gc')
  return typeof collect === 'function' ? (options) => collect(options) : () => {}
}
