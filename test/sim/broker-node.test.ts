import { expect, test } from 'vitest'
import { Kind, type Record, Role } from '../../protocol/record.ts'
import { parameters } from '../../sim/scenario.ts'
import { Simulation } from '../../sim/simulation.ts'
import { aHello, aRequest } from '../core/broker-rig.ts'

const CLIENT_EPOCH = 77

test('knows a client as one, however much of it comes before the answer to its HELLO has left', () => {
  const p = parameters.parse({ clusters: 1, clients: 1, rate: 0.001, turnMs: 40, durationMs: 60_000 })
  const simulation = new Simulation(3, p)
  const [cluster] = simulation.clusters
  const client = cluster?.clients[0]
  const scheduler = cluster?.broker?.core.scheduler
  if (!client || !scheduler) throw new Error('there is no client, or no broker')
  const { network, queue } = simulation
  simulation.advance(1000)
  const pipe = network.dial(client, 'localfe', 'sim://c0/localfe', 'somebody', 'somebody', queue.time)
  const send = (record: Record): boolean => network.sendOut(pipe, CLIENT_EPOCH, 0, [record], queue.time)
  // In one turn of the broker's: both wait for the connection to stand.
  send(aHello({ role: Role.Client, epoch: CLIENT_EPOCH }))
  send(aRequest({ token: 5, service: 'nobody serves it' }))
  simulation.advance(2000)
  expect(scheduler.unsettled).toBe(1)
  send({ kind: Kind.Cancel, token: 5 })
  simulation.advance(3000)
  expect(scheduler.unsettled).toBe(0)
})
