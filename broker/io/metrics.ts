import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import { VERSION_MAJOR, VERSION_MINOR } from '../../protocol/record.ts'
import type { Broker as BrokerCore } from '../core/broker.ts'
import type { PeerPhase } from '../core/peer.ts'
import { EventLoopLag } from './event-loop-lag.ts'
import { readInFlight, readPeers, readSlots } from './status.ts'
import { TimingHistogram } from './timing-histogram.ts'
import { SOCKET_NAMES, type Traffic } from './traffic.ts'
import { VERSION } from './version.ts'

/** What is measured. */
export interface Measured {
  readonly core: BrokerCore
  readonly traffic: Traffic
  /** The core's clock, ms. */
  now(): number
}

/** Label values and the number for them, in the order of the label names. */
type Sample = readonly [value: number, ...labels: string[]]

const PEER_PHASES: readonly PeerPhase[] = ['joining', 'up', 'suspect', 'lost', 'refused']
const EXECUTIONS = [
  ['client', 'local'],
  ['client', 'peer'],
  ['peer', 'local'],
] as const

/**
 * The broker's metrics, in a registry of their own: two brokers in one process do not meet. Nothing is measured on the way of a
 * task; everything is read off the core when somebody scrapes, and series of peers that are gone go with them.
 */
export class Metrics {
  readonly registry = new Registry()
  readonly #lag = new EventLoopLag()

  constructor({ core, traffic, now }: Measured) {
    this.#tasks(core)
    this.#capacity(core)
    this.#peers(core, now)
    this.#messages(core, traffic)
    this.#process()
  }

  /** @returns all metrics, in the text format of `contentType` */
  read(): Promise<string> {
    return this.registry.metrics()
  }

  get contentType(): string {
    return this.registry.contentType
  }

  stop(): void {
    this.#lag.stop()
    this.registry.clear()
  }

