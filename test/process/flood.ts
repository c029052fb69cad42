import { createHash, randomBytes } from 'node:crypto'
import { Client, type ClientOptions } from '../../client/main.ts'

const BODY_OCTETS = 64

interface Answer {
  readonly cluster: string
  readonly attempts: number
  /** As `Date.now()` has it. */
  readonly at: number
}

/** A client that has a number of tasks outstanding at all times: each that ends is followed by another. */
export class Flood {
  readonly client: Client
  /** By task. */
  readonly answers = new Map<string, Answer>()
  readonly errors: unknown[] = []
  sent = 0
  settled = 0
  wrong = 0
  #outstanding = 0
  #stopped = false
  #whenQuiet = () => {}

  constructor(options: ClientOptions, outstanding: number) {
    this.client = new Client(options)
    for (let n = 0; n < outstanding; n++) void this.#one()
  }

  /** Promises that have not been settled. */
  get outstanding(): number {
    return this.#outstanding
  }

  /** No further task. @returns when every promise has been settled */
  async drain(): Promise<void> {
    this.#stopped = true
    if (this.#outstanding > 0) {
      await new Promise<void>((resolve) => {
        this.#whenQuiet = resolve
      })
    }
    await this.client.close()
  }

  /** For a test that has failed: what is outstanding is not waited for. */
  async abandon(): Promise<void> {
    this.#stopped = true
    await this.client.close()
  }

  async #one(): Promise<void> {
    const body = randomBytes(BODY_OCTETS)
    this.sent++
    this.#outstanding++
    try {
      const reply = await this.client.request(body)
      if (!createHash('sha256').update(body).digest().equals(reply.body)) this.wrong++
      this.answers.set(reply.taskId, { cluster: reply.cluster, attempts: reply.attempts, at: Date.now() })
    } catch (error) {
      this.errors.push(error)
    }
    this.settled++
    this.#outstanding--
    if (!this.#stopped) void this.#one()
    else if (this.#outstanding === 0) this.#whenQuiet()
  }
}
