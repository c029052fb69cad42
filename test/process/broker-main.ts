/** A broker in a process of its own, with the settings in its argument; reports on itself when its parent asks. */

import { Reactor } from '../../broker/io/reactor.ts'
import { type BrokerSettings, reactorSettings } from '../broker-settings.ts'
import type { BrokerReport } from './broker-process.ts'

const settings: BrokerSettings = JSON.parse(process.argv[2] ?? '{}')

let events = 0
const reactor = new Reactor({
  ...reactorSettings(settings),
  onEvent: () => events++,
  onMalformed: () => {},
  onDrained: () => process.exit(0),
  onFatal: (error) => {
    console.error(error)
    process.exit(1)
  },
})
await reactor.open()

function report(): BrokerReport {
  const { scheduler, clients, workers, guests, peers, counters } = reactor.core
  // Twice: what only a finalizer frees, as the memory of messages that were received, goes with the second.
  global.gc?.()
  global.gc?.()
  const { heapUsed, external, arrayBuffers, rss } = process.memoryUsage()
  const { client, stock, peer } = counters.tasksReceived
  return {
    endpoints: reactor.endpoints,
    memory: { heapUsed, external, arrayBuffers, rss },
    events,
    received: client + stock + peer,
    settled: Object.fromEntries(counters.tasksSettled),
    answeredKept: scheduler.ledger.answered,
    slots: scheduler.services.byName.get('')?.slots ?? 0,
    free: scheduler.services.byName.get('')?.free ?? 0,
    peersUp: [...peers.byName.values()].filter(({ phase }) => phase === 'up').length,
    lent: [...peers.byName.values()].reduce((sum, { lent }) => sum + lent, 0),
    tables: {
      queued: scheduler.queued,
      running: scheduler.running,
      deferred: scheduler.deferred,
      assignments: scheduler.assignments.size,
      ledger: scheduler.ledger.underWay,
      clients: clients.size,
      guestTasks: scheduler.guestTasks,
      guests: guests.byName.size,
    },
    workers: workers.byKey.size,
    services: scheduler.services.byName.size,
  }
}

process.on('message', () => process.send?.(report()))
process.on('disconnect', () => process.exit(0))
process.send?.(report())