  #tasks({ counters, timings }: BrokerCore): void {
    this.#counter('spillway_tasks_received_total', 'Tasks received, by who sent them.', ['source'], () =>
      Object.entries(counters.tasksReceived).map(([source, count]) => [count, source]),
    )
    this.#counter(
      'spillway_tasks_completed_total',
      'Tasks that ended with an answer of their worker, by whose they were and where they ran.',
      ['source', 'ran'],
      () => {
        const { tasksCompletedLocal, tasksCompletedByPeers, tasksCompletedForPeers } = counters
        const counts = [tasksCompletedLocal, tasksCompletedByPeers, tasksCompletedForPeers]
        return EXECUTIONS.map(([source, ran], index) => [counts[index] ?? 0, source, ran])
      },
    )
    this.#counter(
      'spillway_tasks_settled_total',
      'Tasks of clients that ended, by how: ok or an error code.',
      ['outcome'],
      () => byLabel(counters.tasksSettled),
    )
    this.#counter(
      'spillway_tasks_redispatched_total',
      'Tasks started again after a failure, by its cause.',
      ['cause'],
      () => Object.entries(counters.redispatched).map(([cause, count]) => [count, snake(cause)]),
    )
    this.#counter(
      'spillway_tasks_redispatch_deferred_total',
      'Redispatches that had to wait for the retry budget.',
      [],
      () => [[counters.redispatchDeferred]],
    )
    this.#counter(
      'spillway_tasks_rejected_total',
      'Tasks turned away between brokers: sent by us to peers, or received from them.',
      ['direction'],
      () => [
        [counters.rejectsSent, 'sent'],
        [counters.rejectsReceived, 'received'],
      ],
    )
    this.#counter(
      'spillway_tasks_expired_total',
      'Tasks whose time was up, by where they were.',
      ['state'],
      () => [
        [counters.expiredQueued, 'queued'],
        [counters.expiredRunning, 'running'],
      ],
    )
    this.#counter('spillway_tasks_busy_total', 'Tasks answered BUSY since the queue was full.', [], () => [
      [counters.busy],
    ])
    this.#counter('spillway_tasks_cancelled_total', 'Tasks that their clients cancelled.', [], () => [
      [counters.cancelled],
    ])
    this.#counter(
      'spillway_tasks_repeated_total',
      'Tasks that clients sent again: attached to the one under way, or answered again.',
      ['outcome'],
      () => [
        [counters.attached, 'attached'],
        [counters.answeredAgain, 'answered_again'],
      ],
    )
    this.#counter('spillway_late_replies_total', 'Answers that nobody waited for any more.', [], () => [
      [counters.lateReplies],
    ])
    this.#counter('spillway_undeliverable_replies_total', 'Answers that could not be sent.', [], () => [
      [counters.repliesUndeliverable],
    ])
    this.#counter('spillway_partials_total', 'Pieces of streams, forwarded or dropped.', ['outcome'], () => [
      [counters.partialsForwarded, 'forwarded'],
      [counters.partialsDropped, 'dropped'],
    ])
    const histogram = (name: string, help: string, read: () => typeof timings.queued) =>
      new TimingHistogram(name, help, this.registry, read)
    histogram(
      'spillway_task_queue_seconds',
      'Time from arrival to the start that was answered.',
      () => timings.queued,
    )
    histogram('spillway_task_run_seconds', 'Time at the worker.', () => timings.run)
    histogram('spillway_task_duration_seconds', 'Time from arrival to the answer.', () => timings.total)
  }

  #capacity(core: BrokerCore): void {
    const { scheduler, workers, clients } = core
    this.#gauge('spillway_queue_depth', 'Tasks that wait, all services together.', [], () => [
      [scheduler.queued],
    ])
    this.#gauge(
      'spillway_deferred_tasks',
      'Failed tasks that wait for the retry budget before they are started again.',
      [],
      () => [[scheduler.deferred]],
    )
    this.#gauge(
      'spillway_service_queue_depth',
      'Tasks that wait, by service; the anonymous one has the empty label.',
      ['service'],
      () => [...scheduler.services.byName.values()].map(({ name, waiting }) => [waiting, name]),
    )
    this.#gauge(
      'spillway_service_slots',
      'Slots by service; a worker of two services has its slots in both.',
      ['service', 'state'],
      () =>
        [...scheduler.services.byName.values()].flatMap(({ name, free, slots }): Sample[] => [
          [free, name, 'free'],
          [slots - free, name, 'busy'],
        ]),
    )
    this.#gauge('spillway_slots', 'Slots of the workers here.', ['state'], () => {
      const { free, slots } = readSlots(core)
      return [
        [free, 'free'],
        [slots - free, 'busy'],
      ]
    })
    this.#gauge('spillway_workers', 'Workers signed in, by dialect.', ['dialect'], () => {
      const counts = { native: 0, req: 0, ppp: 0 }
      for (const { link } of workers.byKey.values()) counts[link.dialect]++
      return Object.entries(counts).map(([dialect, count]) => [count, dialect])
    })
    this.#gauge('spillway_clients', 'Clients with tasks here.', [], () => [[clients.size]])
    this.#gauge(
      'spillway_tasks_in_flight',
      'Tasks under way, by whose they are and where they run.',
      ['source', 'ran'],
      () => {
        const { local, peer, guest } = readInFlight(core)
        const counts = [local, peer, guest]
        return EXECUTIONS.map(([source, ran], index) => [counts[index] ?? 0, source, ran])
      },
    )
    this.#gauge('spillway_ledger_answers', 'Answers kept for clients that ask again.', [], () => [
      [scheduler.ledger.answered],
    ])
    this.#gauge('spillway_draining', '1 while the broker takes no new tasks.', [], () => [
      [core.draining ? 1 : 0],
    ])
  }

  #peers(core: BrokerCore, now: () => number): void {
    const each = (read: (peer: ReturnType<typeof readPeers>[number]) => Sample[]) => () =>
      readPeers(core, now()).flatMap((peer) =>
        read(peer).map(([value, ...labels]): Sample => [value, peer.name || peer.address, ...labels]),
      )
    this.#gauge('spillway_peers', 'Peers known, by phase.', ['phase'], () => {
      const counts = new Map<string, number>(PEER_PHASES.map((phase) => [phase, 0]))
      for (const { phase } of core.peers.byAddress.values()) counts.set(phase, (counts.get(phase) ?? 0) + 1)
      return byLabel(counts)
    })
    this.#gauge(
      'spillway_peer_up',
      '1 while the peer is heard from; one that has not said hello yet goes by its address.',
      ['peer'],
      each(({ phase }) => [[phase === 'up' ? 1 : 0]]),
    )
    this.#gauge(
      'spillway_peer_slots',
      'Slots of the peer by its last state, by service.',
      ['peer', 'service', 'state'],
      each(({ services }) =>
        services.flatMap(({ service, free, total }): Sample[] => [
          [free, service, 'free'],
          [Math.max(0, total - free), service, 'busy'],
        ]),
      ),
    )
    this.#gauge(
      'spillway_peer_state_age_seconds',
      'Since the last state of the peer.',
      ['peer'],
      each(({ stateAgeMs }) => (stateAgeMs === null ? [] : [[stateAgeMs / 1000]])),
    )
    this.#gauge(
      'spillway_peer_round_trip_seconds',
      'Of heartbeats to the peer, smoothed.',
      ['peer'],
      each(({ roundTripMs }) => (roundTripMs === 0 ? [] : [[roundTripMs / 1000]])),
    )
    this.#counter(
      'spillway_peer_tasks_lent_total',
      'Tasks of ours sent to the peer.',
      ['peer'],
      each(({ lentTotal }) => [[lentTotal]]),
    )
    this.#counter(
      'spillway_peer_tasks_borrowed_total',
      'Tasks received from the peer since its present life began.',
      ['peer'],
      each(({ borrowedTotal }) => [[borrowedTotal]]),
    )
  }

  #messages({ counters }: BrokerCore, traffic: Traffic): void {
    const byDirection = (count: 'messages' | 'bytes') => () =>
      SOCKET_NAMES.flatMap((socket): Sample[] => [
        [traffic.received[socket][count], socket, 'received'],
        [traffic.sent[socket][count], socket, 'sent'],
      ])
    this.#counter(
      'spillway_socket_messages_total',
      'Messages by socket; one carries many tasks.',
      ['socket', 'direction'],
      byDirection('messages'),
    )
    this.#counter(
      'spillway_socket_bytes_total',
      'Octets of messages by socket.',
      ['socket', 'direction'],
      byDirection('bytes'),
    )
    this.#counter(
      'spillway_malformed_total',
      'Messages that could not be understood, by socket and reason.',
      ['socket', 'reason'],
      () =>
        SOCKET_NAMES.flatMap((socket) =>
          [...traffic.malformed[socket]].map(([reason, count]): Sample => [count, socket, reason]),
        ),
    )
    this.#counter(
      'spillway_undelivered_total',
      'Messages that could not be sent, by socket and reason.',
      ['socket', 'reason'],
      () =>
        SOCKET_NAMES.flatMap((socket): Sample[] => [
          [traffic.undelivered[socket].unreachable, socket, 'unreachable'],
          [traffic.undelivered[socket].full, socket, 'full'],
        ]),
    )
    this.#counter(
      'spillway_dropped_total',
      'Records that were well-formed but out of place, by reason.',
      ['reason'],
      () => byLabel(counters.dropped),
    )
  }

  #process(): void {
    this.#gauge(
      'spillway_build_info',
      '1, with the versions as labels.',
      ['version', 'protocol', 'node'],
      () => [[1, VERSION, `${VERSION_MAJOR}.${VERSION_MINOR}`, process.versions.node]],
    )
    this.#lag.start()
    this.#gauge(
      'spillway_event_loop_lag_seconds',
      'How late timers have been since the last scrape.',
      ['quantile'],
      () => {
        const { p50, p99, max } = this.#lag.take()
        return [
          [p50, '0.5'],
          [p99, '0.99'],
          [max, '1'],
        ]
      },
    )
    collectDefaultMetrics({ register: this.registry })
  }

  #counter(name: string, help: string, labelNames: string[], read: () => Sample[]): void {
    const counter: Counter = new Counter({
      name,
      help,
      labelNames,
      registers: [this.registry],
      collect: () => {
        counter.reset()
        for (const [value, ...labels] of read()) counter.labels(...labels).inc(value)
      },
    })
  }

  #gauge(name: string, help: string, labelNames: string[], read: () => Sample[]): void {
    const gauge: Gauge = new Gauge({
      name,
      help,
      labelNames,
      registers: [this.registry],
      collect: () => {
        gauge.reset()
        for (const [value, ...labels] of read()) gauge.labels(...labels).set(value)
      },
    })
  }
}

function byLabel(counts: ReadonlyMap<string, number>): Sample[] {
  return [...counts].map(([label, count]) => [count, label])
}

function snake(camel: string): string {
  return camel.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}
