import fc from 'fast-check'
import { expect, test } from 'vitest'
import { digestWith } from '../../broker/core/peer-list.ts'

const lists = fc.uniqueArray(fc.record({ name: fc.string(), cloudfe: fc.string() }), {
  minLength: 1,
  maxLength: 20,
  selector: ({ name }) => name,
})

test('the digest is the same in whatever order, and whichever entry comes last', () => {
  fc.assert(
    fc.property(lists, fc.nat(), (peers, at) => {
      const one = peers[at % peers.length]
      const others = peers.filter((peer) => peer !== one).reverse()
      const [last, ...rest] = peers
      expect(digestWith(others, one?.name ?? '', one?.cloudfe ?? '')).toBe(
        digestWith(rest, last?.name ?? '', last?.cloudfe ?? ''),
      )
    }),
  )
})

test('the digest tells an address, a name and the border between them', () => {
  const digests = [
    digestWith([], 'east', 'tcp://a'),
    digestWith([], 'east', 'tcp://b'),
    digestWith([], 'west', 'tcp://a'),
    digestWith([], 'eas', 'ttcp://a'),
    digestWith([{ name: 'east', cloudfe: 'tcp://a' }], 'west', 'tcp://b'),
    digestWith([{ name: 'east', cloudfe: 'tcp://b' }], 'west', 'tcp://a'),
  ]
  expect(new Set(digests).size).toBe(digests.length)
})
