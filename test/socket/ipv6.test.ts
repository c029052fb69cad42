import { expect, onTestFinished, test } from 'vitest'
import { Client } from '../../client/main.ts'
import { Worker } from '../../worker/main.ts'
import { eventually, openBroker, openFederation } from '../reactor-rig.ts'

const ANY_PORT = 'tcp://[::1]:*'
const OVER_IPV6 = { localfe: ANY_PORT, localbe: ANY_PORT, cloudfe: ANY_PORT, statebe: ANY_PORT }

test('clusters, a worker and a client meet at IPv6 addresses', async () => {
  const [hot, idle] = await openFederation(['hot', 'idle'], OVER_IPV6)
  if (hot === undefined || idle === undefined) throw new Error('two brokers were asked for')
  expect(hot.localfe).toMatch(/^tcp:\/\/\[::1\]:\d+$/)
  const worker = new Worker({ connect: idle.localbe, handler: (body) => body })
  onTestFinished(() => worker.stop())
  await worker.ready()
  await eventually(() => expect(hot.offered()).toBe(1))
  const client = new Client({ connect: hot.localfe })
  onTestFinished(() => client.close())
  const reply = await client.request('across')
  expect(reply.cluster).toBe('idle')
})

test('a broker has peers at addresses of both kinds, and nobody is warned', async () => {
  const warnings: Error[] = []
  const listen = (warning: Error) => warnings.push(warning)
  process.on('warning', listen)
  onTestFinished(() => {
    process.off('warning', listen)
  })
  const old = await openBroker({ name: 'old' })
  const modern = await openBroker({ ...OVER_IPV6, name: 'modern' })
  const west = await openBroker({ name: 'west', peers: [old.cloudfe, modern.cloudfe] })
  await eventually(() => {
    const up = [...west.core.peers.byName.values()].filter(({ phase }) => phase === 'up')
    expect(up.length).toBe(2)
  })
  // A warning is emitted a tick after its cause.
  await new Promise(setImmediate)
  expect(warnings).toEqual([])
})
