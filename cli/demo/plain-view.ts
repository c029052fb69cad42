import type { Scene } from './scene.ts'

/** Between lines that only say how it goes, ms. */
const EVERY_MS = 1000

/** Tells the scene line by line, for a file, a pipe or a small terminal. */
export class PlainView {
  readonly #stream: NodeJS.WritableStream
  #happeningsTold = 0
  #sentenceTold = ''
  #countsToldAt = Number.NEGATIVE_INFINITY

  constructor(stream: NodeJS.WritableStream) {
    this.#stream = stream
  }

  draw(scene: Scene, now: number): void {
    const { happenings } = scene
    for (const { atMs, text } of happenings.slice(this.#happeningsTold)) this.#say(atMs, `  ${text}`)
    this.#happeningsTold = happenings.length
    if (scene.sentence !== this.#sentenceTold) {
      this.#sentenceTold = scene.sentence
      this.#say(scene.elapsedMs(now), `[${scene.act}/${scene.actsTotal}] ${scene.sentence}`)
      this.#countsToldAt = now
    }
    if (now - this.#countsToldAt < EVERY_MS || scene.report === undefined) return
    this.#countsToldAt = now
    const busy = scene.clusters.map(({ name, condition, busy, slots, borrowed, queue }) =>
      condition === 'up'
        ? `${name} ${busy}/${slots} busy${borrowed > 0 ? ` (${borrowed} borrowed)` : ''}${queue > 0 ? `, ${queue} queued` : ''}`
        : `${name} ${condition}`,
    )
    const { sent, answered, wrong } = scene.report
    this.#say(
      scene.elapsedMs(now),
      `  ${busy.join(' · ')} · ${sent} sent, ${answered} answered, ${wrong} wrong`,
    )
  }

  end(): void {}

  #say(atMs: number, text: string): void {
    this.#stream.write(`${(atMs / 1000).toFixed(1).padStart(5)} s  ${text}\n`)
  }
}
