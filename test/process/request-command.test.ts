import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { Flag, Kind } from '../../protocol/record.ts'
import { capitals, type Script, ScriptedBroker } from '../socket/scripted-broker.ts'

const root = join(import.meta.dirname, '../..')
let folder = ''
let program = ''
const brokers: ScriptedBroker[] = []
const running = new Set<ChildProcessWithoutNullStreams>()

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'spillway-request-'))
  program = join(folder, 'request.mjs')
  // The verb alone, so that these tests need no other part of the command line.
  writeFileSync(
    program,
    `import { Command } from ${JSON.stringify(join(root, 'node_modules/commander/esm.mjs'))}
     import { requestCommand } from ${JSON.stringify(join(root, 'cli/request.ts'))}
     await new Command('spillway').addCommand(requestCommand()).parseAsync()`,
  )
})

afterEach(async () => {
  for (const child of running) child.kill('SIGKILL')
  for (const broker of brokers.splice(0)) await broker.close()
})

afterAll(() => rmSync(folder, { recursive: true }))

async function broker(script: Script): Promise<ScriptedBroker> {
  const bound = await ScriptedBroker.bind(script)
  brokers.push(bound)
  return bound
}

interface Done {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

function start(
  args: readonly string[],
  environment: Record<string, string> = {},
  command = program,
): ChildProcessWithoutNullStreams {
  const tsx = join(root, 'node_modules/tsx/dist/esm/index.mjs')
  const child = spawn(process.execPath, ['--import', tsx, command, 'request', ...args], {
    cwd: folder,
    env: { PATH: process.env.PATH, ...environment },
  })
  running.add(child)
  child.once('exit', () => running.delete(child))
  return child
}

async function ended(child: ChildProcessWithoutNullStreams): Promise<Done> {
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString('latin1')
  })
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
  })
  const [status] = (await once(child, 'close')) as [number | null]
  return { status, stdout, stderr }
}

function run(
  args: readonly string[],
  stdin: string | Buffer = '',
  environment?: Record<string, string>,
): Promise<Done> {
  const child = start(args, environment)
  child.stdin.on('error', () => {})
  child.stdin.end(stdin)
  return ended(child)
}

describe('one task', () => {
  test('prints the octets of its answer and nothing else', async () => {
    const b = await broker(capitals)
    expect(await run(['--connect', b.endpoint, 'hello'])).toEqual({ status: 0, stdout: 'HELLO', stderr: '' })
  })

  test('from stdin travels octet by octet, both ways', async () => {
    const b = await broker(({ request, reply }) => reply('', { body: request.body }))
    const octets = Buffer.from(Array.from({ length: 70_000 }, (_, i) => i % 256))
    const { status, stdout } = await run(['--connect', b.endpoint, '-'], octets)
    expect(status).toBe(0)
    expect(Buffer.compare(Buffer.from(stdout, 'latin1'), octets)).toBe(0)
  })

  test('as JSON says where it ran and how long it took', async () => {
    const b = await broker(capitals)
    const { stdout } = await run(['--connect', b.endpoint, '-o', 'json', 'hello'])
    expect(JSON.parse(stdout)).toMatchObject({
      ok: true,
      body: 'HELLO',
      cluster: 'west',
      worker: 'w1',
      attempts: 1,
      queuedMs: 1.5,
      runMs: 2.5,
    })
  })

  test('passes its flags on', async () => {
    const b = await broker(capitals)
    const flags = [
      '--service',
      'hash',
      '--priority',
      '9',
      '--deadline',
      '1234',
      '--not-idempotent',
      '--fail-fast',
    ]
    await run(['--connect', b.endpoint, ...flags, 'x'])
    expect(b.requests[0]).toMatchObject({
      service: 'hash',
      priority: 9,
      flags: Flag.NotIdempotent | Flag.FailFast,
    })
    expect(b.requests[0]?.timeLeftMs).toBeLessThanOrEqual(1234)
  })

  test('that failed exits 1 and says why', async () => {
    const b = await broker(({ reply }) => reply('', { code: 'OUT_OF_PAPER', message: 'the tray is empty' }))
    expect(await run(['--connect', b.endpoint, 'x'])).toEqual({
      status: 1,
      stdout: '',
      stderr: 'spillway request: OUT_OF_PAPER: the tray is empty\n',
    })
  })

  test('that is never answered exits 75', async () => {
    const b = await broker(() => {})
    // Long enough to hear that a broker is there: without that it would be the broker that is missing.
    const patience = ['--timeout', '500', '--retries', '2']
    const { status, stderr } = await run(['--connect', b.endpoint, ...patience, 'x'])
    expect(status).toBe(75)
    expect(stderr).toContain('TIMEOUT')
  })

  test('for a broker that is not there exits 69 and names the address', async () => {
    const b = await broker(capitals)
    await b.close()
    const { status, stderr } = await run(['--connect', b.endpoint, '--timeout', '50', 'x'])
    expect(status).toBe(69)
    expect(stderr).toContain(b.endpoint)
  })

  test('that streams prints its pieces as they are', async () => {
    const b = await broker(({ piece, reply }) => {
      piece(0, 'one ')
      piece(1, 'two ')
      reply('three', { partials: 2 })
    })
    expect(await run(['--connect', b.endpoint, '--stream', 'x'])).toEqual({
      status: 0,
      stdout: 'one two three',
      stderr: '',
    })
  })
})

