import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Answered } from '../../broker/core/answer-pages.ts'
import { Service } from '../../broker/core/service.ts'
import { Task } from '../../broker/core/task.ts'
import { TaskLedger } from '../../broker/core/task-ledger.ts'
import { EMPTY_BODY } from '../../protocol/record.ts'
import { aReply } from './broker-rig.ts'

const service = new Service('')
const SEED = 1

function task(id: string, deadline = 1000, flags = 0): Task {
  const fields = { id, priority: 4, flags, traceparent: '', body: EMPTY_BODY, creditUpTo: 0, token: 0 }
  return new Task(service, fields, null, null, 0, deadline)
}
const reply = (octets: number) => aReply({ body: new Uint8Array(octets) })

test('finds a task while it is under way, its answer after', () => {
  const ledger = new TaskLedger(10, 10_000, 1000, SEED)
  const a = task('a')
  ledger.add(a)
  expect(ledger.find('a')).toBe(a)
  expect(ledger.underWay).toBe(1)
  ledger.answer(a, reply(3), 0)
  ledger.remove(a)
  expect(ledger.find('a')).toBeInstanceOf(Answered)
  expect(ledger).toMatchObject({ underWay: 0, answered: 1 })
})

test('forgets a task that ended without an answer to keep', () => {
  const ledger = new TaskLedger(10, 10_000, 1000, SEED)
  const a = task('a')
  ledger.add(a)
  ledger.remove(a)
  expect(ledger.find('a')).toBeUndefined()
  expect(ledger.underWay).toBe(0)
})

test('keeps so many answers, the youngest', () => {
  const ledger = new TaskLedger(2, 10_000, 1000, SEED)
  for (const id of ['a', 'b', 'c']) ledger.answer(task(id), reply(0), 0)
  expect(ledger.find('a')).toBeUndefined()
  expect(ledger.find('c')).toBeInstanceOf(Answered)
  expect(ledger.answered).toBe(2)
})

test('keeps them so long and no longer', () => {
  const ledger = new TaskLedger(10, 10_000, 1000, SEED)
  ledger.answer(task('a'), reply(0), 0)
  ledger.answer(task('b'), reply(0), 500)
  expect(ledger.expire(999)).toBe(1000)
  expect(ledger.expire(1000)).toBe(1500)
  expect(ledger.find('a')).toBeUndefined()
  expect(ledger.expire(1500)).toBe(Number.POSITIVE_INFINITY)
  expect(ledger.answered).toBe(0)
})

test('counts the words of an error as octets', () => {
  const ledger = new TaskLedger(100, 10_000, 1000, SEED)
  for (let n = 0; n < 50; n++)
    ledger.answer(task(`${n}`), aReply({ code: 'X', message: 'x'.repeat(4000) }), 0)
  expect(ledger.answered).toBe(2)
  expect(ledger.find('49')).toMatchObject({ reply: { message: 'x'.repeat(4000) } })
  ledger.expire(1000)
  for (let n = 0; n < 30; n++) ledger.answer(task(`${n}`), reply(0), 1000)
  expect(ledger.answered).toBe(30)
})

test('does not keep one that is too large by itself, nor forget others for it', () => {
  const ledger = new TaskLedger(10, 1000, 1000, SEED)
  ledger.answer(task('small'), reply(10), 0)
  const large = task('large')
  ledger.add(large)
  ledger.answer(large, reply(1000), 0)
  expect(ledger.find('large')).toBeUndefined()
  expect(ledger.find('small')).toBeInstanceOf(Answered)
})

test('a small answer does not hold the large message that it came in', () => {
  const ledger = new TaskLedger(10, 10_000, 1000, SEED)
  const body = new Uint8Array(65_536).subarray(100, 110).fill(7)
  ledger.answer(task('a'), aReply({ body }), 0)
  const kept = ledger.find('a')
  if (!(kept instanceof Answered)) throw new Error('not kept')
  expect([...kept.reply.body]).toEqual([...body])
  // Its owner may fill the message anew.
  body.fill(0)
  expect(kept.reply.body[0]).toBe(7)
})

