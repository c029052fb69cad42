import { expect, onTestFinished, test } from 'vitest'
import { Dealer } from 'zeromq'
import { Broker, type BrokerOptions } from '../../../broker/main.ts'
import { Client, SpillwayError } from '../../../client/main.ts'
import { MessageEncoder } from '../../../protocol/encode.ts'
import { Kind } from '../../../protocol/record.ts'
import { Worker } from '../../../worker/main.ts'
import { dashboardQueries, type Query, ruleQueries } from './queries.ts'
import { PrometheusServer } from './server.ts'

async function startBroker(name: string, peers: string[]): Promise<Broker> {
  const any = 'tcp://127.0.0.1:*'
  const options: BrokerOptions = {
    ...{ name, peers, localfe: any, localbe: any, cloudfe: any, statebe: any },
    http: '127.0.0.1:0',
    logLevel: 'silent',
  }
  const broker = new Broker(options)
  onTestFinished(() => broker.stop())
  await broker.start()
  return broker
}

/** Holds what workers run until somebody has looked: at every scrape some slots are busy, without a clock. */
class Gate {
  #open = false
  #waiting: (() => void)[] = []

  passed(): Promise<void> {
    if (this.#open) return Promise.resolve()
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  letThrough(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  open(): void {
    this.#open = true
    this.letThrough()
  }
}

function startWorker(broker: Broker, gate: Gate): void {
  const worker = new Worker({
    connect: broker.endpoints.localbe,
    slots: 2,
    handler: async ({ body }) => {
      await gate.passed()
      if (Buffer.from(body).toString() === 'fail') throw new Error('as it was asked to')
      return body
    },
  })
  onTestFinished(() => worker.drain())
}

/** More than one cluster has slots for, now and then a task that fails. */
function startLoad(broker: Broker, gate: Gate): void {
  const client = new Client({ connect: broker.endpoints.localfe })
  let ends = false
  const lines = Array.from({ length: 8 }, async (_, line) => {
    while (!ends) {
      try {
        await client.request(line === 0 ? 'fail' : 'work')
      } catch (error) {
        if (!(error instanceof SpillwayError)) throw error
      }
    }
  })
  onTestFinished(async () => {
    ends = true
    gate.open()
    await Promise.all(lines)
    await client.close()
  })
}

/** What nobody should send: a message that means nothing, and a record that is well-formed but no client's. */
async function sendNonsense(broker: Broker): Promise<void> {
  const socket = new Dealer({ linger: 1000 })
  socket.connect(broker.endpoints.localfe)
  await socket.send(['one', 'two', 'three', 'four'])
  const encoder = new MessageEncoder()
  encoder.begin(1, 0)
  encoder.add({ kind: Kind.Ready, slots: 1, services: [''] })
  await socket.send(encoder.finish())
  onTestFinished(() => socket.close())
}

test('every query of the dashboard and of the rules returns data from brokers at work', async () => {
  const west = await startBroker('west', [])
  const east = await startBroker('east', [west.endpoints.cloudfe])
  const gate = new Gate()
  startWorker(west, gate)
  startWorker(east, gate)
  startLoad(west, gate)
  await sendNonsense(west)
  const prometheus = await PrometheusServer.start({
    west: west.httpAddress ?? '',
    east: east.httpAddress ?? '',
  })
  const silent = new Set<Query>([...dashboardQueries(), ...ruleQueries()])
  expect(silent.size).toBeGreaterThan(50)
  await expect
    .poll(
      async () => {
        gate.letThrough()
        for (const query of silent) {
          const series = await prometheus.query(query.expression)
          if (series !== undefined && series.length > 0) silent.delete(query)
        }
        return [...silent]
      },
      // A look between two scrapes shows nothing new.
      { timeout: 30_000, interval: 250 },
    )
    .toEqual([])
}, 60_000)
