import { expect, test } from 'vitest'
import { Service } from '../../broker/core/service.ts'

/** The load after so many tasks, each of which finds so many slots free. */
function loadAfter(tasks: number, free: number, slots: number, from = 1): number {
  const service = new Service('')
  Object.assign(service, { slots, free, load: from })
  for (let i = 0; i < tasks; i++) service.arrived()
  return service.load
}

test('the load is the share of slots that tasks find taken, over some four times as many as there are slots', () => {
  expect(loadAfter(4000, 25, 100)).toBeCloseTo(0.75, 3)
  expect(loadAfter(4000, 0, 100, 0)).toBeCloseTo(1, 3)
  // Four tasks a slot are worth 1 - 1/e of what it will be in the end.
  expect(loadAfter(400, 100, 100)).toBeCloseTo(Math.exp(-1), 2)
  expect(loadAfter(4, 1, 1)).toBeCloseTo(0.75 ** 4, 9)
})

test('where nobody serves it the load is not known, and taken to be full', () => {
  expect(loadAfter(10, 0, 0)).toBe(1)
})
