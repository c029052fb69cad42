import { performance } from 'node:perf_hooks'
import { SingleBar } from 'cli-progress'
import { build, type Histogram } from 'hdr-histogram-js'
import type { Reply } from '../client/main.ts'

/** What became of the lines: counted for the summary, and shown in a bar on a terminal meanwhile. */
export class RequestTally {
  done = 0
  failed = 0
  readonly #startedAt = performance.now()
  /** Microseconds. */
  readonly #times: Histogram = build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: 3_600_000_000,
    numberOfSignificantValueDigits: 3,
  })
  readonly #clusters = new Map<string, number>()
  #read = 0
  #bar: SingleBar | undefined

  /** Shows a bar on stderr; only a terminal should be asked to. */
  showBar(): void {
    this.#bar = new SingleBar({
      format: '{bar} {value}/{total} tasks  {failed} failed  {duration_formatted}',
      stream: process.stderr,
      hideCursor: true,
      fps: 5,
    })
    this.#bar.start(0, 0, { failed: 0 })
  }

  hideBar(): void {
    this.#bar?.stop()
    this.#bar = undefined
  }

  read(): void {
    this.#read++
    this.#bar?.setTotal(this.#read)
  }

  succeeded(reply: Reply): void {
    this.done++
    this.#times.recordValue(Math.max(1, Math.round(reply.totalMs * 1000)))
    const cluster = reply.cluster === '' ? 'unnamed' : reply.cluster
    this.#clusters.set(cluster, (this.#clusters.get(cluster) ?? 0) + 1)
    this.#bar?.update(this.done + this.failed)
  }

  hasFailed(): void {
    this.failed++
    this.#bar?.update(this.done + this.failed, { failed: this.failed })
  }

  /** One line for people. */
  summary(): string {
    const tasks = this.done + this.failed
    const seconds = (performance.now() - this.#startedAt) / 1000
    const head = `${tasks} ${tasks === 1 ? 'task' : 'tasks'}, ${this.failed} failed, ${seconds.toFixed(1)} s, ${Math.round(tasks / seconds)} tasks/s`
    if (this.done === 0) return head
    const p50 = milliseconds(this.#times.getValueAtPercentile(50))
    const p99 = milliseconds(this.#times.getValueAtPercentile(99))
    const clusters = [...this.#clusters]
      .sort(([, a], [, b]) => b - a)
      .map(([name, count]) => `${name} ${count}`)
    return `${head}, p50 ${p50}, p99 ${p99}; by cluster: ${clusters.join(', ')}`
  }
}

function milliseconds(microseconds: number): string {
  return `${(microseconds / 1000).toFixed(microseconds < 10_000 ? 2 : 0)} ms`
}
