import { spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { measureSimulation } from '../../bench/simulation.ts'
import { POLICIES } from '../../broker/core/routing.ts'
import { drawParameters } from '../../sim/draw.ts'
import { parameters } from '../../sim/scenario.ts'
import { reportSchema } from '../report-schema.ts'
import { until } from './cluster-rig.ts'
import { MarkedCommand, TerminalCommand } from './marked-command.ts'

const main = join(import.meta.dirname, '../../dist/cli/main.js')

/** A folder that is there, and in which nobody can make anything: of what the system makes up itself. */
const UNWRITABLE = '/proc'

function sim(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, 'sim', ...args], {
    encoding: 'utf8',
    // A build server's CI=true would turn colours on.
    env: { ...process.env, NO_COLOR: '1' },
    // One that hangs has no status.
    timeout: 30_000,
    killSignal: 'SIGKILL',
  })
  return { status, stdout, stderr }
}

describe('spillway sim run --report', () => {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-sim-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  const small = '--clusters 2 --workers 3 --clients 5 --duration-ms 2000 --fault-every-ms 500'.split(' ')

  test('makes the folder, and names the command that gets the same run again', () => {
    const at = join(folder, 'a', 'b')
    const first = sim('run', '--seed', '9', '--report', at, ...small)
    expect(first).toMatchObject({ status: 0, stderr: '' })
    const { command, seed } = reportSchema.parse(JSON.parse(readFileSync(join(at, 'report.json'), 'utf8')))
    expect({ command, seed }).toEqual({ command: `spillway sim run --seed 9 ${small.join(' ')}`, seed: 9 })
    const hash = /hash (\w+)/
    const again = sim(...command.split(' ').slice(2))
    expect(hash.exec(again.stdout)?.[1]).toBe(hash.exec(first.stdout)?.[1])
  })

  test('with --json leaves stdout to the outcome', () => {
    const { stdout, stderr } = sim('run', '--seed', '9', '--json', '--report', folder, ...small)
    expect(JSON.parse(stdout).seed).toBe(9)
    expect(stderr).toContain(`Report: ${join(folder, 'report.html')}`)
  })

  test('says before it runs that there is no place for a report', () => {
    const file = join(folder, 'file')
    writeFileSync(file, '')
    const { status, stdout, stderr } = sim('run', '--report', join(file, 'sub'))
    expect({ status, stdout }).toEqual({ status: 78, stdout: '' })
    expect(stderr).toContain('--report: ')
    expect(stderr).toContain('name a folder that can be made and written to')
  })

  test.each([UNWRITABLE, `${UNWRITABLE}/x/y`])('says so too of %s', (at) => {
    const { status, stdout, stderr } = sim('run', '--report', at, ...small)
    expect({ status, stdout }).toEqual({ status: 78, stdout: '' })
    expect(stderr).toMatch(/^--report: .*; name a folder that can be made and written to\n$/)
  })

  test.each(['report.html', 'report.json'])('says so too where %s is a folder', (name) => {
    const at = mkdtempSync(join(folder, 'taken-'))
    mkdirSync(join(at, name))
    const { status, stdout, stderr } = sim('run', '--report', at, ...small)
    expect({ status, stdout }).toEqual({ status: 78, stdout: '' })
    expect(stderr).toContain(join(at, name))
    // What was tried is gone.
    expect(readdirSync(at)).toEqual([name])
  })

  test('ends with 74, all told but the report, when the disk is full by then', () => {
    const at = mkdtempSync(join(folder, 'full-'))
    symlinkSync('/dev/full', join(at, 'report.html'))
    const { status, stdout, stderr } = sim('run', '--seed', '9', '--report', at, ...small)
    expect(status).toBe(74)
    expect(stdout).toContain('Every promise kept.')
    expect(stdout).not.toContain('Report: ')
    expect(stderr).toMatch(
      /^--report: ENOSPC.*; make room there or name another folder, and run the same again.*\n$/,
    )
  })

  test('that does not fit leaves what was there, and nothing that is cut short', () => {
    const at = mkdtempSync(join(folder, 'small-'))
    for (const name of ['report.html', 'report.json']) writeFileSync(join(at, name), 'older')
    // No file may be larger than 8 KiB: what is written beyond is refused, as by a full disk.
    const { status, stdout, stderr } = spawnSync(
      'sh',
      [
        '-c',
        'ulimit -f 16; exec "$0" "$@"',
        process.execPath,
        main,
        'sim',
        'run',
        '--seed',
        '9',
        '--report',
        at,
        ...small,
      ],
      { encoding: 'utf8' },
    )
    expect(status).toBe(74)
    expect(stdout).toContain('Every promise kept.')
    expect(stderr).toMatch(/^--report: EFBIG.*; make room there or name another folder.*\n$/)
    expect(readdirSync(at).sort()).toEqual(['report.html', 'report.json'])
    for (const name of readdirSync(at)) expect(readFileSync(join(at, name), 'utf8')).toBe('older')
  })

  test('leaves an older report as it is until there is a new one', () => {
    const at = mkdtempSync(join(folder, 'older-'))
    writeFileSync(join(at, 'report.html'), 'older')
    mkdirSync(join(at, 'report.json'))
    expect(sim('run', '--report', at, ...small).status).toBe(78)
    expect(readFileSync(join(at, 'report.html'), 'utf8')).toBe('older')
  })
})

