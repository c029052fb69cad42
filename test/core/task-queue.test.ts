import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Service } from '../../broker/core/service.ts'
import { Task } from '../../broker/core/task.ts'
import { TaskQueue } from '../../broker/core/task-queue.ts'
import { EMPTY_BODY, PRIORITY_MAX } from '../../protocol/record.ts'

const service = new Service('')

function task(id: string, priority: number, arrivedAt: number, starts = 0): Task {
  const fields = { id, priority, flags: 0, traceparent: '', body: EMPTY_BODY, creditUpTo: 0, token: 0 }
  const made = new Task(service, fields, null, null, arrivedAt, arrivedAt + 1000)
  made.starts = starts
  return made
}

const ids = (queue: TaskQueue) => [...queue].map((t) => t.id)

test('by priority, then by arrival', () => {
  const queue = new TaskQueue()
  for (const [id, priority] of [
    ['a', 0],
    ['b', 9],
    ['c', 4],
    ['d', 9],
  ] as const)
    queue.push(task(id, priority, 1))
  expect(ids(queue)).toEqual(['b', 'd', 'c', 'a'])
  expect(queue.head?.id).toBe('b')
})

test('what comes back goes to the place of its age, before others as old', () => {
  const queue = new TaskQueue()
  queue.push(task('b', 4, 2))
  queue.push(task('d', 4, 4))
  queue.restore(task('c', 4, 3))
  queue.restore(task('a', 4, 1))
  queue.restore(task('b2', 4, 2))
  queue.restore(task('e', 4, 5))
  expect(ids(queue)).toEqual(['a', 'b2', 'b', 'c', 'd', 'e'])
})

test('what was under way goes before all that never were, by age among its like', () => {
  const queue = new TaskQueue()
  queue.push(task('b', 4, 2))
  queue.push(task('c', 4, 3))
  queue.restore(task('e', 4, 5, 1))
  queue.restore(task('d', 4, 4, 2))
  queue.restore(task('a', 4, 1))
  queue.push(task('urgent', 9, 9))
  expect(ids(queue)).toEqual(['urgent', 'd', 'e', 'a', 'b', 'c'])
})

test('agrees with a sorted list, whatever comes, comes back and leaves', () => {
  const op = fc.oneof(
    fc.record({ push: fc.nat({ max: PRIORITY_MAX }) }),
    fc.record({
      restore: fc.nat({ max: PRIORITY_MAX }),
      age: fc.nat({ max: 20 }),
      starts: fc.nat({ max: 1 }),
    }),
    fc.record({ remove: fc.nat() }),
  )
  fc.assert(
    fc.property(fc.array(op, { maxLength: 60 }), (ops) => {
      const queue = new TaskQueue()
      const model: Task[] = []
      let now = 100
      for (const o of ops) {
        now++
        if ('push' in o) {
          const t = task(`t${now}`, o.push, now)
          queue.push(t)
          const at = model.findIndex((m) => m.priority < t.priority)
          model.splice(at < 0 ? model.length : at, 0, t)
        } else if ('restore' in o) {
          const t = task(`t${now}`, o.restore, now - o.age, o.starts)
          queue.restore(t)
          const at = model.findIndex(
            (m) =>
              m.priority < t.priority ||
              (m.priority === t.priority &&
                (m.starts < t.starts || (m.starts === t.starts && m.arrivedAt >= t.arrivedAt))),
          )
          model.splice(at < 0 ? model.length : at, 0, t)
        } else if (model.length > 0) {
          const [t] = model.splice(o.remove % model.length, 1)
          if (t !== undefined) {
            queue.remove(t)
            expect(t.queued).toBe(false)
          }
        }
        expect(ids(queue)).toEqual(model.map((t) => t.id))
        expect(queue.length).toBe(model.length)
        expect(queue.head).toBe(model[0] ?? null)
      }
    }),
  )
})
