import fc from 'fast-check'
import { expect, test } from 'vitest'
import { EventQueue, type Happening } from '../../sim/event-queue.ts'
import { Random } from '../../sim/random.ts'

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
    fc.double({ min: 0, max: 0.002, noNaN: true }),
    fc.double({ min: 0, max: 3, noNaN: true }),
    fc.double({ min: 0, max: 20_000, noNaN: true }),
  )
  // So many at about the same time that they do not all join the heap at once.
  const crowd = fc.record({ crowd: fc.integer({ min: 257, max: 600 }), from: time, seed: fc.integer() })
  const pops = fc.record({ pop: fc.oneof(fc.nat(5), fc.nat(400)) })
  // Each leads to another, soon after it.
  const churn = fc.record({ churn: fc.integer({ min: 1, max: 20 }), after: time })
  const step = fc.oneof(
    { weight: 10, arbitrary: fc.record({ push: time }) },
    { weight: 5, arbitrary: pops },
    { weight: 5, arbitrary: churn },
    { weight: 2, arbitrary: crowd },
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
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
      const push = (at: number): void => {
        waiting.push({ time: at, mark: scheduled })
        queue.push(at, new Named(scheduled++))
      }
      for (const each of steps) {
        if ('push' in each) push(now + each.push)
        else if ('crowd' in each) {
          const random = new Random(each.seed, 'crowd')
          for (let i = 0; i < each.crowd; i++) push(now + each.from + 0.3 * random.uniform())
        } else if ('churn' in each) {
          for (let i = 0; i < each.churn; i++) {
            popBoth()
            push(now + each.after)
          }
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
