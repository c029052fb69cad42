import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test, vi } from 'vitest'
import { drawParameters } from '../../sim/draw.ts'
import { run } from '../../sim/run.ts'

// Work for the processor, not waiting: a loaded machine takes longer.
vi.setConfig({ testTimeout: 180_000 })

const script = fileURLToPath(new URL('hash-run.ts', import.meta.url))

async function inAProcess(seed: number, ...flags: string[]): Promise<string> {
  const args = [...flags, '--import', 'tsx', script, `${seed}`]
  const { stdout } = await promisify(execFile)(process.execPath, args)
  return stdout
}

test.each([3, 7, 11])('seed %i tells the same story, to the byte, in two processes', async (seed) => {
  const [first, second] = await Promise.all([inAProcess(seed), inAProcess(seed)])
  expect(first).toMatch(/^[0-9a-f]{64} [0-9a-f]{16} \d+\n$/)
  expect(second).toBe(first)
})

test('nor does it depend on how its code is compiled: optimized as usual, or not at all', async () => {
  const [usual, slow] = await Promise.all([inAProcess(3), inAProcess(3, '--no-opt', '--no-sparkplug')])
  expect(slow).toBe(usual)
})

test('telling a run does not change it', () => {
  const quiet = run(5, drawParameters(5))
  const told = run(5, drawParameters(5), { tracer: () => {} })
  expect(told.summary?.hash).toBe(quiet.summary?.hash)
})

test('another seed is another run, with the same parameters', () => {
  const parameters = drawParameters(5)
  expect(run(5, parameters).summary?.hash).not.toBe(run(6, parameters).summary?.hash)
})
