import fc from 'fast-check'
import { expect, test } from 'vitest'
import { EventQueue, type Happening } from '../../sim/event-queue.ts'

class Named implements Happening {
  readonly mark: number

  constructor(mark: number) {
    this.mark = mark
  }

  happen(): void {}
}

test('things happen in the order of their times, and of their scheduling at one time', () => {
  // Within a bucket and far beyond the whole ring; a few times that are often the same.
  const time = fc.oneof(
    fc.constantFrom(0, 0.1, 0.25, 1, 4096, 4096.25),
    fc.double({ min: 0, max: 3, noNaN: true }),
    fc.double({ min: 0, max: 20_000, noNaN: true }),
  )
  const step = fc.oneof(fc.record({ push: time }), fc.record({ pop: fc.nat(5) }))
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const queue = new EventQueue()
      const waiting: { time: number; mark: number }[] = []
      let now = 0
      let scheduled = 0
      const popBoth = (): void => {
        waiting.sort((a, b) => a.time - b.time || a.mark - b.mark)
        const expected = waiting.shift()
        expect(queue.nextTime()).toBe(expected?.time ?? Number.POSITIVE_INFINITY)
        const popped = queue.pop()
        expect(popped?.mark).toBe(expected?.mark)
        if (expected === undefined) return
        now = expected.time
        expect(queue.time).toBe(now)
      }
      for (const each of steps) {
        if ('push' in each) {
          const at = now + each.push
          waiting.push({ time: at, mark: scheduled })
          queue.push(at, new Named(scheduled++))
        } else for (let i = 0; i < each.pop; i++) popBoth()
      }
      while (waiting.length > 0) popBoth()
      expect(queue.length).toBe(0)
      expect(queue.nextTime()).toBe(Number.POSITIVE_INFINITY)
    }),
  )
})

test('what was put off may be overtaken by something scheduled later for an earlier time', () => {
  const queue = new EventQueue()
  queue.push(10_000, new Named(1))
  expect(queue.nextTime()).toBe(10_000)
  queue.push(5, new Named(2))
  expect(queue.nextTime()).toBe(5)
  expect(queue.pop()?.mark).toBe(2)
  expect(queue.pop()?.mark).toBe(1)
})

test('what is put off to the end of time never happens', () => {
  const queue = new EventQueue()
  queue.push(Number.POSITIVE_INFINITY, new Named(1))
  expect(queue.pop()).toBeUndefined()
})
