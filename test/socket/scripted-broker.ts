import { Router } from 'zeromq'
import { decodeMessage } from '../../protocol/decode.ts'
import { MessageEncoder } from '../../protocol/encode.ts'
import type { Credit, Reply, Request, Record as SpillwayRecord } from '../../protocol/record.ts'
import { EMPTY_BODY, Kind, Role } from '../../protocol/record.ts'

/** One request as a script sees it, with ways to answer it. */
export interface Asked {
  readonly request: Request
  /** Routing id it came from: another one after the client has opened another socket. */
  readonly from: string
  send(...records: SpillwayRecord[]): void
  reply(body: string, fields?: Partial<Reply>): void
  piece(index: number, body: string, attempt?: number): void
}

export type Script = (asked: Asked) => void

/** A ROUTER that speaks the native dialect and does with tasks what a test's script says. */
export class ScriptedBroker {
  epoch: number
  script: Script
  /** While set, whatever comes in is neither read by the script nor answered. */
  deaf = false
  bodyMax = 1 << 20
  readonly requests: Request[] = []
  readonly records: SpillwayRecord[] = []
  messages = 0
  readonly #router: Router
  readonly #encoder = new MessageEncoder()
  #onCredit: (credit: Credit) => void = () => {}
  #endpoint = ''
  #over: Promise<void> = Promise.resolve()

  constructor(script: Script, epoch = 1000) {
    this.script = script
    this.epoch = epoch
    this.#router = new Router({ linger: 0, mandatory: true, sendTimeout: 0, handover: true })
  }

  static async bind(script: Script, endpoint = 'tcp://127.0.0.1:*', epoch = 1000): Promise<ScriptedBroker> {
    const broker = new ScriptedBroker(script, epoch)
    try {
      await broker.#router.bind(endpoint)
    } catch (error) {
      broker.#router.close()
      throw error
    }
    broker.#endpoint = broker.#router.lastEndpoint ?? endpoint
    broker.#over = broker.#serve()
    return broker
  }

  get endpoint(): string {
    return this.#endpoint
  }

  onCredit(listener: (credit: Credit) => void): void {
    this.#onCredit = listener
  }

  of(kind: SpillwayRecord['kind']): SpillwayRecord[] {
    return this.records.filter((record) => record.kind === kind)
  }

  async close(): Promise<void> {
    if (!this.#router.closed) this.#router.close()
    await this.#over
  }

  async #serve(): Promise<void> {
    for await (const [id, ...frames] of this.#router) {
      if (id === undefined || this.deaf) continue
      const message = decodeMessage(frames, 0, { bodyMax: this.bodyMax })
      if ('error' in message) throw new Error(`the client sent a malformed message: ${message.error}`)
      this.messages++
      const answers: SpillwayRecord[] = []
      let sync = true
      const send = (...records: SpillwayRecord[]) => {
        if (sync) answers.push(...records)
        else this.#send(id, message.from, records)
      }
      if (message.to !== 0 && message.to !== this.epoch) {
        this.#send(id, message.from, [this.#hello()])
        continue
      }
      for (const record of message.records) {
        this.records.push(record)
        if (record.kind === Kind.Hello) answers.push(this.#hello())
        else if (record.kind === Kind.Heartbeat && record.ask)
          answers.push({ kind: Kind.Heartbeat, ask: false, sent: record.sent })
        else if (record.kind === Kind.Credit) this.#onCredit(record)
        else if (record.kind === Kind.Request) {
          this.requests.push(record)
          this.script(asked(record, id.toString('latin1'), send))
        }
      }
      sync = false
      this.#send(id, message.from, answers)
    }
  }

  #hello(): SpillwayRecord {
    return {
      kind: Kind.Hello,
      role: Role.Broker,
      name: 'scripted',
      epoch: this.epoch,
      major: 1,
      minor: 0,
      heartbeatIntervalMs: 1000,
      bodyMax: this.bodyMax,
      cloudfe: '',
      statebe: '',
      peers: [],
    }
  }

  #send(id: Buffer, to: number, records: readonly SpillwayRecord[]): void {
    if (records.length === 0 || this.#router.closed) return
    this.#encoder.begin(this.epoch, to)
    for (const record of records) this.#encoder.add(record)
    // A client that has gone in the meantime is no fault of the broker's.
    this.#router.send([id, ...this.#encoder.finish()]).catch(() => {})
  }
}

function asked(request: Request, from: string, send: (...records: SpillwayRecord[]) => void): Asked {
  const { token } = request
  return {
    request,
    from,
    send,
    reply(body, fields = {}) {
      send({
        kind: Kind.Reply,
        token,
        code: '',
        retryable: false,
        retryAfterMs: 0,
        attempts: 1,
        queuedUs: 1500,
        runUs: 2500,
        partials: 0,
        cluster: 'west',
        worker: 'w1',
        message: '',
        body: body === '' ? EMPTY_BODY : Buffer.from(body),
        ...fields,
      })
    },
    piece(index, body, attempt = 1) {
      send({
        kind: Kind.Partial,
        token,
        index,
        attempt,
        cluster: 'west',
        worker: 'w1',
        body: Buffer.from(body),
      })
    },
  }
}

/** Answers each task with its own body in capitals. */
export const capitals: Script = ({ request, reply }) =>
  reply(Buffer.from(request.body).toString().toUpperCase())