describe('lines', () => {
  const thousand = Array.from({ length: 1000 }, (_, i) => `line ${i}`)

  test('become tasks, answered in their order whatever the order they ran in', async () => {
    // Every second one is held until the next has been answered.
    let held: (() => void) | undefined
    const b = await broker((asked) => {
      const answer = () => asked.reply(Buffer.from(asked.request.body).toString().toUpperCase())
      if (held === undefined) held = answer
      else {
        answer()
        held()
        held = undefined
      }
    })
    const { status, stdout, stderr } = await run(
      ['--connect', b.endpoint, '--lines'],
      `${thousand.join('\n')}\n`,
    )
    expect(status).toBe(0)
    expect(stdout).toBe(thousand.map((line) => `${line.toUpperCase()}\n`).join(''))
    expect(stderr).toMatch(
      /^1000 tasks, 0 failed, .* tasks\/s, p50 .* ms, p99 .* ms; by cluster: west 1000\n$/,
    )
  })

  test('are never under way more at once than --concurrency says', async () => {
    let underWay = 0
    let most = 0
    const b = await broker(({ reply }) => {
      most = Math.max(most, ++underWay)
      setImmediate(() => {
        underWay--
        reply('x')
      })
    })
    const { stdout } = await run(
      ['--connect', b.endpoint, '--lines', '--concurrency', '5', '--unordered'],
      thousand.join('\n'),
    )
    expect(stdout).toBe('x\n'.repeat(1000))
    expect(most).toBeLessThanOrEqual(5)
    expect(most).toBeGreaterThan(1)
  })

  test('of which some fail exit 1, count them, and as JSON say which', async () => {
    const b = await broker((asked) => {
      if (Buffer.from(asked.request.body).toString() === 'bad')
        asked.reply('', { code: 'BAD', message: 'no' })
      else capitals(asked)
    })
    const { status, stdout, stderr } = await run(
      ['--connect', b.endpoint, '--lines', '-o', 'json'],
      'a\nbad\nc',
    )
    expect(status).toBe(1)
    expect(stderr).toMatch(/^3 tasks, 1 failed/)
    const objects = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(objects).toMatchObject([
      { line: 1, ok: true, body: 'A' },
      { line: 2, ok: false, code: 'BAD', message: 'no' },
      { line: 3, ok: true, body: 'C' },
    ])
  })

  test('end quietly when nobody reads their answers any more', async () => {
    const b = await broker(capitals)
    const child = start(['--connect', b.endpoint, '--lines'])
    child.stdin.on('error', () => {})
    child.stdin.write(`${thousand.join('\n')}\n`)
    await once(child.stdout, 'data')
    child.stdout.destroy()
    const feed = setInterval(() => child.stdin.write(`${thousand.join('\n')}\n`), 10)
    try {
      let stderr = ''
      child.stderr.on('data', (chunk: Buffer) => {
        stderr += chunk.toString()
      })
      const [status] = await once(child, 'exit')
      expect([status, stderr]).toEqual([0, ''])
    } finally {
      clearInterval(feed)
    }
  })

  test('whose answers nobody reads any more are cancelled with the command', async () => {
    const b = await broker((asked) => {
      if (asked.request.body.byteLength === 1) capitals(asked)
    })
    const child = start(['--connect', b.endpoint, '--lines', '--unordered'], {}, join(root, 'cli/main.ts'))
    child.stdin.on('error', () => {})
    child.stdin.write('unanswered\na\n')
    await once(child.stdout, 'data')
    child.stdout.destroy()
    child.stdin.write('b\n')
    expect(await once(child, 'exit')).toEqual([0, null])
    await vi.waitUntil(() => b.of(Kind.Disconnect).length === 1, { timeout: 15_000, interval: 5 })
  })

  test('whose answers cannot be written say so and exit 74', async () => {
    const b = await broker(capitals)
    const command = [
      process.execPath,
      '--import',
      'tsx',
      'cli/main.ts',
      'request',
      '--connect',
      b.endpoint,
      'x',
    ]
    const child = spawn('sh', ['-c', 'exec "$@" >/dev/full', 'sh', ...command], { cwd: root })
    running.add(child)
    const { status, stderr } = await ended(child)
    expect(status).toBe(74)
    expect(stderr).toMatch(/^spillway: stdout cannot be written to.*no space left on device.*\n$/)
  })

  test('whose answers come faster than they are read wait for that, without a warning', async () => {
    const waiting: (() => void)[] = []
    const b = await broker(({ reply }) => {
      waiting.push(() => reply('x'.repeat(100_000)))
      if (waiting.length === 20) for (const answer of waiting) answer()
    })
    const lines = thousand.slice(0, 20).join('\n')
    const { status, stdout, stderr } = await run(
      ['--connect', b.endpoint, '--lines', '--unordered', '--quiet'],
      lines,
    )
    expect([status, stderr]).toEqual([0, ''])
    expect(stdout.length).toBe(20 * 100_001)
  })

  test('stop with the first when no broker is there', async () => {
    const b = await broker(capitals)
    await b.close()
    const { status, stderr } = await run(
      ['--connect', b.endpoint, '--lines', '--concurrency', '1', '--timeout', '40'],
      thousand.join('\n'),
    )
    expect(status).toBe(69)
    expect(stderr).toContain('1 task, 1 failed')
  })

  test('interrupted exit 130 and cancel what is under way', async () => {
    const b = await broker(() => {})
    const child = start(['--connect', b.endpoint, '--lines'])
    child.stdin.on('error', () => {})
    child.stdin.write('a\nb\n')
    const done = ended(child)
    await vi.waitUntil(() => b.requests.length === 2, { timeout: 15_000, interval: 5 })
    child.kill('SIGINT')
    expect((await done).status).toBe(130)
    await vi.waitUntil(() => b.of(Kind.Disconnect).length === 1, { timeout: 15_000, interval: 5 })
  })
})

