import type { Executor } from '../broker/core/executor.ts'
import { Breach } from './breach.ts'
import type { BrokerNode } from './broker-node.ts'

/** Sums that a broker keeps as it goes, against the tables they are sums of. Costs a visit to every table. */
export function checkBooks(broker: BrokerNode, at: number): void {
  const { scheduler, workers, peers, guests } = broker.core
  const off = (what: string, kept: number, counted: number): never => {
    throw new Breach(
      "a broker's books are right",
      at,
      null,
      `${broker.name}: ${what} is ${kept}, counted ${counted}`,
    )
  }
  let held = 0
  let current = 0
  const tally = (executor: Executor, who: string): void => {
    let length = 0
    for (let a = executor.firstHeld; a !== null; a = a.next) {
      length++
      held++
      if (a.task !== null && a.task.current === a) current++
      if (!a.open)
        throw new Breach(
          "a broker's books are right",
          at,
          null,
          `${broker.name}: ${who} holds a closed assignment`,
        )
      if (a.task?.settled) {
        throw new Breach(
          "a broker's books are right",
          at,
          null,
          `${broker.name}: ${who} still has task ${a.task.id}, which is settled`,
        )
      }
    }
    if (length !== executor.held) off(`number of assignments of ${who}`, executor.held, length)
  }
  const freeByService = new Map<string, number>()
  for (const worker of workers.byKey.values()) {
    tally(worker, worker.name)
    const { free } = worker
    if (worker.countedFree !== free) off(`free slots of ${worker.name}`, worker.countedFree, free)
    for (let membership = worker.serves; membership !== null; membership = membership.other) {
      const { name } = membership.service
      freeByService.set(name, (freeByService.get(name) ?? 0) + free)
      if (membership.linked !== free > 0)
        off(`standing in line of ${worker.name} for "${name}"`, Number(membership.linked), free)
    }
  }
  for (const peer of peers.byAddress.values()) {
    tally(peer, peer.label)
    if (peer.seen > peer.sent) off(`tasks that ${peer.label} has seen`, peer.seen, peer.sent)
    let unseen = 0
    for (const offer of peer.offers.all) {
      unseen += offer.unseen
      if (offer.unseen < 0) off(`tasks on their way to ${peer.label}`, offer.unseen, 0)
    }
    if (unseen > peer.sent - peer.seen)
      off(`tasks on their way to ${peer.label}`, unseen, peer.sent - peer.seen)
  }
  if (held !== scheduler.assignments.size) off('number of assignments', scheduler.assignments.size, held)
  if (current !== scheduler.running) off('number of running tasks', scheduler.running, current)
  let guestTasks = 0
  for (const guest of guests.byName.values()) guestTasks += guest.tasks.size
  if (guestTasks !== scheduler.guestTasks) off("number of guests' tasks", scheduler.guestTasks, guestTasks)
  let queued = 0
  let deferred = 0
  for (const service of scheduler.services.byName.values()) {
    queued += service.waiting
    deferred += service.deferred
    const free = freeByService.get(service.name) ?? 0
    if (service.free !== free) off(`free slots of service "${service.name}"`, service.free, free)
    if (service.waiting > 0 && service.leastRecentlyUsed !== null && !scheduler.assignments.full) {
      throw new Breach(
        'no task waits while a local worker is free',
        at,
        null,
        `${broker.name}: ${service.waiting} wait for "${service.name}", ${service.leastRecentlyUsed.worker.name} is free`,
      )
    }
  }
  if (queued !== scheduler.queued) off('number of queued tasks', scheduler.queued, queued)
  if (deferred !== scheduler.deferred) off('number of deferred tasks', scheduler.deferred, deferred)
}

/** What is left in a broker when it has nothing to do any more; empty when nothing is. */
export function leftovers(broker: BrokerNode): string[] {
  const { scheduler, clients, workers, peers, guests } = broker.core
  const left: string[] = []
  const expectNone = (what: string, count: number): void => {
    if (count !== 0) left.push(`${broker.name}: ${count} ${what}`)
  }
  expectNone('assignments', scheduler.assignments.size)
  expectNone('tasks under way in the ledger', scheduler.ledger.underWay)
  expectNone('queued tasks', scheduler.queued)
  expectNone('deferred tasks', scheduler.deferred)
  expectNone('running tasks', scheduler.running)
  expectNone('tasks of guests', scheduler.guestTasks)
  expectNone('clients', clients.size)
  for (const worker of workers.byKey.values()) {
    expectNone(`tasks at ${worker.name}`, worker.held)
    expectNone(`ghosts at ${worker.name}`, worker.ghosts?.size ?? 0)
    if (worker.free !== worker.slots)
      left.push(`${broker.name}: ${worker.name} has ${worker.free} of ${worker.slots} slots free`)
  }
  for (const peer of peers.byAddress.values()) {
    expectNone(`tasks at ${peer.label}`, peer.held)
    // Of one that is gone nobody knows, or needs to know.
    if (peer.phase !== 'up') continue
    for (const offer of peer.offers.all) expectNone(`tasks on their way to ${peer.label}`, offer.unseen)
  }
  for (const guest of guests.byName.values()) expectNone(`tasks of ${guest.name}`, guest.tasks.size)
  for (const service of scheduler.services.byName.values()) {
    expectNone(`tasks of service "${service.name}"`, service.tasks)
    if (service.free !== service.slots)
      left.push(
        `${broker.name}: service "${service.name}" has ${service.free} of ${service.slots} slots free`,
      )
  }
  return left
}
