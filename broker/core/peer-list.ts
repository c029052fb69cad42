import type { PeerAddress } from '../../protocol/record.ts'

const RANGE = 2 ** 52

const digests = new WeakMap<readonly PeerAddress[], number>()

/**
 * A sum of hashes, whatever the order: brokers that know the same peers see by it that they have nothing to tell each
 * other, without going through their lists. It guards against nothing; who would have an entry overlooked need only
 * leave it out.
 */
function digestOf(peers: readonly PeerAddress[]): number {
  const known = digests.get(peers)
  if (known !== undefined) return known
  let digest = 0
  for (const { name, cloudfe } of peers) digest = (digest + hash(name, cloudfe)) % RANGE
  digests.set(peers, digest)
  return digest
}

/** That of the list with one entry more. */
export function digestWith(peers: readonly PeerAddress[], name: string, cloudfe: string): number {
  return (digestOf(peers) + hash(name, cloudfe)) % RANGE
}

/** 52 bits. */
function hash(name: string, cloudfe: string): number {
  let low = 0x811c9dc5
  let high = 0x2545f491
  for (let i = 0; i < name.length; i++) {
    low = Math.imul(low ^ name.charCodeAt(i), 0x01000193)
    high = Math.imul(high ^ low, 0x85ebca6b)
  }
  // A name ends here, whatever the address begins with.
  low = Math.imul(low ^ 0x10000, 0x01000193)
  for (let i = 0; i < cloudfe.length; i++) {
    low = Math.imul(low ^ cloudfe.charCodeAt(i), 0x01000193)
    high = Math.imul(high ^ low, 0x85ebca6b)
  }
  high ^= high >>> 15
  return ((high >>> 0) % 2 ** 20) * 2 ** 32 + (low >>> 0)
}