describe('settings', () => {
  test('come from a flag before the environment before the file', async () => {
    const b = await broker(capitals)
    const file = join(folder, 'client.yaml')
    writeFileSync(file, `connect: ${b.endpoint}\npriority: 1\nservice: from-file\nretries: 2\n`)
    const environment = { SPILLWAY_SERVICE: 'from-environment', SPILLWAY_PRIORITY: '2' }
    expect((await run(['-c', file, '--priority', '3', 'x'], '', environment)).status).toBe(0)
    expect(b.requests[0]).toMatchObject({ priority: 3, service: 'from-environment' })
  })

  test.each([
    [
      ['--connect', 'localhost:1', 'x'],
      {},
      /connect.* = "localhost:1" \(from the command line\): .*tcp:\/\/host:port/,
    ],
    [
      ['--connect', 'tcp://a:1', '--retries', 'many', 'x'],
      {},
      /retries = "many" \(from the command line\): expected an integer from 1 to 1000/,
    ],
    [
      ['--connect', 'tcp://a:1', 'x'],
      { SPILLWAY_TIMEOUT_MS: '-5' },
      /timeoutMs = -5 \(SPILLWAY_TIMEOUT_MS\)/,
    ],
    [['x'], {}, /connect is missing: .*--connect/],
    [['-c', '/nonexistent.yaml', 'x'], {}, /\/nonexistent\.yaml: expected a file that can be read/],
  ])('%j with %j exit 78', async (args, environment, message) => {
    const { status, stdout, stderr } = await run(args, '', environment)
    expect(stderr).toMatch(message)
    expect([status, stdout]).toEqual([78, ''])
  })

  test('of a file that nobody knows exit 78', async () => {
    const file = join(folder, 'typo.yaml')
    writeFileSync(file, 'connect: tcp://a:1\nretires: 3\n')
    const { status, stderr } = await run(['-c', file, 'x'])
    expect(status).toBe(78)
    expect(stderr).toContain('retires')
  })
})

describe('usage', () => {
  test.each([[['--nonsense']], [[]], [['--lines', '--stream']], [['--lines', 'body']], [['-o', 'xml', 'x']]])(
    '%j exits 2',
    async (args) => {
      const { status, stdout, stderr } = await run(args)
      expect(stderr).toMatch(/^error: /)
      expect([status, stdout]).toEqual([2, ''])
    },
  )

  test('--help has examples and the exit statuses', async () => {
    const { status, stdout } = await run(['--help'])
    expect(status).toBe(0)
    expect(stdout).toMatch(/Examples:.*--lines.*Exit status/s)
  })
})
