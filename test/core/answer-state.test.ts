import { expect, test } from 'vitest'
import { Broker } from '../../broker/core/broker.ts'
import type { Link } from '../../broker/core/link.ts'
import type { BrokerPort } from '../../broker/core/port.ts'
import type { Record, State } from '../../protocol/record.ts'
import { Kind, Role } from '../../protocol/record.ts'
import { aHello, aReply, aRequest, CONFIG } from './broker-rig.ts'

const EPOCH = 7

test('news of a slot that a borrowed task leaves rides with its answer while publications are held back', () => {
  const sent: { link: Link; record: Record }[] = []
  const published: State[] = []
  const ignore = () => {}
  const port: BrokerPort = {
    send: (link, record) => sent.push({ link, record }),
    publish: (state) => published.push(state),
    connectPeer: ignore,
    disconnectPeer: ignore,
    subscribe: ignore,
    unsubscribe: ignore,
    event: ignore,
    drained: ignore,
  }
  const broker = new Broker(CONFIG, port, 1000, () => 0.5, 0)
  const say = (socket: 'localbe' | 'cloudfe', key: string, records: Record[], now: number) =>
    broker[socket](key, { from: EPOCH, to: 1000, records }, now)
  broker.timeout(0)
  broker.localbe(
    'w',
    {
      from: EPOCH,
      to: 0,
      records: [
        aHello({ role: Role.Worker, name: 'w', epoch: EPOCH }),
        { kind: Kind.Ready, slots: 1, services: [''] },
      ],
    },
    20,
  )
  broker.cloudfe('east', { from: EPOCH, to: 0, records: [aHello({ name: 'east', epoch: EPOCH })] }, 40)
  say('cloudfe', 'east', [aRequest({ token: 5 })], 60)
  expect(published.at(-1)?.services).toMatchObject([{ free: 0 }])
  const given = sent.map(({ record }) => record).find((record) => record.kind === Kind.Request)
  if (given?.kind !== Kind.Request) throw new Error('the task was not given to the worker')
  const publications = published.length
  sent.length = 0

  say('localbe', 'w', [aReply({ token: given.token })], 63)
  expect(published.length).toBe(publications)
  expect(sent.map(({ link, record }) => [link.key, record.kind])).toEqual([
    ['east', Kind.Reply],
    ['east', Kind.State],
  ])
  expect(sent[1]?.record).toMatchObject({
    services: [{ service: '', free: 1, total: 1 }],
    received: [{ peer: 'east', epoch: EPOCH, count: 1 }],
  })
  // The others hear of it when its turn comes, and it supersedes what was told before.
  broker.timeout(71)
  expect(published.at(-1)?.services).toMatchObject([{ free: 1 }])
  const told = sent[1]?.record
  expect(published.at(-1)?.seq).toBeGreaterThan(
    told?.kind === Kind.State ? told.seq : Number.POSITIVE_INFINITY,
  )
})
