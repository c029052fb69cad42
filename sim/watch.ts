import type { BrokerEvent } from '../broker/core/event.ts'
import type { Link, LinkSocket } from '../broker/core/link.ts'
import type { Outcome } from '../client/core/outcome.ts'
import type { ClientEvent } from '../client/core/port.ts'
import type { Message, Partial, Reply, Request, State } from '../protocol/record.ts'
import type { WorkerEvent } from '../worker/core/event.ts'
import type { BrokerNode } from './broker-node.ts'
import type { ClientNode, SimCall } from './client-node.ts'
import type { Work } from './errand.ts'
import type { WorkerNode } from './worker-node.ts'

/** What the nodes of a run tell whoever watches it, as it happens. Watching changes nothing. */
export interface Watch {
  submitted(client: ClientNode, call: SimCall, at: number): void
  settled(client: ClientNode, call: SimCall, outcome: Outcome, at: number): void
  piece(client: ClientNode, call: SimCall, piece: Partial, at: number): void
  /** A client was told something that it does not wait for. */
  unasked(client: ClientNode, message: Message, at: number): void
  clientSays(client: ClientNode, event: ClientEvent): void

  /** A message is about to be given to a broker's core. */
  atBroker(broker: BrokerNode, socket: LinkSocket, key: string, message: Message, at: number): void
  /** A broker hands a task to a worker or a peer. */
  requested(broker: BrokerNode, link: Link, request: Request): void
  /** A broker tells a client that it is too busy. */
  turnedAway(broker: BrokerNode, reply: Reply): void
  published(broker: BrokerNode, state: State): void
  brokerSays(broker: BrokerNode, event: BrokerEvent): void
  /** A broker's turn is over. */
  afterBroker(broker: BrokerNode, at: number): void

  /** A handler starts; and ends, with or without an answer. */
  started(worker: WorkerNode, id: string, work: Work | null, at: number): void
  ended(
    worker: WorkerNode,
    id: string,
    work: Work | null,
    how: 'answered' | 'cancelled' | 'died',
    at: number,
  ): void
  workerSays(worker: WorkerNode, event: WorkerEvent, at: number): void
  note(who: string, what: string, at: number): void
}
