import type { Broker as BrokerCore } from '../core/broker.ts'
import type { Peer } from '../core/peer.ts'
import { printable } from '../core/workers.ts'
import type { BrokerStatus, PeerStatus } from '../status.ts'
import { VERSION } from './version.ts'

const WORKERS_LISTED_MAX = 1000

/** Reads off the core what `GET /status` tells. `now` is the core's clock, ms. */
export function readStatus(
  core: BrokerCore,
  endpoints: BrokerStatus['endpoints'],
  ready: boolean,
  now: number,
): BrokerStatus {
  const { scheduler, workers, peers, clients, counters } = core
  const byDialect = { native: 0, req: 0, ppp: 0 }
  const list: BrokerStatus['workers']['list'] = []
  const slots = readSlots(core)
  for (const worker of workers.byKey.values()) {
    byDialect[worker.link.dialect]++
    if (list.length < WORKERS_LISTED_MAX) {
      list.push({
        name: worker.name === '' ? printable(worker.link.key) : worker.name,
        dialect: worker.link.dialect,
        slots: worker.slots,
        busy: worker.busy,
        services: worker.services().map(({ name }) => name),
        silentForMs: Math.round(now - worker.heardAt),
      })
    }
  }
  const inFlight = readInFlight(core)
  let peersUp = 0
  for (const { phase } of peers.byName.values()) if (phase === 'up') peersUp++
  return {
    name: core.config.name,
    version: VERSION,
    epoch: core.epoch,
    uptimeMs: Math.round(now - core.startedAt),
    ready,
    draining: core.draining,
    endpoints: { ...endpoints },
    ...slots,
    queued: scheduler.queued,
    deferred: scheduler.deferred,
    inFlight,
    lent: inFlight.peer,
    borrowed: inFlight.guest,
    clients: clients.size,
    peersUp,
    workers: { total: workers.byKey.size, byDialect, list },
    peers: readPeers(core, now),
    services: [...scheduler.services.byName.values()].map((service) => ({
      service: service.name,
      queued: service.waiting,
      free: service.free,
      slots: service.slots,
      workers: service.workers,
    })),
    ledger: { underWay: scheduler.ledger.underWay, answered: scheduler.ledger.answered },
    counters: {
      received: { ...counters.tasksReceived },
      completed: {
        local: counters.tasksCompletedLocal,
        byPeers: counters.tasksCompletedByPeers,
        forPeers: counters.tasksCompletedForPeers,
      },
      settled: Object.fromEntries(counters.tasksSettled),
      redispatched: { ...counters.redispatched },
      rejects: { sent: counters.rejectsSent, received: counters.rejectsReceived },
      expired: { queued: counters.expiredQueued, running: counters.expiredRunning },
      busy: counters.busy,
      cancelled: counters.cancelled,
      attached: counters.attached,
      answeredAgain: counters.answeredAgain,
      lateReplies: counters.lateReplies,
      dropped: Object.fromEntries(counters.dropped),
    },
  }
}

/** Slots of all workers: a slot counts as busy until the worker itself says otherwise, a silent worker's too. */
export function readSlots({ workers }: BrokerCore): { slots: number; busy: number; free: number } {
  let slots = 0
  let busy = 0
  let free = 0
  for (const worker of workers.byKey.values()) {
    slots += worker.slots
    busy += worker.busy
    free += worker.free
  }
  return { slots, busy, free }
}

/** Tasks under way, by whose they are and where they run. An attempt that was given up no longer counts. */
export function readInFlight({ scheduler, peers }: BrokerCore): BrokerStatus['inFlight'] {
  let peer = 0
  for (const known of peers.byAddress.values()) peer += lentTo(known)
  let guest = scheduler.guestTasks
  for (const { guests } of scheduler.services.byName.values()) guest -= guests.length
  return { local: Math.max(0, scheduler.running - peer - guest), peer, guest }
}

export function lentTo(peer: Peer): number {
  let lent = 0
  for (const assignment of peer.heldNewestFirst()) {
    if (assignment.task?.current === assignment) lent++
  }
  return lent
}

/** All peers, also those that have not said hello yet. */
export function readPeers(core: BrokerCore, now: number): PeerStatus[] {
  return [...core.peers.byAddress.values()].map((peer) => {
    const guest = core.guests.byName.get(peer.name)
    const services = peer.offers.all.map(({ service, free, total }) => ({
      service: service.name,
      free,
      total,
    }))
    const fresh = now - peer.stateAt < core.config.stateTtlMs
    return {
      name: peer.name,
      address: peer.address,
      phase: peer.phase,
      configured: peer.configured,
      draining: peer.draining,
      epoch: peer.link.epoch,
      stateAgeMs: Number.isFinite(peer.stateAt) ? Math.round(now - peer.stateAt) : null,
      roundTripMs: Math.round(peer.roundTripMs * 1000) / 1000,
      services,
      slots: capacityOf(peer, fresh),
      queueDepth: peer.queueDepth,
      inFlight: peer.inFlight,
      lent: lentTo(peer),
      borrowed: guest?.tasks.size ?? 0,
      lentTotal: peer.lent,
      borrowedTotal: guest?.received ?? 0,
    }
  })
}

/** What a peer has, as far as its news is still believed. A worker of two services has its slots in both: the largest one is
 *  certain, the sum is not. */
function capacityOf(peer: Peer, fresh: boolean): { free: number; total: number } {
  let free = 0
  let total = 0
  for (const offer of peer.offers.all) {
    free = Math.max(free, offer.free)
    total = Math.max(total, offer.total)
  }
  return { free: fresh ? free : 0, total }
}