/** User and system time of processes, s: fields 14 and 15 of their `stat`, in hundredths (proc(5)). */
function processorSeconds(processes: readonly number[]): number {
  let hundredths = 0
  for (const pid of processes) {
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? []
    hundredths += Number(fields[11]) + Number(fields[12])
  }
  return hundredths / 100
}

describe('a run so large that it has a process of its own', () => {
  // Three seconds of a processor, for one of them: on a busy machine that may be a minute.
  const patience = { timeout: 120_000 }
  const hours = '--seed 9 --clusters 2 --workers 100 --clients 1000 --duration-ms 36000000 --fault-every-ms 0'

  test('is of what a pipe said, too, which can be read but once', () => {
    const said = 'clusters: 2\\nworkers: 90\\nclients: 1000\\nfaultEveryMs: 0\\ndurationMs: 200\\n'
    const pipe = `printf '${said}' | "${process.execPath}" "${main}" sim run --seed 9 --scenario /dev/stdin`
    const { status, stdout } = spawnSync('sh', ['-c', pipe], { encoding: 'utf8' })
    expect(status).toBe(0)
    expect(stdout).toContain('2 clusters × 90 workers × 1000 clients')
  })

  test('ends with the command, too, that is killed before it has said what to run', patience, async () => {
    const command = new MarkedCommand('sim', 'run', ...hours.split(' '))
    await until('both are there', () => command.processes.length === 2, 30_000)
    command.process.kill('SIGKILL')
    await until('both are gone', () => command.processes.length === 0, 30_000)
  })

  test.each(['SIGTERM', 'SIGKILL'] as const)(
    'ends with the command that began it: %s',
    patience,
    async (signal) => {
      const flags =
        '--seed 9 --clusters 2 --workers 100 --clients 1000 --duration-ms 3600000 --fault-every-ms 0'
      const command = new MarkedCommand('sim', 'run', ...flags.split(' '))
      // It is in the middle of its run, and reads no message meanwhile.
      await until('it runs', () => processorSeconds(command.processes) > 3, 60_000)
      command.process.kill(signal)
      expect(await command.ended).toBe(signal === 'SIGTERM' ? 128 + constants.signals.SIGTERM : signal)
      await until('both are gone', () => command.processes.length === 0, 30_000)
    },
  )
})

