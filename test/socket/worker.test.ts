import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { Router } from 'zeromq'
import { ErrorCode } from '../../protocol/error-code.ts'
import { EMPTY_BODY, Flag, Kind, RejectReason } from '../../protocol/record.ts'
import type { Context, Handler, Task, WorkerOptions } from '../../worker/main.ts'
import { ConfigurationError, Worker } from '../../worker/main.ts'
import { ScriptedLocalbe, textOf } from './scripted-localbe.ts'

const open: { close(): Promise<void> }[] = []
const folders: string[] = []

afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close()
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true })
})

async function broker(endpoint?: string, epoch?: number): Promise<ScriptedLocalbe> {
  const bound = await ScriptedLocalbe.bind(endpoint, epoch)
  open.push(bound)
  return bound
}

/** Quick heartbeats, so that a test sees somebody fall silent soon. */
function worker(
  connect: ScriptedLocalbe | string[],
  handler: Handler,
  options: Partial<WorkerOptions> = {},
): Worker {
  const made = new Worker({
    connect: Array.isArray(connect) ? connect : connect.endpoint,
    handler,
    name: 'w1',
    heartbeatIntervalMs: 100,
    reconnectMinMs: 20,
    reconnectMaxMs: 100,
    ...options,
  })
  open.push({ close: () => made.stop().catch(() => {}) })
  return made
}

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), 'spillway-'))
  folders.push(made)
  return made
}

/** A handler that waits until it is told to go on. */
function held(): { handler: Handler; begun: Task[]; signals: AbortSignal[]; release(): void } {
  const begun: Task[] = []
  const signals: AbortSignal[] = []
  let release = () => {}
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  const handler = async (task: Task, { signal }: Context) => {
    begun.push(task)
    signals.push(signal)
    await released
    return `${task.text()} done`
  }
  return { handler, begun, signals, release: () => release() }
}

/** A promise as somebody else makes them. */
function thenable(then: (resolve: (value: unknown) => void) => void): object {
  return Object.defineProperty({}, 'then', { value: then })
}

