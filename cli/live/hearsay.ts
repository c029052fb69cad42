import { decodeMessage } from '../../protocol/decode.ts'
import { Kind, type Record, type State, type Token } from '../../protocol/record.ts'
import { taskOf } from './work.ts'

const BODY_MAX = 1 << 30
/** Tasks remembered on a connection; answered ones are forgotten. */
const TOKENS_MAX = 100_000

/** What is seen of brokers by who reads what passes between them. */
export interface Witness {
  /** A task goes to another cluster: by what its body says. `from` and `to` are indexes. */
  relayed(task: string, from: number, to: number): void
  /**
   * A broker says what it has free.
   * @param since it cannot have said so before this, by the ledger's clock, ms
   */
  advertised(cluster: number, state: State, since: number): void
}

/** Who reads one connection, from both of its ends. */
export interface Listener {
  readonly outward?: (frames: readonly Uint8Array[]) => void
  readonly inward?: (frames: readonly Uint8Array[]) => void
}

/** That a broker took a state of this number, and not before that time. */
interface Proof {
  readonly epoch: number
  readonly seq: number
  readonly at: number
}

/**
 * Reads the messages between brokers. Nobody writes into a state when it was taken, and nobody knows how long it was on its
 * way. But an answer is no older than its task, what comes after it on the same connection is no older than the answer,
 * and a state of a higher number is no older than one of a lower.
 */
export class Hearsay {
  readonly #witness: Witness
  readonly #clock: () => number
  /** The latest, by cluster. */
  readonly #proofs = new Map<number, Proof>()

  /** @param clock the ledger's, ms */
  constructor(witness: Witness, clock: () => number) {
    this.#witness = witness
    this.#clock = clock
  }

  /** Of a connection that `from` makes to the cloudfe of `to`. */
  toCloudfe(from: number, to: number): Listener {
    /** When each task that is not answered yet was seen on its way. */
    const askedAt = new Map<Token, number>()
    let since = Number.NEGATIVE_INFINITY
    return {
      outward: (frames) => {
        for (const record of recordsOf(frames)) {
          if (record.kind !== Kind.Request) continue
          if (askedAt.size < TOKENS_MAX && !askedAt.has(record.token))
            askedAt.set(record.token, this.#clock())
          const task = taskOf(record.body)
          if (task !== null) this.#witness.relayed(task, from, to)
        }
      },
      inward: (frames) => {
        for (const record of recordsOf(frames)) {
          if (record.kind === Kind.Reply) {
            since = Math.max(since, askedAt.get(record.token) ?? since)
            askedAt.delete(record.token)
          } else if (record.kind === Kind.State && since > Number.NEGATIVE_INFINITY) {
            this.#prove(to, record, since)
            this.#witness.advertised(to, record, since)
          }
        }
      },
    }
  }

  /** Of a connection to the statebe of `to`. */
  toStatebe(to: number): Listener {
    return {
      inward: (frames) => {
        for (const record of recordsOf(frames)) {
          if (record.kind !== Kind.State) continue
          const proof = this.#proofs.get(to)
          if (proof === undefined || proof.epoch !== record.epoch || proof.seq > record.seq) continue
          this.#witness.advertised(to, record, proof.at)
        }
      },
    }
  }

  #prove(cluster: number, { epoch, seq }: State, at: number): void {
    const before = this.#proofs.get(cluster)
    if (before === undefined || before.epoch !== epoch || before.at < at)
      this.#proofs.set(cluster, { epoch, seq, at })
  }
}

/** What is none of ours is the broker's to complain about. */
function recordsOf(frames: readonly Uint8Array[]): readonly Record[] {
  const message = decodeMessage(frames, 0, { bodyMax: BODY_MAX })
  return 'error' in message ? [] : message.records
}
