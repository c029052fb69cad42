/**
 * A client of the demonstration, in a process of its own: sends pieces of files at the rate it is told, and checks every
 * answer against what it computed itself.
 */

import { build, type Histogram } from 'hdr-histogram-js'
import { Client } from '../../client/main.ts'
import { errorMessage } from '../../settings/error-message.ts'
import { type Order, orderSchema, type Report } from './load-report.ts'
import { Pieces } from './pieces.ts'
import { isRight, sha256 } from './task.ts'

const REPORT_EVERY_MS = 100
const SEND_EVERY_MS = 10
/** At once at most: a machine that stood still for a moment must not make a burst that overflows an idle cluster. */
const BURST_MAX = 4
const ERRORS_MAX = 3

const [connect = '', folder = '', startAt = '0'] = process.argv.slice(2)

const pieces = await Pieces.below(folder)
pieces.startAt(Number(startAt))
const client = new Client({
  connect,
  // A cluster that is killed comes back within seconds. Until then its clients ask again, and again.
  timeoutMs: 1000,
  retries: 60,
  deadlineMs: 60_000,
})

const ranIn: Record<string, number> = {}
const latencyByAct = new Map<string, Histogram>()
const errors: string[] = []
let act = ''
let tasksPerSecond = 0
let due = 0
let sent = 0
let answered = 0
let wrong = 0
let failed = 0
let startedAgain = 0
let finishing = false

async function send(): Promise<void> {
  sent++
  const body = await pieces.next()
  const hash = sha256(body)
  try {
    const reply = await client.request(body)
    const right = await isRight(reply.body, body, hash)
    answered++
    if (!right) wrong++
    ranIn[reply.cluster] = (ranIn[reply.cluster] ?? 0) + 1
    if (reply.attempts > 1) startedAgain++
    latency(act).recordValue(Math.round(reply.totalMs))
  } catch (error) {
    failed++
    if (errors.length < ERRORS_MAX) errors.push(errorMessage(error))
  }
  if (finishing && answered + failed === sent) finished()
}

function latency(name: string): Histogram {
  let histogram = latencyByAct.get(name)
  if (histogram === undefined) {
    histogram = build({ highestTrackableValue: 120_000 })
    latencyByAct.set(name, histogram)
  }
  return histogram
}

function report(type: Report['type'], told: () => void = () => {}): void {
  const { late, requestsResent } = client.stats
  const message: Report = {
    type,
    files: pieces.files,
    pieces: pieces.count,
    sent,
    answered,
    wrong,
    failed,
    late,
    ranIn,
    startedAgain,
    sentAgain: requestsResent,
    latencies: [...latencyByAct].map(([name, histogram]) => ({
      act: name,
      answers: histogram.totalCount,
      p50Ms: histogram.getValueAtPercentile(50),
      p99Ms: histogram.getValueAtPercentile(99),
    })),
    errors,
  }
  process.send?.(message, undefined, undefined, told)
}

let sentAt = performance.now()
const sending = setInterval(() => {
  const now = performance.now()
  due = Math.min(BURST_MAX, due + ((now - sentAt) / 1000) * tasksPerSecond)
  sentAt = now
  for (; due >= 1; due--) void send()
}, SEND_EVERY_MS)
const reporting = setInterval(() => report('progress'), REPORT_EVERY_MS)

function obey(order: Order): void {
  if (order.type === 'act') {
    act = order.act
    tasksPerSecond = order.tasksPerSecond
    return
  }
  finishing = true
  clearInterval(sending)
  if (answered + failed === sent) finished()
}

function finished(): void {
  clearInterval(reporting)
  void client.close()
  report('finished', () => process.exit(0))
}

process.on('message', (message) => obey(orderSchema.parse(message)))
report('ready')