describe('spillway sim compare --report', () => {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-compare-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  const tiny =
    '--quick --dimensions skew --policies soonest --clusters 2 --workers 5 --clients 10 --duration-ms 400 --warm-up-ms 0'

  test('writes the page and the figures, and the command that gets them again', () => {
    const at = join(folder, 'a', 'b')
    const { status, stdout, stderr } = sim('compare', '--report', at, ...tiny.split(' '))
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toContain(`Report: ${join(at, 'report.html')}`)
    const { format, command, dimensions } = JSON.parse(readFileSync(join(at, 'report.json'), 'utf8'))
    expect(format).toBe(1)
    expect(dimensions).toMatchObject([{ name: 'skew', values: [{ value: 1 }, { value: 2 }, { value: 8 }] }])
    expect(command).toBe(
      'spillway sim compare --quick --dimensions skew --policies soonest --seed 1 --seeds 1 --clusters 2 --workers 5 --clients 10 --duration-ms 400 --warm-up-ms 0',
    )
    expect(readFileSync(join(at, 'report.html'), 'utf8')).toContain(command)
    expect(readFileSync(join(at, 'plots', 'skew-p99.svg'), 'utf8')).toContain('soonest')
  })

  test('says before it runs that there is no place for a report', () => {
    const file = join(folder, 'file')
    writeFileSync(file, '')
    const { status, stdout, stderr } = sim('compare', '--report', join(file, 'sub'))
    expect({ status, stdout }).toEqual({ status: 78, stdout: '' })
    expect(stderr).toContain('name a folder that can be made and written to')
  })

  test('says so too of a folder that is there, or where a plot cannot be', () => {
    const taken = mkdtempSync(join(folder, 'taken-'))
    mkdirSync(join(taken, 'plots', 'skew-p99.svg'), { recursive: true })
    for (const at of [UNWRITABLE, taken]) {
      const { status, stdout, stderr } = sim('compare', '--report', at, ...tiny.split(' '))
      expect({ status, stdout }).toEqual({ status: 78, stdout: '' })
      expect(stderr).toContain('name a folder that can be made and written to')
    }
  })

  test('ends with 74, the tables told, when the disk is full by then', () => {
    const at = mkdtempSync(join(folder, 'full-'))
    symlinkSync('/dev/full', join(at, 'report.json'))
    const { status, stdout, stderr } = sim('compare', '--report', at, ...tiny.split(' '))
    expect(status).toBe(74)
    expect(stdout).toContain('soonest')
    expect(stderr).toContain('make room there or name another folder')
    expect(readdirSync(join(at, 'plots'))).toEqual([])
  })
})

describe('spillway sim compare', () => {
  const parent = mkdtempSync(join(tmpdir(), 'spillway-compare-'))
  afterAll(() => rmSync(parent, { recursive: true, force: true }))
  const quick = ['compare', '--quick', '--dimensions', 'skew', '--policies', 'random']
  const small = '--clusters 2 --workers 5 --clients 10 --duration-ms 400'.split(' ')

  test('of numbers that are each a number, and make no sense together, ends with 78 and says which', () => {
    const folder = join(parent, 'report')
    const { status, stdout, stderr } = sim(
      ...quick,
      ...['--clusters', '5000', '--duration-ms', '500', '--warm-up-ms', '600', '--report', folder],
    )
    expect({ status, stdout }).toEqual({ status: 78, stdout: '' })
    // A line each, however many runs it is wrong in.
    expect(stderr.split('\n')).toEqual([
      expect.stringMatching(/^--clusters = 5000: .*4096.*; see spillway sim compare --help$/),
      expect.stringMatching(/^--warm-up-ms = 600: expected less than --duration-ms, which is 500, /),
      '',
    ])
    // And nothing has begun.
    expect(existsSync(folder)).toBe(false)
  })

  test.each(['--warm-up-ms 400 --duration-ms 400', '--warm-up-ms 5000'])(
    'ends with 78 where nothing is left to count: %s',
    (args) => {
      expect(sim(...quick, ...args.split(' '))).toMatchObject({ status: 78, stdout: '' })
    },
  )

  test.each([
    ['--clusters 0', '--clusters = 0: '],
    ['--workers 0', '--workers = 0: '],
    ['--clients 1.5', '--clients = 1.5: '],
    ['--load high', '--load = "high": '],
    ['--hot 0', '--hot = 0: '],
    ['--patience -1', '--patience = -1: '],
    ['--warm-up-ms soon', '--warm-up-ms = "soon": '],
    ['--seed -1', '--seed = -1: '],
    ['--seeds 0', '--seeds = 0: '],
    ['--seeds 1001', '--seeds = 1001: Too big: expected number to be <=1000'],
    ['--jobs 0', '--jobs = 0: '],
    ['--jobs 1025', '--jobs = 1025: Too big: expected number to be <=1024'],
    ['--dimensions load,lod', '--dimensions = "lod": '],
    ['--policies best', '--policies = "best": '],
  ])('of parameters that make no sense ends with 78, as a run does, and says which: %s', (args, told) => {
    const { status, stdout, stderr } = sim(...quick, ...small, ...args.split(' '))
    expect({ status, stdout }).toEqual({ status: 78, stdout: '' })
    expect(stderr.startsWith(told), stderr).toBe(true)
    expect(stderr).toMatch(/^.*; see spillway sim compare --help\n$/)
  })

  test('tells all that is wrong at once', () => {
    const { status, stderr } = sim(...quick, ...small, '--clusters', '0', '--seeds', 'many', '--policies', '')
    expect(status).toBe(78)
    for (const flag of ['--clusters = 0: ', '--seeds = "many": ', '--policies = "": '])
      expect(stderr).toContain(flag)
  })

  test('does once what is named twice', () => {
    const twice = ['compare', '--quick', '--dimensions', 'skew,skew', '--policies', 'random,random']
    const { status, stdout } = sim(...twice, ...small, '--json')
    expect(status).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ dimensions: ['skew'], policies: ['omniscient', 'random'] })
    expect(JSON.parse(stdout).rows).toHaveLength(3 * 2)
  })

  test('whose processes are ended ends with another status than a broken promise, and says what to do', async () => {
    const run = new MarkedCommand('sim', 'compare', '--dimensions', 'load', '--policies', 'soonest')
    const children = () => run.processes.filter((pid) => pid !== run.process.pid)
    await until('it has begun', () => children().length > 0)
    for (const pid of children()) process.kill(pid, 'SIGKILL')
    expect(await run.ended).toBe(71)
    expect(run.printed).toBe('')
    expect(run.said).toMatch(/^spillway sim compare: the run of .* was ended by SIGKILL\. .*--jobs\)\n$/)
    await until('all processes have ended', () => run.processes.length === 0)
  })
})

