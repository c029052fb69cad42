import { describe, expect, test, vi } from 'vitest'
import { drawParameters } from '../../sim/draw.ts'
import { run } from '../../sim/run.ts'
import { MUTANTS } from './mutants.ts'

// Work for the processor, not waiting: a loaded machine takes longer.
vi.setConfig({ testTimeout: 180_000 })

/** Seeds within which every broken core must be found out. */
const SEEDS = 1000

describe('a core that is broken on purpose is found out', () => {
  test.each(MUTANTS.map(({ what, make, promise }) => [what, make, promise] as const))(
    '%s',
    (_what, make, promise) => {
      const { options, undo } = make()
      let breach: string | null = null
      try {
        for (let seed = 1; seed <= SEEDS && breach === null; seed++) {
          breach = run(seed, drawParameters(seed), options).breach?.promise ?? null
        }
      } finally {
        undo?.()
      }
      expect(breach).not.toBeNull()
      // Found by a promise that was not kept, not because the mutant itself fell over.
      expect(breach).not.toBe('a core never throws')
      if (promise !== undefined) expect(breach).toBe(promise)
    },
  )
})
