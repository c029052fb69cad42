/**
 * How many messages a task costs a broker, which decides how fast it is: a guard on speed that no slow machine can trip.
 * Brokers, client and workers share one process here, so that a turn of the loop takes in far less than it does under load.
 */

import { expect, onTestFinished, test } from 'vitest'
import { Client } from '../../client/main.ts'
import { plainWorker } from '../plain-worker.ts'
import { eventually, openBroker, openFederation, type TestBroker } from '../reactor-rig.ts'

/** Heartbeats and states go on meanwhile, however long it takes: they must not be what is counted. */
const HEARTBEAT_MS = 60_000
const QUIET = {
  workerHeartbeatIntervalMs: HEARTBEAT_MS,
  stockTaskTimeMs: 4 * HEARTBEAT_MS,
  stateIntervalMs: HEARTBEAT_MS,
  stateTtlMs: 3 * HEARTBEAT_MS,
  peerForgetMs: 4 * HEARTBEAT_MS,
}

function clientOf(broker: TestBroker): Client {
  const client = new Client({ connect: broker.localfe, timeoutMs: 30_000, heartbeatIntervalMs: HEARTBEAT_MS })
  onTestFinished(() => client.close())
  return client
}

/** Keeps so many tasks outstanding until `count` are answered. */
async function have(client: Client, count: number, outstanding: number): Promise<void> {
  let next = 0
  const oneByOne = async (): Promise<void> => {
    while (next++ < count) await client.request(Buffer.alloc(64, 'x'))
  }
  await Promise.all(Array.from({ length: outstanding }, oneByOne))
}

/** Messages with tasks and answers that brokers have received and sent so far. */
function messagesOf(...brokers: readonly TestBroker[]): number {
  let sum = 0
  for (const { reactor } of brokers) {
    for (const socket of ['localfe', 'localbe', 'cloudfe', 'cloudbe'] as const) {
      sum += reactor.traffic.received[socket].messages + reactor.traffic.sent[socket].messages
    }
  }
  return sum
}

async function brokerWithHosts(): Promise<TestBroker> {
  const broker = await openBroker(QUIET)
  for (let host = 0; host < 4; host++) {
    plainWorker(broker.localbe, { slots: 64, heartbeatIntervalMs: HEARTBEAT_MS })
  }
  await eventually(() => expect(broker.free()).toBe(256))
  return broker
}

test('a thousand tasks outstanding share their messages', async () => {
  const broker = await brokerWithHosts()
  const client = clientOf(broker)
  const before = messagesOf(broker)
  await have(client, 10_000, 1000)
  // One task a message would be 4.
  expect((messagesOf(broker) - before) / 10_000).toBeLessThan(0.2)
})

test('a task by itself costs four messages: nothing waits to be packed, nothing is acknowledged', async () => {
  const broker = await brokerWithHosts()
  const client = clientOf(broker)
  await have(client, 1, 1)
  const before = messagesOf(broker)
  await have(client, 200, 1)
  expect((messagesOf(broker) - before) / 200).toBe(4)
})

test('tasks that are lent share their messages, too', async () => {
  const [west, east] = await openFederation(['west', 'east'], { ...QUIET, stateCoalesceMs: 1 })
  if (west === undefined || east === undefined) throw new Error('no brokers')
  for (let host = 0; host < 4; host++) {
    plainWorker(east.localbe, { slots: 64, heartbeatIntervalMs: HEARTBEAT_MS })
  }
  await eventually(() => expect(west.offered()).toBe(256))
  const client = clientOf(west)
  const before = messagesOf(west, east)
  await have(client, 10_000, 1000)
  expect(west.core.counters.tasksCompletedByPeers).toBe(10_000)
  // One task a message would be 8, at both brokers together.
  expect((messagesOf(west, east) - before) / 10_000).toBeLessThan(0.4)
})
