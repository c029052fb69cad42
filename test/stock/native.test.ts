import { describe, expect, onTestFinished, test } from 'vitest'
import { Client } from '../../client/main.ts'
import { Worker } from '../../worker/main.ts'
import { eventually, openBroker, openFederation, type TestBroker } from '../reactor-rig.ts'
import { LazyPirates, paranoidPirates, reqWorkers } from './program.ts'

function client(broker: TestBroker): Client {
  const client = new Client({ connect: broker.localfe, timeoutMs: 10_000 })
  onTestFinished(() => client.close())
  return client
}

function echoWorker(broker: TestBroker): Worker {
  const worker = new Worker({ connect: broker.localbe, slots: 2, handler: (task) => task.body })
  onTestFinished(() => worker.stop())
  return worker
}

/** Two clusters, of which only the second has workers. */
async function clusters(): Promise<{ west: TestBroker; east: TestBroker }> {
  const [west, east] = await openFederation(['west', 'east'])
  if (west === undefined || east === undefined) throw new Error('no broker')
  return { west, east }
}

const ALL_RIGHT = { right: 100, wrong: 0, resent: 0, abandoned: 0 }

for (const correlate of [false, true]) {
  describe(`a stock client ${correlate ? 'with' : 'without'} correlate has its tasks done`, () => {
    test('by a native worker in its own cluster', async () => {
      const west = await openBroker()
      echoWorker(west)
      const pirates = new LazyPirates(west.localfe, { clients: 4, requests: 25, correlate })
      expect(await pirates.totals()).toEqual(ALL_RIGHT)
      west.expectNoTaskLeft()
    })

    test('by a native worker in another cluster', async () => {
      const { west, east } = await clusters()
      const worker = echoWorker(east)
      const pirates = new LazyPirates(west.localfe, { clients: 4, requests: 25, correlate })
      expect(await pirates.totals()).toEqual(ALL_RIGHT)
      expect(worker.stats.succeeded).toBe(100)
      expect(west.core.counters.tasksCompletedByPeers).toBe(100)
      west.expectNoTaskLeft()
      east.expectNoTaskLeft()
    })

    test('by stock workers of both kinds in another cluster', async () => {
      const { west, east } = await clusters()
      paranoidPirates(east.localbe)
      reqWorkers(east.localbe)
      await eventually(() => expect(west.offered()).toBe(2))
      const pirates = new LazyPirates(west.localfe, { clients: 4, requests: 25, correlate })
      expect(await pirates.totals()).toEqual(ALL_RIGHT)
      west.expectNoTaskLeft()
      east.expectNoTaskLeft()
    })
  })
}

const stockWorkers = {
  'Paranoid Pirate workers': (at: string) => paranoidPirates(at, { workers: 2, prefix: 'done: ' }),
  'REQ workers': (at: string) => reqWorkers(at, { workers: 2, prefix: 'done: ' }),
}
for (const [name, start] of Object.entries(stockWorkers)) {
  describe(`a native client has its tasks done by ${name}`, () => {
    const bodies = Array.from({ length: 100 }, (_, i) => `task ${i}`)

    test('in its own cluster', async () => {
      const west = await openBroker()
      start(west.localbe)
      const west1 = client(west)
      const replies = await Promise.all(bodies.map((body) => west1.request(body)))
      expect(replies.map((reply) => reply.text())).toEqual(bodies.map((body) => `done: ${body}`))
      expect(new Set(replies.map(({ cluster }) => cluster))).toEqual(new Set(['west']))
      west.expectNoTaskLeft()
    })

    test('in another cluster, and learns which', async () => {
      const { west, east } = await clusters()
      start(east.localbe)
      // Both of them: one alone may be done before the other has come.
      await eventually(() => expect(west.offered()).toBe(2))
      const west1 = client(west)
      const replies = await Promise.all(bodies.map((body) => west1.request(body)))
      expect(replies.map((reply) => reply.text())).toEqual(bodies.map((body) => `done: ${body}`))
      expect(new Set(replies.map(({ cluster }) => cluster))).toEqual(new Set(['east']))
      expect(new Set(replies.map(({ worker }) => worker)).size).toBe(2)
      west.expectNoTaskLeft()
      east.expectNoTaskLeft()
    })
  })
}

test('a body of all octets passes unchanged from a native client to a stock worker and back', async () => {
  const { west, east } = await clusters()
  reqWorkers(east.localbe)
  paranoidPirates(east.localbe)
  await eventually(() => expect(west.offered()).toBe(2))
  const west1 = client(west)
  const bodies = [
    new Uint8Array(0),
    Uint8Array.from({ length: 256 }, (_, i) => i),
    new Uint8Array(1_000_000).fill(0xd7),
  ]
  for (const body of [...bodies, ...bodies]) {
    const reply = await west1.request(body)
    expect(Buffer.compare(reply.body, body)).toBe(0)
  }
})
