import { expect, test, vi } from 'vitest'
import { drawParameters } from '../../sim/draw.ts'
import { run, shortestPrefix } from '../../sim/run.ts'
import { MUTANTS } from './mutants.ts'

// Work for the processor, not waiting: a loaded machine takes longer.
vi.setConfig({ testTimeout: 180_000 })

const SEED = 1

function broken(what: string) {
  const mutant = MUTANTS.find((one) => one.what.startsWith(what))
  return mutant?.make().options ?? {}
}

test('the prefix that is told shows the breach, and one event less does not', () => {
  const options = broken('one slot more')
  const whole = run(SEED, drawParameters(SEED), options)
  expect(whole.breach).not.toBeNull()
  const prefix = run(SEED, drawParameters(SEED), { ...options, eventsMax: whole.events })
  expect(prefix.breach?.message).toBe(whole.breach?.message)
  const less = run(SEED, drawParameters(SEED), { ...options, eventsMax: whole.events - 1 })
  expect(less.breach).toBeNull()
  expect(less.summary).toBeNull()
})

test('what seldom checks have noticed late is shown by a shorter prefix, checked after every event', () => {
  const options = broken('capacity is not decremented')
  const seldom = { ...drawParameters(SEED), checkBooksEvery: 200 }
  const late = run(SEED, seldom, options)
  expect(late.breach).not.toBeNull()
  const shortest = shortestPrefix(late, seldom, options)
  expect(shortest.breach).not.toBeNull()
  expect(shortest.events).toBeLessThan(late.events)
})
