import { expect, test } from 'vitest'
import { drain } from '../../wire/drain.ts'

/** A socket at which the next burst has always arrived by the time that the last one is over. */
class Busy {
  receiveTimeout = 0
  readonly #burst: number
  #left: number

  constructor(burst: number) {
    this.#burst = burst
    this.#left = burst
  }

  get readable(): boolean {
    return this.#left > 0
  }

  receive(): Promise<Buffer[]> {
    if (this.#left-- > 0) return Promise.resolve([])
    this.#left = this.#burst
    return Promise.reject(Object.assign(new Error('nothing there'), { code: 'EAGAIN' }))
  }
}

test('whatever the length of the bursts, the event loop gets its turn', async () => {
  for (const burst of [1, 3, 10, 400, 1000]) {
    let messages = 0
    let turned = false
    setImmediate(() => {
      turned = true
    })
    await drain(new Busy(burst), -1, {
      message: () => {
        messages++
      },
      drained: () => {},
      expectant: true,
      get closed() {
        return turned || messages > 100_000
      },
    })
    expect(messages, `bursts of ${burst}`).toBeLessThan(5000)
  }
})
