import { expect, onTestFinished, test } from 'vitest'
import { LinkProxy } from '../../cli/live/link-proxy.ts'
import { eventually, openBroker } from '../reactor-rig.ts'

/** Nobody is taken for dead within the time of a test for having said nothing. */
const SELDOM = { stateIntervalMs: 60_000, stateTtlMs: 180_000, peerForgetMs: 300_000 }

test.each(['127.0.0.1', 'localhost'])(
  'each break of a connection to a peer at %s is noticed at once',
  async (host) => {
    const east = await openBroker({ ...SELDOM, name: 'east' })
    const proxy = await LinkProxy.before(Number(east.cloudfe.split(':').at(-1)))
    onTestFinished(() => proxy.close())
    const address = `tcp://${host}:${proxy.port}`
    // East must not find it, or it would be known by a second address, past the proxy.
    const cloudfeAdvertised = 'tcp://127.0.0.1:1'
    const west = await openBroker({ ...SELDOM, name: 'west', peers: [address], cloudfeAdvertised })
    for (let connections = 1; connections <= 4; connections++) {
      // It is up again when it has answered on the next connection.
      await eventually(() => expect(west.eventsOf('peer-up')).toHaveLength(connections))
      expect(west.core.peers.byName.get('east')?.address).toBe(address)
      proxy.break()
    }
  },
)
