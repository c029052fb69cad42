import pc from 'picocolors'
import type { BrokerStatus } from '../broker/status.ts'
import { paintPhase } from './status.ts'

const BAR_WIDTH = 20

/** One cluster in one sample. */
export interface ClusterRow {
  readonly name: string
  /** The broker that is asked: it knows itself exactly and its peers by their last states. */
  readonly self: boolean
  readonly phase: string
  readonly slots: number
  readonly free: number
  readonly queue: number
  readonly inFlight: number
  /** Between it and the broker that is asked: tasks lent to it, and borrowed from it; of that broker itself, in all. */
  readonly lent: number
  readonly borrowed: number
  /** Null for the broker itself, and while unknown. */
  readonly roundTripMs: number | null
  /** Of the broker itself what was completed there; of a peer what the two sent each other. Null in the first sample. */
  readonly tasksPerSecond: number | null
}

/** What every cluster does, by what one broker knows; rates are differences from an earlier sample. */
export function clusterRows(status: BrokerStatus, before: BrokerStatus | null): ClusterRow[] {
  const restarted = before === null || before.epoch !== status.epoch
  const elapsedMs = restarted ? 0 : status.uptimeMs - before.uptimeMs
  const rate = (now: number, then: number | undefined): number | null =>
    elapsedMs <= 0 || then === undefined ? null : (Math.max(0, now - then) * 1000) / elapsedMs
  const { local, peer, guest } = status.inFlight
  const self: ClusterRow = {
    name: status.name,
    self: true,
    phase: status.draining ? 'draining' : 'up',
    slots: status.slots,
    free: status.free,
    queue: status.queued,
    inFlight: local + guest,
    lent: peer,
    borrowed: guest,
    roundTripMs: null,
    tasksPerSecond: rate(completed(status), before === null ? undefined : completed(before)),
  }
  const peers = status.peers.map((known): ClusterRow => {
    const then = before?.peers.find(
      ({ address, epoch }) => address === known.address && epoch === known.epoch,
    )
    return {
      name: known.name === '' ? known.address : known.name,
      self: false,
      phase: known.phase === 'up' && known.draining ? 'draining' : known.phase,
      slots: known.slots.total,
      free: known.slots.free,
      queue: known.queueDepth,
      inFlight: known.inFlight,
      lent: known.lent,
      borrowed: known.borrowed,
      roundTripMs: known.roundTripMs === 0 ? null : known.roundTripMs,
      tasksPerSecond: rate(
        known.lentTotal + known.borrowedTotal,
        then === undefined ? undefined : then.lentTotal + then.borrowedTotal,
      ),
    }
  })
  return [self, ...peers.sort((a, b) => (a.name < b.name ? -1 : 1))]
}

function completed({ counters }: BrokerStatus): number {
  const { local, byPeers, forPeers } = counters.completed
  return local + byPeers + forPeers
}

/** The picture, as wide as it needs to be: a bar of busy slots a cluster. */
export function picture(rows: readonly ClusterRow[]): string {
  const widest = Math.max(7, ...rows.map(({ name }) => name.length + 2))
  const head = [
    'CLUSTER'.padEnd(widest),
    'PHASE'.padEnd(9),
    'BUSY'.padEnd(BAR_WIDTH),
    'FREE/SLOTS'.padStart(11),
    'QUEUE'.padStart(7),
    'IN FLIGHT'.padStart(10),
    'LENT'.padStart(6),
    'BORROWED'.padStart(9),
    'ROUND TRIP'.padStart(11),
    'TASKS/S'.padStart(8),
  ]
  return [pc.dim(head.join(' ')), ...rows.map((row) => line(row, widest))].join('\n')
}

function line(row: ClusterRow, widest: number): string {
  const name = `${row.name}${row.self ? ' *' : ''}`.padEnd(widest)
  return [
    row.self ? pc.bold(name) : name,
    paintPhase(row.phase) + ' '.repeat(Math.max(0, 9 - row.phase.length)),
    bar(row),
    `${row.free}/${row.slots}`.padStart(11),
    String(row.queue).padStart(7),
    String(row.inFlight).padStart(10),
    String(row.lent).padStart(6),
    String(row.borrowed).padStart(9),
    (row.roundTripMs === null ? '–' : `${row.roundTripMs.toFixed(1)} ms`).padStart(11),
    (row.tasksPerSecond === null
      ? '–'
      : row.tasksPerSecond.toFixed(row.tasksPerSecond < 10 ? 1 : 0)
    ).padStart(8),
  ].join(' ')
}

function bar({ slots, free }: ClusterRow): string {
  if (slots === 0) return pc.dim('·'.repeat(BAR_WIDTH))
  const busy = Math.min(1, Math.max(0, (slots - free) / slots))
  const full = Math.round(busy * BAR_WIDTH)
  const paint = busy >= 0.9 ? pc.red : busy >= 0.6 ? pc.yellow : pc.green
  return paint('█'.repeat(full)) + pc.dim('░'.repeat(BAR_WIDTH - full))
}

/** For whoever is no terminal: a line a cluster, fields with names. */
export function plainLine(at: Date, row: ClusterRow): string {
  const { name, phase, slots, free, queue, inFlight, lent, borrowed, roundTripMs, tasksPerSecond } = row
  const fields = [
    at.toISOString(),
    `cluster=${name}`,
    `phase=${phase}`,
    `slots=${slots}`,
    `free=${free}`,
    `queue=${queue}`,
    `in_flight=${inFlight}`,
    `lent=${lent}`,
    `borrowed=${borrowed}`,
  ]
  if (roundTripMs !== null) fields.push(`round_trip_ms=${roundTripMs}`)
  if (tasksPerSecond !== null) fields.push(`tasks_per_second=${tasksPerSecond.toFixed(1)}`)
  return fields.join(' ')
}
