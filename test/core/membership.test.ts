/** How brokers find, lose, leave and find each other again. */

import { describe, expect, test } from 'vitest'
import { Flag, Kind, type Request } from '../../protocol/record.ts'
import { aReply, aRequest } from './broker-rig.ts'
import { Federation, type Site, signIn, WORKER_EPOCH } from './federation-rig.ts'

function three() {
  const federation = new Federation()
  const [west, east, north] = ['west', 'east', 'north'].map((name) => federation.start(name))
  if (west === undefined || east === undefined || north === undefined) throw new Error('no sites')
  return { federation, west, east, north }
}

describe('joining', () => {
  test('one address is enough for two brokers to know each other', () => {
    const { federation, west, east } = three()
    west.join('tcp://east')
    federation.advance(2000)
    expect([west.up, east.up]).toEqual([['east'], ['west']])
  })

  test('one address each is enough for three: the rest is gossip', () => {
    const { federation, west, east, north } = three()
    east.join('tcp://west')
    federation.advance(2000)
    north.join('tcp://east')
    federation.advance(3000)
    expect(west.up).toEqual(['east', 'north'])
    expect(east.up).toEqual(['north', 'west'])
    expect(north.up).toEqual(['east', 'west'])
  })

  test('one address each is enough for seventy, who are not told of all the others at every greeting', () => {
    const federation = new Federation()
    const sites = Array.from({ length: 70 }, (_, i) => federation.start(`c${i}`))
    for (const site of sites.slice(1)) site.join('tcp://c0')
    federation.advance(4000)
    const late = federation.start('late').join('tcp://c42')
    federation.advance(4000)
    expect(late.up).toHaveLength(70)
    for (const site of sites) expect(site.up).toHaveLength(70)
  })

  test('all at once, in a ring', () => {
    const { federation, west, east, north } = three()
    west.join('tcp://east')
    east.join('tcp://north')
    north.join('tcp://west')
    federation.advance(3000)
    for (const site of [west, east, north]) {
      expect(site.up).toHaveLength(2)
      expect(site.addresses).toHaveLength(2)
      expect(site.subscriptions.size).toBe(2)
    }
  })

  test('a broker that is told its own address notices, and lets go of it for good', () => {
    const { federation, west } = three()
    federation.alsoKnownAs.set('tcp://myself', 'tcp://west')
    west.join('tcp://west').join('tcp://myself')
    federation.advance(5000)
    expect(west.addresses).toEqual([])
    expect(west.connections.size).toBe(0)
    expect(west.broker.guests.byName.size).toBe(0)
  })

  test('one broker under two addresses is one peer', () => {
    const { federation, west } = three()
    federation.alsoKnownAs.set('tcp://east-too', 'tcp://east')
    west.join('tcp://east').join('tcp://east-too')
    federation.advance(5000)
    expect(west.up).toEqual(['east'])
    expect(west.addresses).toHaveLength(1)
    expect(west.connections.size).toBe(1)
    expect(west.eventsOf('peer-lost')).toEqual([])
  })

  test('two brokers of one name refuse each other, and say so now and then, not at every greeting', () => {
    const federation = new Federation()
    const west = federation.start('west')
    const twin = federation.start('west', 'tcp://twin')
    west.join('tcp://twin')
    twin.join('tcp://west')
    federation.advance(60_000)
    expect(west.up).toEqual([])
    expect(federation.refusals()).toBeGreaterThanOrEqual(2)
    expect(federation.refusals()).toBeLessThan(40)
  })

  test('of two brokers of one name at a third the later is refused now and then, and told who has the name', () => {
    const { federation, west, east } = three()
    east.join('tcp://west')
    federation.advance(2000)
    const twin = federation.start('east', 'tcp://twin').join('tcp://west')
    federation.advance(60_000)
    expect(west.addresses).toEqual(['tcp://east'])
    expect(west.up).toEqual(['east'])
    expect(west.eventsOf('peer-lost')).toEqual([])
    expect(twin.up).toEqual([])
    expect(twin.eventsOf('refused-by')[0]).toMatchObject({
      who: 'west',
      reason: 'name-taken',
      message: expect.stringContaining('tcp://east'),
    })
    expect(federation.refusals()).toBeLessThan(40)
    federation.kill(east)
    federation.advance(30_000)
    expect([west.up, twin.up]).toEqual([['east'], ['west']])
  })
})

