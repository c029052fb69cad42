import { expect, test, vi } from 'vitest'
import { drawParameters } from '../../sim/draw.ts'
import { run } from '../../sim/run.ts'

// Work for the processor, not waiting: a loaded machine takes longer.
vi.setConfig({ testTimeout: 180_000 })

/** The seed that names a failure, and nothing else, is what the message must show. */
function verdict(seed: number): string {
  const { breach } = run(seed, drawParameters(seed))
  return breach === null ? 'kept' : `spillway sim replay ${seed} --drawn: ${breach.message}`
}

test('150 fixed seeds keep every promise', () => {
  for (let seed = 1; seed <= 150; seed++) expect(verdict(seed)).toBe('kept')
})

test('20 fresh seeds keep every promise', () => {
  const first = Math.floor(Math.random() * 2 ** 40)
  console.log(`fresh seeds from ${first}`)
  for (let seed = first; seed < first + 20; seed++) expect(verdict(seed)).toBe('kept')
})
