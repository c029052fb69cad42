import { createLogUpdate } from 'log-update'
import pc from 'picocolors'

/** Narrower or lower than this, lines would break: plain lines are better then. */
export const COLUMNS_MIN = 80
export const ROWS_MIN = 20
/** Wider, the eye has too far to go. */
export const COLUMNS_MAX = 110

const SPARKS = '▁▂▃▄▅▆▇█'

export type Paint = (text: string) => string

/** Something that happened, to be told once. */
export interface Happening {
  readonly atMs: number
  readonly text: string
  readonly grave: boolean
}

/** Draws a scene as lines that fit in a terminal of that size. */
export type Picture<S> = (scene: S, now: number, columns: number, rows: number) => string

/** Draws a scene over and over at the same place of a terminal. */
export class LiveView<S> {
  readonly #stream: NodeJS.WriteStream
  readonly #picture: Picture<S>
  readonly #log: ReturnType<typeof createLogUpdate>

  constructor(stream: NodeJS.WriteStream, picture: Picture<S>) {
    this.#stream = stream
    this.#picture = picture
    this.#log = createLogUpdate(stream)
  }

  draw(scene: S, now: number): void {
    this.#log(this.#picture(scene, now, this.#stream.columns, this.#stream.rows))
  }

  /** Leaves the last picture where it is, and gives the cursor back. */
  end(): void {
    this.#log.done()
  }
}

/** Whether a picture can be drawn there. */
export function isRoomy(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY && stream.columns >= COLUMNS_MIN && stream.rows >= ROWS_MIN
}

/** A character that is as high as its value, from nothing to `most`. */
export function spark(value: number, most: number): string {
  return value <= 0 ? ' ' : (SPARKS[Math.min(7, Math.floor((value / Math.max(1, most)) * 7.99))] ?? '')
}

export function happeningLine({ atMs, text, grave }: Happening, width: number): string {
  const at = `${(atMs / 1000).toFixed(1)} s`.padStart(7)
  const room = width - at.length - 2
  const clipped = text.length > room ? `${text.slice(0, room - 1)}…` : text
  return `${pc.dim(at)}  ${grave ? pc.red(clipped) : clipped}`
}

/** Breaks a text between words. */
export function wrapped(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  if (line !== '') lines.push(line)
  return lines
}
