import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { z } from 'zod'

const main = join(import.meta.dirname, '../../dist/cli/main.js')
const OURS = /\/dist\/(sim|broker|client|worker|protocol)\//

const coverage = z.object({
  result: z.array(
    z.object({
      url: z.string(),
      functions: z.array(z.object({ ranges: z.array(z.object({ count: z.number() })) })),
    }),
  ),
})

/** How often any block of our code is gone through, by event: what V8 counts is the same whatever the machine does meanwhile. */
function stepsByEvent(clusters: number, durationMs: number): number {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-steps-'))
  try {
    const work = '--workers 30 --clients 30 --rate 4 --hot 1 --service-ms 20 --fault-every-ms 0'
    const states = '--state-coalesce-ms 500 --state-interval-ms 1500 --state-ttl-ms 4500'
    const size = `--clusters ${clusters} --duration-ms ${durationMs}`
    const args = ['sim', 'run', '--seed', '7', '--json', ...`${work} ${states} ${size}`.split(' ')]
    const env = { ...process.env, NODE_V8_COVERAGE: folder }
    const { stdout } = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', env })
    const { events } = z
      .object({ summary: z.object({ events: z.number() }) })
      .parse(JSON.parse(stdout)).summary
    let steps = 0
    for (const file of readdirSync(folder)) {
      const { result } = coverage.parse(JSON.parse(readFileSync(join(folder, file), 'utf8')))
      for (const { url, functions } of result) {
        if (!OURS.test(url)) continue
        for (const { ranges } of functions) for (const { count } of ranges) steps += count
      }
    }
    return steps / events
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

test('an event takes no more steps among a hundred clusters than among twenty', () => {
  const few = stepsByEvent(20, 6000)
  const many = stepsByEvent(100, 3000)
  // Neither is what the other is: a broker that looked at all others with each event would take hundreds more.
  expect(few).toBeGreaterThan(50)
  expect(many / few).toBeLessThan(1.15)
})