/** Nothing can be asked of it without an error. */
function revoked(): unknown {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

const until = (condition: () => boolean) => vi.waitUntil(condition, { timeout: 20_000, interval: 2 })

describe('a worker', () => {
  test.each(['tcp', 'ipc'])('over %s signs in, does a task and says goodbye', async (transport) => {
    const b = await broker(transport === 'tcp' ? undefined : `ipc://${folder()}/localbe`)
    const w = worker(b, (task) => task.text().toUpperCase(), { slots: 3, services: ['shout'] })
    await w.ready()
    expect(await b.awaits(Kind.Ready)).toMatchObject({ slots: 3, services: ['shout'] })
    const reply = await b.awaitsReply(b.give('hello', { service: 'shout' }))
    expect(reply).toMatchObject({ code: '', worker: 'w1', attempts: 1 })
    expect(textOf(reply)).toBe('HELLO')
    await w.drain()
    await b.awaits(Kind.Disconnect)
    expect(w.stats).toMatchObject({ started: 1, succeeded: 1, running: 0, signedIn: false })
  })

  test('tells its handler all about the task', async () => {
    const b = await broker()
    let seen: Task | undefined
    const w = worker(b, (task) => {
      seen = task
      return task.json()
    })
    await w.ready()
    const fields = {
      id: 'the-id',
      attempt: 2,
      service: 'x',
      priority: 9,
      traceparent: '00-trace',
      timeLeftMs: 5000,
      flags: Flag.NotIdempotent | Flag.Stream,
    }
    const reply = await b.awaitsReply(b.give('{"a":[1]}', fields))
    expect(textOf(reply)).toBe('{"a":[1]}')
    expect(seen).toMatchObject({
      id: 'the-id',
      attempt: 2,
      service: 'x',
      priority: 9,
      traceparent: '00-trace',
      idempotent: false,
      stream: true,
    })
    expect(seen?.timeLeftMs).toBeGreaterThan(0)
    expect(seen?.timeLeftMs).toBeLessThanOrEqual(5000)
  })

  test.each<[string, unknown, string]>([
    ['octets', Uint8Array.of(65, 66), 'AB'],
    ['a string', 'naïve', 'naïve'],
    ['an object', { a: 1 }, '{"a":1}'],
    ['an array', [1, 'b'], '[1,"b"]'],
    ['a number', 7, '7'],
    ['null', null, 'null'],
    ['undefined', undefined, ''],
    ['an ArrayBuffer', Uint8Array.of(67).buffer, 'C'],
    ['a view of other numbers', new Uint16Array([0x4444, 0x4545]).subarray(1), 'EE'],
  ])('answers with %s', async (_what, value, text) => {
    const b = await broker()
    const w = worker(b, (task) => (task.text() === 'later' ? Promise.resolve(value) : value), { slots: 2 })
    await w.ready()
    expect(textOf(await b.awaitsReply(b.give('now')))).toBe(text)
    expect(textOf(await b.awaitsReply(b.give('later')))).toBe(text)
  })

  test.each<[string, () => unknown, object]>([
    [
      'an error',
      () => {
        throw new Error('no paper')
      },
      { code: ErrorCode.TaskFailed, message: 'no paper', retryable: false },
    ],
    [
      'an error with a code',
      () => Promise.reject(Object.assign(new Error('no paper'), { code: 'NO_PAPER', retryable: true })),
      { code: 'NO_PAPER', retryable: true },
    ],
    [
      'an error that pretends to be the broker’s',
      () => Promise.reject(Object.assign(new Error('x'), { code: 'BUSY' })),
      { code: ErrorCode.TaskFailed },
    ],
    ['a string', () => Promise.reject('why not'), { code: ErrorCode.TaskFailed, message: /why not/ }],
    [
      'what cannot be made a string',
      () => Promise.reject(Object.create(null)),
      { code: ErrorCode.TaskFailed },
    ],
    ['what JSON cannot hold', () => 1n, { code: ErrorCode.TaskFailed, message: /BigInt/ }],
    ['a function', () => () => 1, { code: ErrorCode.TaskFailed, message: /returned a function/ }],
    [
      'a promise of another make that throws',
      () =>
        thenable(() => {
          throw new Error('no then')
        }),
      { code: ErrorCode.TaskFailed, message: 'no then' },
    ],
    ['what throws when it is looked at', () => revoked(), { code: ErrorCode.TaskFailed }],
    [
      'an error that throws when it is looked at',
      () => Promise.reject(revoked()),
      { code: ErrorCode.TaskFailed },
    ],
  ])('makes an error reply of %s', async (_what, handler, expected) => {
    const b = await broker()
    await worker(b, handler).ready()
    const { code, message, retryable } = await b.awaitsReply(b.give('x'))
    for (const [field, value] of Object.entries(expected)) {
      const seen = { code, message, retryable }[field]
      if (value instanceof RegExp) expect(seen).toMatch(value)
      else expect(seen).toBe(value)
    }
    // And goes on.
    await b.awaitsReply(b.give('y'))
  })

  test('of a handler whose promise is of another make and says it twice answers once, and has no slot more', async () => {
    const b = await broker()
    const w = worker(b, () =>
      thenable((resolve) => {
        resolve('done')
        resolve('and done')
      }),
    )
    await w.ready()
    for (let i = 0; i < 3; i++) expect(textOf(await b.awaitsReply(b.give('x')))).toBe('done')
    await b.awaits(Kind.Heartbeat, b.of(Kind.Heartbeat).length + 2)
    expect(w.stats).toMatchObject({ running: 0, started: 3, succeeded: 3, orphaned: 0 })
  })

  test('answers a thousand tasks in a few messages', async () => {
    const b = await broker()
    const w = worker(b, (task) => task.text().toUpperCase(), { slots: 1000 })
    await w.ready()
    const tokens = Array.from({ length: 1000 }, (_, i) => b.give(`task ${i}`))
    await until(() => b.of(Kind.Reply).length === 1000)
    const texts = new Map(b.of(Kind.Reply).map((reply) => [reply.token, textOf(reply)]))
    tokens.forEach((token, i) => {
      expect(texts.get(token)).toBe(`TASK ${i}`)
    })
    expect(w.stats.messagesSent).toBeLessThan(500)
  })

  test('loses nothing, and keeps its order, when libzmq has no room for more', async () => {
    const b = await broker()
    const body = Buffer.alloc(4000, 'x')
    let made = 0
    const w = worker(
      b,
      async function* () {
        for (; made < 10_000; made++) {
          // A message for each.
          await new Promise(setImmediate)
          yield body
        }
      },
      { heartbeatIntervalMs: 60_000 },
    )
    await w.ready()
    const resume = b.pause()
    const token = b.give('x', { flags: Flag.Stream, creditUpTo: 10_000 })
    await until(() => made === 10_000)
    resume()
    expect(await b.awaitsReply(token)).toMatchObject({ code: '', partials: 10_000 })
    b.of(Kind.Partial).forEach(({ index }, i) => {
      expect(index).toBe(i)
    })
  })

  test('keeps the answers of what ran on while the broker was silent, and gives them when it is back', async () => {
    const b = await broker()
    const { handler, begun, signals, release } = held()
    const w = worker(b, handler, { slots: 2 })
    await w.ready()
    const token = b.give('one')
    b.give('two')
    await until(() => begun.length === 2)
    b.deaf = true
    await until(() => w.stats.connectionsOpened >= 2)
    release()
    await until(() => w.stats.running === 0)
    b.records = []
    b.deaf = false
    expect(await b.awaits(Kind.Inventory)).toMatchObject({ received: 2, tokens: [1, 2] })
    expect(textOf(await b.awaitsReply(token))).toBe('one done')
    expect(textOf(await b.awaitsReply(2))).toBe('two done')
    expect(signals.some(({ aborted }) => aborted)).toBe(false)
    // The broker knows it again by its routing id.
    expect(b.ids.length).toBe(1)
  })

  test('cancels what it ran for a broker that has restarted, and offers its slots to the new one', async () => {
    const b = await broker()
    const { handler, begun, signals, release } = held()
    const w = worker(b, handler, { slots: 2 })
    await w.ready()
    b.give('one')
    await until(() => begun.length === 1)
    b.restart()
    await until(() => signals[0]?.aborted === true)
    await b.awaitsReady(1)
    release()
    await b.awaitsReady(2)
    expect(b.of(Kind.Reply)).toEqual([])
    expect(w.stats).toMatchObject({ orphaned: 1, brokerChanges: 1 })
    expect(textOf(await b.awaitsReply(b.give('two')))).toBe('two done')
  })

  test('goes to the next broker when the first is gone', async () => {
    const [first, second] = [await broker(), await broker(undefined, 2000)]
    const w = worker([first.endpoint, second.endpoint], (task) => task.text())
    await w.ready()
    await first.close()
    await second.awaitsReady(1)
    expect(textOf(await second.awaitsReply(second.give('here')))).toBe('here')
  })

  test('that is refused comes back when its pause is over, and not only when its next heartbeat is due', async () => {
    const b = await broker()
    const w = worker(b, () => '', { heartbeatIntervalMs: 600_000 })
    await w.ready()
    b.say({ kind: Kind.Refuse, reason: 'workersMax', message: 'there are enough' })
    await b.awaits(Kind.Hello, 2)
  })

  test('that was there first finds its broker when that comes up', async () => {
    const path = `ipc://${folder()}/localbe`
    const w = worker([path], (task) => task.text())
    await until(() => w.stats.connectionsOpened === 2)
    const b = await broker(path)
    await w.ready()
    expect(textOf(await b.awaitsReply(b.give('late')))).toBe('late')
  })

  test('is told by the signal that the time is up, with the reason', async () => {
    const b = await broker()
    const w = worker(b, async (_task, { signal }) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      return 'too late'
    })
    await w.ready()
    const reply = await b.awaitsReply(b.give('x', { timeLeftMs: 50 }))
    expect(reply).toMatchObject({ code: ErrorCode.Expired, body: EMPTY_BODY })
    expect(reply.runUs).toBeGreaterThanOrEqual(50_000)
  })

  test('is told by the signal that the task was cancelled, even when it asks for the signal late', async () => {
    const b = await broker()
    let seen: AbortSignal | undefined
    let resume = () => {}
    const w = worker(b, async (_task, context) => {
      await new Promise<void>((resolve) => {
        resume = resolve
      })
      seen = context.signal
    })
    await w.ready()
    const token = b.give('x')
    await until(() => w.stats.running === 1)
    b.say({ kind: Kind.Cancel, token }, { kind: Kind.Heartbeat, ask: true, sent: 1 })
    await b.awaits(Kind.Heartbeat)
    resume()
    expect(await b.awaitsReply(token)).toMatchObject({ code: ErrorCode.Cancelled })
    expect(seen?.reason).toMatchObject({ name: 'AbortError' })
  })
})

