/** Brokers on real sockets for tests: opened on ephemeral ports of the loopback, closed when the test is over. */

import { expect, onTestFinished, vi } from 'vitest'
import type { BrokerEvent } from '../broker/core/event.ts'
import { Reactor } from '../broker/io/reactor.ts'
import type { SocketName } from '../broker/io/traffic.ts'
import { type BrokerSettings, reactorSettings } from './broker-settings.ts'

export type { BrokerSettings } from './broker-settings.ts'

/** A broker with what it told its caller. */
export class TestBroker {
  readonly events: BrokerEvent[] = []
  /** What `onMalformed` was called with, as `socket reason`. */
  readonly malformed = new Set<string>()
  readonly fatal: unknown[] = []
  readonly reactor: Reactor

  constructor(settings: BrokerSettings) {
    this.reactor = new Reactor({
      ...reactorSettings(settings),
      onEvent: (event) => this.events.push(event),
      onMalformed: (socket, reason) => this.malformed.add(`${socket} ${reason}`),
      onDrained: () => {},
      onFatal: (error) => this.fatal.push(error),
    })
  }

  get core() {
    return this.reactor.core
  }

  get localfe(): string {
    return this.reactor.endpoints.localfe
  }

  get localbe(): string {
    return this.reactor.endpoints.localbe
  }

  get cloudfe(): string {
    return this.reactor.endpoints.cloudfe
  }

  /** Slots free for a service here. */
  free(service = ''): number {
    return this.core.scheduler.services.byName.get(service)?.free ?? 0
  }

  /** Slots of the workers signed in for a service here. */
  slots(service = ''): number {
    return this.core.scheduler.services.byName.get(service)?.slots ?? 0
  }

  /** Slots that peers have said they have free for a service. */
  offered(service = ''): number {
    const offers = this.core.scheduler.services.byName.get(service)?.offers ?? []
    return offers.reduce((sum, offer) => sum + offer.free, 0)
  }

  malformedAt(socket: SocketName): number {
    let sum = 0
    for (const total of this.reactor.traffic.malformed[socket].values()) sum += total
    return sum
  }

  get dropped(): number {
    let sum = 0
    for (const total of this.core.counters.dropped.values()) sum += total
    return sum
  }

  eventsOf<T extends BrokerEvent['type']>(type: T): (BrokerEvent & { type: T })[] {
    return this.events.filter((event): event is BrokerEvent & { type: T } => event.type === type)
  }

  /** Nothing of any task is left in any table; what was answered may still be kept for whoever asks again. */
  expectNoTaskLeft(): void {
    const { scheduler, clients, workers, guests, peers } = this.core
    const held = (executors: Iterable<{ held: number }>) =>
      [...executors].reduce((sum, executor) => sum + executor.held, 0)
    expect({
      queued: scheduler.queued,
      running: scheduler.running,
      deferred: scheduler.deferred,
      guestTasks: scheduler.guestTasks,
      assignments: scheduler.assignments.size,
      ledger: scheduler.ledger.underWay,
      clients: clients.size,
      workers: held(workers.byKey.values()),
      ghosts: [...workers.byKey.values()].reduce((sum, { ghosts }) => sum + (ghosts?.size ?? 0), 0),
      peers: held(peers.byAddress.values()),
      guests: [...guests.byName.values()].reduce((sum, { tasks }) => sum + tasks.size, 0),
    }).toEqual({
      queued: 0,
      running: 0,
      deferred: 0,
      guestTasks: 0,
      assignments: 0,
      ledger: 0,
      clients: 0,
      workers: 0,
      ghosts: 0,
      peers: 0,
      guests: 0,
    })
  }
}

/** Opens a broker; it is closed after the test, which fails if anything was ever thrown through the broker's loop. */
export async function openBroker(settings: BrokerSettings = {}): Promise<TestBroker> {
  const broker = new TestBroker(settings)
  await broker.reactor.open()
  onTestFinished(async () => {
    await broker.reactor.close()
    expect(broker.fatal).toEqual([])
  })
  return broker
}

/** Brokers that all know each other, with the given settings over common ones. */
export async function openFederation(
  names: readonly string[],
  settings: BrokerSettings = {},
): Promise<TestBroker[]> {
  const brokers: TestBroker[] = []
  for (const name of names) {
    const peers = brokers.map(({ cloudfe }) => cloudfe)
    brokers.push(await openBroker({ ...settings, name, peers }))
  }
  await eventually(() => {
    for (const { core } of brokers) {
      const up = [...core.peers.byName.values()].filter(({ phase }) => phase === 'up')
      expect(up.length).toBe(names.length - 1)
    }
  })
  return brokers
}

/** Waits until an expectation holds. */
export function eventually<T>(expectation: () => T | Promise<T>, timeout = 10_000): Promise<T> {
  return vi.waitFor(expectation, { timeout, interval: 5 })
}
