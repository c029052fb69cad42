/**
 * How a native message lies on the wire: the constants that encoder and decoder share. `docs/protocol.md` has the
 * same as ABNF.
 *
 * A message is one packed frame, then the bodies that are not packed, each a frame of its own: large ones, and a small one that
 * would make a small frame a large one:
 *
 *     packed frame = D7 'S' 'W', major u8, from u32, to u32, then records
 *     record       = kind u8, length u32 (octets of payload in this frame), payload
 *
 * All numbers are big-endian. The header, the framing of records, the first fields of HELLO (role, major, minor,
 * epoch, name) and the whole of REFUSE are frozen over all major versions: two brokers that cannot talk can still tell
 * their operators why.
 */

/** D7 is no UTF-8 on its own and no routing header of a stock dialect begins with it; 'SW' tells a reader of a dump. */
export const MAGIC_0 = 0xd7
export const MAGIC_1 = 0x53
export const MAGIC_2 = 0x57

export const HEADER_SIZE = 12
export const RECORD_HEADER_SIZE = 5

/** Bodies up to this many octets are copied into the packed frame: below it a frame costs more than the copy. */
export const INLINE_BODY_MAX = 4096

/**
 * Frames up to this many octets are copied between V8's memory and libzmq's. A larger one that is sent has to be given back
 * on the main thread, which is woken for it; one that arrives keeps the 8 KiB it was received into until it is collected.
 */
export const COPIED_FRAME_MAX = 128

/** Top bit of a body's length: the body is the message's next unused frame. */
export const OWN_FRAME = 0x8000_0000

/** Records in one message. */
export const RECORDS_MAX = 65_535

/** Entries in a list with a 16-bit count. */
export const LIST_MAX = 65_535

export const U32_MAX = 0xffff_ffff
/** 2^32: what the high word of a token or counter counts in. */
export const WORD = 0x1_0000_0000
/** High words of tokens and counters stay below this, so that a Number holds the whole. */
export const HIGH_WORD_LIMIT = 0x20_0000

/** Bit 0 of a record's flag octet; the other bits are reserved, sent as 0 and ignored. */
export const FLAG_SET = 1

/** Whether a frame starts as a native message does, of whatever version. Reads three octets. */
export function isNative(frame: Uint8Array | undefined): boolean {
  return (
    frame !== undefined &&
    frame.length >= HEADER_SIZE &&
    frame[0] === MAGIC_0 &&
    frame[1] === MAGIC_1 &&
    frame[2] === MAGIC_2
  )
}
