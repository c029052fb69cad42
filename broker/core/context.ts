import type { Hello } from '../../protocol/record.ts'
import type { CoreConfig } from './config.ts'
import type { Counters } from './counters.ts'
import type { BrokerPort } from './port.ts'
import type { Scheduler } from './scheduler.ts'
import type { TimingWheel } from './timing-wheel.ts'

/** What the broker's parts share. */
export interface Context {
  readonly config: CoreConfig
  /** Of this life of the broker. */
  readonly epoch: number
  /** Random, 32 bits, and told to nobody: for what is found by numbers or texts that others choose. */
  readonly seed: number
  readonly port: BrokerPort
  readonly counters: Counters
  readonly wheel: TimingWheel
  readonly scheduler: Scheduler
  /** Our HELLO for clients and workers: neither our addresses nor our peers. */
  helloLocal(): Hello
  /** Our HELLO, as of now, for the broker of that name; '' while we do not know it. */
  helloPeer(to: string): Hello
}
