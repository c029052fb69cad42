import type { BrokerStatus } from '../../broker/status.ts'

/**
 * In what brokers that all know each other disagree about who is there, in words.
 * @param statuses null for a broker that does not answer
 * @param slots that each cluster's workers have
 * @param ways where each cluster may reach others: whatever else a broker has learned leads past the proxies
 */
export function disagreements(
  statuses: readonly (BrokerStatus | null)[],
  slots: number,
  ways: readonly (readonly string[])[],
): string[] {
  const found: string[] = []
  for (const [index, status] of statuses.entries()) {
    if (status === null) {
      found.push(`c${index}'s broker does not answer`)
      continue
    }
    const { name } = status
    if (!status.ready) found.push(`${name} is not ready`)
    if (status.slots !== slots)
      found.push(`${name} knows of ${status.slots} slots of its own, ${slots} are there`)
    for (const other of statuses) {
      if (other === null || other === status) continue
      const known = status.peers.filter((peer) => peer.name === other.name)
      const [peer] = known
      if (peer === undefined) found.push(`${name} does not know ${other.name}`)
      else if (known.length > 1) found.push(`${name} knows ${other.name} twice`)
      else if (peer.phase !== 'up') found.push(`for ${name}, ${other.name} is ${peer.phase}`)
      else if (peer.epoch !== other.epoch) found.push(`${name} knows a former life of ${other.name}`)
      else if (peer.slots.total !== slots)
        found.push(`${name} believes that ${other.name} has ${peer.slots.total} slots, not ${slots}`)
    }
    for (const { address } of status.peers) {
      if (!ways[index]?.includes(address))
        found.push(`${name} looks for somebody at ${address}, past the proxies`)
    }
    const strangers = status.peers.length - (statuses.length - 1)
    if (strangers > 0) found.push(`${name} knows ${strangers} peers too many`)
  }
  return found
}

/** What brokers still hold, though all work is done, in words. */
export function leftovers(statuses: readonly (BrokerStatus | null)[]): string[] {
  const found: string[] = []
  for (const [index, status] of statuses.entries()) {
    if (status === null) {
      found.push(`c${index}'s broker does not answer`)
      continue
    }
    const { queued, deferred, busy, clients, inFlight, ledger } = status
    const tables = {
      'tasks that wait': queued,
      'tasks that wait for the retry budget': deferred,
      'busy slots': busy,
      'clients with tasks': clients,
      'tasks that run here': inFlight.local,
      'tasks lent': inFlight.peer,
      'tasks borrowed': inFlight.guest,
      'tasks under way': ledger.underWay,
    }
    for (const [what, count] of Object.entries(tables)) {
      if (count !== 0) found.push(`${status.name} has ${count} ${what}`)
    }
  }
  return found
}