describe('a run that breaks a promise', () => {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-breach-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  // A connection takes about a second for each message: the task that is to be done when nothing is wrong is not.
  const crawling =
    '--clusters 2 --workers 2 --clients 3 --service-ms 5 --deadline-ms 1000 --duration-ms 800 --fault-every-ms 0 --local-mbps 0.00085'.split(
      ' ',
    )
  const PROMISE = 'when nothing is wrong, a task is done'

  test('ends with 1, tells the last of the task, the shortest prefix, and what to type to see it again', () => {
    const { status, stdout } = sim('run', '--seed', '3', ...crawling)
    expect(status).toBe(1)
    const [, task = '', events = ''] =
      /Look closer: spillway sim replay 3 .*--task (\d+) --events (\d+)/.exec(stdout) ?? []
    expect(stdout).toContain(`BREACH seed 3: ${PROMISE}`)
    expect(stdout).toContain(
      `Shortest prefix that shows it: the first ${Number(events).toLocaleString('en')} events`,
    )
    expect(stdout).toContain(`submits task ${task} `)
    const again = sim('replay', '3', ...crawling, '--task', task, '--events', events)
    expect(again.status).toBe(1)
    expect(again.stdout).toContain(PROMISE)
    const less = sim('replay', '3', ...crawling, '--task', task, '--events', `${Number(events) - 1}`)
    expect(less).toMatchObject({ status: 0 })
    expect(less.stdout).not.toContain(PROMISE)
  })

  test('is replayed with its last lines, and with how many there were before them, and what to type to see those', () => {
    const lines = (...flags: string[]): string[] => {
      const { stdout, status } = sim('replay', '3', ...crawling, ...flags)
      expect(status).toBe(1)
      return stdout.slice(0, stdout.indexOf('BREACH')).trimEnd().split('\n')
    }
    const whole = lines()
    const [before, ...kept] = lines('--last', '4')
    expect(kept).toEqual(whole.slice(-4))
    expect(before).toContain(`The first ${(whole.length - 4).toLocaleString('en')} lines are left out`)
    for (const flag of ['--events', '--task', '--last']) expect(before).toContain(flag)
  })

  test('has no speed for the benchmark, which tells what was broken', async () => {
    const { events, invalid } = await measureSimulation(main, {
      id: 'crawling',
      label: 'crawling',
      flags: crawling,
    })
    expect(events).toBe(0)
    expect(invalid).toContain(PROMISE)
  })

  test('is made smaller, into a scenario that breaks the same promise', () => {
    const { status, stdout } = sim('shrink', '3', ...crawling, '--runs', '40')
    expect(status).toBe(1)
    const scenario = join(folder, 'smaller.yaml')
    writeFileSync(scenario, stdout)
    expect(stdout).toContain('clusters: 1\n')
    const smaller = sim('run', '--scenario', scenario)
    expect(smaller.status).toBe(1)
    expect(smaller.stdout).toContain(PROMISE)
  })
})

