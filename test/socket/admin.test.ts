import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import { Broker, type BrokerOptions, ConfigurationError } from '../../broker/main.ts'
import { brokerStatusSchema } from '../../broker/status.ts'
import { Client } from '../../client/main.ts'
import { parseExposition } from '../exposition.ts'
import { plainWorker } from '../plain-worker.ts'
import { eventually } from '../reactor-rig.ts'

const ANY_PORT = 'tcp://127.0.0.1:*'

class TestBroker extends Broker {
  async ask(path: string, init: RequestInit = {}): Promise<{ status: number; type: string; body: string }> {
    const response = await fetch(`http://${this.httpAddress}${path}`, init)
    return {
      status: response.status,
      type: response.headers.get('content-type') ?? '',
      body: await response.text(),
    }
  }

  async json(path: string, method = 'GET', body?: unknown) {
    const init: RequestInit = { method }
    if (body !== undefined) {
      init.body = JSON.stringify(body)
      init.headers = { 'content-type': 'application/json' }
    }
    const { status, body: text } = await this.ask(path, init)
    const json: unknown = JSON.parse(text)
    return { status, json }
  }
}

async function open(options: Partial<BrokerOptions> = {}): Promise<TestBroker> {
  const broker = new TestBroker({
    name: 'west',
    localfe: ANY_PORT,
    localbe: ANY_PORT,
    cloudfe: ANY_PORT,
    statebe: ANY_PORT,
    http: '127.0.0.1:0',
    logLevel: 'silent',
    stateIntervalMs: 100,
    ...options,
  })
  onTestFinished(() => broker.stop())
  await broker.start()
  return broker
}

function client(broker: Broker): Client {
  const made = new Client({ connect: broker.endpoints.localfe, timeoutMs: 10_000 })
  onTestFinished(() => made.close())
  return made
}

test('a broker without workers and peers is healthy and ready', async () => {
  const broker = await open()
  expect(await broker.json('/healthz')).toEqual({ status: 200, json: { ok: true } })
  expect(await broker.json('/readyz')).toEqual({ status: 200, json: { ready: true, draining: false } })
})

test('status tells what the broker knows', async () => {
  const broker = await open()
  plainWorker(broker.endpoints.localbe, { slots: 3, services: ['', 'resize'], name: 'w1' })
  await eventually(() => expect(broker.status().slots).toBe(3))
  await client(broker).request('hello')
  const { status, json } = await broker.json('/status')
  expect(status).toBe(200)
  expect(brokerStatusSchema.strict().parse(json)).toMatchObject({
    name: 'west',
    ready: true,
    slots: 3,
    free: 3,
    busy: 0,
    queued: 0,
    inFlight: { local: 0, peer: 0, guest: 0 },
    peersUp: 0,
    workers: {
      total: 1,
      byDialect: { native: 1, req: 0, ppp: 0 },
      list: [{ name: 'w1', dialect: 'native', slots: 3, busy: 0, services: ['', 'resize'] }],
    },
    ledger: { underWay: 0, answered: 1 },
    counters: { received: { client: 1 }, completed: { local: 1 }, settled: { ok: 1 } },
  })
})

test('metrics come in the format and with the type that Prometheus wants', async () => {
  const broker = await open()
  const { status, type, body } = await broker.ask('/metrics')
  expect(status).toBe(200)
  expect(type).toBe('text/plain; version=0.0.4; charset=utf-8')
  const families = parseExposition(body)
  expect(families.get('spillway_build_info')?.samples.size).toBe(1)
  expect(families.has('process_cpu_seconds_total')).toBe(true)
})

