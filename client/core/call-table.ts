import { WORD } from '../../protocol/native.ts'
import type { Token } from '../../protocol/record.ts'
import type { Call } from './call.ts'
import { DeadlineWheel } from './deadline-wheel.ts'

/**
 * A client's calls beyond the first, by the index in the high word of their tokens, and their deadlines; the low word is a
 * nonce. Most clients never need one.
 */
export class CallTable<C extends Call> {
  readonly wheel = new DeadlineWheel<C>()
  /** By index; that of 0 is kept elsewhere. */
  readonly #calls: (C | undefined)[] = [undefined]
  readonly #freeIndices: number[] = []

  /** @returns the index that the call was given, from 1 */
  enter(call: C): number {
    const index = this.#freeIndices.pop() ?? this.#calls.length
    this.#calls[index] = call
    return index
  }

  /** Whatever stands at the token's index, by this token or another. */
  at(token: Token): C | undefined {
    return this.#calls[Math.floor(token / WORD)]
  }

  remove(call: C): void {
    const index = Math.floor(call.token / WORD)
    this.#calls[index] = undefined
    this.#freeIndices.push(index)
    this.wheel.clear(call)
  }

  /** As they are while one goes through them: each may end meanwhile, and end others. */
  *all(): Iterable<C> {
    for (const call of this.#calls) if (call !== undefined) yield call
  }
}
