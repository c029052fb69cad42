import { type Heartbeat, Kind } from '../../protocol/record.ts'

/** The same heartbeat for all who are to hear the same: most of a thousand brokers have been sent, and have answered, nothing. */
export class SharedHeartbeat {
  #said: Heartbeat

  constructor(ask: boolean) {
    this.#said = { kind: Kind.Heartbeat, ask, sent: 0 }
  }

  with(sent: number): Heartbeat {
    if (this.#said.sent !== sent) this.#said = { kind: Kind.Heartbeat, ask: this.#said.ask, sent }
    return this.#said
  }
}
