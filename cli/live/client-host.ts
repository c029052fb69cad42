/** A process of a live run that holds some of a cluster's clients, each with a connection of its own. */

import { Client, type Reply, SpillwayError } from '../../client/main.ts'
import { Random } from '../../sim/random.ts'
import { type ClientOrder, clientHostSchema, clientOrderSchema } from './host-terms.ts'
import { clockMs, LedgerFile } from './ledger.ts'
import { onStandstill } from './standstill.ts'
import { answerTo, COMMON, RARE, taskName, writeWork } from './work.ts'

/** So patient that whatever is not answered is lost: a broker that was killed is back within seconds. */
const TIMEOUT_MS = 2000
const RETRIES = 1000
const DEADLINE_MS = 3_600_000
const SEND_EVERY_MS = 10
/** At once at most: who was frozen does not make up for what it has missed. */
const BURST_MAX = 20
/** Tasks under way, each client: beyond it, it waits, or a machine that cannot keep up would fall behind for ever. */
const OUTSTANDING_MAX = 100
const PAYLOAD_MAX = 2000
/** More than a reader takes at once by default, so that some streams have to wait for it. */
const PIECES_MAX = 24

const terms = clientHostSchema.parse(JSON.parse(process.argv[2] ?? ''))
const ledger = new LedgerFile(terms.folder, terms.host)
onStandstill(clockMs, (since, at) => ledger.write({ what: 'stood still', at, since, host: terms.host }))
const random = new Random(terms.seed, terms.host)
const payload = new Uint8Array(PAYLOAD_MAX).map(() => random.below(256))

class Asker {
  readonly name: string
  readonly #index: number
  readonly #client: Client
  #number = 0
  #outstanding = 0

  constructor(index: number) {
    this.#index = index
    this.name = `${terms.host}/${index}`
    this.#client = new Client({
      connect: terms.connect,
      name: this.name,
      timeoutMs: TIMEOUT_MS,
      retries: RETRIES,
      deadlineMs: DEADLINE_MS,
    })
  }

  get patient(): boolean {
    return this.#outstanding < OUTSTANDING_MAX
  }

  async ask(): Promise<void> {
    const task = taskName(terms.host, this.#index, this.#number++)
    const once = random.chance(terms.notIdempotent)
    const pieces = random.chance(terms.streams) ? random.integer(1, PIECES_MAX) : 0
    const service = random.chance(terms.rare) ? RARE : COMMON
    const serviceMs = random.between(terms.taskMinMs, terms.taskMaxMs)
    const body = writeWork({ task, serviceMs, once, pieces }, payload.subarray(0, random.below(PAYLOAD_MAX)))
    const expected = answerTo(task, service, body)
    this.#outstanding++
    ledger.write({ what: 'sent', at: clockMs(), task, once, pieces, expected })
    try {
      const terms = { service, idempotent: !once }
      const reply =
        pieces === 0 ? await this.#client.request(body, terms) : await this.#read(task, body, terms)
      this.#settled(task, '', reply.cluster, printable(reply.text()))
    } catch (error) {
      if (!(error instanceof SpillwayError)) throw error
      this.#settled(task, error.code, error.cluster, printable(error.message))
    }
  }

  /** A stream, of which every second may be begun anew. */
  async #read(
    task: string,
    body: Uint8Array,
    terms: { readonly service: string; readonly idempotent: boolean },
  ): Promise<Reply> {
    const stream = this.#client.stream(body, { ...terms, restart: terms.idempotent && random.chance(0.5) })
    for await (const piece of stream) {
      const { attempt, index } = piece
      const text = printable(piece.text())
      ledger.write({ what: 'piece', at: clockMs(), task, client: this.name, attempt, index, piece: text })
    }
    return await stream.final
  }

  #settled(task: string, code: string, ranIn: string, answer: string): void {
    this.#outstanding--
    ledger.write({ what: 'settled', at: clockMs(), task, client: this.name, code, ranIn, answer })
  }
}

/** A wrong answer, and why there is none, must still be a word in a line. */
function printable(answer: string): string {
  return answer
    .slice(0, 100)
    .replaceAll(' ', '_')
    .replace(/[^!-~]/g, '?')
}

const askers = Array.from({ length: terms.clients }, (_, index) => new Asker(index))
let sending: NodeJS.Timeout | undefined

function send(): void {
  let due = 0
  let sentAt = performance.now()
  let gap = random.exponential(1)
  sending = setInterval(() => {
    const now = performance.now()
    due = Math.min(BURST_MAX, due + ((now - sentAt) / 1000) * terms.tasksPerSecond)
    sentAt = now
    for (; due >= gap; gap = random.exponential(1)) {
      due -= gap
      const asker = random.pick(askers)
      if (asker?.patient) void asker.ask()
    }
  }, SEND_EVERY_MS)
}

function obey(order: ClientOrder): void {
  clearInterval(sending)
  if (order.type === 'send') send()
  if (order.type === 'each') for (const asker of askers) void asker.ask()
}

// What has nothing to do at the moment must not end.
process.channel?.ref()
process.on('message', (message) => obey(clientOrderSchema.parse(message)))
process.once('SIGTERM', () => process.exit(0))
