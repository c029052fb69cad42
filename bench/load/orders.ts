/** How a load process hears what to do and says what came of it: orders on stdin, JSON on stdout, one a line. */

import { createInterface } from 'node:readline'
import { type Histogram, JsHistogram } from 'hdr-histogram-js'
import type { LoadTerms } from '../../cli/bench/load.ts'

export interface RunOrder extends LoadTerms {
  /** Octets of a task's body. */
  readonly size: number
}

/** What a run came to, as it goes over the wire. */
export interface RunReport {
  readonly type: 'result'
  readonly seconds: number
  readonly tasks: number
  /** Answers that nobody waited for, or with another task's body. */
  readonly wrong: number
  readonly failed?: number
  readonly lost: number
  /** Values in tenths of a microsecond, and how often each was seen. */
  readonly latency: readonly (readonly [number, number])[]
  /** Open loop: how late tasks were sent; the same. */
  readonly late?: readonly (readonly [number, number])[]
}

export function say(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

/** Obeys until stdin ends, which is when whoever gives the orders is gone. */
export function obey(run: (order: RunOrder) => void): void {
  const lines = createInterface({ input: process.stdin })
  lines.on('line', (line) => run(parseOrder(line)))
  lines.on('close', () => process.exit(0))
}

export function writeOrder(order: RunOrder): string {
  const { outstanding, size, rate, warmupMs, measureMs } = order
  return `run outstanding=${outstanding} size=${size} rate=${rate} warmup=${warmupMs} measure=${measureMs}\n`
}

export function parseOrder(line: string): RunOrder {
  const fields = /^run outstanding=(\d+) size=(\d+) rate=(\d+) warmup=(\d+) measure=(\d+)$/.exec(line)
  if (fields === null) throw new Error(`not understood: ${line}`)
  const [outstanding = 0, size = 0, rate = 0, warmupMs = 0, measureMs = 0] = fields.slice(1).map(Number)
  return { outstanding, size, rate, warmupMs, measureMs }
}

/** A histogram as pairs. */
export function pairsOf(histogram: Histogram): [number, number][] {
  if (!(histogram instanceof JsHistogram)) throw new Error('a histogram of the JavaScript kind was expected')
  const pairs: [number, number][] = []
  const values = histogram.recordedValuesIterator
  values.reset()
  while (values.hasNext()) {
    const { valueIteratedTo, countAddedInThisIterationStep } = values.next()
    pairs.push([valueIteratedTo, countAddedInThisIterationStep])
  }
  return pairs
}