describe('peers', () => {
  test('are added and removed while the broker runs, and stay removed', async () => {
    const west = await open()
    const east = await open({ name: 'east' })
    const address = east.endpoints.cloudfe
    expect(await west.json('/peers', 'POST', { address })).toEqual({
      status: 201,
      json: { added: true, address },
    })
    await eventually(() => expect(west.peers()).toMatchObject([{ name: 'east', phase: 'up', address }]))
    await eventually(() => expect(east.peers()).toMatchObject([{ name: 'west', phase: 'up' }]))
    expect((await west.json('/peers', 'POST', { address })).status).toBe(200)
    expect(await west.json('/peers')).toMatchObject({ json: { peers: [{ name: 'east', phase: 'up' }] } })
    expect(await west.json('/peers/east', 'DELETE')).toEqual({
      status: 200,
      json: { removed: true, peer: 'east' },
    })
    expect(west.peers()).toEqual([])
    expect((await west.json('/peers/east', 'DELETE')).status).toBe(404)
  })

  test('are removed by their address as well', async () => {
    const broker = await open()
    const address = 'tcp://127.0.0.1:9'
    await broker.json('/peers', 'POST', { address })
    expect((await broker.json(`/peers/${encodeURIComponent(address)}`, 'DELETE')).status).toBe(200)
  })

  test('beyond the limit are refused with what to do', async () => {
    const broker = await open({ peersMax: 1, peers: ['tcp://127.0.0.1:9'] })
    expect(await broker.json('/peers', 'POST', { address: 'tcp://127.0.0.1:10' })).toMatchObject({
      status: 409,
      json: { error: { code: 'TOO_MANY_PEERS', message: expect.stringContaining('raise it') } },
    })
  })

  test.each([
    [undefined, 'body must be object'],
    [{}, "must have required property 'address'"],
    [{ address: 5 }, 'address must be string'],
    [{ address: 'tcp://a:1', port: 1 }, 'must NOT have additional properties'],
    [{ address: 'east:5557' }, 'expected tcp://host:port'],
    [{ address: 'tcp://*:5557' }, 'expected a host name'],
    [{ address: `tcp://${'x'.repeat(600)}:1` }, '512'],
  ])('asked for as %j are refused with the reason', async (body, reason) => {
    const broker = await open()
    expect(await broker.json('/peers', 'POST', body)).toMatchObject({
      status: 400,
      json: { error: { message: expect.stringContaining(reason) } },
    })
    expect(broker.peers()).toEqual([])
  })
})

describe('drain', () => {
  test('turns readiness off, finishes what is under way, and comes to its end', async () => {
    const broker = await open()
    plainWorker(broker.endpoints.localbe, { workMs: 300 })
    await eventually(() => expect(broker.status().slots).toBe(1))
    const reply = client(broker).request('hello')
    await eventually(() => expect(broker.status().inFlight.local).toBe(1))
    expect(await broker.json('/drain', 'POST')).toEqual({ status: 202, json: { draining: true } })
    expect(await broker.json('/readyz')).toEqual({ status: 503, json: { ready: false, draining: true } })
    expect((await broker.json('/healthz')).status).toBe(200)
    expect((await reply).text()).toBe('hello')
    await broker.drained
  })

  test('takes a deadline, after which what is left is answered', async () => {
    const broker = await open()
    plainWorker(broker.endpoints.localbe, { mute: true })
    await eventually(() => expect(broker.status().slots).toBe(1))
    const made = new Client({ connect: broker.endpoints.localfe, retries: 1, deadlineMs: 20_000 })
    onTestFinished(() => made.close())
    const failed = expect(made.request('hello')).rejects.toMatchObject({ code: 'DRAINING' })
    await eventually(() => expect(broker.status().inFlight.local).toBe(1))
    expect((await broker.json('/drain', 'POST', { deadlineMs: 50 })).status).toBe(202)
    await broker.drained
    await failed
  })

  test.each([[{ deadlineMs: -1 }], [{ deadlineMs: '5' }], [{ deadline: 5 }]])(
    '%j is refused',
    async (body) => {
      const broker = await open()
      expect((await broker.json('/drain', 'POST', body)).status).toBe(400)
      expect(broker.ready).toBe(true)
    },
  )

  test('a page in a browser cannot ask for it', async () => {
    const broker = await open()
    for (const origin of [
      'http://evil.example',
      'null',
      `http://evil.example:${broker.httpAddress?.split(':')[1]}`,
    ]) {
      expect((await broker.ask('/drain', { method: 'POST', headers: { origin } })).status).toBe(403)
    }
    expect(broker.ready).toBe(true)
  })
})

