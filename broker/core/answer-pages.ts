import { copyOctets, type RecordOctets, unpackedReply } from '../../protocol/octets.ts'
import type { Reply } from '../../protocol/record.ts'
import { EMPTY_BODY, Kind } from '../../protocol/record.ts'

/** The answer of a task that has ended, for a client that asks again because the first copy was lost on its way. */
export class Answered {
  readonly id: string
  readonly reply: Reply
  readonly at: number

  constructor(id: string, reply: Reply, at: number) {
    this.id = id
    this.reply = reply
    this.at = at
  }
}

const PAGE_SIZE = 65_536
/** Larger bodies lie beside the pages, which they would leave half empty. */
const IN_PAGE_MAX = PAGE_SIZE / 4
/** Bodies over this stay where they are when they are most of their buffer: a frame of its own, usually. */
const COPIED_ALWAYS_MAX = 4096

// How an answer lies in its page. Everything begins at a multiple of eight octets.
const AT = 0
const NEEDED_UNTIL = 8
const ENTRY = 16
/** Of the body; aside, of an error's words as well. */
const ANSWER_SIZE = 20
const ATTEMPTS = 24
const QUEUED_US = 28
const RUN_US = 32
const PARTIALS = 36
const ID_LENGTH = 40
const CLUSTER_LENGTH = 41
const WORKER_LENGTH = 42
const RETRYABLE = 43
const IS_ASIDE = 44
const SIZE = 46
const TEXTS = 48

class Page {
  readonly octets = new Uint8Array(PAGE_SIZE)
  readonly view = new DataView(this.octets.buffer)
  used = 0
}

/**
 * Answers in the order they came, as octets side by side in pages, the oldest dropped first. A hundred thousand of them as
 * objects are what every garbage collection has to walk: at 70,000 tasks a second that took 40 % of a broker's processor
 * time and stopped it for 20 ms several times a second. In pages they cost a copy.
 */
export class AnswerPages {
  readonly #pages: Page[] = []
  /** The number of `#pages[0]`; numbers are 32 bits wide and begin anew after the last. */
  #firstNumber = 0
  /** Where the oldest answer is in the first page. */
  #oldest = 0
  #spare: Page | null = null
  /** What does not fit the form: errors, whose words may be long, and large bodies. By entry. */
  readonly #aside = new Map<number, Reply>()

  /** Where the last answer that was pushed lies: its page's number, and its offset in units of eight octets. */
  pageNumber = 0
  unit = 0

