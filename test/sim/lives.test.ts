import { expect, test } from 'vitest'
import { Kind, type Record, Role } from '../../protocol/record.ts'
import { parameters } from '../../sim/scenario.ts'
import { Simulation } from '../../sim/simulation.ts'
import { aHello } from '../core/broker-rig.ts'

const FORMER_LIFE = 100
const NEXT_LIFE = 101
const cancel: Record = { kind: Kind.Cancel, token: 7 }
const hello: Record = aHello({ role: Role.Client })
const heartbeat: Record = { kind: Kind.Heartbeat, ask: false, sent: 0 }

/** Two clusters that know each other, and what leaves from where they are to whom. */
function acquainted() {
  const p = parameters.parse({ clusters: 2, workers: 1, clients: 1, rate: 5, durationMs: 60_000 })
  const simulation = new Simulation(3, p)
  simulation.advance(2000)
  const { network, queue } = simulation
  const left: { to: number; records: readonly Record[] }[] = []
  const sendOut = network.sendOut.bind(network)
  network.sendOut = (pipe, from, to, records, at) => {
    left.push({ to, records })
    return sendOut(pipe, from, to, records, at)
  }
  const [cluster] = simulation.clusters
  const link = cluster?.broker?.core.peers.byName.get('c1')?.link
  if (!cluster?.broker || !link) throw new Error('there is no broker, or it knows no peer')
  return { broker: cluster.broker, link, client: cluster.clients[0], left, now: queue.time }
}

test('what one turn of a broker says to two lives of a peer leaves in a message to each', () => {
  const { broker, link, left, now } = acquainted()
  broker.act(() => {
    link.epoch = FORMER_LIFE
    broker.send(link, cancel)
    link.epoch = NEXT_LIFE
    broker.send(link, heartbeat)
  }, now)
  expect(left).toEqual([
    { to: FORMER_LIFE, records: [cancel] },
    { to: NEXT_LIFE, records: [heartbeat] },
  ])
})

test('what one turn of a broker said to a life of a peer is not meant for the next, though nothing is said to that', () => {
  const { broker, link, left, now } = acquainted()
  broker.act(() => {
    link.epoch = FORMER_LIFE
    broker.send(link, cancel)
    link.epoch = NEXT_LIFE
  }, now)
  expect(left).toEqual([{ to: FORMER_LIFE, records: [cancel] }])
})

test('a client forgets what its turn said to the former life of its broker, but not what it said before it knew any', () => {
  const { client, left, now } = acquainted()
  const connection = client?.core.connection
  if (!client || !connection) throw new Error('there is no client, or it has no connection')
  client.act(() => {
    for (const [epoch, record] of [
      [0, hello],
      [FORMER_LIFE, cancel],
      [NEXT_LIFE, heartbeat],
    ] as const) {
      connection.epoch = epoch
      client.send(connection, record)
    }
  }, now)
  expect(left).toEqual([
    { to: 0, records: [hello] },
    { to: NEXT_LIFE, records: [heartbeat] },
  ])
})
