/** Bodies that say whose they are: slot and sequence number at the front, the sequence number again at the end. */

/** Octets of the smallest body: 8 in front, 4 at the end. */
export const BODY_MIN = 16

export function makeBody(size: number): Buffer {
  return Buffer.alloc(Math.max(BODY_MIN, size), 'abcdefghijklmnopqrstuvwxyz')
}

export function mark(body: Buffer, slot: number, sequence: number): void {
  body.writeUInt32BE(slot, 0)
  body.writeUInt32BE(sequence, 4)
  body.writeUInt32BE(sequence, body.length - 4)
}

/** Whether the octets `start` to `end` are the body of this very task. */
export function isMarked(
  body: Buffer,
  start: number,
  end: number,
  size: number,
  slot: number,
  sequence: number,
): boolean {
  return (
    end - start === size &&
    body.readUInt32BE(start) === slot &&
    body.readUInt32BE(start + 4) === sequence &&
    body.readUInt32BE(end - 4) === sequence
  )
}