describe('losing and finding', () => {
  test('a killed broker is lost within a heartbeat interval, and up again once it is back', () => {
    const { federation, west, east } = three()
    west.join('tcp://east')
    federation.advance(2000)
    federation.kill(east)
    federation.advance(500)
    expect(west.up).toEqual([])
    expect(west.eventsOf('peer-lost')).toHaveLength(1)
    const again = federation.start('east')
    federation.advance(2000)
    expect([west.up, again.up]).toEqual([['east'], ['west']])
  })

  test('a broker that restarts without anybody noticing a broken connection learns who its peers are', () => {
    const { federation, west, east } = three()
    west.join('tcp://east')
    federation.advance(2000)
    east.alive = false
    const again = federation.start('east')
    federation.advance(3000)
    expect(west.eventsOf('peer-restarted')).toHaveLength(1)
    expect([west.up, again.up]).toEqual([['east'], ['west']])
  })

  test('a broker that restarts at another address is found there by its greeting', () => {
    const { federation, west, east } = three()
    east.join('tcp://west')
    federation.advance(2000)
    federation.kill(east)
    federation.advance(1000)
    const again = federation.start('east', 'tcp://east-moved').join('tcp://west')
    federation.advance(3000)
    expect(west.up).toEqual(['east'])
    expect(west.addresses).toContain('tcp://east-moved')
    expect(again.up).toEqual(['west'])
  })

  test('a configured address is tried again after its broker has been at another one', () => {
    const { federation, west, east } = three()
    // A name that leads to wherever the broker is, which advertises an address of the moment.
    federation.alsoKnownAs.set('dns://east', 'tcp://east')
    west.configure('dns://east')
    federation.advance(2000)
    expect(west.up).toEqual(['east'])
    for (const [address, joins] of [
      ['tcp://east-2', true],
      ['tcp://east-3', false],
    ] as const) {
      for (const site of federation.sites) if (site.alive && site.name === 'east') federation.kill(site)
      federation.advance(3000)
      expect(west.up).toEqual([])
      const again = federation.start('east', address)
      // Once it finds us before we find it, and we know it by its address of the moment.
      if (joins) again.join('tcp://west')
      federation.advance(2000)
      federation.alsoKnownAs.set('dns://east', address)
      federation.advance(15_000)
      expect(west.up, address).toEqual(['east'])
    }
    expect(east.alive).toBe(false)
  })

  test('a silent peer that was not configured is forgotten, a configured one is not', () => {
    const { federation, west, east, north } = three()
    west.configure('tcp://north')
    east.join('tcp://west')
    federation.advance(2000)
    federation.kill(east)
    federation.kill(north)
    federation.advance(20_000)
    expect(west.addresses).toEqual(['tcp://north'])
    expect(west.eventsOf('peer-forgotten')).toHaveLength(1)
    expect([...west.subscriptions]).toEqual(['tcp://north-state'])
  })

  test('two that were cut off until they had forgotten each other meet again through a third that never noticed', () => {
    const { federation, west, east, north } = three()
    west.join('tcp://north')
    east.join('tcp://north')
    federation.advance(2000)
    expect(west.up).toContain('east')
    federation.cut.add('east west').add('west east')
    federation.advance(40_000)
    expect(west.eventsOf('peer-forgotten').length).toBeGreaterThan(0)
    expect(east.eventsOf('peer-forgotten').length).toBeGreaterThan(0)
    federation.cut.clear()
    federation.advance(10_000)
    expect([west.up, east.up, north.up]).toEqual([
      ['east', 'north'],
      ['north', 'west'],
      ['east', 'west'],
    ])
  })

  test('a broker that hears us but cannot be heard is lost, and costs nothing but time', () => {
    const { federation, west } = three()
    west.join('tcp://east')
    federation.advance(2000)
    federation.cut.add('east west')
    federation.advance(3000)
    expect(west.up).not.toContain('east')
    federation.cut.clear()
    federation.advance(3000)
    expect(west.up).toContain('east')
  })
})

