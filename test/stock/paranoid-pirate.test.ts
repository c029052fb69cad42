import { expect, onTestFinished, test } from 'vitest'
import { Dealer } from 'zeromq'
import { eventually, openBroker } from '../reactor-rig.ts'
import { LazyPirates, paranoidPirates } from './program.ts'

test('a Paranoid Pirate worker that is killed while idle is missed at once and no task is lost on it', async () => {
  const broker = await openBroker()
  const doomed = paranoidPirates(broker.localbe)
  await eventually(() => expect(broker.free()).toBe(1))
  doomed.kill()
  await eventually(() => expect(broker.eventsOf('worker-lost').length).toBe(1))
  expect(broker.eventsOf('worker-lost')[0]).toMatchObject({ tasksTakenBack: 0 })
  expect(broker.slots()).toBe(0)
  paranoidPirates(broker.localbe)
  const pirates = new LazyPirates(broker.localfe, { requests: 50, timeoutMs: 10_000 })
  expect(await pirates.totals()).toEqual({ right: 50, wrong: 0, resent: 0, abandoned: 0 })
})

test('a task whose Paranoid Pirate worker is killed runs again elsewhere before its client asks again', async () => {
  const broker = await openBroker()
  const doomed = paranoidPirates(broker.localbe, { workS: 3600, talk: true })
  const pirates = new LazyPirates(broker.localfe, { requests: 1, timeoutMs: 10_000 })
  expect(await doomed.says('taken')).toEqual(['lazy-0:0'])
  const healthy = paranoidPirates(broker.localbe, { talk: true })
  await eventually(() => expect(broker.slots()).toBe(2))
  doomed.kill()
  expect(await healthy.says('done')).toEqual(['lazy-0:0'])
  expect(await pirates.totals()).toEqual({ right: 1, wrong: 0, resent: 0, abandoned: 0 })
  expect(broker.eventsOf('worker-lost')[0]).toMatchObject({ tasksTakenBack: 1 })
  expect(broker.core.counters.redispatched.workerLost).toBe(1)
  broker.expectNoTaskLeft()
})

test('a Paranoid Pirate worker is left in peace while it works for longer than the silence that would kill it', async () => {
  const broker = await openBroker({ workerHeartbeatIntervalMs: 200, workerLiveness: 5 })
  const worker = paranoidPirates(broker.localbe, { intervalS: 0.2, workS: 1.5, talk: true })
  const pirates = new LazyPirates(broker.localfe, { clients: 3, requests: 1, timeoutMs: 10_000 })
  expect(await pirates.totals()).toEqual({ right: 3, wrong: 0, resent: 0, abandoned: 0 })
  expect(broker.eventsOf('worker-lost')).toEqual([])
  // One after the other: never a second task before the first is done.
  await worker.says('done', 3)
  const steps = worker.lines.filter((line) => 'taken' in line || 'done' in line)
  expect(steps.map((line) => ('taken' in line ? 'taken' : 'done'))).toEqual([
    'taken',
    'done',
    'taken',
    'done',
    'taken',
    'done',
  ])
})

test('a heartbeat from a busy Paranoid Pirate worker does not make it free', async () => {
  const broker = await openBroker()
  const worker = new Dealer({ linger: 0, receiveTimeout: 10_000 })
  onTestFinished(() => worker.close())
  worker.connect(broker.localbe)
  const pirates = new LazyPirates(broker.localfe, { clients: 2, requests: 1, timeoutMs: 20_000 })
  // It says nothing while it is idle: it must not be so for long.
  await eventually(() => expect(broker.core.scheduler.queued).toBe(2))
  await worker.send(Buffer.of(1))
  const request = async (): Promise<Buffer[]> => {
    for (;;) {
      const frames = await worker.receive()
      if (frames.length > 1) return frames
    }
  }
  const first = await request()
  const { received } = broker.reactor.traffic
  await eventually(() => expect(broker.core.scheduler.queued).toBe(1))
  const before = received.localbe.messages
  for (let beat = 0; beat < 10; beat++) await worker.send(Buffer.of(2))
  await eventually(() => expect(received.localbe.messages).toBe(before + 10))
  expect(broker.core.scheduler.queued).toBe(1)
  expect(broker.free()).toBe(0)
  await worker.send(first)
  const second = await request()
  expect(String(second[2])).not.toBe(String(first[2]))
  await worker.send(second)
  expect(await pirates.totals()).toEqual({ right: 2, wrong: 0, resent: 0, abandoned: 0 })
})

test('a broker that has restarted has its Paranoid Pirate workers back by their heartbeats', async () => {
  const first = await openBroker()
  const { localfe, localbe } = first
  // They do not give it up: its silence begins with its last word before, and lasts until libzmq has connected again.
  const workers = paranoidPirates(localbe, { workers: 4, intervalS: 0.2, liveness: 50 })
  await eventually(() => expect(first.free()).toBe(4))
  const pirates = new LazyPirates(localfe, { clients: 4, requests: 250, timeoutMs: 500, retries: 20 })
  await pirates.says('progress')
  await first.reactor.close()
  const second = await eventually(() => openBroker({ localfe, localbe }))
  await eventually(() => expect(second.slots()).toBe(4))
  expect(await pirates.totals()).toMatchObject({ right: 1000, wrong: 0, abandoned: 0 })
  // Nobody had to sign in anew.
  expect(workers.said('ready').length).toBe(4)
})
