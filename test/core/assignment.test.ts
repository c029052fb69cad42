import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Assignment, AssignmentTable } from '../../broker/core/assignment.ts'
import { Link } from '../../broker/core/link.ts'
import { Service } from '../../broker/core/service.ts'
import { Task } from '../../broker/core/task.ts'
import { Worker } from '../../broker/core/worker.ts'
import { EMPTY_BODY } from '../../protocol/record.ts'
import { lottery } from './broker-rig.ts'

const fields = { id: 't', priority: 4, flags: 0, traceparent: '', body: EMPTY_BODY, creditUpTo: 0, token: 0 }
const task = new Task(new Service(''), fields, null, null, 0, 1000)
const worker = new Worker(new Link('localbe', 'w'), 'w', 1000, 0)

test('a token finds its assignment while that is open, and nothing after', () => {
  const table = new AssignmentTable(lottery(1))
  const a = table.open(task, worker, 1, 0)
  expect(table.find(a.token)).toBe(a)
  table.close(a)
  expect(table.find(a.token)).toBeNull()
  expect(a.open).toBe(false)
  expect(table.size).toBe(0)
})

test('a stale token does not find who has its place now', () => {
  const table = new AssignmentTable(lottery(1))
  const a = table.open(task, worker, 1, 0)
  table.close(a)
  const b = table.open(task, worker, 2, 0)
  expect(Math.floor(a.token / 2 ** 32)).toBe(Math.floor(b.token / 2 ** 32))
  expect(table.find(a.token)).toBeNull()
  expect(table.find(b.token)).toBe(b)
})

test('tokens of an earlier life find nothing', () => {
  const before = new AssignmentTable(lottery(1))
  const after = new AssignmentTable(lottery(2))
  const tokens = Array.from({ length: 100 }, (_, i) => before.open(task, worker, i, 0).token)
  for (let i = 0; i < 100; i++) after.open(task, worker, i, 0)
  for (const token of tokens) expect(after.find(token)).toBeNull()
})

test('no token whatsoever throws or finds what is not there', () => {
  const table = new AssignmentTable(lottery(3))
  const a = table.open(task, worker, 1, 0)
  fc.assert(
    fc.property(fc.maxSafeNat(), (token) => {
      expect(table.find(token)).toBe(token === a.token ? a : null)
    }),
  )
})

test('tokens are safe integers, and differ while their places are used again and again', () => {
  const table = new AssignmentTable(() => 1 - 2 ** -32)
  const seen = new Set<number>()
  for (let i = 0; i < 10_000; i++) {
    const a = table.open(task, worker, i, 0)
    expect(Number.isSafeInteger(a.token)).toBe(true)
    seen.add(a.token)
    table.close(a)
  }
  expect(seen.size).toBe(10_000)
})

test("an executor's list agrees with an array", () => {
  const table = new AssignmentTable(lottery(1))
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.constant(-1), fc.nat({ max: 20 })), { maxLength: 50 }), (ops) => {
      const holder = new Worker(new Link('localbe', 'w'), 'w', 1000, 0)
      const model: Assignment[] = []
      for (const o of ops) {
        if (o < 0) {
          const a = table.open(task, worker, 0, 0)
          holder.hold(a)
          model.push(a)
        } else if (model.length > 0) {
          const [a] = model.splice(o % model.length, 1)
          if (a !== undefined) holder.letGo(a)
        }
        expect(holder.held).toBe(model.length)
        expect(holder.heldNewestFirst()).toEqual([...model].reverse())
        expect(holder.firstHeld).toBe(model[0] ?? null)
        expect(holder.lastHeld).toBe(model.at(-1) ?? null)
      }
    }),
  )
})
