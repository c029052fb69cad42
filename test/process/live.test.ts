import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { COMMON } from '../../cli/live/work.ts'
import { Worker } from '../../worker/main.ts'
import { reportSchema } from '../report-schema.ts'
import { compile, until } from './cluster-rig.ts'
import { MarkedCommand } from './marked-command.ts'

/** Small, and wrong all the time. */
const SHORT = [
  '--clusters',
  '2',
  '--workers',
  '4',
  '--clients',
  '6',
  '--worker-hosts',
  '2',
  '--client-hosts',
  '1',
]
const FREEZER = 1
const PROCESSES = 1 + FREEZER + 2 * (1 + 2 + 1)

const live = (...args: string[]) => new MarkedCommand('sim', 'live', ...args)

/** A folder for a report, that is gone after the test. */
function folderForReport(): string {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-live-report-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Where a cluster's broker takes workers, by its command line. */
function localbeOf(run: MarkedCommand, cluster: string): string {
  for (const pid of run.processes) {
    const words = readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0')
    const at = (flag: string) => words[words.indexOf(flag) + 1] ?? ''
    if (words.includes('broker') && at('--name') === cluster) return at('--localbe')
  }
  throw new Error(`no broker ${cluster}`)
}

beforeAll(compile, 120_000)

test('a short live run keeps every promise, says so in figures that agree, and leaves no process behind', {
  timeout: 90_000,
}, async () => {
  const times = ['--duration', '4s', '--kill-every', '1s', '--freeze-every', '2s', '--link-every', '1s']
  const folder = folderForReport()
  // Half of the tasks are of the kind that only c1 serves: in four seconds of faults some of c0's get there on any machine.
  const terms = [...times, '--fault-for', '800ms', '--rare', '0.5', '--seed', '7']
  const run = live(...SHORT, ...terms, '--output', 'json', '--report', folder)
  const status = await run.ended
  expect(status, run.said).toBe(0)
  expect(run.processes).toEqual([])
  const report = JSON.parse(run.printed)
  expect(report).toMatchObject({ format: 1, seed: 7, time: 'real', clusters: ['c0', 'c1'], breach: null })
  const looked = new Map<string, number>()
  for (const { promise, checked, broken } of report.promises) {
    looked.set(promise, checked)
    expect(broken, promise).toBe(0)
  }
  const settled = looked.get('every request settles exactly once') ?? 0
  // The last round alone has one of each client.
  expect(settled).toBeGreaterThan(2 * 6)
  expect(looked.get('no slot holds two tasks')).toBeGreaterThan(2 * 6)
  // Whoever was not lost was settled, and whoever was settled was not lost.
  expect(looked.get('no task is lost while its client lives and any worker lives')).toBe(settled)
  const figure = report.summary.find(({ label }: { label: string }) => label === 'pieces of streams read')
  const pieces = Number(figure.value.replaceAll(',', ''))
  expect(pieces).toBeGreaterThan(0)
  expect(report.series.latencyOverall.answered + pieces).toBe(looked.get('no answer of the wrong task'))
  // What only c1 offers was done there.
  expect(report.series.loans).toContainEqual([1, 0, expect.any(Number)])
  // What was left then got done.
  expect(report.arrivalsUntilMs).toBeGreaterThanOrEqual(4000)
  expect(report.arrivalsUntilMs).toBeLessThan(report.durationMs)
  expect(report.faults.length).toBeGreaterThan(3)
  for (const { fromMs, untilMs } of report.faults) expect(untilMs).toBeGreaterThanOrEqual(fromMs)
  const written = JSON.parse(readFileSync(join(folder, 'report.json'), 'utf8'))
  expect(written.command).toContain('spillway sim live --')
  for (const flag of ['--clusters 2', '--kill-every 1s', '--seed 7']) expect(written.command).toContain(flag)
  expect(written.promises).toEqual(report.promises)
  const page = readFileSync(join(folder, 'report.html'), 'utf8')
  expect(page).toContain('Clusters over time, with every fault')
})

test('the report that a live run writes says what the run has said', { timeout: 60_000 }, async () => {
  const folder = folderForReport()
  const terms = ['--duration', '2s', '--faults', 'worker', '--kill-every', '500ms', '--seed', '5']
  const run = live(...SHORT, ...terms, '--report', folder)
  expect(await run.ended, run.said).toBe(0)
  const files = ['report.html', 'report.json']
  expect(run.printed.trimEnd().split('\n').at(-1)).toBe(
    `Report: ${files.map((name) => join(folder, name)).join(', ')}`,
  )
  expect(readdirSync(folder).sort()).toEqual(files)

  const report = reportSchema.parse(JSON.parse(readFileSync(join(folder, 'report.json'), 'utf8')))
  const figures = new Map(report.summary.map(({ label, value }) => [label, value]))
  const told = (line: RegExp) => line.exec(run.printed)?.slice(1)
  expect(told(/ ([\d,]+) sent, .*; ([\d,]+) answered, ([\d,]+) UNKNOWN, .* ([\d,]+) started more/)).toEqual(
    ['tasks sent', 'answered', 'told UNKNOWN', 'started more than once'].map((label) => figures.get(label)),
  )
  expect(told(/faults {4}([\d,]+): ([\d,]+) processes killed, ([\d,]+) frozen; .* ([\d.]+ s) after/)).toEqual(
    ['faults', 'processes killed', 'processes frozen', 'all well after the last fault'].map((label) =>
      figures.get(label),
    ),
  )
  expect(Number(figures.get('processes killed'))).toBeGreaterThan(0)
  const { latencyOverall, loans, ranAtHome, ranForOthers, buckets } = report.series
  const lent = loans.reduce((sum, [, , tasks]) => sum + tasks, 0)
  expect(told(/; ([\d,]+) of ([\d,]+) in another cluster/)).toEqual(
    [lent, latencyOverall.answered].map((tasks) => tasks.toLocaleString('en')),
  )
  for (const counts of [...ranAtHome, ...ranForOthers]) expect(counts).toHaveLength(buckets)
  const looked = [...run.printed.matchAll(/✔ (.*?) {2}looked at ([\d,]+) times/g)]
  expect(looked.map(([, promise, checked]) => [promise, checked])).toEqual(
    report.promises.map(({ promise, checked }) => [promise, checked.toLocaleString('en')]),
  )
  expect(looked.length).toBeGreaterThan(0)

  const page = readFileSync(join(folder, 'report.html'), 'utf8')
  expect(page).toContain(report.command)
  for (const { promise } of report.promises) expect(page).toContain(promise)
})

test('a worker that answers nonsense is found out, and the run ends with 1 and the story of a task', {
  timeout: 60_000,
}, async () => {
  const run = live(...SHORT, '--duration', '3s', '--faults', 'none', '--settle', '1s')
  await until('tasks are sent', () => run.said.includes('Tasks are sent'), 40_000)
  const rogue = new Worker({
    connect: localbeOf(run, 'c0'),
    slots: 8,
    services: [COMMON],
    handler: () => 'nonsense',
  })
  try {
    expect(await run.ended).toBe(1)
  } finally {
    await rogue.stop()
  }
  expect(run.said).toMatch(/BREACH no answer of the wrong task, task c0h0\.1\/\d+\.\d+: nonsense instead of /)
  expect(run.said).toMatch(/ sent \d+\.\d+ c0h0\.1/)
  const [, folder = ''] = /wrote down is in (\S+)/.exec(run.said) ?? []
  expect(folder.startsWith(run.folder)).toBe(true)
  expect(readdirSync(folder)).toContain('c0h0.1.ledger')
})

describe('no process is left behind', () => {
  test.each([
    ['SIGINT', 130],
    // It cannot do anything about this one: those that it started notice by themselves, and the frozen are ended.
    ['SIGKILL', 'SIGKILL'],
  ] as const)(
    'by a live run that gets %s while some are frozen',
    { timeout: 60_000 },
    async (signal, status) => {
      const run = live(
        ...SHORT,
        '--duration',
        '60s',
        '--faults',
        'freeze-cluster',
        '--freeze-every',
        '200ms',
        '--fault-for',
        '60s',
      )
      await until('both clusters are frozen', () => run.said.split('all of c').length > 2, 40_000)
      expect(run.processes).toHaveLength(PROCESSES)
      run.process.kill(signal)
      expect(await run.ended).toBe(status)
      await until('all processes have ended', () => run.processes.length === 0)
    },
  )
})

test('parameters that make no sense are refused with status 78 and what was expected', async () => {
  const run = live('--kill-every', 'often', '--clusters', '1')
  expect(await run.ended).toBe(78)
  expect(run.said).toContain(
    'killEvery = "often" (--kill-every): expected a time from 0ms to 1h, as in 500ms, 2s or 5m',
  )
  expect(run.said).toContain('clusters = 1 (--clusters): expected an integer from 2 to 20')
})
