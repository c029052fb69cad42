import type { Dirent } from 'node:fs'
import { open, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'

/** Octets of a piece of a file at most. */
const PIECE_MAX = 32 * 1024
/** Files looked at: enough for a minute's work, few enough to list at once. */
const FILES_MAX = 3000

interface Piece {
  readonly path: string
  readonly start: number
  readonly length: number
}

/** The files below a folder, cut into pieces, over and over. */
export class Pieces {
  readonly files: number
  readonly octets: number
  readonly #pieces: readonly Piece[]
  #next: number

  /** @throws when there is nothing to read, saying what to do */
  static async below(folder: string): Promise<Pieces> {
    const pieces: Piece[] = []
    let files = 0
    for await (const path of filesBelow(folder)) {
      const length = await stat(path).then(
        (found) => found.size,
        () => 0,
      )
      if (length === 0) continue
      for (let start = 0; start < length; start += PIECE_MAX) {
        pieces.push({ path, start, length: Math.min(PIECE_MAX, length - start) })
      }
      if (++files === FILES_MAX) break
    }
    if (pieces.length === 0) throw new Error(`${folder} has no file with anything in it: name another folder`)
    return new Pieces(pieces, files)
  }

  private constructor(pieces: readonly Piece[], files: number) {
    this.#pieces = pieces
    this.files = files
    this.octets = pieces.reduce((sum, piece) => sum + piece.length, 0)
    this.#next = 0
  }

  get count(): number {
    return this.#pieces.length
  }

  /** Begins at this fraction (0 to 1) of all pieces, so that several readers do not all read the same. */
  startAt(fraction: number): void {
    this.#next = Math.floor(fraction * this.#pieces.length) % this.#pieces.length
  }

  /** The next piece's content. A file that has gone or shrunk meanwhile gives what is left of it. */
  async next(): Promise<Uint8Array> {
    const piece = this.#pieces[this.#next]
    this.#next = (this.#next + 1) % this.#pieces.length
    if (piece === undefined) return new Uint8Array(0)
    const file = await open(piece.path).catch(() => null)
    if (file === null) return new Uint8Array(0)
    try {
      const content = new Uint8Array(piece.length)
      const { bytesRead } = await file.read(content, 0, piece.length, piece.start)
      return content.subarray(0, bytesRead)
    } finally {
      await file.close()
    }
  }
}

async function* filesBelow(folder: string): AsyncGenerator<string> {
  // The folder named must be readable; one somewhere below it may not be.
  yield* walk(folder, await readdir(folder, { withFileTypes: true }))
}

async function* walk(folder: string, entries: Dirent[]): AsyncGenerator<string> {
  entries.sort((one, other) => (one.name < other.name ? -1 : 1))
  for (const entry of entries) {
    const path = join(folder, entry.name)
    if (entry.isFile()) yield path
    else if (entry.isDirectory() && entry.name !== '.git') {
      yield* walk(path, await readdir(path, { withFileTypes: true }).catch(() => []))
    }
  }
}