describe('removing', () => {
  test('a removed peer stays removed, whoever gossips about it', () => {
    const { federation, west, east, north } = three()
    west.join('tcp://east')
    north.join('tcp://east')
    federation.advance(3000)
    west.broker.removePeer('east', federation.now)
    federation.advance(20_000)
    expect(west.up).toEqual(['north'])
    expect(north.up).toEqual(['east', 'west'])
    expect(east.alive).toBe(true)
  })

  test('a removed peer may be added again', () => {
    const { federation, west } = three()
    west.join('tcp://east')
    federation.advance(2000)
    west.broker.removePeer('east', federation.now)
    federation.advance(2000)
    expect(west.up).toEqual([])
    west.join('tcp://east')
    federation.advance(2000)
    expect(west.up).toEqual(['east'])
  })

  test('setting the peers that are set already changes nothing, whatever address they are known by', () => {
    const { federation, west, east, north } = three()
    federation.alsoKnownAs.set('dns://east', 'tcp://east')
    east.join('tcp://west')
    federation.advance(2000)
    // West knows it by its own address already; the operator by another.
    west.configure('dns://east', 'tcp://north')
    federation.advance(2000)
    expect(west.up).toEqual(['east', 'north'])
    const { length } = west.events
    west.configure('dns://east', 'tcp://north')
    federation.advance(2000)
    expect(west.events.slice(length)).toEqual([])
    west.configure('tcp://north')
    federation.advance(2000)
    expect(west.up).toEqual(['north'])
    expect(north.alive).toBe(true)
  })
})

describe('leaving', () => {
  test('a broker that leaves says so: nobody waits for its silence', () => {
    const { federation, west, east } = three()
    west.join('tcp://east')
    federation.advance(2000)
    east.broker.drain(1000, federation.now)
    federation.advance(5)
    expect(east.drainedTimes).toBe(1)
    expect(west.up).toEqual([])
    expect(west.eventsOf('peer-left')).toHaveLength(1)
    expect(west.eventsOf('peer-lost')).toEqual([])
  })
})

describe('tasks across clusters', () => {
  function submit(site: Site, count: number, flags = 0): void {
    for (let i = 1; i <= count; i++) {
      const request = aRequest({ id: `t${i}`, token: i, flags, timeLeftMs: 60_000 })
      site.broker.localfe('c1', { from: 1, to: 0, records: [request] }, site.federation.now)
    }
  }
  /** What a site's worker was sent, answered or not. */
  function atWorker(site: Site): Request[] {
    const requests: Request[] = []
    for (const { link, record } of site.local) {
      if (link.socket === 'localbe' && record.kind === Kind.Request) requests.push(record)
    }
    return requests
  }

  test('a burst in one cluster runs on the idle workers of the others, and comes home', () => {
    const { federation, west, east, north } = three()
    west.join('tcp://east').join('tcp://north')
    signIn(east, 'e', 3)
    signIn(north, 'n', 2)
    federation.advance(2000)
    submit(west, 6)
    federation.advance(1)
    const lent = [atWorker(east).length, atWorker(north).length]
    for (const site of [east, north]) {
      const records = atWorker(site).map((r) => aReply({ token: r.token }))
      site.broker.localbe(
        site === east ? 'e' : 'n',
        { from: WORKER_EPOCH, to: site.epoch, records },
        federation.now,
      )
    }
    expect(lent).toEqual([3, 2])
    federation.advance(1)
    const answers = west.local.filter(({ record }) => record.kind === Kind.Reply)
    expect(answers).toHaveLength(5)
    // The sixth leaves on the state that rides with the answers: none has been published since.
    expect(west.broker.scheduler).toMatchObject({ queued: 0, running: 1 })
  })

  test('REQUESTs lost between two brokers are found within a heartbeat interval', () => {
    const { federation, west, east } = three()
    west.join('tcp://east')
    signIn(east, 'e', 3)
    federation.advance(2000)
    federation.cut.add('west east')
    submit(west, 2)
    federation.advance(2)
    federation.cut.clear()
    expect(east.broker.scheduler.guestTasks).toBe(0)
    federation.advance(600)
    expect(east.broker.scheduler.guestTasks).toBe(2)
    expect(west.broker.counters.redispatched.inventory).toBe(2)
    expect(west.broker.scheduler.assignments.size).toBe(2)
  })

  test('answers lost between two brokers are found within a heartbeat interval', () => {
    const { federation, west, east } = three()
    west.join('tcp://east')
    signIn(east, 'e', 1)
    federation.advance(2000)
    submit(west, 1, Flag.NotIdempotent)
    federation.advance(1)
    const [request] = atWorker(east)
    if (request === undefined) throw new Error('nothing arrived')
    federation.cut.add('east west')
    const records = [aReply({ token: request.token })]
    east.broker.localbe('e', { from: WORKER_EPOCH, to: east.epoch, records }, federation.now)
    federation.advance(2)
    federation.cut.clear()
    federation.advance(600)
    expect(west.broker.counters.tasksSettled.get('UNKNOWN')).toBe(1)
    expect(west.broker.scheduler.unsettled).toBe(0)
  })
})