describe('a stream', () => {
  const asked = { flags: Flag.Stream, creditUpTo: 2 }

  async function* letters(): AsyncGenerator<string, string> {
    yield 'a'
    yield 'b'
    yield 'c'
    yield 'd'
    return 'end'
  }

  test('goes no faster than its credit, and ends with what the generator returns', async () => {
    const b = await broker()
    let made = 0
    const w = worker(b, async function* () {
      for await (const letter of letters()) {
        made++
        yield letter
      }
      return 'end'
    })
    await w.ready()
    const token = b.give('x', asked)
    await b.awaits(Kind.Partial, 2)
    b.say({ kind: Kind.Heartbeat, ask: true, sent: 1 })
    await b.awaits(Kind.Heartbeat)
    // One is ready; the generator is not asked for another before that one has left.
    expect(made).toBe(3)
    expect(b.of(Kind.Partial).length).toBe(2)
    b.say({ kind: Kind.Credit, token, upTo: 9 })
    expect(await b.awaitsReply(token)).toMatchObject({ code: '', partials: 4, body: Buffer.from('end') })
    expect(b.of(Kind.Partial).map(({ index, body }) => `${index}${Buffer.from(body)}`)).toEqual([
      '0a',
      '1b',
      '2c',
      '3d',
    ])
  })

  test('that nobody asked for comes in one piece', async () => {
    const b = await broker()
    await worker(b, letters).ready()
    expect(textOf(await b.awaitsReply(b.give('x')))).toBe('abcdend')
    expect(b.of(Kind.Partial)).toEqual([])
  })

  test('that nobody asked for and is too large for one reply ends with TOO_LARGE, and its generator too', async () => {
    const b = await broker()
    b.bodyMax = 1000
    let left = false
    const w = worker(b, async function* () {
      try {
        for (;;) yield Buffer.alloc(100)
      } finally {
        left = true
      }
    })
    await w.ready()
    expect(await b.awaitsReply(b.give('x'))).toMatchObject({ code: ErrorCode.TooLarge })
    expect(left).toBe(true)
  })

  test('that is cancelled while it waits for credit ends its generator', async () => {
    const b = await broker()
    let left = false
    const w = worker(b, async function* () {
      try {
        for (;;) yield 'x'
      } finally {
        left = true
      }
    })
    await w.ready()
    const token = b.give('x', asked)
    await b.awaits(Kind.Partial, 2)
    b.say({ kind: Kind.Cancel, token })
    expect(await b.awaitsReply(token)).toMatchObject({ code: ErrorCode.Cancelled, partials: 2 })
    expect(left).toBe(true)
  })

  test('whose generator throws ends with its error', async () => {
    const b = await broker()
    const w = worker(b, async function* () {
      yield 'a'
      throw Object.assign(new Error('torn'), { code: 'TORN', retryable: true })
    })
    await w.ready()
    expect(await b.awaitsReply(b.give('x', asked))).toMatchObject({
      code: 'TORN',
      message: 'torn',
      retryable: true,
      partials: 1,
    })
  })

  test('may be any async iterable, also behind a promise', async () => {
    const b = await broker()
    const w = worker(b, async () => new Blob(['from a web stream']).stream())
    await w.ready()
    expect(textOf(await b.awaitsReply(b.give('x')))).toBe('from a web stream')
  })
})

