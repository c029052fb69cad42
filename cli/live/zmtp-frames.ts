/** What the greeting of either side takes, octets (ZMTP 3.x, RFC 37: signature, version, mechanism, role, filler). */
const GREETING = 64
const LONG = 0x02
const COMMAND = 0x04
const MORE = 0x01
const NOTHING = Buffer.alloc(0)

/**
 * Cuts one direction of a ZMTP connection into whole frames. What is not a whole frame yet is kept back, which delays
 * nothing: its receiver could do nothing with it either. The greeting passes as it comes, since each side sends the rest of
 * its own only when it has seen the beginning of the other's.
 */
export class ZmtpFrames {
  readonly #onMessage: ((frames: readonly Uint8Array[]) => void) | undefined
  #greetingLeft = GREETING
  #rest: Buffer = NOTHING
  #message: Uint8Array[] = []

  /** @param onMessage is told of every message: views of its frames, valid while the call lasts */
  constructor(onMessage?: (frames: readonly Uint8Array[]) => void) {
    this.#onMessage = onMessage
  }

  /** @returns all that is whole by now, empty if nothing is; of a message that is whole in part, the whole frames */
  push(piece: Buffer): Buffer {
    const all = this.#rest.length === 0 ? piece : Buffer.concat([this.#rest, piece])
    let at = Math.min(this.#greetingLeft, all.length)
    this.#greetingLeft -= at
    while (this.#greetingLeft === 0) {
      const flags = all[at]
      if (flags === undefined) break
      const header = (flags & LONG) === 0 ? 2 : 9
      if (at + header > all.length) break
      const length = (flags & LONG) === 0 ? (all[at + 1] ?? 0) : Number(all.readBigUInt64BE(at + 1))
      const end = at + header + length
      if (end > all.length) break
      if ((flags & COMMAND) === 0 && this.#onMessage !== undefined) {
        this.#message.push(all.subarray(at + header, end))
        if ((flags & MORE) === 0) {
          this.#onMessage(this.#message)
          this.#message = []
        }
      }
      at = end
    }
    this.#rest = all.subarray(at)
    return all.subarray(0, at)
  }
}