  /** @param entry whose answer it is; at most one answer an entry */
  push(entry: number, key: string | RecordOctets, reply: Reply, at: number, neededUntil: number): void {
    const { cluster, worker, octets: source } = reply
    const idLength = typeof key === 'string' ? key.length : key.idLength
    // Small, and within a frame: it is copied from there, and no Buffer made of it.
    const within = source !== undefined && source.ownFrame === null && source.bodyLength <= COPIED_ALWAYS_MAX
    const body = within ? EMPTY_BODY : reply.body
    const bodySize = within ? source.bodyLength : body.byteLength
    const texts = idLength + cluster.length + worker.length
    const room = TEXTS + texts + bodySize
    // The unusual is decided here, so that an answer that fails to fit leaves no half of itself behind.
    const isAside =
      reply.code !== '' ||
      reply.message !== '' ||
      reply.retryAfterMs !== 0 ||
      bodySize > IN_PAGE_MAX ||
      staysInPlace(body) ||
      cluster.length > 255 ||
      worker.length > 255 ||
      room > PAGE_SIZE ||
      !isLatin1(cluster) ||
      !isLatin1(worker)
    const page = this.#pageWith(isAside ? TEXTS + idLength : room)
    const { octets, view } = page
    const start = page.used
    let next = writeId(octets, view, start + TEXTS, key)
    view.setFloat64(start + AT, at)
    view.setFloat64(start + NEEDED_UNTIL, neededUntil)
    view.setUint32(start + ENTRY, entry)
    view.setUint32(start + ANSWER_SIZE, bodySize + reply.message.length)
    octets[start + ID_LENGTH] = idLength
    if (isAside) {
      octets[start + IS_ASIDE] = 1
      const kept = unpackedReply(reply)
      // Not `slice`: that of a Buffer is no copy.
      this.#aside.set(entry, staysInPlace(body) ? kept : { ...kept, body: new Uint8Array(kept.body) })
    } else {
      octets[start + IS_ASIDE] = 0
      view.setUint32(start + ATTEMPTS, reply.attempts)
      view.setUint32(start + QUEUED_US, reply.queuedUs)
      view.setUint32(start + RUN_US, reply.runUs)
      view.setUint32(start + PARTIALS, reply.partials)
      octets[start + CLUSTER_LENGTH] = cluster.length
      octets[start + WORKER_LENGTH] = worker.length
      octets[start + RETRYABLE] = reply.retryable ? 1 : 0
      next = writeText(octets, next, cluster)
      next = writeText(octets, next, worker)
      if (within && source.frame !== null)
        copyOctets(source.frame, source.bodyAt, source.bodyAt + bodySize, octets, view, next)
      else octets.set(body, next)
      next += bodySize
    }
    page.used = (next + 7) & ~7
    view.setUint16(start + SIZE, (page.used - start) >>> 3)
    this.pageNumber = (this.#firstNumber + this.#pages.length - 1) | 0
    this.unit = start >>> 3
  }

  /** An answer, with its body in a buffer of its own: the page may be written anew before that has left. */
  read(pageNumber: number, unit: number): Answered {
    const { octets, view } = this.#page(pageNumber)
    const start = unit << 3
    const id = readText(octets, start + TEXTS, octets[start + ID_LENGTH] ?? 0)
    const at = view.getFloat64(start + AT)
    const aside = octets[start + IS_ASIDE] === 1 ? this.#aside.get(view.getUint32(start + ENTRY)) : undefined
    if (aside !== undefined) return new Answered(id, aside, at)
    const clusterAt = start + TEXTS + id.length
    const cluster = readText(octets, clusterAt, octets[start + CLUSTER_LENGTH] ?? 0)
    const workerAt = clusterAt + cluster.length
    const worker = readText(octets, workerAt, octets[start + WORKER_LENGTH] ?? 0)
    const bodyAt = workerAt + worker.length
    const size = view.getUint32(start + ANSWER_SIZE)
    const reply: Reply = {
      kind: Kind.Reply,
      token: 0,
      code: '',
      retryable: octets[start + RETRYABLE] === 1,
      retryAfterMs: 0,
      attempts: view.getUint32(start + ATTEMPTS),
      queuedUs: view.getUint32(start + QUEUED_US),
      runUs: view.getUint32(start + RUN_US),
      partials: view.getUint32(start + PARTIALS),
      cluster,
      worker,
      message: '',
      body: size === 0 ? EMPTY_BODY : octets.slice(bodyAt, bodyAt + size),
    }
    return new Answered(id, reply, at)
  }

  /** Does the answer that lies there belong to the task of this id? */
  isOf(pageNumber: number, unit: number, key: string | RecordOctets): boolean {
    const { octets } = this.#page(pageNumber)
    const start = unit << 3
    const at = start + TEXTS
    if (typeof key === 'string') {
      const { length } = key
      if (octets[start + ID_LENGTH] !== length) return false
      for (let i = 0; i < length; i++) if (octets[at + i] !== key.charCodeAt(i)) return false
      return true
    }
    const { frame, idAt, idLength } = key
    if (octets[start + ID_LENGTH] !== idLength || frame === null) return false
    for (let i = 0; i < idLength; i++) if (octets[at + i] !== frame.view.getUint8(idAt + i)) return false
    return true
  }

  // ---------------------------------------------------------------- the oldest; there must be one

  get oldestEntry(): number {
    return this.#page(this.#firstNumber).view.getUint32(this.#oldest + ENTRY)
  }

  get oldestAt(): number {
    return this.#page(this.#firstNumber).view.getFloat64(this.#oldest + AT)
  }

  get oldestNeededUntil(): number {
    return this.#page(this.#firstNumber).view.getFloat64(this.#oldest + NEEDED_UNTIL)
  }

  get oldestSize(): number {
    return this.#page(this.#firstNumber).view.getUint32(this.#oldest + ANSWER_SIZE)
  }

  dropOldest(): void {
    const page = this.#page(this.#firstNumber)
    const start = this.#oldest
    if (page.octets[start + IS_ASIDE] === 1) this.#aside.delete(page.view.getUint32(start + ENTRY))
    this.#oldest = start + (page.view.getUint16(start + SIZE) << 3)
    if (this.#oldest < page.used) return
    this.#oldest = 0
    page.used = 0
    if (this.#pages.length === 1) return
    this.#pages.shift()
    this.#firstNumber = (this.#firstNumber + 1) | 0
    this.#spare = page
  }

  // ---------------------------------------------------------------- pages

  #page(number: number): Page {
    const page = this.#pages[(number - this.#firstNumber) | 0]
    if (page === undefined) throw new RangeError(`there is no page ${number}`)
    return page
  }

  #pageWith(room: number): Page {
    const last = this.#pages[this.#pages.length - 1]
    if (last !== undefined && last.used + room <= PAGE_SIZE) return last
    const page = this.#spare ?? new Page()
    this.#spare = null
    this.#pages.push(page)
    return page
  }
}

function staysInPlace(body: Uint8Array): boolean {
  const size = body.byteLength
  return size > COPIED_ALWAYS_MAX && size * 2 >= body.buffer.byteLength
}

function isLatin1(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0xff) return false
  return true
}

function writeText(octets: Uint8Array, at: number, text: string): number {
  const { length } = text
  for (let i = 0; i < length; i++) octets[at + i] = text.charCodeAt(i)
  return at + length
}

function writeId(octets: Uint8Array, view: DataView, at: number, key: string | RecordOctets): number {
  if (typeof key === 'string') return writeText(octets, at, key)
  const { frame, idAt, idLength } = key
  if (frame !== null) copyOctets(frame, idAt, idAt + idLength, octets, view, at)
  return at + idLength
}

function readText(octets: Uint8Array, at: number, length: number): string {
  let text = ''
  for (let i = 0; i < length; i++) text += String.fromCharCode(octets[at + i] ?? 0)
  return text
}
