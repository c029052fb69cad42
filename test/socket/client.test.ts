import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { runInNewContext } from 'node:vm'
import { afterEach, describe, expect, test, vi } from 'vitest'
import type { ClientOptions, RequestOptions } from '../../client/main.ts'
import {
  BusyError,
  Client,
  ClosedError,
  ConfigurationError,
  StreamBrokenError,
  TaskError,
  TimeoutError,
  TooLargeError,
  UnavailableError,
  UnknownError,
} from '../../client/main.ts'
import { ErrorCode } from '../../protocol/error-code.ts'
import { Flag, Kind } from '../../protocol/record.ts'
import { capitals, type Script, ScriptedBroker } from './scripted-broker.ts'

const open: { close(): Promise<void> }[] = []
const folders: string[] = []

afterEach(async () => {
  for (const one of open.splice(0)) await one.close()
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true })
})

async function broker(script: Script, endpoint?: string, epoch?: number): Promise<ScriptedBroker> {
  const bound = await ScriptedBroker.bind(script, endpoint, epoch)
  open.push(bound)
  return bound
}

function client(connect: ScriptedBroker | string[], options: Partial<ClientOptions> = {}): Client {
  const made = new Client({ connect: Array.isArray(connect) ? connect : connect.endpoint, ...options })
  open.push(made)
  return made
}

/** What a program that has `Client` prints until it ends by itself. */
async function output(program: string): Promise<string> {
  const library = JSON.stringify(join(import.meta.dirname, '../../client/main.ts'))
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--import', 'tsx', '--input-type=module', '-e', `import { Client } from ${library}\n${program}`],
    { timeout: 20_000, cwd: join(import.meta.dirname, '../..') },
  )
  return stdout
}

function ipc(): string {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-'))
  folders.push(folder)
  return `ipc://${folder}/localfe`
}

