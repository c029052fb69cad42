import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { capitals, ScriptedBroker } from '../socket/scripted-broker.ts'

const main = join(import.meta.dirname, '../../cli/main.ts')

async function scriptedBroker(): Promise<string> {
  const broker = await ScriptedBroker.bind(capitals)
  onTestFinished(() => broker.close())
  return broker.endpoint
}

async function bench(...args: string[]): Promise<{ status: number; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, ['--import', 'tsx', main, 'bench', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, SPILLWAY_CONNECT: '' },
  })
  onTestFinished(() => {
    child.kill('SIGKILL')
  })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk) => {
    stdout += chunk
  })
  child.stderr.on('data', (chunk) => {
    stderr += chunk
  })
  const [status] = await once(child, 'close')
  return { status, stdout, stderr }
}

test('load on a broker that runs shows what it bears and where tasks ran', async () => {
  const { status, stdout, stderr } = await bench(
    ...['--connect', await scriptedBroker(), '--outstanding', '50', '--duration', '0.3', '--warmup', '0.1'],
    ...['-o', 'json'],
  )
  expect(stderr).toBe('')
  expect(status).toBe(0)
  const { tasks, clusters, latencyMs, failed, lost } = JSON.parse(stdout)
  expect(tasks).toBeGreaterThan(0)
  // What was answered while the window was open, and nothing else, is counted in both places.
  expect(clusters).toEqual({ west: tasks })
  expect(latencyMs.p50).toBeGreaterThan(0)
  expect(latencyMs.max).toBeGreaterThanOrEqual(latencyMs['p99.9'])
  expect([failed, lost]).toEqual([0, 0])
})

test('with a rate just so many tasks are sent as are due', async () => {
  const { status, stdout } = await bench(
    ...['--connect', await scriptedBroker(), '--rate', '200', '--duration', '0.5', '--warmup', '0.1'],
  )
  expect(status).toBe(0)
  expect(stdout).toContain('200 tasks/s asked for')
  const [, tasks] = /^(\d+) tasks of 64 octets/.exec(stdout) ?? []
  expect(Number(tasks)).toBeLessThanOrEqual(120)
  expect(stdout).toContain('latency from when they were due: p50 ')
  expect(stdout).toContain('by cluster: west 100.0 %')
})

test('without the address of a broker it says what is missing', async () => {
  const { status, stderr } = await bench('--duration', '1')
  expect(status).toBe(78)
  expect(stderr).toMatch(/^connect is missing: expected a broker’s localfe/)
})

test('a setting that cannot be used is named, with what was expected', async () => {
  const { status, stderr } = await bench('--connect', 'tcp://127.0.0.1:5555', '--outstanding', '0')
  expect(status).toBe(78)
  expect(stderr).toContain('outstanding = 0 (--outstanding): expected an integer from 1 to')
})
