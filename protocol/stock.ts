/**
 * The dialects of programs that know nothing of us: REQ clients (Lazy Pirate, with and without `correlate`), plain REQ
 * workers, and Paranoid Pirate workers (RFC 6). Frames are as a ROUTER sees them: `frames[0]` is the routing id.
 */

import type { DecodeError } from './decode-error.ts'
import { DecodeReason, decodeError } from './decode-error.ts'
import { WORD } from './native.ts'
import type { Token } from './record.ts'

/** How a stock worker frames its messages. */
export type StockDialect = 'req' | 'ppp'

/** Most frames between the routing id and the body, with the empty one that ends them. A hop adds one. */
export const ENVELOPE_MAX = 8

const READY_OCTET = 0x01
const HEARTBEAT_OCTET = 0x02
const EMPTY = Buffer.alloc(0)

/** What a Paranoid Pirate worker sends to sign in. */
export const PPP_READY: Uint8Array = Buffer.of(READY_OCTET)
/** What a Paranoid Pirate worker and its broker send each other when there is nothing to say. */
export const PPP_HEARTBEAT: Uint8Array = Buffer.of(HEARTBEAT_OCTET)

export interface StockRequest {
  /** All in front of the body, from the routing id to the empty frame: goes in front of the reply as it is. */
  readonly envelope: readonly Uint8Array[]
  readonly body: Uint8Array
}

/** Splits what a REQ client sent to localfe: `[id] envelope… [∅] [body]`. */
export function readStockRequest(frames: readonly Uint8Array[]): StockRequest | DecodeError {
  const last = Math.min(ENVELOPE_MAX, frames.length - 1)
  for (let i = 1; i <= last; i++) {
    if (frames[i]?.length !== 0) continue
    const body = frames[i + 1]
    if (body === undefined || frames.length !== i + 2) return decodeError(DecodeReason.Parts)
    return { envelope: frames.slice(0, i + 1), body }
  }
  return decodeError(DecodeReason.Envelope)
}

/** The answer to a stock client. */
export function writeStockReply(envelope: readonly Uint8Array[], body: Uint8Array): Uint8Array[] {
  const frames: Uint8Array[] = []
  for (const frame of envelope) frames.push(frame)
  frames.push(body)
  return frames
}

export type StockWorkerMessage =
  | { readonly type: 'ready'; readonly dialect: StockDialect }
  | { readonly type: 'heartbeat'; readonly dialect: 'ppp' }
  | {
      readonly type: 'reply'
      readonly dialect: StockDialect
      readonly token: Token
      readonly body: Uint8Array
    }

const READY_REQ: StockWorkerMessage = Object.freeze({ type: 'ready', dialect: 'req' })
const READY_PPP: StockWorkerMessage = Object.freeze({ type: 'ready', dialect: 'ppp' })
const HEARTBEAT_PPP: StockWorkerMessage = Object.freeze({ type: 'heartbeat', dialect: 'ppp' })

/**
 * Reads what a stock worker sent to localbe. The dialects tell themselves apart by the frame after the routing id: REQ
 * sockets put an empty one there, Paranoid Pirate workers (DEALER) never do.
 *
 *     PPP   [id][0x01]   [id][0x02]   [id][token][∅][body]
 *     REQ   [id][∅]["READY"]   [id][∅][0x01]   [id][∅][token][∅][body]
 */
export function readStockWorker(frames: readonly Uint8Array[]): StockWorkerMessage | DecodeError {
  const second = frames[1]
  if (second === undefined) return decodeError(DecodeReason.Parts)
  if (second.length === 0) {
    const third = frames[2]
    if (third === undefined) return decodeError(DecodeReason.Parts)
    if (frames.length === 3) {
      return isOctet(third, READY_OCTET) || isReadyText(third) ? READY_REQ : decodeError(DecodeReason.Command)
    }
    return readStockResult('req', frames, 2)
  }
  if (frames.length === 2) {
    if (isOctet(second, READY_OCTET)) return READY_PPP
    if (isOctet(second, HEARTBEAT_OCTET)) return HEARTBEAT_PPP
    return decodeError(DecodeReason.Command)
  }
  return readStockResult('ppp', frames, 1)
}