describe('a request', () => {
  test.each(['tcp', 'ipc'])('over %s brings the reply and where it comes from', async (transport) => {
    const b = await broker(capitals, transport === 'tcp' ? undefined : ipc())
    const reply = await client(b).request('hello')
    expect(reply.text()).toBe('HELLO')
    expect(reply).toMatchObject({ cluster: 'west', worker: 'w1', attempts: 1, queuedMs: 1.5, runMs: 2.5 })
    expect(reply.totalMs).toBeGreaterThan(0)
  })

  test('takes octets as they are, texts as UTF-8 and anything else as JSON', async () => {
    const b = await broker(({ request, reply }) => reply(Buffer.from(request.body).toString('utf8')))
    const c = client(b)
    expect((await c.request(Uint8Array.of(65, 66))).text()).toBe('AB')
    expect((await c.request('naïve')).text()).toBe('naïve')
    expect((await c.request({ a: [1, 2] })).json()).toEqual({ a: [1, 2] })
    expect((await c.request(Uint8Array.of(67).buffer)).text()).toBe('C')
    expect((await c.request(new Uint16Array([0x4444, 0x4545]).subarray(1))).text()).toBe('EE')
  })

  test('takes the memory of others and of other realms as octets, too', async () => {
    const b = await broker(capitals)
    const c = client(b)
    const shared = new SharedArrayBuffer(2)
    new Uint8Array(shared).set([0x68, 0x69])
    expect((await c.request(shared)).text()).toBe('HI')
    expect((await c.request(runInNewContext('new Uint8Array([0x68, 0x69]).buffer'))).text()).toBe('HI')
  })

  test('passes its options on', async () => {
    const b = await broker(capitals)
    await client(b).request('x', {
      priority: 9,
      service: 'hash',
      idempotent: false,
      failFast: true,
      traceparent: '00-trace',
      deadlineMs: 1234,
    })
    expect(b.requests[0]).toMatchObject({
      priority: 9,
      service: 'hash',
      traceparent: '00-trace',
      flags: Flag.NotIdempotent | Flag.FailFast,
      attempt: 1,
    })
    expect(b.requests[0]?.timeLeftMs).toBeGreaterThan(1000)
    expect(b.requests[0]?.timeLeftMs).toBeLessThanOrEqual(1234)
  })

  test('of a megabyte comes back whole', async () => {
    const b = await broker(({ request, reply }) => reply('', { body: request.body }))
    const body = Buffer.alloc(1 << 20, 'spillway ')
    const reply = await client(b).request(body)
    expect(Buffer.compare(reply.body, body)).toBe(0)
  })

  test('among ten thousand at once gets its own answer, and they travel in few messages', async () => {
    const b = await broker(capitals)
    const c = client(b)
    const replies = await Promise.all(Array.from({ length: 10_000 }, (_, i) => c.request(`task ${i}`)))
    replies.forEach((reply, i) => {
      expect(reply.text()).toBe(`TASK ${i}`)
    })
    expect(c.stats.messagesSent).toBeLessThan(200)
    expect(c.stats).toMatchObject({ outstanding: 0, succeeded: 10_000, late: 0, malformed: {} })
  })

  test('that the handler failed rejects with its code, cluster and worker', async () => {
    const b = await broker(({ reply }) => reply('', { code: 'OUT_OF_PAPER', message: 'the tray is empty' }))
    const error = await client(b)
      .request('x')
      .catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(TaskError)
    expect(error).toMatchObject({
      code: 'OUT_OF_PAPER',
      message: 'the tray is empty',
      retryable: false,
      cluster: 'west',
      worker: 'w1',
      taskId: b.requests[0]?.id,
    })
  })

  test.each(['TIMEOUT', 'UNAVAILABLE', 'CLOSED'])(
    'whose handler failed with %s, as no broker does, is no less an error of the task',
    async (code) => {
      const b = await broker(({ reply }) => reply('', { code, message: 'the database did not answer' }))
      const error = await client(b)
        .request('x')
        .catch((caught: unknown) => caught)
      expect(error).toBeInstanceOf(TaskError)
      expect(error).toMatchObject({ code, worker: 'w1' })
    },
  )

  test('whose reply was lost is sent again under the same id, and answered then', async () => {
    const b = await broker(({ request, reply }) => {
      if (request.attempt > 1) reply('second')
    })
    // Half of it is the broker's, to say that it is there.
    const c = client(b, { timeoutMs: 500 })
    expect((await c.request('x')).text()).toBe('second')
    expect(new Set(b.requests.map(({ id }) => id)).size).toBe(1)
    expect(c.stats.connectionsOpened).toBe(1)
  })

  test('turned away as BUSY comes back after the time given', async () => {
    const turnedAway = new Set<string>()
    const b = await broker(({ request, reply }) => {
      // Each task is turned away once; as it was never started, it comes back as a first copy.
      expect(request.attempt).toBe(1)
      if (turnedAway.has(request.id)) return reply('done')
      turnedAway.add(request.id)
      reply('', { code: ErrorCode.Busy, retryable: true, retryAfterMs: 20 })
    })
    const c = client(b)
    expect((await c.request('x')).text()).toBe('done')
    await expect(c.request('x', { retries: 1 })).rejects.toBeInstanceOf(BusyError)
  })

  test('larger than the broker takes fails without being sent', async () => {
    const b = await broker(capitals)
    b.bodyMax = 100
    const c = client(b)
    await c.request('x')
    await expect(c.request('x'.repeat(101))).rejects.toBeInstanceOf(TooLargeError)
    expect(b.requests).toHaveLength(1)
  })

  test('to an address where nobody listens is UNAVAILABLE', async () => {
    const b = await broker(capitals)
    const { endpoint } = b
    await b.close()
    const error = await client([endpoint], { timeoutMs: 20 })
      .request('x')
      .catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(UnavailableError)
    expect(error).toMatchObject({ code: 'UNAVAILABLE', retryable: true })
  })

  test('to a broker that falls silent is a TIMEOUT', async () => {
    const b = await broker(capitals)
    const c = client(b, { timeoutMs: 30, heartbeatIntervalMs: 10 })
    await c.request('x', { timeoutMs: 10_000 })
    b.deaf = true
    await expect(c.request('y')).rejects.toBeInstanceOf(TimeoutError)
  })
})