describe('a worker that leaves', () => {
  test('finishes what runs and takes nothing new', async () => {
    const b = await broker()
    const { handler, begun, release } = held()
    const w = worker(b, handler, { slots: 2 })
    await w.ready()
    const token = b.give('one')
    await until(() => begun.length === 1)
    const drained = w.drain()
    await b.awaitsReady(0)
    const refused = b.give('two')
    expect(await b.awaits(Kind.Reject)).toMatchObject({ token: refused, reason: RejectReason.Draining })
    release()
    await drained
    expect(textOf(await b.awaitsReply(token))).toBe('one done')
    await b.awaits(Kind.Disconnect)
  })

  test('hands back what is unfinished at the deadline', async () => {
    const b = await broker()
    const { handler, begun, signals } = held()
    const w = worker(b, handler)
    await w.ready()
    const token = b.give('one')
    await until(() => begun.length === 1)
    await w.drain(50)
    expect(await b.awaits(Kind.Reject)).toMatchObject({ token, reason: RejectReason.HandedBack })
    await b.awaits(Kind.Disconnect)
    expect(signals[0]?.aborted).toBe(true)
  })

  test('does so at once when asked a second time', async () => {
    const b = await broker()
    const { handler, begun } = held()
    const w = worker(b, handler)
    await w.ready()
    b.give('one')
    await until(() => begun.length === 1)
    const first = w.drain()
    await w.drain()
    await first
    await b.awaits(Kind.Reject)
  })

  test('at the end of its scope says goodbye', async () => {
    const b = await broker()
    {
      await using w = worker(b, () => 'x')
      await w.ready()
    }
    await b.awaits(Kind.Disconnect)
  })

  test('before a broker was found was never ready', async () => {
    const w = worker([`ipc://${folder()}/nobody`], () => 'x')
    const ready = w.ready()
    await Promise.all([expect(ready).rejects.toThrow(/stopped before/), w.stop()])
  })
})

