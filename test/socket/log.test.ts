import { pino } from 'pino'
import { expect, onTestFinished, test } from 'vitest'
import { Dealer } from 'zeromq'
import { z } from 'zod'
import { Broker } from '../../broker/main.ts'
import { MessageEncoder } from '../../protocol/encode.ts'
import { Kind, VERSION_MAJOR } from '../../protocol/record.ts'
import { eventually } from '../reactor-rig.ts'

const line = z.looseObject({ event: z.string(), total: z.number().optional() })

/** @returns a broker that runs, and its log */
async function startBroker(peers: string[]): Promise<{ broker: Broker; lines: z.output<typeof line>[] }> {
  const lines: z.output<typeof line>[] = []
  const any = 'tcp://127.0.0.1:*'
  const broker = new Broker({
    ...{ name: 'west', peers, localfe: any, localbe: any, cloudfe: any, statebe: any },
    logger: pino({ base: null }, { write: (text: string) => lines.push(line.parse(JSON.parse(text))) }),
  })
  onTestFinished(() => broker.stop())
  await broker.start()
  return { broker, lines }
}

function stranger(localfe: string): Dealer {
  const socket = new Dealer({ linger: 0 })
  onTestFinished(() => socket.close())
  socket.connect(localfe)
  return socket
}

test('a log begins with the broker that is up, and then tells of the peers that it joins', async () => {
  const { lines } = await startBroker(['tcp://127.0.0.1:1'])
  await eventually(() => expect(lines.map(({ event }) => event)).toContain('peer-joining'))
  expect(lines[0]).toMatchObject({ event: 'started', config: { name: 'west' } })
})

test('a flood of nonsense is one line for each power of ten', async () => {
  const { broker, lines } = await startBroker([])
  const socket = stranger(broker.endpoints.localfe ?? '')
  for (let i = 0; i < 130; i++) await socket.send(['one', 'two', 'three', 'four'])
  await eventually(() => expect(lines.at(-1)).toMatchObject({ event: 'malformed', total: 100 }))
  expect(lines.filter(({ event }) => event === 'malformed').map(({ total }) => total)).toEqual([1, 10, 100])
})

test('another version is refused, and no line besides calls it malformed', async () => {
  const { broker, lines } = await startBroker([])
  const socket = stranger(broker.endpoints.localfe ?? '')
  const encoder = new MessageEncoder()
  encoder.begin(7, 0)
  encoder.add({ kind: Kind.Heartbeat, ask: true, sent: 0 })
  const frames = encoder.finish().map((frame) => Buffer.from(frame))
  frames[0]?.writeUInt8(VERSION_MAJOR + 1, 3)
  await socket.send(frames)
  // The refusal comes after everything that the log has of it.
  await socket.receive()
  expect(lines.map(({ event }) => event)).not.toContain('malformed')
  expect(lines.map(({ event }) => event)).toContain('client-refused')
})
