import { expect, test } from 'vitest'
import { eventually, openFederation } from '../reactor-rig.ts'

/** Nothing but what is said at once is said within the time of a test. */
const SELDOM = { stateIntervalMs: 60_000, stateTtlMs: 180_000, peerForgetMs: 300_000 }

test('a peer that the operator removes is told so at once, though its connection goes in the same turn', async () => {
  const [west, east] = await openFederation(['west', 'east'], SELDOM)
  if (west === undefined || east === undefined) throw new Error('no broker')
  const guests = () => [...east.core.guests.byName.keys()]
  await eventually(() => expect(guests()).toEqual(['west']))
  west.reactor.command((core, now) => core.removePeer('east', now))
  await eventually(() => expect(guests()).toEqual([]))
  expect(west.reactor.traffic.undelivered.cloudbe.unreachable).toBe(0)
})