describe('a broker of another version', () => {
  test.each([
    ['REFUSE', (b: ScriptedLocalbe) => b.say({ kind: Kind.Refuse, reason: 'version', message: 'I speak 2' })],
    ['HELLO', (b: ScriptedLocalbe) => b.say(b.hello({ major: 2 }))],
  ])('ends the worker with an error, by its %s', async (_by, speak) => {
    const b = await broker()
    const w = worker(b, () => 'x')
    await w.ready()
    speak(b)
    await expect(w.stopped).rejects.toMatchObject({ name: 'WorkerError', code: 'VERSION' })
  })

  test('is recognised though nothing of what it says can be read', async () => {
    const router = new Router({ linger: 0 })
    await router.bind('tcp://127.0.0.1:*')
    open.push({ close: async () => router.close() })
    const w = worker([router.lastEndpoint ?? ''], () => 'x')
    const [id = Buffer.alloc(0)] = await router.receive()
    const future = Buffer.from([0xd7, 0x53, 0x57, 9, 0, 0, 0, 1, 0, 0, 0, 0])
    await router.send([id, future])
    await expect(w.stopped).rejects.toThrow(/version 9/)
  })
})

test('garbage is counted and nothing else', async () => {
  const router = new Router({ linger: 0 })
  await router.bind('tcp://127.0.0.1:*')
  open.push({ close: async () => router.close() })
  const w = worker([router.lastEndpoint ?? ''], () => 'x')
  const [id = Buffer.alloc(0)] = await router.receive()
  await router.send([id, 'garbage'])
  await router.send([id, Buffer.from([0xd7, 0x53, 0x57, 1, 0, 0, 0, 1, 0, 0, 0, 0, 3, 0, 0, 0, 9])])
  await until(() => w.stats.messagesReceived === 2)
  expect(w.stats.malformed).toEqual({ magic: 1, truncated: 1 })
})

describe('a module', () => {
  test('brings the handler, by its default export or by name', async () => {
    const b = await broker()
    const [byDefault, byName] = [join(folder(), 'a.mjs'), join(folder(), 'b.mjs')]
    writeFileSync(byDefault, 'export default (task) => task.text() + "!"')
    writeFileSync(byName, 'export const handler = (task) => task.text() + "?"')
    const first = worker(b, () => '', { handler: byDefault })
    await first.ready()
    expect(textOf(await b.awaitsReply(b.give('x')))).toBe('x!')
    await first.stop()
    b.records = []
    await worker(b, () => '', { handler: new URL(`file://${byName}`) }).ready()
    await b.awaitsReady(1)
    expect(textOf(await b.awaitsReply(b.give('x')))).toBe('x?')
  })

  test.each([
    ['that is not there', undefined, /cannot be loaded/],
    ['that exports no function', 'export const answer = 42', /exports no function/],
    ['that throws', 'throw new Error("no licence")', /no licence/],
  ])('%s is an error of configuration, and nobody has signed in', async (_which, source, message) => {
    const b = await broker()
    const file = join(folder(), 'handler.mjs')
    if (source !== undefined) writeFileSync(file, source)
    const w = worker(b, () => '', { handler: file })
    await expect(w.ready()).rejects.toThrow(message)
    await expect(w.stopped).rejects.toBeInstanceOf(ConfigurationError)
    expect(b.records).toEqual([])
  })
})

test.each<[Partial<WorkerOptions>, RegExp]>([
  [{ connect: 'localhost:1' }, /connect = "localhost:1".*tcp:\/\/host:port/],
  [{ connect: [] }, /connect/],
  [{ slots: 0 }, /slots = 0/],
  [JSON.parse('{"onEvent":5}'), /onEvent = 5: expected a function/],
  [JSON.parse('{"log":null}'), /log = null: expected a logger with debug, info, warn and error/],
  [JSON.parse('{"log":{}}'), /log = {}: expected a logger/],
  [{ services: [] }, /services/],
  [{ reconnectMinMs: 100, reconnectMaxMs: 50 }, /reconnectMaxMs = 50.*at least reconnectMinMs/],
  [{ handler: undefined }, /either a handler or a program/],
  [{ program: ['cat'] }, /either a handler or a program/],
  [{ isolate: true }, /a function cannot be taken to another process/],
  [{ handler: undefined, program: ['/nonexistent/program'] }, /\/nonexistent\/program is not there/],
])('%j is no configuration', (options, message) => {
  const make = () => new Worker({ connect: 'tcp://127.0.0.1:1', handler: () => '', ...options })
  expect(make).toThrow(ConfigurationError)
  expect(make).toThrow(message)
})
