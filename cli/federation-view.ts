import pc from 'picocolors'
import type { BrokerStatus } from '../broker/status.ts'
import { paintPhase } from './status.ts'

const BAR_WIDTH = 20
const BAR_WIDTH_MIN = 6
const PHASE_WIDTH = 8

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

/** The picture: a bar of busy slots a cluster, as wide as there is room for it. */
export function picture(rows: readonly ClusterRow[], width = 120): string {
  const name = Math.max(7, ...rows.map((row) => row.name.length + 2))
  const room = width - name - COLUMNS.reduce((sum, column) => sum + column.width + 1, 0) - PHASE_WIDTH - 2
  const bar = room < BAR_WIDTH_MIN ? 0 : Math.min(BAR_WIDTH, room)
  const head = [
    'CLUSTER'.padEnd(name),
    'PHASE'.padEnd(PHASE_WIDTH),
    ...(bar === 0 ? [] : ['BUSY'.padEnd(bar)]),
    ...COLUMNS.map((column) => column.head.padStart(column.width)),
  ]
  const lines = rows.map((row) => {
    const title = `${row.name}${row.self ? ' *' : ''}`.padEnd(name)
    return [
      row.self ? pc.bold(title) : title,
      paintPhase(row.phase) + ' '.repeat(Math.max(0, PHASE_WIDTH - row.phase.length)),
      ...(bar === 0 ? [] : [busyBar(row, bar)]),
      ...COLUMNS.map((column) => column.cell(row).padStart(column.width)),
    ].join(' ')
  })
  return [pc.dim(head.join(' ')), ...lines].join('\n')
}

interface Column {
  readonly head: string
  readonly width: number
  readonly cell: (row: ClusterRow) => string
}

const COLUMNS: readonly Column[] = [
  { head: 'FREE', width: 9, cell: ({ free, slots }) => `${free}/${slots}` },
  { head: 'QUEUE', width: 6, cell: ({ queue }) => String(queue) },
  { head: 'RUNNING', width: 7, cell: ({ inFlight }) => String(inFlight) },
  { head: 'LENT', width: 5, cell: ({ lent }) => String(lent) },
  { head: 'BORROWED', width: 8, cell: ({ borrowed }) => String(borrowed) },
  {
    head: 'ROUND',
    width: 9,
    cell: ({ roundTripMs }) => (roundTripMs === null ? '–' : `${roundTripMs.toFixed(1)} ms`),
  },
  {
    head: 'TASKS/S',
    width: 8,
    cell: ({ tasksPerSecond: rate }) => (rate === null ? '–' : rate.toFixed(rate < 10 ? 1 : 0)),
  },
]

function busyBar({ slots, free }: ClusterRow, width: number): string {
  if (slots === 0) return pc.dim('·'.repeat(width))
  const busy = Math.min(1, Math.max(0, (slots - free) / slots))
  const full = Math.round(busy * width)
  const paint = busy >= 0.9 ? pc.red : busy >= 0.6 ? pc.yellow : pc.green
  return paint('█'.repeat(full)) + pc.dim('░'.repeat(width - full))
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
