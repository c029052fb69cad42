import { expect, test } from 'vitest'
import { Broker } from '../../broker/core/broker.ts'
import type { Link } from '../../broker/core/link.ts'
import type { BrokerPort } from '../../broker/core/port.ts'
import type { Hello, Record, State } from '../../protocol/record.ts'
import { EMPTY_BODY, Kind, Role, VERSION_MAJOR } from '../../protocol/record.ts'
import { CONFIG } from './broker-rig.ts'

const EPOCH = 7

function hello(role: Role, name: string): Hello {
  return {
    kind: Kind.Hello,
    role,
    name,
    epoch: EPOCH,
    major: VERSION_MAJOR,
    minor: 0,
    heartbeatIntervalMs: 1000,
    bodyMax: 1 << 20,
    cloudfe: '',
    statebe: '',
    peers: [],
  }
}

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
      records: [hello(Role.Worker, 'w'), { kind: Kind.Ready, slots: 1, services: [''] }],
    },
    20,
  )
  broker.cloudfe('east', { from: EPOCH, to: 0, records: [hello(Role.Broker, 'east')] }, 40)
  const task = {
    kind: Kind.Request,
    token: 5,
    id: 'a',
    attempt: 1,
    timeLeftMs: 1000,
    priority: 4,
    flags: 0,
    creditUpTo: 0,
    service: '',
    traceparent: '',
    body: EMPTY_BODY,
  } as const
  say('cloudfe', 'east', [task], 60)
  expect(published.at(-1)?.services).toMatchObject([{ free: 0 }])
  const given = sent.map(({ record }) => record).find((record) => record.kind === Kind.Request)
  if (given?.kind !== Kind.Request) throw new Error('the task was not given to the worker')
  const publications = published.length
  sent.length = 0

  say(
    'localbe',
    'w',
    [
      {
        kind: Kind.Reply,
        token: given.token,
        code: '',
        retryable: false,
        retryAfterMs: 0,
        attempts: 1,
        queuedUs: 0,
        runUs: 0,
        partials: 0,
        cluster: '',
        worker: '',
        message: '',
        body: EMPTY_BODY,
      },
    ],
    63,
  )
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