test('what does not exist is answered with what does', async () => {
  const broker = await open()
  expect(await broker.json('/metric')).toMatchObject({
    status: 404,
    json: { error: { message: expect.stringContaining('GET /metrics') } },
  })
})

describe('the library', () => {
  test('without http has no address, and serves all the same', async () => {
    const broker = await open({ http: 'off' })
    expect(broker.httpAddress).toBeNull()
    plainWorker(broker.endpoints.localbe)
    expect((await client(broker).request('hello')).text()).toBe('hello')
  })

  test('refuses wrong options at once', () => {
    expect(() => new Broker({ name: 'a b' })).toThrow(ConfigurationError)
  })

  test('says which socket cannot be bound, and what to do', async () => {
    const west = await open()
    const { localfe } = west.endpoints
    await expect(open({ localfe })).rejects.toThrow(
      `localfe cannot be bound to ${localfe} (EADDRINUSE): another process listens there`,
    )
    await expect(open({ http: west.httpAddress ?? '' })).rejects.toThrow(
      /^http cannot be bound to .*EADDRINUSE/,
    )
  })

  test('stops once, however often it is told to, and frees its ports', async () => {
    const broker = await open()
    const { localfe } = broker.endpoints
    await Promise.all([broker.stop(), broker.stop(), broker[Symbol.asyncDispose]()])
    // The system lets go of a port a moment after the close.
    await eventually(() => open({ localfe }))
  })

  test('drains by itself when told to', async () => {
    const broker = await open()
    await broker.drain()
    expect(broker.ready).toBe(false)
    await expect(fetch(`http://${broker.httpAddress}/healthz`)).rejects.toThrow()
  })

  test.each([Number.NaN, -1, Number.POSITIVE_INFINITY])(
    'does not drain with a deadline of %s, and goes on',
    async (deadlineMs) => {
      const broker = await open()
      await expect(broker.drain(deadlineMs)).rejects.toThrow(
        `deadlineMs = ${deadlineMs}: expected a number of ms from 0 to `,
      )
      expect(broker.ready).toBe(true)
    },
  )

  test('tells of changes of state', async () => {
    const events: string[] = []
    const broker = await open({ onEvent: ({ type }) => events.push(type) })
    plainWorker(broker.endpoints.localbe)
    await eventually(() => expect(events).toContain('worker-ready'))
  })

  test('takes orders from whoever is told of a change of state', async () => {
    const unwanted = await listener()
    const other = await listener()
    const broker: TestBroker = await open({
      onEvent: (event) => {
        if (event.type === 'peer-joining' && event.address === unwanted.address)
          broker.removePeer(event.address)
      },
    })
    expect(broker.addPeer(unwanted.address)).toBe(true)
    expect(broker.addPeer(other.address)).toBe(true)
    await eventually(() => expect(other.connections.size).toBe(1))
    await eventually(() => expect(unwanted.connections.size).toBe(0))
    expect(broker.peers()).toMatchObject([{ address: other.address }])
  })
})

/** Takes connections, and says nothing. */
async function listener() {
  const connections = new Set<Socket>()
  const server = createServer((socket) => {
    connections.add(socket)
    socket.on('error', () => {}).on('close', () => connections.delete(socket))
    socket.resume()
  }).listen(0, '127.0.0.1')
  onTestFinished(() => {
    server.close()
    for (const socket of connections) socket.destroy()
  })
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return { address: `tcp://127.0.0.1:${address.port}`, connections }
}