test('nor does one that is kept beside the others', () => {
  const ledger = new TaskLedger(10, 1 << 20, 1000, SEED)
  const message = Buffer.alloc(1 << 20)
  const answers = [
    aReply({ code: 'MY_CODE', body: message.subarray(100, 110) }),
    aReply({ worker: '\u03a9', body: message.subarray(100, 110) }),
    aReply({ body: message.subarray(100, 40_100) }),
  ]
  for (const [i, answer] of answers.entries()) ledger.answer(task(`${i}`), answer, 0)
  message.fill(1)
  for (const [i, { body }] of answers.entries()) {
    const kept = ledger.find(`${i}`)
    if (!(kept instanceof Answered)) throw new Error('not kept')
    expect(kept.reply.body.buffer.byteLength).toBeLessThan(2 * body.length)
    expect(kept.reply.body[0]).toBe(0)
  }
})

test('an answer is kept whole, whatever it is', () => {
  const u32 = fc.nat({ max: 0xffffffff })
  const answer = fc.record({
    code: fc.constantFrom('', 'MY_CODE'),
    retryable: fc.boolean(),
    attempts: u32,
    queuedUs: u32,
    runUs: u32,
    partials: u32,
    cluster: fc.string({ unit: 'grapheme', maxLength: 300 }),
    worker: fc.string({ maxLength: 300 }),
    message: fc.oneof(fc.constant(''), fc.string()),
    octets: fc.oneof(fc.nat({ max: 200 }), fc.integer({ min: 4000, max: 70_000 })),
  })
  fc.assert(
    fc.property(fc.array(answer, { minLength: 1, maxLength: 50 }), (answers) => {
      const ledger = new TaskLedger(30, 100 << 20, 1000, SEED)
      const replies = answers.map(({ octets, ...fields }, i) =>
        // The token is the one of whoever asks.
        aReply({ ...fields, token: 0, body: new Uint8Array(octets).fill(i) }),
      )
      for (const [i, given] of replies.entries()) ledger.answer(task(`id-${i}`), given, i)
      for (const [i, { body, ...fields }] of replies.entries()) {
        const found = ledger.find(`id-${i}`)
        if (i < replies.length - 30) expect(found).toBeUndefined()
        else if (!(found instanceof Answered)) expect.fail('not kept')
        else {
          expect(found).toMatchObject({ id: `id-${i}`, at: i })
          expect(found.reply).toMatchObject(fields)
          expect(Buffer.compare(found.reply.body, body)).toBe(0)
        }
      }
    }),
    { numRuns: 50 },
  )
})

test('finds every one of many, by whatever seed', () => {
  for (const seed of [0, 1, 0xffffffff]) {
    const ledger = new TaskLedger(2000, 10 << 20, 1000, seed)
    const tasks = Array.from({ length: 5000 }, (_, n) => task(`task-${n}`))
    for (const t of tasks) ledger.add(t)
    for (const t of tasks) expect(ledger.find(t.id)).toBe(t)
    for (const t of tasks.slice(0, 3000)) ledger.answer(t, reply(n(t)), 0)
    expect(ledger).toMatchObject({ underWay: 2000, answered: 2000 })
    for (const t of tasks.slice(0, 1000)) expect(ledger.find(t.id)).toBeUndefined()
    for (const t of tasks.slice(1000, 3000)) {
      const found = ledger.find(t.id)
      expect(found instanceof Answered && found.reply.body.length).toBe(n(t))
    }
    for (const t of tasks.slice(3000)) {
      expect(ledger.find(t.id)).toBe(t)
      ledger.remove(t)
      expect(ledger.find(t.id)).toBeUndefined()
    }
    expect(ledger).toMatchObject({ underWay: 0, answered: 2000 })
  }
  function n({ id }: Task): number {
    return Number(id.slice(5)) % 100
  }
})