test('a seed that keeps every promise is not made smaller: a script sees that, and who reads is told what to do', () => {
  const { status, stdout, stderr } = sim(
    'shrink',
    '9',
    ...'--clusters 1 --workers 2 --clients 3 --duration-ms 200 --faults none'.split(' '),
  )
  expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
  expect(stderr).toContain('seed 9 keeps every promise')
  expect(stderr).toContain('give it a seed that fails')
})

test('a run that needs more memory than it may have ends with another status than a broken promise, and says what to do', () => {
  // So many clients that it takes a process of its own, whose limit is what this one was given.
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--max-old-space-size=24', main, 'sim', 'run', '--seed', '7', '--clients', '2000'],
    { encoding: 'utf8' },
  )
  expect({ status, stdout }).toEqual({ status: 128 + constants.signals.SIGABRT, stdout: '' })
  expect(stderr).toContain('has probably run out of memory')
  expect(stderr).toContain('--clusters')
  expect(stderr).toContain('--max-old-space-size')
})

describe('spillway sim swarm', () => {
  test('does not say that every promise was kept when seeds could not be run', async () => {
    const swarm = new MarkedCommand('sim', 'swarm', '--seed', '1', '--seeds', '100', '--jobs', '1')
    const children = () => swarm.processes.filter((pid) => pid !== swarm.process.pid)
    await until('it has begun', () => children().length > 0)
    for (const pid of children()) process.kill(pid, 'SIGKILL')
    expect(await swarm.ended).toBe(1)
    expect(swarm.printed).toMatch(/ were not run, their process has ended before\n$/)
    expect(swarm.printed).not.toContain('every promise kept')
  })

  test('runs the seeds from the first one on, and says how much that was', () => {
    const { status, stdout } = sim('swarm', '--seed', '11', '--seeds', '4', '--jobs', '2')
    expect(status).toBe(0)
    expect(stdout).toMatch(/^4 seeds from 11 in .* simulated hours, [\d,]+ events; .*every promise kept/)
  })
})

describe.each([
  { verb: 'swarm', args: ['--seeds', '100000'] },
  { verb: 'compare', args: ['--dimensions', 'load', '--policies', 'soonest'] },
])('spillway sim $verb in front of a terminal', ({ verb, args }) => {
  test.each([
    { signal: 'SIGINT', heardBy: 'everybody' },
    { signal: 'SIGTERM', heardBy: 'the command' },
    // Ctrl-C, too, when the command is told of the end of its children before it gets the signal itself.
    { signal: 'SIGINT', heardBy: 'a child' },
  ] as const)(
    'that $signal ends, heard by $heardBy, gives back the cursor and the breaking of long lines, and leaves nobody behind',
    async ({ signal, heardBy }) => {
      const run = new TerminalCommand('sim', verb, ...args)
      const called = (pid: number) => {
        try {
          return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
        } catch {
          // It has ended since.
          return []
        }
      }
      const children = () => run.processes.filter((pid) => called(pid).includes('--as-child'))
      await until('it has begun', () => run.said.includes('\x1b[?25l') && children().length === 2)
      if (heardBy === 'everybody') run.type('\x03')
      else {
        const itself = run.processes.filter((pid) => called(pid)[2] === 'sim' && !children().includes(pid))
        expect(itself).toHaveLength(1)
        for (const pid of heardBy === 'a child' ? children().slice(0, 1) : itself) process.kill(pid, signal)
      }
      expect(await run.ended).toBe(128 + constants.signals[signal])
      for (const mode of ['\x1b[?25', '\x1b[?7']) {
        expect(run.said.lastIndexOf(`${mode}h`)).toBeGreaterThanOrEqual(run.said.lastIndexOf(`${mode}l`))
      }
      await until('all processes have ended', () => run.processes.length === 0)
    },
  )
})

test('parameters that make no sense end with 78, and name what is wrong', () => {
  const { status, stdout, stderr } = sim('run', '--clusters', '0', '--load', 'high')
  expect({ status, stdout }).toEqual({ status: 78, stdout: '' })
  expect(stderr).toContain('--clusters = 0: ')
  expect(stderr).toContain('--load = "high": ')
})

