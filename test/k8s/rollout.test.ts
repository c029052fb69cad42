import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, onTestFailed, test } from 'vitest'
import { type Phase, type RolloutReport, rolloutReport } from './node/rollout-report.ts'

/** Whoever is not root becomes root of a user namespace, where there are no other users to run pods as. */
const asRoot = process.getuid?.() === 0

async function runRollout(): Promise<{ report: RolloutReport; story: string }> {
  const namespaces = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc']
  if (!asRoot) namespaces.push('--user', '--map-root-user')
  const program = fileURLToPath(new URL('node/rollout.ts', import.meta.url))
  const directory = mkdtempSync(join(tmpdir(), 'spillway-k8s-'))
  const child = spawn('unshare', [...namespaces, process.execPath, '--import', 'tsx', program, directory], {
    env: { ...process.env, SANDBOX_USERS: asRoot ? 'all' : 'one' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [output, story, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'exit'),
  ])
  rmSync(directory, { recursive: true })
  if (code !== 0) throw new Error(`the run ended with ${code}:\n${story}`)
  return { report: rolloutReport.parse(JSON.parse(output)), story }
}

describe('the local overlay, run as processes under load', () => {
  let report: RolloutReport
  let story = ''
  beforeAll(async () => {
    ;({ report, story } = await runRollout())
  }, 300_000)

  function phaseOf(name: string): Phase {
    onTestFailed(() => console.error(story))
    const phase = report.phases.find((phase) => phase.name === name)
    if (phase === undefined) throw new Error(`there was no ${name}`)
    return phase
  }

  const podsEnded = (phase: Phase) => phase.ends.map(({ pod }) => pod.replace(/-\d+$/, '')).sort()

  test('every task got its right answer, whatever happened', () => {
    onTestFailed(() => console.error(story))
    const { sent, answered, wrong, failed, done } = report.load
    expect({ answered, wrong, failed, done }).toEqual({ answered: sent, wrong: 0, failed: {}, done: true })
    expect(sent).toBeGreaterThan(500)
    console.log(summaryOf(report))
  })

  test('every pod drained by itself, long before its grace period was over', () => {
    for (const end of report.ends) expect(end).toMatchObject({ killed: false, exitCode: 0 })
    expect(Math.max(...report.ends.map(({ tookMs }) => tookMs))).toBeLessThan(20_000)
  })

  test('the commands that the manual has run in a pod do what it says', () => {
    const [status, request, json] = report.said.map(({ output }) => output)
    for (const name of ['west', 'east', 'north']) expect(status).toContain(name)
    const answer = createHash('sha256').update('hello').digest('hex')
    expect(request?.trim()).toBe(answer)
    expect(json).toContain(answer)
  })

  test("one cluster's load is run by all three", () => {
    expect(Object.keys(report.load.ranIn)).toEqual(expect.arrayContaining(['west', 'east', 'north']))
  })

  test('a rolling update replaces every pod of all clusters', () => {
    expect(podsEnded(phaseOf('rolling update'))).toEqual([
      ...['spillway-east/broker', 'spillway-east/worker', 'spillway-east/worker'],
      ...['spillway-north/broker', 'spillway-north/worker', 'spillway-north/worker'],
      ...['spillway-west/broker', 'spillway-west/worker', 'spillway-west/worker'],
    ])
  })

  test('a node drain moves the broker, whose new address clients, workers and peers find by its names', () => {
    expect(podsEnded(phaseOf('node drain'))).toContain('spillway-west/broker')
  })

  test('a scale-down starts no task again', () => {
    const scaleDown = phaseOf('scale-down')
    expect(podsEnded(scaleDown)).toEqual([
      'spillway-north/worker',
      'spillway-north/worker',
      'spillway-west/worker',
    ])
    expect(scaleDown.again).toBe(0)
  })

  test('a fourth cluster that a ConfigMap names joins without a restart, and runs tasks', () => {
    expect(report.joinedWithoutRestart).toBe(true)
    expect(report.load.ranIn.south).toBeGreaterThan(0)
  })

  test('a broker that hangs is started again by its liveness probe', () => {
    expect(phaseOf('broker that hangs').ends).toEqual([])
  })
})

function summaryOf({ load, phases }: RolloutReport): string {
  const longest = (ends: Phase['ends']) => Math.round(Math.max(0, ...ends.map(({ tookMs }) => tookMs)))
  return [
    `${load.sent} tasks sent, ${load.answered} answered, 0 lost; the slowest took ${load.longestMs} ms`,
    ...phases.map(
      ({ name, tookMs, answered, again, ends }) =>
        `${name}: ${tookMs} ms, ${answered} tasks answered, ${again} started again, ${ends.length} pods drained in at most ${longest(ends)} ms`,
    ),
  ].join('\n')
}
