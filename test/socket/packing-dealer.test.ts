import { expect, onTestFinished, test } from 'vitest'
import { Router } from 'zeromq'
import { decodeMessage } from '../../protocol/decode.ts'
import { Kind, type Record, Role } from '../../protocol/record.ts'
import { PackingDealer } from '../../wire/packing-dealer.ts'

const BROKER = 1000
const heartbeat: Record = { kind: Kind.Heartbeat, ask: true, sent: 1 }
const ready: Record = { kind: Kind.Ready, slots: 1, services: [''] }
const hello: Record = {
  kind: Kind.Hello,
  role: Role.Worker,
  name: 'w1',
  epoch: 7,
  major: 1,
  minor: 0,
  heartbeatIntervalMs: 1000,
  bodyMax: 1 << 20,
  cloudfe: '',
  statebe: '',
  peers: [],
}

function cancel(token: number): Record {
  return { kind: Kind.Cancel, token }
}

/** Nearly as much as one message takes. */
const much: Record = { kind: Kind.Inventory, received: 0, tokens: Array.from({ length: 8186 }, (_, i) => i) }

/** What one turn says leaves, message by message. */
async function messagesOf(records: readonly Record[], count: number): Promise<readonly Record[][]> {
  const router = new Router({ linger: 0 })
  onTestFinished(() => router.close())
  await router.bind('tcp://127.0.0.1:*')
  const dealer = new PackingDealer(
    {
      endpoint: router.lastEndpoint ?? '',
      epoch: 7,
      bodyMax: 1 << 20,
      waitMs: -1,
      unsentMax: Number.POSITIVE_INFINITY,
      socket: {},
    },
    {
      message: () => {},
      malformed: () => {},
      drained: () => {},
      expectant: true,
      fatal: (error) => {
        throw error
      },
    },
  )
  onTestFinished(() => dealer.close(0))
  for (const record of records) dealer.add(record, BROKER)
  dealer.flush()
  const messages: Record[][] = []
  while (messages.length < count) {
    const message = decodeMessage(await router.receive(), 1, { bodyMax: 1 << 20 })
    if ('error' in message) throw new Error(message.error)
    messages.push([...message.records])
  }
  return messages
}

function kinds(messages: readonly Record[][]): number[][] {
  return messages.map((records) => records.map(({ kind }) => kind))
}

test('what a worker signs in with is one message, however much it has said before', async () => {
  const messages = await messagesOf([much, hello, ready], 2)
  expect(kinds(messages)).toEqual([[Kind.Inventory], [Kind.Hello, Kind.Ready]])
})

test('a question is in one message with the CANCELs before it, however much has been said before', async () => {
  const cancels = Array.from({ length: 1024 }, (_, token) => cancel(token))
  const messages = await messagesOf([much, ...cancels, heartbeat], 1)
  expect(messages[0]?.slice(1)).toEqual([...cancels, heartbeat])
})

test('of CANCELs without end each message takes some', async () => {
  const cancels = Array.from({ length: 100_000 }, (_, token) => cancel(token))
  const messages = await messagesOf(cancels, 4)
  expect(messages.flat()).toEqual(cancels)
})
