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

test('what came of a message leaves, though the message has closed its reader', async () => {
  for (const burst of [1, 10]) {
    let messages = 0
    let closed = false
    const messagesAtEnd: number[] = []
    await drain(new Busy(burst), -1, {
      message: () => {
        closed = ++messages === burst
      },
      drained: () => messagesAtEnd.push(messages),
      expectant: true,
      get closed() {
        return closed
      },
    })
    expect(messagesAtEnd, `bursts of ${burst}`).toEqual([burst])
  }
})

test('a reader that was closed by others hears nothing more', async () => {
  let fail = (_error: Error) => {}
  const closing = new Promise<Buffer[]>((_resolve, reject) => {
    fail = reject
  })
  let closed = false
  let drained = 0
  const over = drain({ receiveTimeout: 0, readable: false, receive: () => closing }, -1, {
    message: () => {},
    drained: () => {
      drained++
    },
    expectant: true,
    get closed() {
      return closed
    },
  })
  closed = true
  fail(Object.assign(new Error('closed'), { code: 'EAGAIN' }))
  await over
  expect(drained).toBe(0)
})
