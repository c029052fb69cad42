import { describe, expect, test } from 'vitest'
import { eventually, openBroker } from '../reactor-rig.ts'
import { LazyPirates, paranoidPirates, reqWorkers } from './program.ts'

const clients = [
  { name: 'a Lazy Pirate client', correlate: false },
  { name: 'a REQ client with correlate and relaxed', correlate: true },
]
const workers = [
  {
    name: 'REQ workers that say READY',
    start: (at: string) => reqWorkers(at, { workers: 2, ready: 'READY' }),
  },
  {
    name: 'REQ workers that say 0x01',
    start: (at: string) => reqWorkers(at, { workers: 2, ready: 'octet' }),
  },
  { name: 'Paranoid Pirate workers', start: (at: string) => paranoidPirates(at, { workers: 2 }) },
]

describe('one broker between programs that know nothing of it', () => {
  for (const client of clients) {
    for (const worker of workers) {
      test(`${client.name} has its tasks done by ${worker.name}`, async () => {
        const broker = await openBroker()
        worker.start(broker.localbe)
        const pirates = new LazyPirates(broker.localfe, { ...client, clients: 4, requests: 50 })
        expect(await pirates.totals()).toEqual({ right: 200, wrong: 0, resent: 0, abandoned: 0 })
        expect(broker.core.counters.tasksReceived.stock).toBe(200)
        expect(broker.core.counters.tasksCompletedLocal).toBe(200)
        await eventually(() => expect(broker.free()).toBe(2))
        broker.expectNoTaskLeft()
      })
    }
  }
})