test('stays within its bounds, whatever comes', () => {
  const op = fc.oneof(fc.record({ octets: fc.nat({ max: 900 }) }), fc.record({ wait: fc.nat({ max: 400 }) }))
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 6 }), fc.array(op, { maxLength: 60 }), (max, ops) => {
      const ledger = new TaskLedger(max, 3000, 1000, SEED)
      const kept: { id: string; octets: number; at: number }[] = []
      let now = 0
      for (const [i, o] of ops.entries()) {
        if ('wait' in o) {
          now += o.wait
          ledger.expire(now)
        } else {
          const t = task(`t${i}`)
          ledger.add(t)
          ledger.answer(t, reply(o.octets), now)
          kept.push({ id: t.id, octets: o.octets, at: now })
        }
        const found = kept.filter(({ id }) => ledger.find(id) instanceof Answered)
        expect(found.length).toBe(ledger.answered)
        expect(found.length).toBeLessThanOrEqual(max)
        expect(found.reduce((sum, { octets }) => sum + octets, 0)).toBeLessThanOrEqual(3000)
        // The youngest without a gap, and none that is too old.
        expect(found.map(({ id }) => id)).toEqual(kept.slice(kept.length - found.length).map(({ id }) => id))
        if ('wait' in o) for (const { at } of found) expect(now - at).toBeLessThan(1000)
      }
      expect(ledger.underWay).toBe(0)
    }),
  )
})

test('finds what a Map would find, however long tasks stay and whatever came and went meanwhile', () => {
  const step = fc.record({
    comes: fc.nat({ max: 120 }),
    /** Of those under way, from which on so many are answered, and so many go without an answer. */
    from: fc.nat(),
    answered: fc.nat({ max: 120 }),
    leave: fc.nat({ max: 60 }),
    /** An id that was here once comes again. */
    again: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.integer(), fc.array(step, { maxLength: 30 }), (seed, steps) => {
      const ledger = new TaskLedger(150, 1 << 20, 1000, seed)
      const underWay: Task[] = []
      const answers: string[] = []
      const gone: string[] = []
      let made = 0
      for (const { comes, from, answered, leave, again } of steps) {
        for (let n = 0; n < comes; n++) {
          const t = task(again ? (gone.pop() ?? `task-${made++}`) : `task-${made++}`)
          ledger.add(t)
          underWay.push(t)
        }
        for (const t of underWay.splice(from % (underWay.length + 1), answered)) {
          ledger.answer(t, reply(0), 0)
          answers.push(t.id)
        }
        for (const t of underWay.splice(from % (underWay.length + 1), leave)) {
          ledger.remove(t)
          gone.push(t.id)
        }
        gone.push(...answers.splice(0, answers.length - 150))
        for (const t of underWay) expect(ledger.find(t.id)).toBe(t)
        for (const id of answers) expect(ledger.find(id)).toBeInstanceOf(Answered)
        for (const id of gone.slice(-100)) expect(ledger.find(id)).toBeUndefined()
        expect(ledger).toMatchObject({ underWay: underWay.length, answered: answers.length })
      }
    }),
  )
})

// The id is the attacker's own, so that no seed helps: each would leave a place of one hash, which all that come after must pass.
test('one id that comes and goes again and again costs what as many others cost', () => {
  const ledger = new TaskLedger(100_000, 1 << 26, 1_000_000, SEED)
  const pair = (id: string): void => {
    const each = task(id)
    ledger.find(id)
    ledger.add(each)
    ledger.remove(each)
  }
  const costUs = (first: number, idOf: (n: number) => string): number => {
    const before = process.cpuUsage()
    for (let n = first; n < first + 1000; n++) pair(idOf(n))
    const { user, system } = process.cpuUsage(before)
    return user + system
  }
  for (let n = 0; n < 200_000; n++) ledger.answer(task(`old-${n}`), reply(0), 0)
  for (let n = 0; n < 15_000; n++) pair('again')
  const again: number[] = []
  const others: number[] = []
  for (let round = 0; round < 5; round++) {
    again.push(costUs(0, () => 'again'))
    others.push(costUs(1000 * round, (n) => `other-${n}`))
  }
  // Fifteen thousand such places made it fifty times as much.
  expect(Math.min(...again)).toBeLessThan(10 * Math.min(...others) + 1000)
})
