import { closeSync, constants, openSync, readdirSync, readFileSync, readSync, writeSync } from 'node:fs'
import { join } from 'node:path'

/** What a client or a worker writes down. Times are {@link clockMs}. */
export type Entry =
  | {
      readonly what: 'sent'
      readonly at: number
      readonly task: string
      readonly once: boolean
      /** Pieces that it must be answered in; 0: it is no stream. */
      readonly pieces: number
      /** What it must be answered with. */
      readonly expected: string
    }
  | {
      readonly what: 'piece'
      readonly at: number
      readonly task: string
      readonly client: string
      /** Which beginning of the stream it belongs to, and which place in that, as the client library says. */
      readonly attempt: number
      readonly index: number
      readonly piece: string
    }
  | {
      readonly what: 'settled'
      readonly at: number
      readonly task: string
      /** Who was told: the life of a process and the client in it. */
      readonly client: string
      /** Empty: a result. */
      readonly code: string
      /** Cluster that ran it, as the answer says; empty when it does not. */
      readonly ranIn: string
      /** Or why there is none: for a person. */
      readonly answer: string
    }
  | {
      readonly what: 'started'
      readonly at: number
      readonly task: string
      readonly worker: string
      readonly slots: number
      readonly once: boolean
      /** That it was given to the worker for. */
      readonly service: string
    }
  | { readonly what: 'ended'; readonly at: number; readonly task: string; readonly worker: string }
  /** Not of a task, but of the life of a process: it did not get to its work for a while. */
  | { readonly what: 'stood still'; readonly at: number; readonly since: number; readonly host: string }

/** A clock that all processes of a machine share and that nobody sets, ms since some moment. */
export function clockMs(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1000 + nanoseconds / 1e6
}

const NOBODY = '-'

function lineOf(entry: Entry): string {
  if (entry.what === 'stood still')
    return `stood-still ${entry.at.toFixed(3)} ${entry.host} ${entry.since.toFixed(3)}\n`
  const head = `${entry.what} ${entry.at.toFixed(3)} ${entry.task}`
  switch (entry.what) {
    case 'sent':
      return `${head} ${entry.once ? 1 : 0} ${entry.pieces} ${entry.expected}\n`
    case 'piece':
      return `${head} ${entry.client} ${entry.attempt} ${entry.index} ${entry.piece || NOBODY}\n`
    case 'settled':
      return `${head} ${entry.client} ${entry.code || NOBODY} ${entry.ranIn || NOBODY} ${entry.answer || NOBODY}\n`
    case 'started':
      return `${head} ${entry.worker} ${entry.slots} ${entry.once ? 1 : 0} ${entry.service || NOBODY}\n`
    case 'ended':
      return `${head} ${entry.worker}\n`
  }
}

/** @returns null for a line that nobody here has written */
export function readLine(line: string): Entry | null {
  const [what, time, task = '', a = '', b = '', c = '', d = ''] = line.split(' ')
  const at = Number(time)
  const text = (field: string) => (field === NOBODY ? '' : field)
  switch (what) {
    case 'sent':
      return { what, at, task, once: a === '1', pieces: Number(b), expected: c }
    case 'piece':
      return { what, at, task, client: a, attempt: Number(b), index: Number(c), piece: text(d) }
    case 'settled':
      return { what, at, task, client: a, code: text(b), ranIn: text(c), answer: text(d) }
    case 'started':
      return { what, at, task, worker: a, slots: Number(b), once: c === '1', service: text(d) }
    case 'ended':
      return { what, at, task, worker: a }
    case 'stood-still':
      return { what: 'stood still', at, host: task, since: Number(a) }
    default:
      return null
  }
}

const SUFFIX = '.ledger'

/**
 * The part of the ledger that one process writes. Each entry is with the system when `write` returns, so SIGKILL takes
 * nothing away that was written before.
 */
export class LedgerFile {
  readonly #descriptor: number

  constructor(folder: string, host: string) {
    const { O_WRONLY, O_CREAT, O_APPEND } = constants
    this.#descriptor = openSync(join(folder, `${host}${SUFFIX}`), O_WRONLY | O_CREAT | O_APPEND, 0o600)
  }

  write(entry: Entry): void {
    writeSync(this.#descriptor, lineOf(entry))
  }
}

interface OpenFile {
  /** null: its writer is gone and all of it has been read. */
  descriptor: number | null
  rest: string
  writerIsGone: boolean
}

/** Reads what all processes write, each time from where it stopped the last time. */
export class LedgerReader {
  readonly #folder: string
  readonly #files = new Map<string, OpenFile>()
  readonly #buffer = Buffer.alloc(1 << 16)

  constructor(folder: string) {
    this.#folder = folder
  }

  /** @param onEntry told of every new entry: in order within a process, in any order among several */
  read(onEntry: (entry: Entry) => void): void {
    for (const name of readdirSync(this.#folder)) {
      if (!name.endsWith(SUFFIX) || this.#files.has(name)) continue
      const descriptor = openSync(join(this.#folder, name), 'r')
      this.#files.set(name, { descriptor, rest: '', writerIsGone: false })
    }
    for (const file of this.#files.values()) this.#readFile(file, onEntry)
  }

  #readFile(file: OpenFile, onEntry: (entry: Entry) => void): void {
    while (file.descriptor !== null) {
      const octets = readSync(file.descriptor, this.#buffer)
      if (octets === 0) {
        if (!file.writerIsGone) return
        closeSync(file.descriptor)
        file.descriptor = null
        return
      }
      const lines = (file.rest + this.#buffer.toString('latin1', 0, octets)).split('\n')
      file.rest = lines.pop() ?? ''
      for (const line of lines) {
        const entry = readLine(line)
        if (entry !== null) onEntry(entry)
      }
    }
  }

  /** Nothing more will be written by that life of a process: its file is closed once it has been read. */
  writerIsGone(host: string): void {
    const file = this.#files.get(`${host}${SUFFIX}`)
    if (file !== undefined) file.writerIsGone = true
  }

  /** All that was written about a task, in the order of time: for a person. */
  linesAbout(task: string): string[] {
    const found: { readonly at: number; readonly line: string }[] = []
    for (const name of readdirSync(this.#folder)) {
      if (!name.endsWith(SUFFIX)) continue
      for (const line of readFileSync(join(this.#folder, name), 'latin1').split('\n')) {
        const entry = line.includes(task) ? readLine(line) : null
        if (entry !== null && 'task' in entry && entry.task === task) found.push({ at: entry.at, line })
      }
    }
    return found.sort((one, other) => one.at - other.at).map(({ line }) => line)
  }

  close(): void {
    for (const { descriptor } of this.#files.values()) if (descriptor !== null) closeSync(descriptor)
    this.#files.clear()
  }
}
