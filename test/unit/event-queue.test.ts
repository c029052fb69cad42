import fc from 'fast-check'
import { expect, test } from 'vitest'
import { EVERYBODY, EventQueue, type Happening } from '../../sim/event-queue.ts'
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
        if (expected !== undefined && expected.time > now) expect(queue.pop(now)).toBeUndefined()
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
    }),
  )
})

test('a crowded bucket keeps its order when more is pushed before, into and after the part of it that is under way', () => {
  const START = 1
  const BUCKET = 0.25
  const PARTS = 2048
  const PART = BUCKET / PARTS
  const queue = new EventQueue()
  const waiting: { time: number; mark: number }[] = []
  const push = (time: number): void => {
    const mark = waiting.length
    waiting.push({ time, mark })
    queue.push(time, new Named(mark))
  }
  // Two in each part of the bucket, not in their order.
  for (let i = 0; i < 2 * PARTS; i++) push(START + (PART / 2) * ((i * 389) % (2 * PARTS)))
  // Seven in order: the eighth, in the fourth part, is at hand, and all others wait in parts of their own.
  for (let i = 0; i < 7; i++) {
    expect(queue.pop()?.mark).toBe(waiting.find(({ time }) => time === START + (PART / 2) * i)?.mark)
  }
  const gone = new Set(waiting.filter(({ time }) => time <= queue.time))
  expect(gone.size).toBe(7)
  push(START + 100.25 * PART) // a later part, with others between
  push(START + 4 * PART) // the next part
  push(START + 3.75 * PART) // the part under way, last in it
  push(START + 3.25 * PART) // the part under way, before what is left of it
  push(queue.time) // now
  push(START + (PARTS - 0.25) * PART) // the last part
  push(START + BUCKET) // the next bucket
  push(START + PART) // a part that is over
  push(START - BUCKET) // a bucket that is over
  const expected = waiting
    .filter((each) => !gone.has(each))
    .sort((a, b) => a.time - b.time || a.mark - b.mark)
  // One by one: what is lost on the rung would be looked for without end.
  for (const { time, mark } of expected) {
    expect(queue.pop()?.mark).toBe(mark)
    expect(queue.time).toBe(time)
  }
  expect(queue.length).toBe(0)
})

test('what was put off may be overtaken by something scheduled later for an earlier time', () => {
  const queue = new EventQueue()
  queue.push(10_000, new Named(1))
  expect(queue.pop(9999)).toBeUndefined()
  queue.push(5, new Named(2))
  expect(queue.pop()?.mark).toBe(2)
  expect(queue.pop()?.mark).toBe(1)
})

test('what is put off to the end of time never happens', () => {
  const queue = new EventQueue()
  queue.push(Number.POSITIVE_INFINITY, new Named(1))
  expect(queue.pop()).toBeUndefined()
})

/** What happens, when, and whom it concerns. */
interface Due {
  readonly time: number
  readonly owner: number
}

/** Whatever happens leads to more: soon in its own cluster, and elsewhere, or for everybody, no sooner than the lookahead. */
function happenings(queue: EventQueue, lookaheadMs: number, seed: number, count: number): Due[] {
  const random = new Random(seed, 'happenings')
  const CLUSTERS = 5
  const dues: Due[] = []
  const happened: Due[] = []
  const push = (time: number, owner: number): void => {
    queue.push(time, new Named(dues.push({ time, owner }) - 1), owner)
  }
  for (let owner = 0; owner < CLUSTERS; owner++)
    for (let i = 0; i < 20; i++) push(100 * random.uniform(), owner)
  let until = 0
  while (happened.length < count) {
    until += random.chance(0.5) ? 1000 : 7 * random.uniform()
    for (let next = queue.pop(until); next !== undefined; next = queue.pop(until)) {
      const due = dues[next.mark]
      if (due === undefined) throw new Error('it was never scheduled')
      expect(queue.time).toBe(due.time)
      expect(due.time).toBeLessThanOrEqual(until)
      happened.push(due)
      if (happened.length > count) continue
      const draw = random.uniform()
      if (draw < 0.6) push(due.time + 3 * random.uniform(), due.owner)
      else if (draw < 0.998) push(due.time + lookaheadMs * random.between(1, 3), random.below(CLUSTERS))
      else push(due.time + lookaheadMs * random.between(1, 3), EVERYBODY)
      // Seldom something that is due much later than the ring reaches.
      if (random.chance(0.001)) push(due.time + 100_000 * random.uniform(), random.below(CLUSTERS))
    }
    // Between two calls the world is entered from outside.
    if (random.chance(0.1)) push(until + random.uniform(), random.below(CLUSTERS))
  }
  expect(queue.length).toBe(dues.length - happened.length)
  return happened
}

test.each([0.02, 0.3, 1, 5, 100])(
  'with a lookahead of %d ms each cluster is in order, and nobody is ahead of what concerns everybody',
  (lookaheadMs) => {
    const happened = happenings(new EventQueue(lookaheadMs), lookaheadMs, 7, 20_000)
    const latest = new Map<number, number>()
    let farthest = 0
    let turns = 0
    let before = EVERYBODY
    for (const { time, owner } of happened) {
      if (owner === EVERYBODY) expect(time).toBeGreaterThanOrEqual(farthest)
      expect(time).toBeGreaterThanOrEqual(Math.max(latest.get(owner) ?? 0, latest.get(EVERYBODY) ?? 0))
      // Nobody is ahead of the others by as much as the lookahead.
      expect(time).toBeGreaterThan(farthest - lookaheadMs)
      latest.set(owner, time)
      farthest = Math.max(farthest, time)
      if (owner !== before) turns++
      before = owner
    }
    // Were they not taken together, four of five would be of another cluster than the one before.
    if (lookaheadMs >= 5) expect(turns).toBeLessThan(happened.length / 2)
  },
)

test('what happens in one cluster and is felt in another sooner than the lookahead is refused', () => {
  const queue = new EventQueue(5)
  queue.push(4, new Named(1), 0)
  queue.push(4.5, new Named(2), 1)
  expect(queue.pop()?.mark).toBe(1)
  queue.push(4, new Named(3), 0)
  queue.push(8, new Named(4), 1)
  expect(() => queue.push(7.9, new Named(5), 1)).toThrow(/cluster 0 has scheduled something for cluster 1/)
  expect(() => queue.push(7.9, new Named(5))).toThrow(/cluster 0 has scheduled something for everybody/)
})
