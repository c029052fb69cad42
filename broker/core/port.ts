import type { Record, State } from '../../protocol/record.ts'
import type { BrokerEvent } from './event.ts'
import type { Link } from './link.ts'

/**
 * Everything the broker's core does to the world, at one place. The caller carries each out in order: behind sockets,
 * records for one link that come out in one turn travel as one message; the simulator hands them to the other core.
 * None of these may call back into the core before it has returned.
 */
export interface BrokerPort {
  /**
   * Gathers a record for a link; it leaves when the turn ends, for the life of the other end that the link's epoch names now:
   * what it is by then does not count. One with `octets` is written anew for the next: it is encoded
   * before this returns, or a copy kept (`unpacked`). The core sends such for what came as such.
   */
  send(link: Link, record: Record): void
  /** Publishes on statebe. */
  publish(state: State): void
  /** Connects cloudbe to a peer's cloudfe under a routing id (`link.key`) that is never used again. */
  connectPeer(link: Link, address: string): void
  /** What this turn has for it so far, a goodbye perhaps, leaves before. */
  disconnectPeer(link: Link, address: string): void
  /** Connects statefe to a peer's statebe. */
  subscribe(address: string): void
  unsubscribe(address: string): void
  /** A change of state worth a line in the log. */
  event(event: BrokerEvent): void
  /** Draining is done: nothing is queued, nothing in flight, everybody has been told. */
  drained(): void
}
