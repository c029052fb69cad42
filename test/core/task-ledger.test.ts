import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Service } from '../../broker/core/service.ts'
import { Task } from '../../broker/core/task.ts'
import { Answered, TaskLedger } from '../../broker/core/task-ledger.ts'
import { EMPTY_BODY } from '../../protocol/record.ts'
import { aReply } from './broker-rig.ts'

const service = new Service('')

function task(id: string, deadline = 1000, flags = 0): Task {
  const fields = { priority: 4, flags, traceparent: '', body: EMPTY_BODY, creditUpTo: 0, token: 0 }
  return new Task(id, service, fields, null, null, 0, deadline)
}
const reply = (octets: number) => aReply({ body: new Uint8Array(octets) })

test('finds a task while it is under way, its answer after', () => {
  const ledger = new TaskLedger(10, 10_000, 1000)
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
  const ledger = new TaskLedger(10, 10_000, 1000)
  const a = task('a')
  ledger.add(a)
  ledger.remove(a)
  expect(ledger.find('a')).toBeUndefined()
  expect(ledger.underWay).toBe(0)
})

test('keeps so many answers, the youngest', () => {
  const ledger = new TaskLedger(2, 10_000, 1000)
  for (const id of ['a', 'b', 'c']) ledger.answer(task(id), reply(0), 0)
  expect(ledger.find('a')).toBeUndefined()
  expect(ledger.find('c')).toBeInstanceOf(Answered)
  expect(ledger.answered).toBe(2)
})

test('keeps them so long and no longer', () => {
  const ledger = new TaskLedger(10, 10_000, 1000)
  ledger.answer(task('a'), reply(0), 0)
  ledger.answer(task('b'), reply(0), 500)
  expect(ledger.expire(999)).toBe(1000)
  expect(ledger.expire(1000)).toBe(1500)
  expect(ledger.find('a')).toBeUndefined()
  expect(ledger.expire(1500)).toBe(Number.POSITIVE_INFINITY)
  expect(ledger.answered).toBe(0)
})

test('does not keep one that is too large by itself, nor forget others for it', () => {
  const ledger = new TaskLedger(10, 1000, 1000)
  ledger.answer(task('small'), reply(10), 0)
  const large = task('large')
  ledger.add(large)
  ledger.answer(large, reply(1000), 0)
  expect(ledger.find('large')).toBeUndefined()
  expect(ledger.find('small')).toBeInstanceOf(Answered)
})

test('a small answer does not hold the large message that it came in', () => {
  const ledger = new TaskLedger(10, 10_000, 1000)
  const body = new Uint8Array(65_536).subarray(100, 110).fill(7)
  ledger.answer(task('a'), aReply({ body }), 0)
  const kept = ledger.find('a')
  if (!(kept instanceof Answered)) throw new Error('not kept')
  expect([...kept.reply.body]).toEqual([...body])
  // Its owner may fill the message anew.
  body.fill(0)
  expect(kept.reply.body[0]).toBe(7)
})

test('stays within its bounds, whatever comes', () => {
  const op = fc.oneof(fc.record({ octets: fc.nat({ max: 900 }) }), fc.record({ wait: fc.nat({ max: 400 }) }))
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 6 }), fc.array(op, { maxLength: 60 }), (max, ops) => {
      const ledger = new TaskLedger(max, 3000, 1000)
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
