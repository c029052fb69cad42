import { expect, test } from 'vitest'
import { Dealer } from 'zeromq'
import { eventually, openBroker } from '../reactor-rig.ts'

test('a broker can be closed while everybody talks to it, and opened again at the same addresses', async () => {
  let addresses = {}
  for (let life = 0; life < 150; life++) {
    // The system lets go of a port a moment after the close.
    const broker = await eventually(() => openBroker(addresses))
    const { localfe, localbe, cloudfe, statebe } = broker.reactor.endpoints
    addresses = { localfe, localbe, cloudfe, statebe }
    const talkers = [localfe, localbe, cloudfe].flatMap((address) =>
      Array.from({ length: 5 }, () => {
        const dealer = new Dealer({ linger: 0, sendTimeout: 0 })
        dealer.connect(address)
        return dealer
      }),
    )
    let talking = true
    const talk = (async () => {
      while (talking) {
        for (const talker of talkers) await talker.send('noise').catch(() => {})
        await new Promise(setImmediate)
      }
    })()
    await eventually(() => expect(broker.malformedAt('cloudfe')).toBeGreaterThan(20))
    await broker.reactor.close()
    talking = false
    await talk
    for (const talker of talkers) talker.close()
    expect(broker.fatal).toEqual([])
  }
})
