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
  const { result, checkBooksEvery } = shortestPrefix(late, seldom, options)
  expect(result.breach).not.toBeNull()
  expect(result.events).toBeLessThan(late.events)
  // Who is told of the prefix must be told how to see it: with seldom checks it ends before anything is noticed.
  const prefix = { ...options, eventsMax: result.events }
  const again = run(SEED, { ...seldom, checkBooksEvery }, prefix)
  expect(again.breach?.message).toBe(result.breach?.message)
  expect(run(SEED, seldom, prefix).breach).toBeNull()
})

test('a breach that no check of the books has found is not looked for with more of them', () => {
  const options = broken('one slot more')
  const parameters = drawParameters(SEED)
  const found = run(SEED, parameters, options)
  expect(shortestPrefix(found, parameters, options)).toEqual({ result: found, checkBooksEvery: 1 })
})
