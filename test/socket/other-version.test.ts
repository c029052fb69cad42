import { expect, onTestFinished, test } from 'vitest'
import { Dealer } from 'zeromq'
import { decodeRefusal } from '../../protocol/decode.ts'
import { MessageEncoder } from '../../protocol/encode.ts'
import { Kind, VERSION_MAJOR } from '../../protocol/record.ts'
import { eventually, openBroker } from '../reactor-rig.ts'

/** A heartbeat as another major version would send it: past the header nothing of it may be read. */
function foreign(): Buffer[] {
  const encoder = new MessageEncoder()
  encoder.begin(7, 0)
  encoder.add({ kind: Kind.Heartbeat, ask: true, sent: 0 })
  const frames = encoder.finish().map((frame) => Buffer.from(frame))
  frames[0]?.writeUInt8(VERSION_MAJOR + 1, 3)
  return frames
}

function stranger(localfe: string): Dealer {
  const socket = new Dealer({ linger: 0 })
  onTestFinished(() => socket.close())
  socket.connect(localfe)
  return socket
}

async function isRefused(socket: Dealer): Promise<void> {
  const [frame] = await socket.receive()
  expect(decodeRefusal(frame)).toMatchObject({ reason: 'version' })
}

test('who floods a broker in another version takes nobody else the answer', async () => {
  const broker = await openBroker()
  const flood = stranger(broker.localfe)
  for (let i = 0; i < 3000; i++) await flood.send(foreign())
  await eventually(() => expect(broker.malformedAt('localfe')).toBe(3000))
  await isRefused(flood)
  const newcomer = stranger(broker.localfe)
  await newcomer.send(foreign())
  await isRefused(newcomer)
  // Once a second at most: an answer to each would be a second flood.
  expect(broker.reactor.traffic.sent.localfe.messages).toBeLessThan(100)
})
