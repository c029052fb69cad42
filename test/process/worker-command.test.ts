import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { ErrorCode } from '../../protocol/error-code.ts'
import { Flag, Kind, RejectReason } from '../../protocol/record.ts'
import { ScriptedLocalbe, textOf } from '../socket/scripted-localbe.ts'

const main = join(import.meta.dirname, '../../dist/cli/main.js')
let folder = ''
let broker: ScriptedLocalbe
const running = new Set<ChildProcess>()

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'spillway-worker-'))
  broker = await ScriptedLocalbe.bind()
})

afterEach(async () => {
  for (const child of running) child.kill('SIGKILL')
  await broker.close()
  rmSync(folder, { recursive: true })
})

class Command {
  readonly child: ChildProcess
  readonly ended: Promise<{ status: number | null; signal: string | null }>
  stderr = ''
  stdout = ''

  constructor(args: readonly string[], environment: Record<string, string> = {}) {
    const child = spawn(process.execPath, [main, 'worker', ...args], {
      cwd: folder,
      env: { PATH: process.env.PATH, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.child = child
    running.add(child)
    child.stdout.on('data', (chunk: Buffer) => {
      this.stdout += chunk.toString()
    })
    child.stderr.on('data', (chunk: Buffer) => {
      this.stderr += chunk.toString()
    })
    this.ended = once(child, 'exit').then(([status, signal]) => {
      running.delete(child)
      return { status, signal }
    })
  }

  /** The messages of its log, so far. */
  logged(): string[] {
    return this.stderr
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line).msg)
  }
}

/** A worker that has signed in. */
async function start(...args: string[]): Promise<Command> {
  const command = new Command([
    '--connect',
    broker.endpoint,
    '--heartbeat-interval',
    '100',
    '--liveness',
    '20',
    ...args,
  ])
  await broker.awaits(Kind.Ready)
  return command
}

/** A worker that has ended by itself. */
async function run(
  args: readonly string[],
  environment?: Record<string, string>,
): Promise<Command & { status: number | null }> {
  const command = new Command(args, environment)
  const { status } = await command.ended
  return Object.assign(command, { status })
}

function script(name: string, text: string, mode = 0o755): string {
  const path = join(folder, name)
  writeFileSync(path, text, { mode })
  return path
}

const until = (condition: () => boolean) => vi.waitUntil(condition, { timeout: 20_000, interval: 5 })

function isAlive(pid: number): boolean {
  try {
    // A zombie, which nobody has asked after, is as dead as any.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

/** A number that a process has written to a file for us. */
async function numberIn(file: string): Promise<number> {
  const path = join(folder, file)
  await until(() => existsSync(path) && readFileSync(path, 'utf8').endsWith('\n'))
  return Number(readFileSync(path, 'utf8'))
}

describe('a program', () => {
  test('gets the body on stdin, and what it writes is the result', async () => {
    await start('--', 'tr', 'a-z', 'A-Z')
    expect(textOf(await broker.awaitsReply(broker.give('hello')))).toBe('HELLO')
  })

  test('gets and gives a megabyte octet by octet', async () => {
    await start('--', 'cat')
    const body = Buffer.from(Array.from({ length: 1 << 20 }, (_, i) => (i * 7) % 256))
    const reply = await broker.awaitsReply(broker.give(body))
    expect(Buffer.compare(reply.body, body)).toBe(0)
  })

  test('runs as often at once as there are slots', async () => {
    const wait = `echo >> ${folder}/begun; while [ $(wc -l < ${folder}/begun) -lt 3 ]; do sleep 0.02; done`
    await start('--slots', '3', '--', 'sh', '-c', wait)
    for (let i = 0; i < 3; i++) broker.give('x')
    await until(() => broker.of(Kind.Reply).length === 3)
    expect(broker.of(Kind.Reply).map(({ code }) => code)).toEqual(['', '', ''])
  })

  test('is told about the task by its environment', async () => {
    await start('--', 'sh', '-c', 'env | grep -E "^(SPILLWAY_|TRACEPARENT)"')
    const token = broker.give('x', {
      id: 'the-id',
      attempt: 2,
      service: '',
      traceparent: '00-trace',
      timeLeftMs: 9000,
    })
    const reply = await broker.awaitsReply(token)
    const variables = new Map(
      textOf(reply)
        .trim()
        .split('\n')
        .map((line) => [line.split('=')[0], line.split('=')[1]]),
    )
    expect(Object.fromEntries(variables)).toMatchObject({
      SPILLWAY_TASK_ID: 'the-id',
      SPILLWAY_ATTEMPT: '2',
      SPILLWAY_SERVICE: '',
      TRACEPARENT: '00-trace',
    })
    expect(Number(variables.get('SPILLWAY_TIME_LEFT_MS'))).toBeGreaterThan(5000)
    expect(Number(variables.get('SPILLWAY_TIME_LEFT_MS'))).toBeLessThanOrEqual(9000)
  })

  test('that exits with a status other than 0 is an error with the end of its stderr', async () => {
    await start('--', 'sh', '-c', 'yes noise | head -c 100000 >&2; echo "no paper" >&2; exit 3')
    const { code, message, retryable } = await broker.awaitsReply(broker.give('x'))
    expect({ code, retryable }).toEqual({ code: ErrorCode.TaskFailed, retryable: false })
    expect(message).toMatch(/^sh exited with status 3: .*no paper$/s)
    expect(message.length).toBeLessThan(2200)
  })

  test('that is ended by a signal is an error that names it', async () => {
    await start('--', 'sh', '-c', 'kill -SEGV $$')
    expect(await broker.awaitsReply(broker.give('x'))).toMatchObject({
      code: ErrorCode.TaskFailed,
      message: 'sh was ended by SIGSEGV',
    })
  })

  test('need not read its stdin', async () => {
    await start('--', 'echo', 'done')
    const reply = await broker.awaitsReply(broker.give(Buffer.alloc(1 << 20)))
    expect(reply).toMatchObject({ code: '' })
    expect(textOf(reply)).toBe('done\n')
    expect(textOf(await broker.awaitsReply(broker.give('again')))).toBe('done\n')
  })

  test('that writes more than the broker takes is stopped: TOO_LARGE', async () => {
    await broker.close()
    broker = await ScriptedLocalbe.bind()
    broker.bodyMax = 100_000
    await start('--', 'yes')
    expect(await broker.awaitsReply(broker.give('x'))).toMatchObject({ code: ErrorCode.TooLarge })
  })

  test('streams what it writes to a client that asked for it, at the pace of the credit', async () => {
    await start('--', 'sh', '-c', 'echo a; echo b; read go; echo c')
    const token = broker.give('go\n', { flags: Flag.Stream, creditUpTo: 100 })
    const reply = await broker.awaitsReply(token)
    expect(reply).toMatchObject({ code: '', partials: broker.of(Kind.Partial).length })
    expect(broker.of(Kind.Partial).map(textOf).join('')).toBe('a\nb\nc\n')
  })

  test('is killed with its children when its time is up, even if it will not hear of it', async () => {
    // The child writes its number, ignores SIGTERM, and would stay for ever.
    const stubborn = script(
      'stubborn.sh',
      `#!/bin/sh
       trap '' TERM
       sh -c "trap '' TERM; echo \\$\\$ > ${folder}/child; while :; do sleep 1; done" &
       echo $$ > ${folder}/parent
       while :; do sleep 1; done`,
    )
    await start('--kill-grace', '100', '--', stubborn)
    const token = broker.give('x', { timeLeftMs: 1500 })
    const [parent, child] = [await numberIn('parent'), await numberIn('child')]
    expect([isAlive(parent), isAlive(child)]).toEqual([true, true])
    expect(await broker.awaitsReply(token)).toMatchObject({ code: ErrorCode.Expired })
    expect([isAlive(parent), isAlive(child)]).toEqual([false, false])
  })

  test('is asked to end when nobody waits for it any more, and may clean up', async () => {
    const polite = script(
      'polite.sh',
      `#!/bin/sh
       trap 'echo 1 > ${folder}/cleaned; exit 0' TERM
       echo $$ > ${folder}/begun
       while :; do sleep 0.05; done`,
    )
    await start('--kill-grace', '20000', '--', polite)
    const token = broker.give('x')
    await numberIn('begun')
    broker.say({ kind: Kind.Cancel, token })
    expect(await broker.awaitsReply(token)).toMatchObject({ code: ErrorCode.Cancelled })
    expect(await numberIn('cleaned')).toBe(1)
  })

  test('does not hold its slot by a child it left behind', async () => {
    await start('--kill-grace', '100', '--', 'sh', '-c', `sleep 1000 & echo $! > ${folder}/child; echo done`)
    expect(textOf(await broker.awaitsReply(broker.give('x')))).toBe('done\n')
    expect(isAlive(await numberIn('child'))).toBe(false)
  })

  test('does not hold its slot by a daemon that holds its stdout, either', async () => {
    await start(
      '--kill-grace',
      '100',
      '--',
      'sh',
      '-c',
      `setsid sh -c 'echo $$ > ${folder}/daemon; exec sleep 1000' & while ! [ -s ${folder}/daemon ]; do sleep 0.02; done; echo done`,
    )
    expect(textOf(await broker.awaitsReply(broker.give('x')))).toBe('done\n')
    const daemon = await numberIn('daemon')
    expect(isAlive(daemon)).toBe(true)
    process.kill(daemon, 'SIGKILL')
  })
})

describe('a handler’s module', () => {
  const busy = `
    export default async (task, { log }) => {
      const text = task.text()
      if (text === 'block') for (;;);
      if (text === 'exit') process.exit(3)
      if (text === 'throw') throw Object.assign(new Error('no'), { code: 'NO', retryable: true })
      if (text === 'callback') setTimeout(() => { throw new Error('in a callback') }), await new Promise(() => {})
      if (text === 'stream') return (async function* () { yield 'a'; yield 'b'; return 'c' })()
      if (text === 'log') log.info({ of: task.id }, 'hello from the handler')
      if (text === 'pid') return String(process.pid)
      return text.toUpperCase()
    }`

  test('does tasks in the worker’s process', async () => {
    const { child } = await start('--handler', script('h.mjs', busy))
    expect(textOf(await broker.awaitsReply(broker.give('pid')))).toBe(String(child.pid))
  })

  test('isolated does them in another, which is kept', async () => {
    const { child } = await start('--handler', script('h.mjs', busy), '--isolate')
    const pid = textOf(await broker.awaitsReply(broker.give('pid')))
    expect(pid).not.toBe(String(child.pid))
    expect(textOf(await broker.awaitsReply(broker.give('pid')))).toBe(pid)
    expect(textOf(await broker.awaitsReply(broker.give('hello')))).toBe('HELLO')
  })

  test('isolated passes errors, streams and logs on', async () => {
    const command = await start('--handler', script('h.mjs', busy), '--isolate')
    expect(await broker.awaitsReply(broker.give('throw'))).toMatchObject({
      code: 'NO',
      message: 'no',
      retryable: true,
    })
    const stream = broker.give('stream', { flags: Flag.Stream, creditUpTo: 1 })
    await broker.awaits(Kind.Partial)
    broker.say({ kind: Kind.Credit, token: stream, upTo: 9 })
    expect(textOf(await broker.awaitsReply(stream))).toBe('c')
    expect(broker.of(Kind.Partial).map(textOf)).toEqual(['a', 'b'])
    expect(textOf(await broker.awaitsReply(broker.give('stream')))).toBe('abc')
    await broker.awaitsReply(broker.give('log'))
    await until(() => command.logged().includes('hello from the handler'))
  })

  test('isolated that blocks for ever costs its own task only: heartbeats go on, and it is replaced', async () => {
    await start('--handler', script('h.mjs', busy), '--isolate', '--slots', '2', '--kill-grace', '100')
    const before = textOf(await broker.awaitsReply(broker.give('pid')))
    // The other slot's process may only just be coming up.
    const blocked = broker.give('block', { timeLeftMs: 3000 })
    // The other slot's process, since this one's is blocked.
    const other = textOf(await broker.awaitsReply(broker.give('pid')))
    const beats = broker.of(Kind.Heartbeat).length
    await broker.awaits(Kind.Heartbeat, beats + 5)
    expect(broker.of(Kind.Reply).some(({ token }) => token === blocked)).toBe(false)
    expect(await broker.awaitsReply(blocked)).toMatchObject({ code: ErrorCode.Expired })
    expect(before).not.toBe(other)
    await until(() => !isAlive(Number(before)))
    expect(textOf(await broker.awaitsReply(broker.give('hello')))).toBe('HELLO')
  })

  test.each([
    ['exits', 'exit', /ended, with status 3/],
    ['throws in a callback', 'callback', /ended, with status 1/],
  ])('isolated that %s fails its own task only, and is replaced', async (_how, body, message) => {
    const command = await start('--handler', script('h.mjs', busy), '--isolate')
    expect(await broker.awaitsReply(broker.give(body))).toMatchObject({
      code: ErrorCode.TaskFailed,
      message: expect.stringMatching(message),
    })
    expect(textOf(await broker.awaitsReply(broker.give('hello')))).toBe('HELLO')
    expect(command.child.exitCode).toBe(null)
  })

  test('isolated may speak to its parent, as under a process manager: the worker goes on', async () => {
    const speaks = `
      process.send?.('ready')
      export default (task) => {
        process.send?.(null)
        process.send?.({ type: 'online' })
        return task.text() + '!'
      }`
    await start('--handler', script('h.mjs', speaks), '--isolate')
    for (const text of ['a', 'b'])
      expect(textOf(await broker.awaitsReply(broker.give(text)))).toBe(`${text}!`)
  })

  test('isolated may log what cannot be sent to another process', async () => {
    const logs = `
      export default (task, { log }) => {
        log.info({ of: task.id, callback: () => 1 }, 'with a function')
        return 'done'
      }`
    const command = await start('--handler', script('h.mjs', logs), '--isolate')
    expect(await broker.awaitsReply(broker.give('x'))).toMatchObject({ code: '', body: Buffer.from('done') })
    await until(() => command.logged().includes('with a function'))
  })

  test('isolated that exits takes with it what it has started', async () => {
    const forks = `
      import { spawn } from 'node:child_process'
      import { writeFileSync } from 'node:fs'
      export default (task) => {
        const { pid } = spawn('sleep', ['1000'], { stdio: 'ignore' })
        writeFileSync('${folder}/pid', pid + '\\n')
        process.exit(3)
      }`
    await start('--handler', script('h.mjs', forks), '--isolate')
    expect(await broker.awaitsReply(broker.give('x'))).toMatchObject({ code: ErrorCode.TaskFailed })
    const pid = await numberIn('pid')
    onTestFinished(() => {
      if (isAlive(pid)) process.kill(pid, 'SIGKILL')
    })
    await until(() => !isAlive(pid))
  })

  test('isolated that dies of the task before costs the next one nothing', async () => {
    const dies = `
      export default (task) => {
        if (task.text() === 'last') setImmediate(() => { for (const end = Date.now() + 300; Date.now() < end;); process.exit(3) })
        return task.text() + ' done'
      }`
    await start('--handler', script('h.mjs', dies), '--isolate')
    expect(textOf(await broker.awaitsReply(broker.give('last')))).toBe('last done')
    expect(await broker.awaitsReply(broker.give('next'))).toMatchObject({
      code: '',
      body: Buffer.from('next done'),
    })
  })

  test('isolated and blocked does not outlive a worker that is killed', async () => {
    const blocks = `
      import { writeFileSync } from 'node:fs'
      export default () => { writeFileSync('${folder}/pid', process.pid + '\\n'); for (;;); }`
    const { child } = await start('--handler', script('h.mjs', blocks), '--isolate')
    broker.give('x')
    const pid = await numberIn('pid')
    child.kill('SIGKILL')
    await until(() => !isAlive(pid))
  })
})

describe('signals', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)('%s drains: what runs is finished, exit 0', async (signal) => {
    const { child, ended } = await start(
      '--',
      'sh',
      '-c',
      `echo 1 > ${folder}/begun; while ! [ -e ${folder}/go ]; do sleep 0.02; done; echo done`,
    )
    const token = broker.give('x')
    await numberIn('begun')
    child.kill(signal)
    await broker.awaitsReady(0)
    script('go', '')
    expect(textOf(await broker.awaitsReply(token))).toBe('done\n')
    await broker.awaits(Kind.Disconnect)
    expect(await ended).toEqual({ status: 0, signal: null })
  })

  test('a second one hands back at once, kills what runs, and exits with its number', async () => {
    const { child, ended } = await start(
      '--kill-grace',
      '100',
      '--',
      'sh',
      '-c',
      `echo $$ > ${folder}/pid; exec sleep 1000`,
    )
    const token = broker.give('x')
    const pid = await numberIn('pid')
    child.kill('SIGTERM')
    await broker.awaitsReady(0)
    child.kill('SIGINT')
    expect(await broker.awaits(Kind.Reject)).toMatchObject({ token, reason: RejectReason.HandedBack })
    expect(await ended).toEqual({ status: 130, signal: null })
    expect(isAlive(pid)).toBe(false)
  })

  test('end a worker that has found no broker, without a complaint of ZeroMQ’s about its farewell', async () => {
    const command = new Command(['--connect', `ipc://${folder}/nobody`, '--', 'cat'])
    const closed = once(command.child, 'close')
    await until(() => command.logged().includes('connecting'))
    command.child.kill('SIGTERM')
    await closed
    expect(await command.ended).toEqual({ status: 0, signal: null })
    expect(command.stderr.split('\n').filter((line) => line !== '' && !line.startsWith('{'))).toEqual([])
  })

  test('at the drain’s deadline hand back what is unfinished, exit 0', async () => {
    const { child, ended } = await start(
      '--drain-deadline',
      '100',
      '--',
      'sh',
      '-c',
      `echo 1 > ${folder}/begun; exec sleep 1000`,
    )
    broker.give('x')
    await numberIn('begun')
    child.kill('SIGTERM')
    expect(await broker.awaits(Kind.Reject)).toMatchObject({ reason: RejectReason.HandedBack })
    expect(await ended).toEqual({ status: 0, signal: null })
  })
})

test('whoever read its stdout may go: handlers that write there go on', async () => {
  const command = await start(
    '--handler',
    script('h.mjs', `export default () => console.log('done') ?? 'ok'`),
  )
  command.child.stdout?.destroy()
  for (let i = 0; i < 3; i++) {
    expect(textOf(await broker.awaitsReply(broker.give('x')))).toBe('ok')
    await broker.awaits(Kind.Heartbeat)
    broker.records = []
  }
  command.child.kill('SIGTERM')
  expect(await command.ended).toEqual({ status: 0, signal: null })
})

describe('--restart', () => {
  test('starts the worker again when it dies, and passes a signal on', async () => {
    const pids = `export default () => String(process.pid)`
    const command = await start('--restart', '--handler', script('h.mjs', pids))
    const first = Number(textOf(await broker.awaitsReply(broker.give('x'))))
    expect(first).not.toBe(command.child.pid)
    broker.restart()
    process.kill(first, 'SIGKILL')
    await until(() => command.logged().some((line) => line.includes('started again')))
    await broker.awaits(Kind.Ready)
    broker.records = []
    const second = Number(textOf(await broker.awaitsReply(broker.give('x'))))
    expect(second).not.toBe(first)
    command.child.kill('SIGTERM')
    await broker.awaits(Kind.Disconnect)
    expect(await command.ended).toEqual({ status: 0, signal: null })
    expect(isAlive(second)).toBe(false)
  })

  test('drains the worker when the supervisor is killed', async () => {
    const command = await start(
      '--restart',
      '--handler',
      script('h.mjs', `export default () => String(process.pid)`),
    )
    const pid = Number(textOf(await broker.awaitsReply(broker.give('x'))))
    command.child.kill('SIGKILL')
    await broker.awaits(Kind.Disconnect)
    await until(() => !isAlive(pid))
  })

  test('does not try again what can never go well', async () => {
    const { status, stderr } = await run([
      '--restart',
      '--connect',
      broker.endpoint,
      '--handler',
      './nothing.mjs',
    ])
    expect(status).toBe(78)
    expect(stderr.match(/cannot be loaded/g)?.length).toBe(1)
  })
})

describe('settings', () => {
  test('come from a flag before the environment before the file', async () => {
    const file = script(
      'worker.yaml',
      `connect: ${broker.endpoint}\nslots: 1\nservices: [a, b]\nname: f\nprogram: [cat]\n`,
    )
    const command = new Command(['-c', file, '--slots', '3'], { SPILLWAY_SLOTS: '2', SPILLWAY_NAME: 'e' })
    expect(await broker.awaits(Kind.Ready)).toMatchObject({ slots: 3, services: ['a', 'b'] })
    expect(await broker.awaits(Kind.Hello)).toMatchObject({ name: 'e' })
    expect(textOf(await broker.awaitsReply(broker.give('x')))).toBe('x')
    expect(command.stdout).toBe('')
  })

  test.each<[string[], RegExp]>([
    [['--connect', 'localhost:1', '--', 'cat'], /connect.* = "localhost:1" \(from the command line\)/],
    [['--connect', 'tcp://a:1', '--slots', 'many', '--', 'cat'], /slots = "many"/],
    [['--', 'cat'], /connect is missing.*localbe/],
    [['--connect', 'tcp://a:1'], /program after --, or a module with --handler/],
    [['--connect', 'tcp://a:1', '--', './nothing.sh', 'x'], /program = "\.\/nothing\.sh".*not there/],
    [['--connect', 'tcp://a:1', '--', 'nothing-of-that-name'], /"nothing-of-that-name".*PATH/],
    [['--connect', 'tcp://a:1', '--handler', './nothing.mjs'], /nothing\.mjs cannot be loaded/],
    [['--connect', 'tcp://a:1', '--isolate', '--handler', './nothing.mjs'], /nothing\.mjs cannot be loaded/],
    [['--connect', 'tcp://a:1', '--isolate', '--', 'cat'], /isolate = true.*leave it out/],
    [['-c', './nothing.yaml', '--', 'cat'], /nothing\.yaml: expected a file that can be read/],
  ])('%j exit 78', async (args, message) => {
    const { status, stderr, stdout } = await run(args)
    expect(stderr).toMatch(message)
    expect([status, stdout]).toEqual([78, ''])
  })

  test('name a program that may not be executed', async () => {
    const path = script('plain.sh', '#!/bin/sh\n', 0o644)
    const { status, stderr } = await run(['--connect', 'tcp://a:1', '--', path])
    expect(stderr).toContain(`chmod +x ${path}`)
    expect(status).toBe(78)
  })
})

describe('usage', () => {
  test.each([
    [['--nonsense']],
    [['--handler', 'x.mjs', '--', 'cat']],
    [['--log-level', 'loud', '--', 'cat']],
  ])('%j exits 2', async (args) => {
    const { status, stdout, stderr } = await run(args)
    expect(stderr).toMatch(/^error: /)
    expect([status, stdout]).toEqual([2, ''])
  })

  test('--help has examples and the exit statuses', async () => {
    const { status, stdout } = await run(['--help'])
    expect(status).toBe(0)
    expect(stdout).toMatch(/Examples:.*--isolate.*Exit status/s)
  })
})

test('a version that differs ends the worker with status 1 and says why', async () => {
  const command = await start('--', 'cat')
  broker.say({ kind: Kind.Refuse, reason: 'version', message: 'I speak version 2' })
  expect(await command.ended).toEqual({ status: 1, signal: null })
  expect(command.stderr).toContain('I speak version 2')
})
