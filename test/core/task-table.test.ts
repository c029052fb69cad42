import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Service } from '../../broker/core/service.ts'
import { Task } from '../../broker/core/task.ts'
import { TaskTable } from '../../broker/core/task-table.ts'
import { EMPTY_BODY } from '../../protocol/record.ts'

const service = new Service('')

function taskOf(token: number): Task {
  const fields = {
    id: `task-${token}`,
    priority: 4,
    flags: 0,
    traceparent: '',
    body: EMPTY_BODY,
    creditUpTo: 0,
    token,
  }
  return new Task(service, fields, null, null, 0, 0)
}

test('finds what a Map would find, whatever tokens others choose', () => {
  const token = fc.oneof(
    fc.nat({ max: 20 }),
    // All of one low half, or all of one high half.
    fc.nat({ max: 20 }).map((n) => n * 2 ** 32),
    fc.nat({ max: 20 }).map((n) => (2 ** 21 - 1) * 2 ** 32 + n),
    fc.maxSafeNat(),
  )
  fc.assert(
    fc.property(fc.integer(), fc.array(fc.tuple(token, fc.boolean())), (seed, steps) => {
      const table = new TaskTable(seed)
      const model = new Map<number, Task>()
      for (const [token, comes] of steps) {
        const known = model.get(token)
        expect(table.get(token)).toBe(known)
        expect(table.has(token)).toBe(known !== undefined)
        if (known === undefined && comes) {
          const task = taskOf(token)
          table.add(task)
          model.set(token, task)
        } else if (known !== undefined && !comes) {
          expect(table.remove(known)).toBe(true)
          expect(table.remove(known)).toBe(false)
          model.delete(token)
        }
        expect(table.size).toBe(model.size)
      }
      expect(new Set(table.all())).toEqual(new Set(model.values()))
    }),
  )
})
