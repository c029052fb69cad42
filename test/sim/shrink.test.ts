import { expect, test, vi } from 'vitest'
import { parse, stringify } from 'yaml'
import { drawParameters } from '../../sim/draw.ts'
import { LookaheadError } from '../../sim/event-queue.ts'
import { retell, run } from '../../sim/run.ts'
import { differences, FAULTS, parameters, parseScenario } from '../../sim/scenario.ts'
import { shrink } from '../../sim/shrink.ts'
import { MUTANTS } from './mutants.ts'

// Work for the processor, not waiting: a loaded machine takes longer.
vi.setConfig({ testTimeout: 180_000 })

const SEED = 1

function options() {
  const mutant = MUTANTS.find(({ what }) => what.startsWith('one slot more'))
  return mutant?.make().options ?? {}
}

test('a failing scenario is made as small as can be, and breaks the same promise', () => {
  const drawn = drawParameters(SEED)
  const before = run(SEED, drawn, options())
  const shrunk = shrink(SEED, drawn, 200, () => {}, options())
  expect(shrunk?.result.breach?.promise).toBe(before.breach?.promise)
  expect(shrunk?.parameters).toMatchObject({ clusters: 1, workers: 1, clients: 1, script: [] })
})

test('what is left can be run as a scenario, whatever the faults that were drawn had named', () => {
  // Clusters join here, and faults strike workers of all of them.
  const drawn = { ...drawParameters(SEED), faults: [...FAULTS], faultEveryMs: 60 }
  let faults = 0
  shrink(
    SEED,
    drawn,
    60,
    ({ parameters: p }) => {
      expect(parameters.safeParse(p).error?.issues ?? []).toEqual([])
      faults += p.script.length
    },
    options(),
  )
  expect(faults).toBeGreaterThan(0)
})

test('a scenario that is written down and read again is the same run', () => {
  const drawn = drawParameters(SEED)
  const first = run(SEED, drawn)
  const yaml = stringify({
    seed: SEED,
    ...differences({ ...drawn, faultEveryMs: 0, script: [...first.faults] }),
  })
  const { seed, ...again } = parseScenario(yaml)
  expect(seed).toBe(SEED)
  expect(again).toEqual(parameters.parse({ ...drawn, faultEveryMs: 0, script: parse(yaml).script }))
  expect(run(SEED, again).summary?.faults).toBe(first.summary?.faults)
})

test('a seed that keeps every promise cannot be made smaller', () => {
  expect(shrink(SEED, drawParameters(SEED), 10)).toBeNull()
})

test('a task is told from its submission to its end', () => {
  const told = retell(SEED, drawParameters(SEED), 1, 1000).lines.filter(({ task }) => task === 1)
  expect(told[0]?.what).toContain('submits task 1')
  expect(told.some(({ what }) => what.startsWith('is told'))).toBe(true)
})

test('a run that breaks a promise is told in order of time, and ends with the breach', () => {
  // One of the clusters that have had their turn before the one that breaks it was ahead of that.
  const seed = 10
  const { lines, result } = retell(seed, drawParameters(seed), null, 1_000_000, options())
  expect(retell(seed, drawParameters(seed), null, 5, options()).lines).toEqual(lines.slice(-5))
  const times = lines.map(({ at }) => at)
  expect(times).toEqual(times.toSorted((a, b) => a - b))
  expect(result.breach?.at).toBe(times.at(-1))
})

test('an event queue that was told of too long a lookahead is no broken promise, but the simulator’s own fault', () => {
  const tracer = () => {
    throw new LookaheadError('cluster 0 has scheduled something for cluster 1')
  }
  expect(() => run(SEED, drawParameters(SEED), { tracer })).toThrow(LookaheadError)
})

test('a run is told as it was, and how many of its lines came before those that are kept', () => {
  const p = parameters.parse({ clusters: 2, workers: 3, clients: 5, durationMs: 500, faults: [] })
  const whole = retell(SEED, p, null, 1_000_000)
  expect(whole.leftOut).toBe(0)
  expect(whole.result.summary).toEqual(run(SEED, p).summary)
  const end = retell(SEED, p, null, 7)
  expect(end.lines).toEqual(whole.lines.slice(-7))
  expect(end.leftOut).toBe(whole.lines.length - 7)
})
