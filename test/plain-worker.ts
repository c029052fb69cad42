/** A native worker in as few lines as the protocol allows: many slots on one connection, answers packed. */

import { randomInt } from 'node:crypto'
import { onTestFinished } from 'vitest'
import { Dealer } from 'zeromq'
import { decodeMessage } from '../protocol/decode.ts'
import { MessageEncoder } from '../protocol/encode.ts'
import { Kind, type Record, type Request, Role, type Token, VERSION_MAJOR } from '../protocol/record.ts'

export interface PlainWorkerOptions {
  readonly slots?: number
  readonly services?: readonly string[]
  readonly name?: string
  /** Between heartbeats, ms. */
  readonly heartbeatIntervalMs?: number
  /** Time a task takes, ms; 0: answered within the turn. */
  readonly workMs?: number
  /** Takes tasks and answers none. */
  readonly mute?: boolean
  /** Default: the task's own body. */
  readonly answer?: (task: Request) => Uint8Array
}

export class PlainWorker {
  /** Tasks taken so far, and how many at once at most. */
  taken = 0
  atOnceMax = 0
  readonly #options: Required<Omit<PlainWorkerOptions, 'answer'>>
  readonly #answer: (task: Request) => Uint8Array
  readonly #dealer = new Dealer({ linger: 0, sendTimeout: 0, sendHighWaterMark: 100_000 })
  readonly #encoder = new MessageEncoder()
  readonly #epoch = randomInt(1, 2 ** 32)
  readonly #held = new Set<Token>()
  readonly #timer: NodeJS.Timeout
  #broker = 0
  #received = 0
  #answered = 0
  #outgoing: Record[] = []
  #flushAt: NodeJS.Immediate | undefined

  constructor(connect: string, options: PlainWorkerOptions = {}) {
    const { slots = 1, services = [''], name = 'plain', heartbeatIntervalMs = 200, workMs = 0 } = options
    this.#options = { slots, services, name, heartbeatIntervalMs, workMs, mute: options.mute ?? false }
    this.#answer = options.answer ?? (({ body }) => body)
    this.#dealer.connect(connect)
    this.#signIn()
    this.#timer = setInterval(
      () => this.#say({ kind: Kind.Heartbeat, ask: false, sent: this.#answered }),
      heartbeatIntervalMs,
    )
    void this.#read()
  }

  close(): void {
    clearInterval(this.#timer)
    clearImmediate(this.#flushAt)
    this.#dealer.close()
  }

  #signIn(): void {
    const { slots, services, name, heartbeatIntervalMs } = this.#options
    this.#received = 0
    this.#answered = 0
    this.#held.clear()
    this.#broker = 0
    this.#say({
      kind: Kind.Hello,
      role: Role.Worker,
      name,
      epoch: this.#epoch,
      major: VERSION_MAJOR,
      minor: 0,
      heartbeatIntervalMs,
      bodyMax: 1 << 30,
      cloudfe: '',
      statebe: '',
      peers: [],
    })
    this.#say({ kind: Kind.Ready, slots, services })
  }

  async #read(): Promise<void> {
    for await (const frames of this.#dealer) {
      const message = decodeMessage(frames, 0, { bodyMax: 1 << 30 })
      if ('error' in message) throw new Error(`the broker sent what cannot be read: ${message.error}`)
      if (message.from !== this.#broker) {
        if (this.#broker !== 0) this.#signIn()
        this.#broker = message.from
      }
      for (const record of message.records) this.#take(record)
    }
  }

  #take(record: Record): void {
    switch (record.kind) {
      case Kind.Request:
        this.taken++
        this.#received++
        this.#held.add(record.token)
        this.atOnceMax = Math.max(this.atOnceMax, this.#held.size)
        if (this.#options.mute) return
        if (this.#options.workMs === 0) this.#finish(record)
        else setTimeout(() => this.#finish(record), this.#options.workMs)
        break
      case Kind.Audit:
        this.#say({ kind: Kind.Inventory, received: this.#received, tokens: [...this.#held] })
        break
      case Kind.Disconnect:
        this.#signIn()
        break
      default:
    }
  }

  #finish(task: Request): void {
    if (!this.#held.delete(task.token)) return
    this.#answered++
    this.#say({
      kind: Kind.Reply,
      token: task.token,
      code: '',
      retryable: false,
      retryAfterMs: 0,
      attempts: 1,
      queuedUs: 0,
      runUs: this.#options.workMs * 1000,
      partials: 0,
      cluster: '',
      worker: '',
      message: '',
      body: this.#answer(task),
    })
  }

  #say(record: Record): void {
    this.#outgoing.push(record)
    this.#flushAt ??= setImmediate(() => this.#flush())
  }

  #flush(): void {
    this.#flushAt = undefined
    if (this.#dealer.closed) return
    this.#encoder.begin(this.#epoch, this.#broker)
    for (const record of this.#outgoing) this.#encoder.add(record)
    this.#outgoing = []
    void this.#dealer.send(this.#encoder.finish())
  }
}

/** A worker that is closed after the test. */
export function plainWorker(connect: string, options: PlainWorkerOptions = {}): PlainWorker {
  const worker = new PlainWorker(connect, options)
  onTestFinished(() => worker.close())
  return worker
}