describe('when a broker dies', () => {
  test('what libzmq cannot queue for it is kept, and sent when it is back', async () => {
    const first = await broker(capitals)
    const { endpoint } = first
    const c = client([endpoint], { timeoutMs: 20_000, deadlineMs: 20_000 })
    await c.request('x')
    await first.close()
    // Each in a message of its own, more of them than fit under the socket's high-water mark.
    const body = Buffer.alloc(64 * 1024, 'x')
    const replies = Array.from({ length: 1500 }, () => c.request(body))
    // The system lets go of a port a moment after the close.
    await vi.waitFor(() => broker(({ reply }) => reply('done'), endpoint, 2), {
      timeout: 10_000,
      interval: 5,
    })
    expect((await Promise.all(replies)).every((reply) => reply.text() === 'done')).toBe(true)
  })

  test('thousands outstanding go to the next endpoint and are all answered', async () => {
    const dead = await broker(() => {})
    const alive = await broker(capitals)
    const c = client([dead.endpoint, alive.endpoint], { timeoutMs: 300, retries: 20 })
    const replies = Array.from({ length: 3000 }, (_, i) => c.request(`t${i}`))
    await vi.waitUntil(() => dead.requests.length >= 3000, { timeout: 10_000, interval: 5 })
    await dead.close()
    const done = await Promise.all(replies)
    expect(done.map((reply) => reply.text())).toEqual(replies.map((_, i) => `T${i}`))
    expect(c.stats.outstanding).toBe(0)
  })

  test('and comes back at the same address, what was outstanding is sent again at once', async () => {
    // A TCP port could be somebody else's by the time it is bound again: even the client's own, that tries to connect to it.
    const first = await broker(() => {}, ipc(), 1)
    const { endpoint } = first
    const c = client([endpoint], { timeoutMs: 20_000, heartbeatIntervalMs: 20 })
    const replies = Array.from({ length: 100 }, (_, i) => c.request(`t${i}`))
    const once = c.request('once', { idempotent: false })
    const outcome = expect(once).rejects.toBeInstanceOf(UnknownError)
    await vi.waitUntil(() => first.requests.length === 101, { timeout: 10_000, interval: 5 })
    await first.close()
    const second = await broker(capitals, endpoint, 2)
    const done = await Promise.all(replies)
    expect(done.map((reply) => reply.text())).toEqual(replies.map((_, i) => `T${i}`))
    await outcome
    expect(second.requests).toHaveLength(100)
    expect(c.stats).toMatchObject({ brokerRestarts: 1, connectionsOpened: 1 })
  })
})

describe('a request that its broker turns away, since it leaves,', () => {
  const leaves: Script = ({ reply }) => reply('', { code: ErrorCode.Draining, retryable: true })

  test('goes to another at once', async () => {
    const leaving = await broker(leaves)
    const other = await broker(capitals, undefined, 2000)
    const c = client([leaving.endpoint, other.endpoint], { timeoutMs: 120_000, heartbeatIntervalMs: 60_000 })
    expect((await c.request('x')).text()).toBe('X')
  })

  test('is answered by another though its process waits for nothing else', async () => {
    const leaving = await broker(leaves)
    const other = await broker(capitals, undefined, 2000)
    const program = `
      import { Client } from ${JSON.stringify(join(import.meta.dirname, '../../client/main.ts'))}
      const client = new Client({ connect: ${JSON.stringify([leaving.endpoint, other.endpoint])} })
      console.log((await client.request('x')).text())
    `
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--import', 'tsx', '--input-type=module', '-e', program],
      { timeout: 20_000, cwd: join(import.meta.dirname, '../..') },
    )
    expect(stdout).toBe('X\n')
  })
})

