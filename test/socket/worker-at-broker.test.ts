import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { Client } from '../../client/main.ts'
import { type Handler, Worker, type WorkerOptions } from '../../worker/main.ts'
import { eventually, openBroker, type TestBroker } from '../reactor-rig.ts'

function client(broker: TestBroker): Client {
  const made = new Client({ connect: broker.localfe, timeoutMs: 1000, retries: 30 })
  onTestFinished(() => made.close())
  return made
}

async function worker(
  connect: string,
  handler: Handler,
  options: Partial<WorkerOptions> = {},
): Promise<Worker> {
  const made = new Worker({
    connect,
    handler,
    heartbeatIntervalMs: 200,
    reconnectMinMs: 50,
    reconnectMaxMs: 200,
    ...options,
  })
  onTestFinished(() => made.stop().catch(() => {}))
  await made.ready()
  return made
}

/** A port in front of another, whose connections can be cut. */
async function cuttable(endpoint: string): Promise<{ endpoint: string; cut(): void }> {
  const target = Number(/:(\d+)$/.exec(endpoint)?.[1])
  const sockets = new Set<Socket>()
  const server = createServer((near) => {
    const far = connect(target, '127.0.0.1')
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        near.destroy()
        far.destroy()
      })
    }
    near.pipe(far).pipe(near)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  onTestFinished(() => {
    cut()
    server.close()
  })
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  return { endpoint: `tcp://127.0.0.1:${port}`, cut }
}

test('ten thousand tasks get their own answers in few messages, and nothing is left', async () => {
  // All of it shares one thread: on a slow machine it is busy for longer than a worker may usually be silent.
  const broker = await openBroker({ workerHeartbeatIntervalMs: 5000 })
  const w = await worker(broker.localbe, (task) => task.text().toUpperCase(), {
    slots: 100,
    heartbeatIntervalMs: 5000,
  })
  const c = client(broker)
  const replies = await Promise.all(Array.from({ length: 10_000 }, (_, i) => c.request(`task ${i}`)))
  replies.forEach((reply, i) => {
    expect(reply.text()).toBe(`TASK ${i}`)
  })
  expect(w.stats).toMatchObject({ started: 10_000, rejected: 0, dropped: {}, malformed: {} })
  expect(w.stats.messagesSent).toBeLessThan(5000)
  await eventually(() => expect(broker.free()).toBe(100))
  broker.expectNoTaskLeft()
})

test('what a leaving worker hands back is done by another', async () => {
  const broker = await openBroker()
  const leaving = await worker(broker.localbe, () => new Promise(() => {}), { name: 'leaving' })
  const c = client(broker)
  const reply = c.request('x', { deadlineMs: 20_000 })
  await eventually(() => expect(leaving.stats.running).toBe(1))
  await worker(broker.localbe, (task) => `${task.text()} at last`, { name: 'staying' })
  await leaving.drain(10)
  expect((await reply).text()).toBe('x at last')
  expect(await reply).toMatchObject({ worker: 'staying', attempts: 2 })
  expect(broker.eventsOf('worker-left').length).toBe(1)
  expect(broker.eventsOf('worker-lost')).toEqual([])
})

test('a stream arrives in order at the reader’s pace, and leaving it stops the handler', async () => {
  const broker = await openBroker()
  let made = 0
  let left = false
  const w = await worker(broker.localbe, async function* () {
    try {
      for (;;) yield `piece ${made++}`
    } finally {
      left = true
    }
  })
  let read = 0
  for await (const piece of client(broker).stream('x', { window: 4, deadlineMs: 20_000 })) {
    expect(piece.text()).toBe(`piece ${read++}`)
    if (read === 100) break
  }
  await eventually(() => expect(left).toBe(true))
  expect(made).toBeLessThan(100 + 2 * 4)
  await eventually(() => expect([broker.free(), w.stats.running]).toEqual([1, 0]))
  broker.expectNoTaskLeft()
})

test('a worker finds its broker again after a restart, and its clients’ tasks are done', async () => {
  const first = await openBroker()
  const { localfe, localbe } = first.reactor.endpoints
  const w = await worker(localbe, (task) => task.text(), { slots: 4 })
  const c = client(first)
  expect((await c.request('before')).text()).toBe('before')
  await first.reactor.close()
  // The system lets go of a port a moment after the close.
  const second = await eventually(() => openBroker({ localfe, localbe }))
  expect((await c.request('after')).text()).toBe('after')
  expect(w.stats.brokerChanges).toBe(1)
  await eventually(() => expect(second.free()).toBe(4))
})

test('when connections break again and again each task is answered once, and no slot is lost', async () => {
  const broker = await openBroker()
  const line = await cuttable(broker.localbe)
  const w = await worker(
    line.endpoint,
    async (task) => {
      await new Promise((resolve) => setTimeout(resolve, 5))
      return task.text().toUpperCase()
    },
    { slots: 8 },
  )
  const c = client(broker)
  let answered = 0
  const one = async (i: number) => {
    const reply = await c.request(`task ${i}`, { deadlineMs: 25_000 })
    expect(reply.text()).toBe(`TASK ${i}`)
    answered++
    if (answered % 100 === 0) line.cut()
  }
  let next = 0
  const many = async () => {
    while (next < 1000) await one(next++)
  }
  await Promise.all(Array.from({ length: 16 }, many))
  expect(answered).toBe(1000)
  await eventually(() => expect([broker.slots(), broker.free(), w.stats.running]).toEqual([8, 8, 0]))
  broker.expectNoTaskLeft()
})
