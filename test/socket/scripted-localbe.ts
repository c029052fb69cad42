import { vi } from 'vitest'
import { Router } from 'zeromq'
import { decodeMessage } from '../../protocol/decode.ts'
import { MessageEncoder } from '../../protocol/encode.ts'
import type { Hello, Ready, Reply, Request, Record as SpillwayRecord } from '../../protocol/record.ts'
import { EMPTY_BODY, Kind, Role } from '../../protocol/record.ts'

/** A broker's localbe that does what a test says: a ROUTER that answers HELLO and beats, and gives the tasks it is told to. */
export class ScriptedLocalbe {
  /** What came in, REPLYs included; a test may empty it. */
  records: SpillwayRecord[] = []
  /** Routing ids that spoke, as they came first. */
  readonly ids: Buffer[] = []
  bodyMax = 1 << 20
  beatIntervalMs = 100
  /** While set, nothing is read nor said: the broker is frozen or cut off. */
  deaf = false
  epoch: number
  endpoint = ''
  readonly #router = new Router({
    linger: 0,
    mandatory: true,
    sendTimeout: 0,
    sendHighWaterMark: 0,
    handover: true,
  })
  readonly #encoder = new MessageEncoder()
  #workerEpoch = 0
  #sent = 0
  #token = 1
  #timer: NodeJS.Timeout | undefined
  #over: Promise<void> = Promise.resolve()
  #resumed: Promise<void> = Promise.resolve()

  private constructor(epoch: number) {
    this.epoch = epoch
  }

  static async bind(endpoint = 'tcp://127.0.0.1:*', epoch = 1000): Promise<ScriptedLocalbe> {
    const broker = new ScriptedLocalbe(epoch)
    await broker.#router.bind(endpoint)
    broker.endpoint = broker.#router.lastEndpoint ?? endpoint
    broker.#over = broker.#serve()
    broker.#timer = setInterval(() => broker.#beat(), broker.beatIntervalMs)
    return broker
  }

  /** Another life at the same address: it knows nobody. */
  restart(): void {
    this.epoch++
    this.#workerEpoch = 0
    this.#sent = 0
    this.records = []
  }

  /** Reads nothing more, so that what is sent piles up. @returns what goes on reading */
  pause(): () => void {
    let resume = () => {}
    this.#resumed = new Promise((resolve) => {
      resume = resolve
    })
    return () => resume()
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    if (!this.#router.closed) this.#router.close()
    await this.#over
  }

  /** Gives a task. @returns its token */
  give(body: Uint8Array | string, fields: Partial<Request> = {}): number {
    const token = this.#token++
    this.#sent++
    this.say({
      kind: Kind.Request,
      token,
      id: `task-${token}`,
      attempt: 1,
      timeLeftMs: 60_000,
      priority: 4,
      flags: 0,
      creditUpTo: 0,
      service: '',
      traceparent: '',
      body: typeof body === 'string' ? Buffer.from(body) : body,
      ...fields,
    })
    return token
  }

  say(...records: SpillwayRecord[]): void {
    const id = this.ids.at(-1)
    if (id === undefined || this.deaf || this.#router.closed) return
    this.#encoder.begin(this.epoch, this.#workerEpoch)
    for (const record of records) this.#encoder.add(record)
    // A worker that has gone in the meantime is no fault of the broker's.
    this.#router.send([id, ...this.#encoder.finish()]).catch(() => {})
  }

  of<K extends SpillwayRecord['kind']>(kind: K): Extract<SpillwayRecord, { kind: K }>[] {
    return this.records.filter(
      (record): record is Extract<SpillwayRecord, { kind: K }> => record.kind === kind,
    )
  }

  /** Waits until so many records of a kind have come. @returns the last of them */
  async awaits<K extends SpillwayRecord['kind']>(
    kind: K,
    count = 1,
  ): Promise<Extract<SpillwayRecord, { kind: K }>> {
    await vi.waitUntil(() => this.of(kind).length >= count, { timeout: 20_000, interval: 2 })
    const found = this.of(kind)[count - 1]
    if (found === undefined) throw new Error('there is none')
    return found
  }

  /** Waits until a worker has signed in with this many slots. */
  async awaitsReady(slots: number): Promise<Ready> {
    let found: Ready | undefined
    await vi.waitUntil(
      () => {
        found = this.of(Kind.Ready).findLast((ready) => ready.slots === slots)
        return found !== undefined
      },
      { timeout: 20_000, interval: 2 },
    )
    if (found === undefined) throw new Error('there is none')
    return found
  }

  /** Waits for the answer to a task. */
  async awaitsReply(token: number): Promise<Reply> {
    const reply = () => this.of(Kind.Reply).find((record) => record.token === token)
    await vi.waitUntil(() => reply() !== undefined, { timeout: 20_000, interval: 2 })
    return reply() ?? noReply(token)
  }

  async #serve(): Promise<void> {
    for await (const [id, ...frames] of this.#router) {
      await this.#resumed
      if (id === undefined || this.deaf) continue
      const message = decodeMessage(frames, 0, { bodyMax: this.bodyMax })
      if ('error' in message) throw new Error(`the worker sent a malformed message: ${message.error}`)
      const known = this.ids.findIndex((other) => other.equals(id))
      if (known >= 0) this.ids.splice(known, 1)
      this.ids.push(id)
      this.#workerEpoch = message.from
      if (message.to !== 0 && message.to !== this.epoch) {
        this.say(this.hello())
        continue
      }
      for (const record of message.records) {
        this.records.push(record)
        if (record.kind === Kind.Hello) this.say(this.hello())
      }
    }
  }

  hello(fields: Partial<Hello> = {}): Hello {
    return {
      kind: Kind.Hello,
      role: Role.Broker,
      name: 'scripted',
      epoch: this.epoch,
      major: 1,
      minor: 0,
      heartbeatIntervalMs: this.beatIntervalMs,
      bodyMax: this.bodyMax,
      cloudfe: '',
      statebe: '',
      peers: [],
      ...fields,
    }
  }

  #beat(): void {
    if (this.#workerEpoch !== 0) this.say({ kind: Kind.Heartbeat, ask: false, sent: this.#sent })
  }
}

function noReply(token: number): never {
  throw new Error(`no reply to ${token}`)
}

export function textOf({ body }: { readonly body: Uint8Array }): string {
  return Buffer.from(body.length === 0 ? EMPTY_BODY : body).toString()
}
