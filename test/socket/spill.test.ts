import { describe, expect, onTestFinished, test } from 'vitest'
import { Client } from '../../client/main.ts'
import { plainWorker } from '../plain-worker.ts'
import { eventually, openFederation, type TestBroker } from '../reactor-rig.ts'

function client(broker: TestBroker): Client {
  const client = new Client({ connect: broker.localfe, timeoutMs: 30_000 })
  onTestFinished(() => client.close())
  return client
}

/**
 * Keeps so many tasks outstanding until `count` are answered, each with its own body.
 * @returns tasks per second
 */
async function throughput(client: Client, count: number, outstanding: number): Promise<number> {
  let next = 0
  const start = performance.now()
  const askOneByOne = async (): Promise<void> => {
    while (next < count) {
      const body = `task ${next++}`
      const reply = await client.request(body)
      expect(reply.text()).toBe(body)
    }
  }
  await Promise.all(Array.from({ length: outstanding }, askOneByOne))
  return (count / (performance.now() - start)) * 1000
}

function lentTo(broker: TestBroker): { [peer: string]: number } {
  return Object.fromEntries([...broker.core.peers.byName.values()].map(({ name, lent }) => [name, lent]))
}

/** All of it shares one thread: on a slow machine a state or a heartbeat may be late, and who is late has no slot free. */
const CALM = { stateTtlMs: 3000, workerHeartbeatIntervalMs: 1000 }

/** Brokers that know each other, each with one worker of so many slots. */
async function clusters(names: readonly string[], slots: number, workMs: number): Promise<TestBroker[]> {
  const brokers = await openFederation(names, CALM)
  for (const { localbe } of brokers) plainWorker(localbe, { slots, workMs })
  await eventually(() => {
    for (const broker of brokers) {
      expect(broker.free()).toBe(slots)
      expect(broker.offered()).toBe(slots * (names.length - 1))
    }
  })
  return brokers
}

describe('local first', () => {
  test('of 10,000 tasks none leaves the cluster while it has a slot for each', async () => {
    const [west] = await clusters(['west', 'east', 'north'], 20, 1)
    if (west === undefined) throw new Error('no broker')
    // As many outstanding as there are slots: busy to the last one, but never beyond.
    await throughput(client(west), 10_000, 20)
    expect(lentTo(west)).toEqual({ east: 0, north: 0 })
    expect(west.core.counters.tasksCompletedLocal).toBe(10_000)
  })

  test('the first task too many leaves, and once the burst is over none does', async () => {
    const [west] = await clusters(['west', 'east'], 4, 20)
    if (west === undefined) throw new Error('no broker')
    const west5 = client(west)
    await throughput(west5, 5, 5)
    expect(lentTo(west)).toEqual({ east: 1 })
    await throughput(west5, 100, 4)
    expect(lentTo(west)).toEqual({ east: 1 })
  })
})

/**
 * All the load at the first of several clusters, and the same load, at the same time and so under the same conditions, at
 * one cluster with the slots of all of them. @returns throughput of the former as a share of the latter's
 */
async function shareOfOnePool(names: readonly string[], slots: number, workMs: number): Promise<number> {
  const all = slots * names.length
  const [pool] = await clusters(['pool'], all, workMs)
  const [hot] = await clusters(names, slots, workMs)
  if (pool === undefined || hot === undefined) throw new Error('no broker')
  const count = Math.round((all * 1500) / workMs)
  const [one, several] = await Promise.all([
    throughput(client(pool), count, all * 3),
    throughput(client(hot), count, all * 3),
  ])
  for (const lent of Object.values(lentTo(hot))) expect(lent).toBeGreaterThan((0.8 * count) / names.length)
  return several / one
}

describe('a saturated cluster', () => {
  test('has the throughput of both with an idle one beside it', async () => {
    expect(await shareOfOnePool(['west', 'east'], 10, 50)).toBeGreaterThanOrEqual(0.95)
  })

  test('has nearly as much when a task takes no longer than states are held back', async () => {
    // States that only came every 10 ms would leave a borrowed slot idle for as long as it works: 0.78.
    expect(await shareOfOnePool(['west', 'east'], 10, 10)).toBeGreaterThanOrEqual(0.9)
  })

  test('has the throughput of all three with two idle ones beside it', async () => {
    expect(await shareOfOnePool(['west', 'east', 'north'], 10, 50)).toBeGreaterThanOrEqual(0.95)
  })
})
