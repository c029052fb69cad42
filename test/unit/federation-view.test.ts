import { stripVTControlCharacters } from 'node:util'
import { expect, test } from 'vitest'
import { readStatus } from '../../broker/io/status.ts'
import type { BrokerStatus } from '../../broker/status.ts'
import { clusterRows, picture, plainLine } from '../../cli/federation-view.ts'
import { Rig } from '../core/broker-rig.ts'

const ENDPOINTS = { localfe: '', localbe: '', cloudfe: '', statebe: '' }

function statusOf(rig: Rig): BrokerStatus {
  return readStatus(rig.broker, ENDPOINTS, true, rig.now)
}

/** West has two slots, both taken; east has lent it two of its ten. */
function federation() {
  const rig = new Rig()
  const client = rig.client('c1')
  const worker = rig.worker('w1', { slots: 2 }).ready()
  const east = rig.peer('east').up(10)
  for (const id of ['a', 'b', 'c', 'd']) client.request({ id })
  east.state(8, { inFlight: 2, queueDepth: 3 })
  return { rig, client, worker, east }
}

test('the broker that is asked comes first, then its peers by their last states', () => {
  const { rig } = federation()
  expect(clusterRows(statusOf(rig), null)).toEqual([
    {
      name: 'west',
      self: true,
      phase: 'up',
      slots: 2,
      free: 0,
      queue: 0,
      inFlight: 2,
      lent: 2,
      borrowed: 0,
      roundTripMs: null,
      tasksPerSecond: null,
    },
    {
      name: 'east',
      self: false,
      phase: 'up',
      slots: 10,
      free: 8,
      queue: 3,
      inFlight: 2,
      lent: 2,
      borrowed: 0,
      roundTripMs: null,
      tasksPerSecond: null,
    },
  ])
})

test('rates are what has come between two samples', () => {
  const { rig, client, worker, east } = federation()
  const before = statusOf(rig)
  for (const id of ['a', 'b']) worker.reply({ id })
  for (const id of ['c', 'd']) east.reply({ id })
  for (const id of ['e', 'f', 'g']) client.request({ id })
  rig.now += 500
  const [west, peer] = clusterRows(statusOf(rig), before)
  expect(west?.tasksPerSecond).toBe(8)
  expect(peer?.tasksPerSecond).toBe(2)
})

test('a restarted broker has no rate in its first sample', () => {
  const { rig } = federation()
  const before = { ...statusOf(rig), epoch: 1 }
  rig.now += 500
  expect(clusterRows(statusOf(rig), before).map(({ tasksPerSecond }) => tasksPerSecond)).toEqual([null, null])
})

test('a peer without fresh news has nothing free', () => {
  const { rig } = federation()
  rig.now += 2000
  expect(clusterRows(statusOf(rig), null)[1]).toMatchObject({ name: 'east', free: 0, slots: 10 })
})

test('a drained peer says so', () => {
  const { rig, east } = federation()
  east.state(0, { draining: true })
  expect(clusterRows(statusOf(rig), null)[1]?.phase).toBe('draining')
})

test('the bar is as full as the cluster, and the columns stand below each other', () => {
  const { rig } = federation()
  const lines = stripVTControlCharacters(picture(clusterRows(statusOf(rig), null))).split('\n')
  expect(new Set(lines.map((line) => line.length)).size).toBe(1)
  expect(lines[1]).toContain('█'.repeat(20))
  expect(lines[2]).toContain(`${'█'.repeat(4)}${'░'.repeat(16)}`)
})

test('a narrow terminal has no bar, but every column', () => {
  const { rig } = federation()
  const lines = stripVTControlCharacters(picture(clusterRows(statusOf(rig), null), 80)).split('\n')
  for (const line of lines) expect(line.length).toBeLessThanOrEqual(80)
  expect(lines[0]).toMatch(/^CLUSTER PHASE +FREE +QUEUE RUNNING {2}LENT BORROWED +ROUND +TASKS\/S$/)
})

test('a plain line has fields with names', () => {
  const [west] = clusterRows(statusOf(federation().rig), null)
  if (west === undefined) throw new Error('no row')
  expect(plainLine(new Date(0), west)).toBe(
    '1970-01-01T00:00:00.000Z cluster=west phase=up slots=2 free=0 queue=0 in_flight=2 lent=2 borrowed=0',
  )
})