describe('abort', () => {
  test('rejects at once with the signal’s reason, and the broker is told', async () => {
    const b = await broker(() => {})
    const c = client(b)
    const controller = new AbortController()
    const reply = c.request('x', { signal: controller.signal })
    await vi.waitUntil(() => b.requests.length === 1, { timeout: 10_000, interval: 5 })
    controller.abort()
    await expect(reply).rejects.toMatchObject({ name: 'AbortError' })
    await vi.waitUntil(() => b.of(Kind.Cancel).length === 1, { timeout: 10_000, interval: 5 })
    expect(c.stats).toMatchObject({ outstanding: 0, cancelled: 1 })
  })

  test('of the only request is said once more with a question, and not after its answer', async () => {
    const b = await broker(({ request, reply }) => {
      if (request.body.byteLength > 0) reply('done')
    })
    const c = client(b, { heartbeatIntervalMs: 100 })
    await c.request('x')
    const controller = new AbortController()
    const reply = c.request('', { signal: controller.signal })
    await vi.waitUntil(() => b.requests.length === 2, { timeout: 10_000, interval: 5 })
    controller.abort()
    await expect(reply).rejects.toMatchObject({ name: 'AbortError' })
    await vi.waitUntil(() => b.of(Kind.Cancel).length > 1, { timeout: 10_000, interval: 5 })
    // Whatever was asked before it has been answered with it.
    await c.request('y')
    const said = b.of(Kind.Cancel).length
    const asked = b.of(Kind.Heartbeat).length
    c.request('').catch(() => {})
    await vi.waitUntil(() => b.of(Kind.Heartbeat).length >= asked + 3, { timeout: 10_000, interval: 5 })
    expect(b.of(Kind.Cancel)).toHaveLength(said)
  })

  test('tells a broker that is leaving, too, though nothing else is wanted of it any more', async () => {
    const leaving = await broker(({ request, reply }) => {
      if (request.body.byteLength > 1) reply('', { code: ErrorCode.Draining, retryable: true })
    })
    const other = await broker(capitals)
    const c = client([leaving.endpoint, other.endpoint])
    const controller = new AbortController()
    const first = expect(c.request('1', { signal: controller.signal })).rejects.toThrow('enough')
    await vi.waitUntil(() => leaving.requests.length === 1, { timeout: 10_000, interval: 5 })
    expect((await c.request('second')).text()).toBe('SECOND')
    controller.abort(new Error('enough'))
    await first
    await vi.waitUntil(() => leaving.of(Kind.Cancel).length === 1, { timeout: 10_000, interval: 5 })
  })

  test('by a signal that has fired already sends nothing', async () => {
    const b = await broker(capitals)
    const c = client(b)
    await expect(c.request('x', { signal: AbortSignal.abort(new Error('too late')) })).rejects.toThrow(
      'too late',
    )
    expect(c.stats.submitted).toBe(0)
  })

  test('by no signal at all may be said with null, too', async () => {
    const b = await broker(capitals)
    const c = client(b)
    const options: object = { signal: null }
    expect((await c.request('hi', options)).text()).toBe('HI')
    expect((await c.stream('hi', options).final).text()).toBe('HI')
  })

  test('of many by one signal is nothing that Node warns of', async () => {
    const b = await broker(capitals)
    const c = client(b)
    const warnings: Error[] = []
    const warn = (warning: Error) => void warnings.push(warning)
    process.on('warning', warn)
    const { signal } = new AbortController()
    await Promise.all(Array.from({ length: 20 }, () => c.request('x', { signal })))
    await Promise.all(Array.from({ length: 20 }, () => c.stream('x', { signal }).final))
    await new Promise((resolve) => setImmediate(resolve))
    process.off('warning', warn)
    expect(warnings).toEqual([])
  })

  test('leaves no listener on the signal of a request that has ended', async () => {
    const b = await broker(capitals)
    const { signal } = new AbortController()
    const add = vi.spyOn(signal, 'addEventListener')
    const remove = vi.spyOn(signal, 'removeEventListener')
    await client(b).request('x', { signal })
    expect([add.mock.calls.length, remove.mock.calls.length]).toEqual([1, 1])
  })
})

