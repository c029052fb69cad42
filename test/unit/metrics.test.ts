import { readFileSync } from 'node:fs'
import { expect, onTestFinished, test } from 'vitest'
import { TIME_BUCKETS } from '../../broker/core/histogram.ts'
import { Metrics } from '../../broker/io/metrics.ts'
import { readInFlight } from '../../broker/io/status.ts'
import { Traffic } from '../../broker/io/traffic.ts'
import { Rig } from '../core/broker-rig.ts'
import { type Family, parseExposition } from '../exposition.ts'

class Scraped {
  readonly rig = new Rig()
  readonly traffic = new Traffic()
  readonly metrics = new Metrics({ core: this.rig.broker, traffic: this.traffic, now: () => this.rig.now })

  constructor() {
    onTestFinished(() => this.metrics.stop())
  }

  async families(): Promise<Map<string, Family>> {
    return parseExposition(await this.metrics.read())
  }

  /** The samples of one metric, without its name. */
  async samples(name: string): Promise<{ [labels: string]: number }> {
    const family = (await this.families()).get(name)
    if (family === undefined) throw new Error(`there is no metric ${name}`)
    return Object.fromEntries(
      [...family.samples].map(([series, value]) => [series.slice(name.length), value]),
    )
  }
}

/** A broker in which everything that has a label has happened. */
function busyBroker(): Scraped {
  const scraped = new Scraped()
  const { rig, traffic } = scraped
  const client = rig.client('c1')
  const worker = rig.worker('w1', { slots: 2, services: ['', 'resize'] }).ready()
  for (const id of ['a', 'b']) client.request({ id })
  worker.reply({ id: 'a' })
  client.request({ id: 'e' })
  const east = rig.peer('east').up(2)
  client.request({ id: 'c' })
  client.request({ id: 'd', service: 'nobody "here"\n' })
  east.reply({ id: 'c' })
  rig.guest('north').hello()
  rig.broker.counters.drop('out_of_place')
  traffic.countMalformed('localfe', 'truncated')
  traffic.received.localfe.messages = 3
  traffic.received.localfe.bytes = 300
  return scraped
}

test("peers' tasks that wait here are not under way", () => {
  const rig = new Rig({ guestWaitMs: 1000 })
  const worker = rig.worker('w1').ready()
  const client = rig.client('c1')
  client.request({ id: 'a' })
  worker.reply({ runUs: 1000 })
  client.request({ id: 'b' })
  const north = rig.guest('north').hello().request({ id: 'c' }).request({ id: 'd' })
  expect(rig.broker.scheduler.queued).toBe(2)
  expect(readInFlight(rig.broker)).toEqual({ local: 1, peer: 0, guest: 0 })
  worker.reply({ runUs: 1000 })
  expect(readInFlight(rig.broker)).toEqual({ local: 0, peer: 0, guest: 1 })
  expect(north.rejects).toEqual([])
})

test('every metric follows the conventions of Prometheus', async () => {
  const families = await busyBroker().families()
  const own = [...families.values()].filter(({ name }) => name.startsWith('spillway_'))
  expect(own.length).toBeGreaterThan(35)
  for (const { name, type, help } of own) {
    expect(name).toMatch(/^spillway_[a-z]+(_[a-z]+)*$/)
    expect(name.endsWith('_total'), name).toBe(type === 'counter')
    expect(name, 'base units').not.toMatch(/_(ms|milliseconds|us|kb|octets|percent)(_|$)/)
    expect(help, name).toMatch(/^[A-Z0-9].*\.$/)
  }
  for (const { name } of families.values()) expect(name).toMatch(/^(spillway|process|nodejs)_/)
})

test('every metric has its line in the documentation, and nothing else has', async () => {
  const families = await busyBroker().families()
  const text = readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8')
  const documented = [...text.matchAll(/^\| `(spillway_\w+)` \| (\w+) \|/gm)].map(
    ([, name, type]) => `${name} ${type}`,
  )
  const real = [...families.values()].filter(({ name }) => name.startsWith('spillway_'))
  expect(documented.sort()).toEqual(real.map(({ name, type }) => `${name} ${type}`).sort())
})

test('tasks are counted by who sent them, where they ran and how they ended', async () => {
  const scraped = busyBroker()
  expect(await scraped.samples('spillway_tasks_received_total')).toEqual({
    '{source="client"}': 5,
    '{source="stock"}': 0,
    '{source="peer"}': 0,
  })
  expect(await scraped.samples('spillway_tasks_completed_total')).toEqual({
    '{source="client",ran="local"}': 1,
    '{source="client",ran="peer"}': 1,
    '{source="peer",ran="local"}': 0,
  })
  expect(await scraped.samples('spillway_tasks_settled_total')).toEqual({ '{outcome="ok"}': 2 })
  expect(await scraped.samples('spillway_tasks_in_flight')).toEqual({
    '{source="client",ran="local"}': 2,
    '{source="client",ran="peer"}': 0,
    '{source="peer",ran="local"}': 0,
  })
  expect(await scraped.samples('spillway_slots')).toEqual({ '{state="free"}': 0, '{state="busy"}': 2 })
  expect(await scraped.samples('spillway_queue_depth')).toEqual({ '': 1 })
})

