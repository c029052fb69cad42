import { expect, test } from 'vitest'
import { eventually, openBroker, type TestBroker } from '../reactor-rig.ts'

/** Nobody is taken for dead within the time of a test for having said nothing. */
const PATIENT = { stateIntervalMs: 100, stateTtlMs: 60_000, peerForgetMs: 120_000 }

/** As a name in a DNS leads to it, which is not what it says of itself. */
function byName({ cloudfe }: TestBroker): string {
  return cloudfe.replace('127.0.0.1', 'localhost')
}

test('brokers that find each other under two addresses each stay within earshot', async () => {
  const west = await openBroker({ ...PATIENT, name: 'west' })
  const east = await openBroker({ ...PATIENT, name: 'east' })
  const both = [
    [west, east],
    [east, west],
  ] as const
  for (const [from, to] of both) from.reactor.command((core, now) => core.setPeers([byName(to)], now))
  for (const [from, to] of both) {
    // One more by what it says of itself, if that has not come about already.
    from.reactor.command((core, now) => core.addPeer(to.cloudfe, now))
  }
  await eventually(() => {
    for (const { core } of [west, east]) {
      expect([...core.peers.byAddress.values()].map(({ phase, hellos }) => [phase, hellos])).toEqual([
        ['up', 0],
      ])
    }
  })
  for (const [from, to] of both) {
    const guests = () => [...to.core.guests.byName.keys()]
    expect(guests()).toEqual([from.core.config.name])
    from.reactor.command((core, now) => core.removePeer(to.core.config.name, now))
    await eventually(() => expect(guests()).toEqual([]))
  }
})
