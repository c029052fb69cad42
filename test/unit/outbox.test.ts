import { expect, test } from 'vitest'
import { Link } from '../../broker/core/link.ts'
import { Outbox } from '../../broker/io/outbox.ts'
import { decodeMessage } from '../../protocol/decode.ts'
import { Kind, type Message, type Record } from '../../protocol/record.ts'
import { aRequest } from '../core/broker-rig.ts'

const EPOCH = 1
const FORMER_LIFE = 100
const NEXT_LIFE = 101

/** A peer's link, and what has left through it. */
function aLink() {
  const link = new Link('cloudbe', 'peer~1')
  link.epoch = FORMER_LIFE
  const sent: Message[] = []
  const outbox = new Outbox(EPOCH, (_link, frames) => {
    const message = decodeMessage(frames.map(Buffer.from), 1, { bodyMax: 1 << 20 })
    if ('error' in message) throw new Error(message.error)
    sent.push(message)
  })
  return { link, sent, outbox }
}

function kindsByEpoch(messages: readonly Message[]) {
  return messages.map(({ to, records }) => ({ to, kinds: records.map(({ kind }) => kind) }))
}

const heartbeat: Record = { kind: Kind.Heartbeat, ask: false, sent: 0 }
const cancel: Record = { kind: Kind.Cancel, token: 7 }

test('what one turn says to two lives of a peer leaves in a message to each, the former first', () => {
  const { link, sent, outbox } = aLink()
  outbox.add(link, aRequest({ token: 7 }))
  outbox.add(link, cancel)
  link.epoch = NEXT_LIFE
  outbox.add(link, heartbeat)
  outbox.flush()
  expect(kindsByEpoch(sent)).toEqual([
    { to: FORMER_LIFE, kinds: [Kind.Request, Kind.Cancel] },
    { to: NEXT_LIFE, kinds: [Kind.Heartbeat] },
  ])
})

test('what was said to a life of a peer is not meant for the next, though nothing is said to that', () => {
  const { link, sent, outbox } = aLink()
  outbox.add(link, aRequest({ token: 7 }))
  link.epoch = NEXT_LIFE
  outbox.flush()
  expect(kindsByEpoch(sent)).toEqual([{ to: FORMER_LIFE, kinds: [Kind.Request] }])
})

test('a link that has changed its epoch starts the next turn with the new one', () => {
  const { link, sent, outbox } = aLink()
  outbox.add(link, cancel)
  outbox.flush()
  link.epoch = NEXT_LIFE
  outbox.add(link, heartbeat)
  outbox.flush()
  expect(kindsByEpoch(sent)).toEqual([
    { to: FORMER_LIFE, kinds: [Kind.Cancel] },
    { to: NEXT_LIFE, kinds: [Kind.Heartbeat] },
  ])
})

test('what there is for a link that will be out of reach when the turn ends leaves before, and only once', () => {
  const { link, sent, outbox } = aLink()
  outbox.flushLast(link)
  outbox.add(link, aRequest({ token: 7 }))
  outbox.flushLast(link)
  outbox.flushLast(link)
  expect(kindsByEpoch(sent)).toEqual([{ to: FORMER_LIFE, kinds: [Kind.Request] }])
  outbox.flush()
  expect(sent).toHaveLength(1)
  outbox.add(link, heartbeat)
  outbox.flush()
  expect(kindsByEpoch(sent.slice(1))).toEqual([{ to: FORMER_LIFE, kinds: [Kind.Heartbeat] }])
})
