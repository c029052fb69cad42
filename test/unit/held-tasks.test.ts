import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Kind } from '../../protocol/record.ts'
import { Assignment } from '../../worker/core/assignment.ts'
import { HeldTasks } from '../../worker/core/held-tasks.ts'

function assignment(token: number): Assignment {
  const common = { id: `${token}`, attempt: 1, timeLeftMs: 1000, priority: 4, flags: 0, creditUpTo: 0 }
  const request = {
    kind: Kind.Request,
    token,
    service: '',
    traceparent: '',
    body: new Uint8Array(0),
    ...common,
  }
  return new Assignment(request, 0)
}

test('few or many, whoever goes through them may delete them', () => {
  for (const count of [3, 20]) {
    const held = new HeldTasks<Assignment>()
    for (let token = 0; token < count; token++) held.add(assignment(token))
    const seen: number[] = []
    for (const each of held.values()) {
      seen.push(each.token)
      held.delete(each)
    }
    expect(seen).toEqual(Array.from({ length: count }, (_, token) => token))
    expect(held.size).toBe(0)
  }
})

test('few or many, tasks are found by token and kept in the order in which they came', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(20), { maxLength: 200 }), (tokens) => {
      const held = new HeldTasks<Assignment>()
      const expected = new Map<number, Assignment>()
      // A token that is held goes, any other comes.
      for (const token of tokens) {
        const known = expected.get(token)
        if (known === undefined) {
          const fresh = assignment(token)
          expected.set(token, fresh)
          held.add(fresh)
        } else {
          expected.delete(token)
          held.delete(known)
          held.delete(known)
        }
        expect(held.size).toBe(expected.size)
        for (let each = 0; each <= 20; each++) expect(held.get(each)).toBe(expected.get(each))
        expect([...held.values()]).toEqual([...expected.values()])
      }
      for (const each of held.values()) held.delete(each)
      expect(held.size).toBe(0)
    }),
    { numRuns: 50 },
  )
})
