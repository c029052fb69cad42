import type { Board } from './board.ts'
import type { Cluster } from './cluster.ts'

/** Between lines that only say how it goes, ms. */
const EVERY_MS = 1000

/** Tells the board line by line, for a file, a pipe or a small terminal. */
export class PlainView {
  readonly #stream: NodeJS.WritableStream
  #happeningsTold = 0
  #sentenceTold = ''
  #countsToldAt = Number.NEGATIVE_INFINITY

  constructor(stream: NodeJS.WritableStream) {
    this.#stream = stream
  }

  draw(board: Board, now: number): void {
    const { happenings, judge, clusters } = board
    for (const { atMs, text } of happenings.slice(this.#happeningsTold)) this.#say(atMs, `  ${text}`)
    this.#happeningsTold = happenings.length
    if (board.sentence !== this.#sentenceTold) {
      this.#sentenceTold = board.sentence
      this.#say(board.elapsedMs(now), board.sentence)
      this.#countsToldAt = now
    }
    if (now - this.#countsToldAt < EVERY_MS || judge === null || judge.sent === 0) return
    this.#countsToldAt = now
    const busy = clusters.map((cluster) => `${cluster.name} ${wordsOf(cluster)}`)
    const counts = `${judge.sent} sent, ${judge.settled} settled, ${judge.open} open, ${judge.brokenCount()} breaches`
    this.#say(board.elapsedMs(now), `  ${busy.join(' · ')} · ${counts}`)
  }

  end(): void {}

  #say(atMs: number, text: string): void {
    this.#stream.write(`${(atMs / 1000).toFixed(1).padStart(6)} s  ${text}\n`)
  }
}

function wordsOf({ broker, status }: Cluster): string {
  if (broker.condition === 'down') return 'killed'
  if (broker.condition !== 'up') return broker.condition
  if (status === null) return 'starting'
  const { busy, slots, borrowed, queued } = status
  return `${busy}/${slots} busy${borrowed > 0 ? ` (${borrowed} borrowed)` : ''}${queued > 0 ? `, ${queued} queued` : ''}`
}
