/** Between lines that only say how it goes, ms. */
const EVERY_MS = 1000

/** What goes on, as far as it is told in lines. */
export interface Progress {
  readonly happenings: readonly { readonly atMs: number; readonly text: string }[]
  /** What the present part of it is about. */
  readonly sentence: string
  elapsedMs(now: number): number
}

/** How one kind of progress is put into words. */
export interface Words<P extends Progress> {
  /** Digits and point that the longest time takes, in seconds. */
  readonly timeWidth: number
  heading(progress: P): string
  /** How it goes; null while there is nothing to say. */
  counts(progress: P): string | null
}

/** Tells line by line, for a file, a pipe or a small terminal. */
export class PlainView<P extends Progress> {
  readonly #stream: NodeJS.WritableStream
  readonly #words: Words<P>
  #happeningsTold = 0
  #sentenceTold = ''
  #countsToldAt = Number.NEGATIVE_INFINITY

  constructor(stream: NodeJS.WritableStream, words: Words<P>) {
    this.#stream = stream
    this.#words = words
  }

  draw(progress: P, now: number): void {
    const { happenings, sentence } = progress
    for (const { atMs, text } of happenings.slice(this.#happeningsTold)) this.#say(atMs, `  ${text}`)
    this.#happeningsTold = happenings.length
    if (sentence !== this.#sentenceTold) {
      this.#sentenceTold = sentence
      this.#say(progress.elapsedMs(now), this.#words.heading(progress))
      this.#countsToldAt = now
    }
    if (now - this.#countsToldAt < EVERY_MS) return
    const counts = this.#words.counts(progress)
    if (counts === null) return
    this.#countsToldAt = now
    this.#say(progress.elapsedMs(now), `  ${counts}`)
  }

  end(): void {}

  #say(atMs: number, text: string): void {
    const seconds = (atMs / 1000).toFixed(1).padStart(this.#words.timeWidth)
    this.#stream.write(`${seconds} s  ${text}\n`)
  }
}

/** A broker that is up, in words. */
export function howBusy(busy: number, slots: number, borrowed: number, queued: number): string {
  return `${busy}/${slots} busy${borrowed > 0 ? ` (${borrowed} borrowed)` : ''}${queued > 0 ? `, ${queued} queued` : ''}`
}
