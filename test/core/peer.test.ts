import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Offer, Peer } from '../../broker/core/peer.ts'
import { Service } from '../../broker/core/service.ts'

function peer(): { peer: Peer; x: Offer; y: Offer } {
  const p = new Peer('tcp://east', 'peer-1', false, 0)
  const x = new Offer(p, new Service('x'))
  const y = new Offer(p, new Service('y'))
  p.offers.add(x)
  p.offers.add(y)
  return { peer: p, x, y }
}

describe("a peer's account", () => {
  test('what is on its way counts against the service that it was sent for', () => {
    const { peer: p, x, y } = peer()
    p.spend(x)
    p.spend(y)
    p.spend(x)
    expect([x.unseen, y.unseen]).toEqual([2, 1])
    p.acknowledge(2, true)
    expect([x.unseen, y.unseen]).toEqual([1, 0])
    p.acknowledge(1, true)
    expect([x.unseen, y.unseen]).toEqual([1, 0])
    p.acknowledge(1_000_000, true)
    expect([x.unseen, y.unseen]).toEqual([0, 0])
    p.spend(x)
    expect(x.unseen).toBe(1)
  })

  test('what has arrived by other news than a state has taken a slot', () => {
    const { peer: p, x } = peer()
    x.free = 1
    p.spend(x)
    p.spend(x)
    p.acknowledge(2, false)
    expect(x).toMatchObject({ free: 0, unseen: 0 })
  })

  test('another life counts from nothing', () => {
    const { peer: p, x } = peer()
    x.free = 5
    p.spend(x)
    p.resetCounts()
    expect(x).toMatchObject({ free: 0, unseen: 0 })
    expect(p).toMatchObject({ sent: 0, seen: 0, answered: 0, stateSeq: -1 })
    p.acknowledge(1, true)
    expect(x.unseen).toBe(0)
  })

  test('agrees with counting, over thousands of sends', () => {
    const op = fc.oneof(
      fc.record({ send: fc.boolean(), times: fc.nat({ max: 100 }) }),
      fc.record({ ack: fc.nat({ max: 200 }) }),
    )
    fc.assert(
      fc.property(fc.array(op, { maxLength: 40 }), (ops) => {
        const { peer: p, x, y } = peer()
        const sent: Offer[] = []
        let seen = 0
        for (const o of ops) {
          if ('send' in o) {
            for (let i = 0; i < o.times; i++) {
              p.spend(o.send ? x : y)
              sent.push(o.send ? x : y)
            }
          } else {
            const upTo = seen + o.ack - 20
            p.acknowledge(upTo, true)
            seen = Math.max(seen, Math.min(upTo, sent.length))
          }
          const unseen = sent.slice(seen)
          expect(x.unseen).toBe(unseen.filter((offer) => offer === x).length)
          expect(y.unseen).toBe(unseen.filter((offer) => offer === y).length)
        }
      }),
    )
  })

  test('takes tasks only while it is up, heard lately, not leaving, not blocked', () => {
    const { peer: p } = peer()
    const takes = () => p.takesTasks(1000, 1500)
    p.stateAt = 0
    expect(takes()).toBe(false)
    p.phase = 'up'
    expect(takes()).toBe(true)
    p.draining = true
    expect(takes()).toBe(false)
    p.draining = false
    p.blocked = true
    expect(takes()).toBe(false)
    p.blocked = false
    expect(p.takesTasks(1499, 1500)).toBe(true)
    expect(p.takesTasks(1500, 1500)).toBe(false)
  })
})