test.each([
  ['--worker-liveness 1', '--worker-liveness = 1: '],
  ['--state-ttl-ms 100', '--state-ttl-ms = 100: expected at least 2 × stateIntervalMs'],
  ['--workers 0', '--workers = 0: expected at least 1'],
  ['--body-max 0', '--body-max = 0: '],
  ['--cloud-ms 3000', 'cloudMs 3000'],
  ['--local-ms 3000', 'localMs 3000'],
  ['--turn-ms 5000', 'turnMs 5000'],
])('so do those that contradict each other: %s', (flags, told) => {
  const world = '--seed 7 --clusters 3 --workers 20 --clients 50 --duration-ms 5000'
  const { status, stdout, stderr } = sim('run', ...world.split(' '), ...flags.split(' '))
  expect({ status, stdout }).toEqual({ status: 78, stdout: '' })
  expect(stderr).toContain(told)
})

test('so does a scenario that speaks of a cluster, link or worker that is not there', () => {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-scenario-'))
  try {
    const file = join(folder, 'elsewhere.yaml')
    const links = 'links:\n  - { from: 0, to: 2, ms: 5 }\n'
    writeFileSync(
      file,
      `clusters: 2\nworkers: 3\n${links}script:\n  - { at: 1, fault: worker, cluster: 7, node: 3 }\n`,
    )
    const { status, stderr } = sim('run', '--scenario', file)
    expect(status).toBe(78)
    expect(stderr).toContain('links.0.to = 2: expected a cluster that is there, from 0 to 1')
    expect(stderr).toContain('script.0.cluster = 7: expected a cluster that is there, from 0 to 1')
    expect(stderr).toContain('script.0.node = 3: expected a worker that is there, from 0 to 2')
    // What counts is what is run.
    const larger = sim('run', '--scenario', file, '--clusters', '3', '--workers', '4')
    expect(larger.stderr).not.toContain('links')
    expect(larger.stderr).not.toContain('node')
    expect(larger.stderr).toContain('script.0.cluster = 7: expected a cluster that is there, from 0 to 2')
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('what a scenario says counts more than what is drawn, also where it says the usual, and flags count more still', () => {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-scenario-'))
  try {
    const { hot, service } = parameters.parse({})
    const drawn = drawParameters(1)
    expect(drawn.hot).not.toBe(hot)
    expect(drawn.service).not.toBe(service)
    const file = join(folder, 'usual.yaml')
    writeFileSync(file, `hot: ${hot}\nservice: ${service}\n`)
    const told = (...flags: string[]) => {
      const { stdout } = sim('run', '--seed', '1', '--drawn', ...flags, '--report', folder)
      const { command } = JSON.parse(readFileSync(join(folder, 'report.json'), 'utf8'))
      return { hash: /hash \w+/.exec(stdout)?.[0], command: command.split(' ').slice(5) }
    }
    const said = told('--scenario', file)
    expect(said.hash).toBe(told('--hot', `${hot}`, '--service', service).hash)
    expect(said.hash).not.toBe(told().hash)
    const more = told('--scenario', file, '--hot', `${drawn.hot}`)
    expect(more.hash).toBe(told('--service', service).hash)
    // And the command that gets it again says all of that, and no more.
    expect(said.command).toEqual(['--drawn', '--scenario', file])
    expect(told(...more.command.slice(1))).toEqual(more)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('so does a scenario, and one that is not there', () => {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-scenario-'))
  try {
    const file = join(folder, 'wrong.yaml')
    writeFileSync(file, 'clusterz: 2\nscript:\n  - { at: soon, fault: broker }\n')
    const { status, stderr } = sim('run', '--scenario', file)
    expect(status).toBe(78)
    expect(stderr).toContain('clusterz')
    expect(stderr).toContain('script.0.at = "soon": ')
    const missing = sim('run', '--scenario', join(folder, 'none.yaml'))
    expect(missing.status).toBe(78)
    expect(missing.stderr).toContain('name a file that can be read')
  } finally {
    rmSync(folder, { recursive: true })
  }
})

describe('the help of a verb that takes parameters', () => {
  test.each(['run', 'replay', 'shrink'])(
    '%s says what there is to choose from, and within what bounds',
    (verb) => {
      const help = sim(verb, '--help').stdout.replace(/\s+/g, ' ')
      expect(help).toContain('how tasks arrive: poisson, bursts, wave (default: poisson)')
      expect(help).toContain('are distributed: exponential, fixed, uniform, pareto (')
      expect(help).toContain('longer is distributed: uniform, exponential, lognormal (')
      expect(help).toContain(`chooses among peers: ${Object.keys(POLICIES).join(', ')} (`)
      expect(help).toContain('or of the first only: all, first (')
      expect(help).toContain('vanish, half-open, all, none (default: cluster)')
      expect(help).toContain('clusters, a broker each (1 to 4096; default: 12)')
      expect(help).toContain('(at least 1; default: 10000)')
      expect(help).toContain('time a task has, ms (above 0; default: 60000)')
    },
  )
})

describe('what is wrong is told once, by where it was said', () => {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-told-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'world.yaml')
  const told = (yaml: string, ...flags: string[]) => {
    writeFileSync(file, yaml)
    const { status, stdout, stderr } = sim('run', '--scenario', file, ...flags)
    expect({ status, stdout }).toEqual({ status: 78, stdout: '' })
    return stderr
  }

  test('a file that is no YAML, by its name', () => {
    expect(told('clusters: [2\nworkers: 3\n')).toContain(`${file}: `)
  })

  test('a key that there is not, with the one that is near', () => {
    expect(told('durationms: 500\n')).toBe(
      `${file}: durationms: there is no such parameter; it may be durationMs that is meant; spillway sim run --help lists them, as flags\n`,
    )
    expect(told('colour: red\n')).toContain(
      'colour: there is no such parameter; spillway sim run --help lists',
    )
  })

  test('a value of the file as one of the file, a typed one as a flag', () => {
    expect(told('durationMs: long\n')).toContain(`${file}: durationMs = "long": `)
    expect(told('stateTtlMs: 100\n')).toContain(`${file}: stateTtlMs = 100: expected at least 2 ×`)
    expect(told('stateTtlMs: 100\n', '--state-ttl-ms', '200')).toMatch(/^--state-ttl-ms = 200: /)
  })

  test('an empty file, which is not the founding case', () => {
    for (const yaml of ['', '# nothing yet\n'])
      expect(told(yaml)).toBe(`${file}: it is empty; expected parameters by name, as in "clusters: 3"\n`)
  })

  test('a number that is too small', () => {
    expect(told('hot: 1\n', '--clusters', '-3').match(/--clusters/g)).toHaveLength(1)
  })
})

test('faults may have spaces between them', () => {
  const small = '--clusters 2 --workers 3 --clients 5 --duration-ms 1000 --fault-every-ms 500'.split(' ')
  const hashOf = (faults: string) =>
    /hash \w+/.exec(sim('run', '--seed', '9', ...small, '--faults', faults).stdout)?.[0]
  expect(hashOf('worker, client')).toBeDefined()
  expect(hashOf('worker, client')).toBe(hashOf('worker,client'))
  expect(sim('run', ...small, '--faults', '').status).toBe(78)
})

test.each(['', 'abc', '-1', '1.5'])('the seed "%s" ends with 78, and what was expected', (seed) => {
  const said = `seed = ${JSON.stringify(seed)}: expected an integer from 0 to 9007199254740991\n`
  expect(sim('run', `--seed=${seed}`)).toEqual({ status: 78, stdout: '', stderr: said })
  expect(sim('swarm', `--seed=${seed}`, '--seeds', '1')).toEqual({ status: 78, stdout: '', stderr: said })
  expect(sim('replay', '--', seed)).toEqual({ status: 78, stdout: '', stderr: said })
})

test.each([
  ['swarm --jobs 1', '--seeds', 'many', 1_000_000_000],
  ['swarm --jobs 1', '--seeds', '1000000001', 1_000_000_000],
  ['swarm --jobs 1 --seed 9007199254740990', '--seeds', '3', 2],
  ['swarm --seeds 1', '--jobs', '1025', 1024],
  ['replay 3', '--task', '-1', Number.MAX_SAFE_INTEGER],
  ['replay 3', '--last', '', Number.MAX_SAFE_INTEGER],
  ['replay 3', '--events', '1.5', Number.MAX_SAFE_INTEGER],
  ['shrink 3', '--runs', 'some', Number.MAX_SAFE_INTEGER],
])('%s %s "%s" ends with 78, and what was expected', (verb, flag, count, most) => {
  const { status, stdout, stderr } = sim(...verb.split(' '), `${flag}=${count}`)
  expect({ status, stdout }).toEqual({ status: 78, stdout: '' })
  expect(stderr).toBe(
    `${flag.slice(2)} = ${JSON.stringify(count)}: expected an integer from ${verb.startsWith('swarm') ? 1 : 0} to ${most}\n`,
  )
})