/** `[token][∅][body]` from frame `at` on, and nothing after it. */
function readStockResult(
  dialect: StockDialect,
  frames: readonly Uint8Array[],
  at: number,
): StockWorkerMessage | DecodeError {
  const text = frames[at]
  const body = frames[at + 2]
  if (text === undefined || body === undefined || frames[at + 1]?.length !== 0 || frames.length !== at + 3) {
    return decodeError(DecodeReason.Parts)
  }
  const token = readTokenText(text)
  return token < 0 ? decodeError(DecodeReason.Token) : { type: 'reply', dialect, token, body }
}

/** A task for a stock worker. */
export function writeStockRequest(
  dialect: StockDialect,
  routingId: Uint8Array,
  token: Token,
  body: Uint8Array,
): Uint8Array[] {
  const text = writeTokenText(token)
  return dialect === 'req' ? [routingId, EMPTY, text, EMPTY, body] : [routingId, text, EMPTY, body]
}

/** A heartbeat for a Paranoid Pirate worker. A REQ worker must never get one: it would take it for a task. */
export function writeStockHeartbeat(routingId: Uint8Array): Uint8Array[] {
  return [routingId, PPP_HEARTBEAT]
}

/** 14 hex digits hold the 53 bits of a token. */
const TOKEN_TEXT_SIZE = 14

/** The hex digits of each octet; a Number's own `toString(16)` divides digit by digit and costs more than a send. */
const DIGITS = new Uint16Array(256).map((_, octet) => {
  const text = octet.toString(16).padStart(2, '0')
  return (text.charCodeAt(0) << 8) | text.charCodeAt(1)
})
/** What each character counts as a hex digit; 16 for none. */
const VALUES = new Uint8Array(256).fill(16)
for (let digit = 0; digit < 16; digit++) VALUES[digit.toString(16).charCodeAt(0)] = digit

/** A token as a stock worker gets and echoes it: printable, since some workers print it, and of fixed width. */
function writeTokenText(token: Token): Uint8Array {
  const text = Buffer.allocUnsafe(TOKEN_TEXT_SIZE)
  const high = Math.floor(token / WORD)
  const low = token >>> 0
  writeOctet(text, 0, high >>> 16)
  writeOctet(text, 2, (high >>> 8) & 0xff)
  writeOctet(text, 4, high & 0xff)
  writeOctet(text, 6, low >>> 24)
  writeOctet(text, 8, (low >>> 16) & 0xff)
  writeOctet(text, 10, (low >>> 8) & 0xff)
  writeOctet(text, 12, low & 0xff)
  return text
}

function writeOctet(text: Uint8Array, at: number, octet: number): void {
  const digits = DIGITS[octet] ?? 0
  text[at] = digits >>> 8
  text[at + 1] = digits & 0xff
}

/** -1 for anything but the very text that `writeTokenText` gives for some token. */
function readTokenText(text: Uint8Array): Token {
  if (text.length !== TOKEN_TEXT_SIZE) return -1
  let high = 0
  let low = 0
  let seen = 0
  for (let i = 0; i < 6; i++) {
    const digit = VALUES[text[i] ?? 0] ?? 16
    seen |= digit
    high = (high << 4) | digit
  }
  for (let i = 6; i < TOKEN_TEXT_SIZE; i++) {
    const digit = VALUES[text[i] ?? 0] ?? 16
    seen |= digit
    low = (low << 4) | digit
  }
  if (seen > 15) return -1
  const token = high * WORD + (low >>> 0)
  return token <= Number.MAX_SAFE_INTEGER ? token : -1
}

function isOctet(frame: Uint8Array, octet: number): boolean {
  return frame.length === 1 && frame[0] === octet
}

function isReadyText(frame: Uint8Array): boolean {
  return (
    frame.length === 5 &&
    frame[0] === 0x52 &&
    frame[1] === 0x45 &&
    frame[2] === 0x41 &&
    frame[3] === 0x44 &&
    frame[4] === 0x59
  )
}