describe('a stream', () => {
  /** Sends so many pieces, never beyond the credit, and then the end. */
  function counted(total: number): (b: ScriptedBroker) => Script {
    return (b) => (asked) => {
      let sent = 0
      const send = (upTo: number) => {
        while (sent < Math.min(upTo, total)) asked.piece(sent, `piece ${sent++}`)
        if (sent === total) {
          asked.reply('the end', { partials: total })
          sent = Number.POSITIVE_INFINITY
        }
      }
      b.onCredit(({ upTo }) => send(upTo))
      send(asked.request.creditUpTo)
    }
  }

  test('brings its pieces in order and its last word with provenance', async () => {
    const b = await broker(() => {})
    b.script = counted(100)(b)
    const stream = client(b).stream('x')
    const texts: string[] = []
    for await (const piece of stream) {
      expect(piece).toMatchObject({ index: texts.length, attempt: 1, cluster: 'west', worker: 'w1' })
      texts.push(piece.text())
    }
    expect(texts).toEqual(Array.from({ length: 100 }, (_, i) => `piece ${i}`))
    const final = await stream.final
    expect(final.text()).toBe('the end')
    expect(final).toMatchObject({ cluster: 'west', worker: 'w1' })
  })

  test('that nobody reads gets no more than its window', async () => {
    const b = await broker(() => {})
    b.script = counted(100)(b)
    const c = client(b)
    const stream = c.stream('x', { window: 4 })
    await vi.waitUntil(() => c.stats.partials === 4, { timeout: 10_000, interval: 5 })
    // An answer to a later request comes after everything the stream had to say until then.
    b.script = capitals
    await c.request('later')
    expect(c.stats.partials).toBe(4)
    let read = 0
    for await (const _ of stream) read++
    expect(read).toBe(100)
    expect(b.of(Kind.Credit).length).toBeLessThanOrEqual(52)
  })

  test('left early is cancelled', async () => {
    const b = await broker(() => {})
    b.script = counted(100)(b)
    const c = client(b)
    const stream = c.stream('x')
    for await (const piece of stream) if (piece.index === 2) break
    await expect(stream.final).rejects.toMatchObject({ name: 'AbortError' })
    await vi.waitUntil(() => b.of(Kind.Cancel).length === 1, { timeout: 10_000, interval: 5 })
    expect(c.stats.outstanding).toBe(0)
  })

  test('with a gap throws where the gap is, after the pieces before it', async () => {
    const b = await broker(({ piece, reply }) => {
      piece(0, 'a')
      piece(2, 'c')
      reply('', { partials: 3 })
    })
    const stream = client(b).stream('x')
    const texts: string[] = []
    const read = async () => {
      for await (const piece of stream) texts.push(piece.text())
    }
    await expect(read()).rejects.toBeInstanceOf(StreamBrokenError)
    expect(texts).toEqual(['a'])
    await expect(stream.final).rejects.toBeInstanceOf(StreamBrokenError)
  })

  test('with restart begins anew after a gap, with a higher attempt', async () => {
    let starts = 0
    const b = await broker(({ piece, reply }) => {
      piece(0, 'a')
      if (starts++ > 0) piece(1, 'b')
      reply('', { partials: 2 })
    })
    const seen: [number, string][] = []
    for await (const piece of client(b).stream('x', { restart: true }))
      seen.push([piece.attempt, piece.text()])
    expect(seen.filter(([attempt]) => attempt === 2)).toEqual([
      [2, 'a'],
      [2, 'b'],
    ])
  })

  test('stopped by its signal throws the reason', async () => {
    const b = await broker(({ piece }) => piece(0, 'a'))
    const controller = new AbortController()
    const stream = client(b).stream('x', { signal: controller.signal })
    const read = async () => {
      for await (const _ of stream) controller.abort(new Error('enough'))
    }
    await expect(read()).rejects.toThrow('enough')
  })
})

describe('closing', () => {
  test('rejects what is outstanding, tells the broker, and refuses what comes after', async () => {
    const b = await broker(() => {})
    const c = client(b)
    const reply = c.request('x')
    const outcome = expect(reply).rejects.toBeInstanceOf(ClosedError)
    await vi.waitUntil(() => b.requests.length === 1, { timeout: 10_000, interval: 5 })
    await c.close()
    await outcome
    await expect(c.request('y')).rejects.toBeInstanceOf(ClosedError)
    await vi.waitUntil(() => b.of(Kind.Disconnect).length === 1, { timeout: 10_000, interval: 5 })
  })

  test('happens by itself at the end of an `await using` block', async () => {
    const b = await broker(capitals)
    let kept: Client
    {
      await using c = new Client({ connect: b.endpoint })
      await c.request('x')
      kept = c
    }
    await expect(kept.request('y')).rejects.toBeInstanceOf(ClosedError)
  })

  test('is not needed for the process to end, after an answer as after a failure or an abort', async () => {
    const b = await broker(({ request, reply }) => {
      if (request.body.byteLength > 0) reply('done')
    })
    const stdout = await output(`
      const client = new Client({ connect: ${JSON.stringify(b.endpoint)} })
      console.log((await client.request('x')).text())
      await client.request('', { retries: 1, timeoutMs: 50 }).catch((error) => console.log(error.code))
      await client.request('', { signal: AbortSignal.timeout(50) }).catch((error) => console.log(error.name))
    `)
    expect(stdout).toBe('done\nTIMEOUT\nTimeoutError\n')
  })

  test('is not needed for the process to end, though libzmq has no room for what nobody takes', async () => {
    const stdout = await output(`
      const client = new Client({ connect: 'tcp://127.0.0.1:1', timeoutMs: 1, retries: 1 })
      for (let i = 0; i < 1100; i++) await client.request('x').catch(() => {})
      console.log(client.stats.messagesSent > 1000, client.stats.outstanding)
    `)
    expect(stdout).toBe('true 0\n')
  })
})