test('a second scrape shows the same counts, not their sum', async () => {
  const scraped = busyBroker()
  const first = await scraped.samples('spillway_tasks_received_total')
  expect(await scraped.samples('spillway_tasks_received_total')).toEqual(first)
})

test('a name from outside is escaped', async () => {
  const samples = await busyBroker().samples('spillway_service_queue_depth')
  expect(samples['{service="nobody \\"here\\"\\n"}']).toBe(1)
})

test('a histogram is cumulative, and its last bucket is its count', async () => {
  const scraped = new Scraped()
  const { queued } = scraped.rig.broker.timings
  const observedMs = [0.2, 0.5, 3, 3, 999, 1000, 500_000]
  for (const ms of observedMs) queued.local.observeMs(ms)
  queued.peer.observeMs(20)
  const samples = await scraped.samples('spillway_task_queue_seconds')
  const buckets = (ran: string) =>
    [...TIME_BUCKETS, '+Inf'].map((le) => samples[`_bucket{le="${le}",ran="${ran}"}`])
  const expected = [...TIME_BUCKETS, Number.POSITIVE_INFINITY].map(
    (bound) => observedMs.filter((ms) => ms / 1000 <= bound).length,
  )
  expect(buckets('local')).toEqual(expected)
  expect(samples['_count{ran="local"}']).toBe(7)
  expect(samples['_sum{ran="local"}']).toBeCloseTo(502.0057, 6)
  expect(buckets('peer').at(-1)).toBe(1)
  expect(samples['_count{ran="peer"}']).toBe(1)
})

test('prom-client itself reads a histogram as its own', async () => {
  const scraped = new Scraped()
  scraped.rig.broker.timings.run.local.observeMs(1)
  const metric = await scraped.metrics.registry.getSingleMetric('spillway_task_run_seconds')?.get()
  expect(metric?.values).toContainEqual(
    expect.objectContaining({
      metricName: 'spillway_task_run_seconds_count',
      labels: { ran: 'local' },
      value: 1,
    }),
  )
})

test('a peer has its series while it is known, and none when it is gone', async () => {
  const scraped = new Scraped()
  const { rig } = scraped
  const client = rig.client('c1')
  const east = rig.peer('east').up(2)
  client.request({ id: 'a' })
  rig.advance(100)
  expect(await scraped.samples('spillway_peer_up')).toEqual({ '{peer="east"}': 1 })
  expect(await scraped.samples('spillway_peer_state_age_seconds')).toEqual({ '{peer="east"}': 0.1 })
  expect(await scraped.samples('spillway_peer_tasks_lent_total')).toEqual({ '{peer="east"}': 1 })
  expect(await scraped.samples('spillway_peer_slots')).toEqual({
    '{peer="east",service="",state="free"}': 2,
    '{peer="east",service="",state="busy"}': 8,
  })
  expect(await scraped.samples('spillway_tasks_in_flight')).toMatchObject({
    '{source="client",ran="peer"}': 1,
  })
  rig.broker.removePeer(east.name, rig.now)
  for (const [name, { samples }] of await scraped.families())
    if (name.startsWith('spillway_peer_')) expect([...samples.keys()], name).toEqual([])
  expect(await scraped.samples('spillway_peers')).toMatchObject({ '{phase="up"}': 0 })
})

test('a peer that has not said hello goes by its address', async () => {
  const scraped = new Scraped()
  scraped.rig.broker.addPeer('tcp://east:5557', scraped.rig.now)
  expect(await scraped.samples('spillway_peer_up')).toEqual({ '{peer="tcp://east:5557"}': 0 })
})

test('the metrics of two brokers in one process do not meet', async () => {
  const [one, other] = [new Scraped(), new Scraped()]
  one.rig.client('c1').request({ id: 'a' })
  expect((await one.samples('spillway_tasks_received_total'))['{source="client"}']).toBe(1)
  expect((await other.samples('spillway_tasks_received_total'))['{source="client"}']).toBe(0)
})

test('messages that were not understood are counted by socket and reason', async () => {
  expect(await busyBroker().samples('spillway_malformed_total')).toEqual({
    '{socket="localfe",reason="truncated"}': 1,
  })
})
