import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { eventually, openBroker } from '../reactor-rig.ts'

/** An empty routing id and a one-octet message, as ZMTP 1.0 frames them. Nothing that ZMTP 3 begins with. */
const ZMTP_1 = Buffer.of(1, 0, 2, 0, 65)
/** The greeting of ZMTP 2.0 from a DEALER, its empty routing id, and a one-octet message. */
const ZMTP_2 = Buffer.concat([Buffer.from('ff00000000000000017f0105', 'hex'), Buffer.of(0, 0, 0, 1, 65)])

for (const [version, octets] of [
  ['1.0', ZMTP_1],
  ['2.0', ZMTP_2],
] as const) {
  test(`who speaks ZMTP ${version} is cut off at every socket`, async () => {
    const broker = await openBroker()
    for (const socket of ['localfe', 'localbe', 'cloudfe', 'statebe'] as const) {
      const port = Number(/\d+$/.exec(broker.reactor.endpoints[socket])?.[0])
      const stream = connect(port, '127.0.0.1')
      const closed = new Promise((resolve) => stream.on('error', () => {}).on('close', resolve))
      stream.resume().write(octets)
      await closed
      expect(broker.reactor.traffic.received[socket].messages).toBe(0)
    }
  })
}

test('a broker survives peers that answer in another protocol and are taken out while they do', async () => {
  const streams = new Set<Socket>()
  const server = createServer((stream) => {
    streams.add(stream)
    stream.on('error', () => {}).on('close', () => streams.delete(stream))
    stream.write(Buffer.concat(Array.from({ length: 200 }, () => ZMTP_1)))
  })
  onTestFinished(() => {
    for (const stream of streams) stream.destroy()
    server.close()
  })
  let accepted = 0
  server.on('connection', () => accepted++)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const { port } = address
  const broker = await openBroker()
  for (let i = 0; i < 1000; i++) {
    broker.reactor.command((core, now) => core.addPeer(`tcp://127.0.0.1:${port}`, now))
    for (let turns = i % 7; turns > 0; turns--) await new Promise(setImmediate)
    broker.reactor.command((core, now) => core.removePeer(`tcp://127.0.0.1:${port}`, now))
  }
  await eventually(() => expect(accepted).toBeGreaterThan(0))
  expect(broker.reactor.traffic.received.cloudbe.messages).toBe(0)
  expect(broker.core.peers.byAddress.size).toBe(0)
})