test('a client for which the process has no socket left says so, and goes on once there is one', async () => {
  const b = await broker(capitals)
  const stdout = await output(`
    import { context } from 'zeromq'
    context.maxSockets = 2
    const connect = ${JSON.stringify([b.endpoint, 'tcp://127.0.0.1:1'])}
    const [first, second, third] = [0, 1, 2].map(() => new Client({ connect }))
    console.log((await first.request('a')).text(), (await second.request('b')).text())
    const failure = (error) => console.log(error.name, error.retryable, /no socket.*one client/.test(error.message))
    await third.request('c').catch(failure)
    await third.request('d', { idempotent: false }).catch(failure)
    await third.stream('e').final.catch(failure)
    console.log(third.stats.outstanding)
    await first.close()
    let reply
    while (reply === undefined) reply = await third.request('f').catch(() => undefined)
    console.log(reply.text())
  `)
  expect(stdout).toBe(`A B\n${'UnavailableError true true\n'.repeat(3)}0\nF\n`)
})

describe('options', () => {
  test.each([
    [{ connect: 'localhost:5555' }, /connect = "localhost:5555": .*expected tcp:\/\/host:port/],
    [{ connect: 'tcp://localhost:99999' }, /expected a port from 1 to 65535/],
    [{ connect: 'tcp://localhost:1', retries: 0 }, /retries = 0/],
    [{ connect: [] }, /connect/],
    [JSON.parse('{"connect":"tcp://localhost:1","onEvent":null}'), /onEvent = null: expected a function/],
  ])('%j are refused with field, value and expectation', (options, message) => {
    expect(() => new Client(options)).toThrow(ConfigurationError)
    expect(() => new Client(options)).toThrow(message)
  })

  test('of a request out of range reject it', async () => {
    const b = await broker(capitals)
    await expect(client(b).request('x', { priority: 10 })).rejects.toThrow(
      /priority = 10: expected a number from 0 to 9/,
    )
  })

  test.each<[string, unknown, RegExp]>([
    ['signal', 5, /signal = 5: expected an AbortSignal/],
    ['priority', 5n, /priority = 5n: expected a number from 0 to 9/],
    ['timeoutMs', Number.NaN, /timeoutMs = NaN: expected a number from 1/],
    ['retries', Symbol('many'), /retries = Symbol\(many\): expected a number from 1/],
    ['service', 5, /service = 5: expected a text of at most 255 octets/],
    ['service', 'é'.repeat(128), /service = "é+": expected a text of at most 255 octets/],
    ['traceparent', 5, /traceparent = 5: expected a text/],
  ])(
    '%s %o of a request rejects it alone, and spoils no message that others travel in',
    async (name, value, message) => {
      const b = await broker(capitals)
      const c = client(b)
      const options: RequestOptions = { deadlineMs: 5000, [name]: value }
      const [wrong, right] = await Promise.allSettled([c.request('a', options), c.request('b')])
      expect(wrong).toMatchObject({ status: 'rejected', reason: { message: expect.stringMatching(message) } })
      expect(right).toMatchObject({ status: 'fulfilled' })
      expect(c.stats).toMatchObject({ outstanding: 0, submitted: 1, requestsResent: 0 })
    },
  )
})
