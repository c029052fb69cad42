import { closeSync, openSync, realpathSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'

/**
 * Writes files of which each is whole, or else none is there that was not before: each under a name of its own beside its place,
 * and all of them put in their places when the last has been written. A disk that is full by then leaves what was there.
 *
 * A pipe or a device, which nothing can take the place of, is written to as it is.
 * @param contents by path
 * @throws what the file system says
 */
export function writeWhole(contents: ReadonlyMap<string, string>): void {
  const placeOfPart = new Map<string, string>()
  try {
    for (const [path, content] of contents) {
      const place = placeOf(path)
      const part = place === null ? path : partOf(place)
      if (place !== null) placeOfPart.set(part, place)
      writeFileSync(part, content)
    }
    for (const [part, place] of placeOfPart) renameSync(part, place)
  } catch (error) {
    for (const part of placeOfPart.keys()) rmSync(part, { force: true })
    throw error
  }
}

/**
 * Makes sure that a file could be written so, and leaves all as it is. Only a write tells whether one is possible: what
 * permissions say does not hold for root, nor in what the system makes up.
 * @throws what the file system says
 */
export function tryWriting(path: string): void {
  const place = placeOf(path)
  if (statSync(path, { throwIfNoEntry: false }) !== undefined) closeSync(openSync(path, 'r+'))
  if (place === null) return
  const part = partOf(place)
  try {
    writeFileSync(part, '\n')
  } finally {
    rmSync(part, { force: true })
  }
}

/** Where a file is, links followed, or will be. Null when what is there is no file. */
function placeOf(path: string): string | null {
  const there = statSync(path, { throwIfNoEntry: false })
  if (there === undefined) return path
  return there.isFile() ? realpathSync(path) : null
}

/** In the same folder, as only within a file system one file takes another's place. Another process writes under another name. */
function partOf(place: string): string {
  return `${place}.${process.pid}.part`
}
