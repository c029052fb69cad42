import { expect, onTestFinished, test } from 'vitest'
import { Dealer } from 'zeromq'
import { Client } from '../../client/main.ts'
import { decodeMessage } from '../../protocol/decode.ts'
import { MessageEncoder } from '../../protocol/encode.ts'
import { EMPTY_BODY, Kind, type Reply, Role, VERSION_MAJOR } from '../../protocol/record.ts'
import { openBroker } from '../reactor-rig.ts'
import { ScriptedBroker } from './scripted-broker.ts'

// That the broker says so before the client gives up is a matter of some milliseconds, which a slow machine does not keep: the
// client's core is tested for it, by a clock of the test's own. Here the one has no client to hurry, the other no broker to wait for.

async function replyTo(dealer: Dealer): Promise<Reply> {
  for (;;) {
    const message = decodeMessage(await dealer.receive(), 0, { bodyMax: 1 << 20 })
    if ('error' in message) throw new Error(message.error)
    const reply = message.records.find((record) => record.kind === Kind.Reply)
    if (reply !== undefined) return reply
  }
}

test('a task whose time is over in the queue ends as EXPIRED, which says that it never started', async () => {
  const broker = await openBroker()
  const dealer = new Dealer({ linger: 0, receiveTimeout: 10_000 })
  onTestFinished(() => dealer.close())
  dealer.connect(broker.localfe)
  const encoder = new MessageEncoder()
  encoder.begin(1, 0)
  encoder.add({
    kind: Kind.Hello,
    role: Role.Client,
    name: 'hurried',
    epoch: 1,
    major: VERSION_MAJOR,
    minor: 0,
    heartbeatIntervalMs: 60_000,
    bodyMax: 1 << 20,
    cloudfe: '',
    statebe: '',
    peers: [],
  })
  encoder.add({
    kind: Kind.Request,
    token: 7,
    id: 'late',
    attempt: 1,
    timeLeftMs: 300,
    priority: 4,
    flags: 0,
    creditUpTo: 0,
    service: '',
    traceparent: '',
    body: EMPTY_BODY,
  })
  await dealer.send(encoder.finish())
  expect(await replyTo(dealer)).toMatchObject({ token: 7, code: 'EXPIRED', attempts: 0, retryable: true })
})

test('a client passes on that a task is EXPIRED, and that it never started', async () => {
  const broker = await ScriptedBroker.bind(({ reply }) =>
    reply('', { code: 'EXPIRED', attempts: 0, retryable: true }),
  )
  onTestFinished(() => broker.close())
  const client = new Client({ connect: broker.endpoint })
  onTestFinished(() => client.close())
  await expect(client.request('x')).rejects.toMatchObject({ code: 'EXPIRED', attempts: 0, retryable: true })
})
