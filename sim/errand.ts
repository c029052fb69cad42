/** What a task's body says: the worker needs nothing else, wherever and however often the task runs. */
export interface Work {
  readonly number: number
  readonly serviceMs: number
  /** PARTIALs before the end. */
  readonly pieces: number
  readonly behaviour: Behaviour
  /** Octets of the whole body. */
  readonly size: number
}

export const Behaviour = {
  Answers: 0,
  /** The handler throws. */
  Fails: 1,
  /** Whoever runs it dies. */
  Kills: 2,
} as const
export type Behaviour = (typeof Behaviour)[keyof typeof Behaviour]

const HEADER = 24
const fields = new Float64Array(HEADER / 8)
const octets = new Uint8Array(fields.buffer)

/** Smallest body that says all of it. */
export const BODY_MIN = HEADER
/** Any larger body is a large one. */
export const SMALL_MAX = 64

/** Bodies lie side by side, as those of a message do: an ArrayBuffer for each would cost more than all the rest of a task. */
const PAGE_SIZE = 65_536
let page = new ArrayBuffer(PAGE_SIZE)
let words = new Float64Array(page)
let used = 0

function body(size: number, first: number, second: number, third: number): Uint8Array {
  if (size > PAGE_SIZE / 4) {
    const large = new ArrayBuffer(size)
    new Float64Array(large, 0, HEADER / 8).set([first, second, third])
    return new Uint8Array(large)
  }
  if (used + size > PAGE_SIZE) {
    page = new ArrayBuffer(PAGE_SIZE)
    words = new Float64Array(page)
    used = 0
  }
  const at = used
  used = (at + size + 7) & ~7
  words[at >> 3] = first
  words[(at >> 3) + 1] = second
  words[(at >> 3) + 2] = third
  return new Uint8Array(page, at, size)
}

export function writeWork(work: Work): Uint8Array {
  return body(Math.max(work.size, HEADER), work.number, work.serviceMs, work.pieces * 4 + work.behaviour)
}

/** @returns null for a body that no client wrote */
export function readWork(body: Uint8Array): Work | null {
  if (body.byteLength < HEADER) return null
  for (let i = 0; i < HEADER; i++) octets[i] = body[i] ?? 0
  const third = fields[2] ?? 0
  const behaviour = third % 4
  return {
    number: fields[0] ?? 0,
    serviceMs: fields[1] ?? 0,
    pieces: Math.floor(third / 4),
    behaviour: behaviour === 1 ? Behaviour.Fails : behaviour === 2 ? Behaviour.Kills : Behaviour.Answers,
    size: body.byteLength,
  }
}

/** The task that a body, or an answer, is of; NaN for what nobody here wrote. */
export function numberIn(body: Uint8Array): number {
  if (body.byteLength < HEADER) return Number.NaN
  for (let i = 0; i < 8; i++) octets[i] = body[i] ?? 0
  return fields[0] ?? Number.NaN
}

/** The one right answer to a task (its `index` -1), or to a piece of it. */
export function answerTo(work: Work, index: number): Uint8Array {
  return body(answerSize(work.size), work.number, work.size, index)
}

/** A large task has a large answer, any other a small one. */
function answerSize(size: number): number {
  return size > SMALL_MAX ? size : HEADER
}

export function isAnswerTo(body: Uint8Array, number: number, size: number, index: number): boolean {
  if (body.byteLength !== answerSize(size)) return false
  for (let i = 0; i < HEADER; i++) octets[i] = body[i] ?? 0
  return fields[0] === number && fields[1] === size && fields[2] === index
}

/** Code of a handler's own error. */
export const HANDLER_ERROR = 'SIM_ERROR'

/** One task as everybody outside the brokers knows it: what was asked, where it was started, how it ended. */
export class Errand {
  readonly number: number
  readonly client: string
  readonly cluster: number
  readonly service: string
  readonly submittedAt: number
  readonly deadlineMs: number
  readonly serviceMs: number
  readonly behaviour: Behaviour
  readonly size: number
  readonly pieces: number
  readonly mayRunTwice: boolean
  readonly streams: boolean
  readonly failsFast: boolean
  starts = 0
  /** Handlers that run it now. */
  running = 0
  settledAt = -1
  code = ''
  firstStartAt = -1
  /** Cluster of its last start. */
  ranIn = -1
  /** Cluster whose broker has had it from its client, and others, if it went to several: any other is a borrower. */
  enteredAt = -1
  enteredElsewhere: number[] | null = null
  /** Its neighbours among the errands that its client waits for. */
  nextAsked: Errand | null = null
  previousAsked: Errand | null = null

  constructor(
    number: number,
    client: string,
    cluster: number,
    service: string,
    submittedAt: number,
    deadlineMs: number,
    work: Work,
    mayRunTwice: boolean,
    streams: boolean,
    failsFast: boolean,
  ) {
    this.number = number
    this.client = client
    this.cluster = cluster
    this.service = service
    this.submittedAt = submittedAt
    this.deadlineMs = deadlineMs
    this.serviceMs = work.serviceMs
    this.behaviour = work.behaviour
    this.size = work.size
    this.pieces = work.pieces
    this.mayRunTwice = mayRunTwice
    this.streams = streams
    this.failsFast = failsFast
  }

  /** Clusters it was lent to, whether it arrived or not. */
  lentTo: number[] | null = null
  /** Workers that were lost while, or after, they had it. */
  workersLost = 0
  /** Keys of the connections to workers that it was given to: the last, and those before. */
  #givenTo = ''
  #givenBefore: string[] | null = null

  given(key: string): void {
    if (this.#givenTo !== '') {
      this.#givenBefore ??= []
      this.#givenBefore.push(this.#givenTo)
    }
    this.#givenTo = key
  }

  givenTo(): readonly string[] {
    if (this.#givenTo === '') return this.#givenBefore ?? []
    return [...(this.#givenBefore ?? []), this.#givenTo]
  }

  wasGivenTo(key: string): boolean {
    return this.#givenTo === key || (this.#givenBefore?.includes(key) ?? false)
  }

  lent(cluster: number): void {
    this.lentTo ??= []
    if (!this.lentTo.includes(cluster)) this.lentTo.push(cluster)
  }

  entered(cluster: number): boolean {
    return this.enteredAt === cluster || (this.enteredElsewhere?.includes(cluster) ?? false)
  }

  enters(cluster: number): void {
    if (this.enteredAt < 0) this.enteredAt = cluster
    else if (!this.entered(cluster)) {
      this.enteredElsewhere ??= []
      this.enteredElsewhere.push(cluster)
    }
  }

  get settled(): boolean {
    return this.settledAt >= 0
  }
}
