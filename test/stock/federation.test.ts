import { expect, test } from 'vitest'
import { BrokerProcess, freeAddresses } from '../process/broker-process.ts'
import { eventually } from '../reactor-rig.ts'
import { LazyPirates, paranoidPirates, reqWorkers } from './program.ts'

/** On a machine that is short of time a state may be late, and a late one counts as no capacity. */
const CALM = { stateTtlMs: 3000 }

/** Two brokers as processes, with stock workers: a kind of its own at each if the restart of the other leaves it be. */
async function federation(): Promise<{ west: BrokerProcess; east: BrokerProcess }> {
  const westAt = await freeAddresses()
  const eastAt = await freeAddresses()
  const west = new BrokerProcess({ ...CALM, name: 'west', ...westAt, peers: [eastAt.cloudfe] })
  const east = new BrokerProcess({ ...CALM, name: 'east', ...eastAt, peers: [westAt.cloudfe] })
  await Promise.all([west.start(), east.start()])
  await eventually(async () => {
    expect((await west.report()).peersUp).toBe(1)
    expect((await east.report()).peersUp).toBe(1)
  })
  return { west, east }
}

async function slots(broker: BrokerProcess, count: number): Promise<void> {
  await eventually(async () => expect((await broker.report()).slots).toBe(count))
}

/** 10,000 tasks: most at west, so that its few workers cannot do them alone. */
function everybody(west: BrokerProcess, east: BrokerProcess, timeoutMs = 1000): LazyPirates[] {
  const patience = { timeoutMs, retries: 20 }
  return [
    new LazyPirates(west.endpoints.localfe, { ...patience, name: 'a', clients: 8, requests: 500 }),
    new LazyPirates(west.endpoints.localfe, {
      ...patience,
      name: 'b',
      clients: 8,
      requests: 500,
      correlate: true,
    }),
    new LazyPirates(east.endpoints.localfe, { ...patience, name: 'c', clients: 4, requests: 500 }),
  ]
}

async function expectAllRight(pirates: LazyPirates[]): Promise<void> {
  const totals = await Promise.all(pirates.map((pirate) => pirate.totals()))
  expect(totals.map(({ right }) => right)).toEqual([4000, 4000, 2000])
  for (const { wrong, abandoned } of totals) expect({ wrong, abandoned }).toEqual({ wrong: 0, abandoned: 0 })
}

test('stock clients get 10,000 right answers from stock workers in two clusters', {
  timeout: 60_000,
}, async () => {
  const { west, east } = await federation()
  paranoidPirates(west.endpoints.localbe, { workers: 4 })
  reqWorkers(east.endpoints.localbe, { workers: 4, ready: 'READY' })
  reqWorkers(east.endpoints.localbe, { workers: 4, ready: 'octet' })
  await slots(west, 4)
  await slots(east, 8)
  // Who asked again would be counted twice.
  await expectAllRight(everybody(west, east, 20_000))
  for (const broker of [west, east]) {
    const { settled, tables, lent } = await broker.report()
    expect(settled).toEqual({ ok: broker === west ? 8000 : 2000 })
    expect(Object.values(tables).reduce((a, b) => a + b)).toBe(tables.guests)
    if (broker === west) expect(lent).toBeGreaterThan(0)
  }
})

test('10,000 right answers come in when the broker of most clients is killed and started again', {
  timeout: 60_000,
}, async () => {
  const { west, east } = await federation()
  // A plain REQ worker never learns that its broker was replaced: those stand at the other one.
  paranoidPirates(west.endpoints.localbe, { workers: 4 })
  reqWorkers(east.endpoints.localbe, { workers: 4 })
  await slots(west, 4)
  await slots(east, 4)
  const pirates = everybody(west, east)
  await eventually(() => expect(pirates[0]?.progress).toBeGreaterThanOrEqual(1000))
  await west.kill()
  await west.start()
  await expectAllRight(pirates)
  await slots(west, 4)
})

test('10,000 right answers come in when the broker that helps out is killed and started again', {
  timeout: 60_000,
}, async () => {
  const { west, east } = await federation()
  reqWorkers(west.endpoints.localbe, { workers: 2 })
  paranoidPirates(east.endpoints.localbe, { workers: 6 })
  await slots(west, 2)
  await slots(east, 6)
  const pirates = everybody(west, east)
  await eventually(() => expect(pirates[0]?.progress).toBeGreaterThanOrEqual(1000))
  await eventually(async () => expect((await west.report()).lent).toBeGreaterThan(0))
  await east.kill()
  await east.start()
  await expectAllRight(pirates)
  await slots(east, 6)
})
