/** Why octets from outside are no message; short and few, so that each can label a counter. */
export const DecodeReason = {
  /** The first frame is not a native packed frame. */
  Magic: 'magic',
  /** A native message of another major version. */
  Version: 'version',
  /** A field, record or frame ends before it should. */
  Truncated: 'truncated',
  /** A body frame is not of the length its record announced. */
  Length: 'length',
  /** A token of 2^53 or more, or a token text that is not 14 lowercase hex digits. */
  Token: 'token',
  /** A task id that is not 1 to 64 printable ASCII characters. */
  Id: 'id',
  /** A text longer than its field may be. */
  Text: 'text',
  /** A text that is not UTF-8. */
  Utf8: 'utf8',
  /** A number outside its range. */
  Number: 'number',
  /** A record announces a body frame that is not there. */
  BodyFrameMissing: 'body_frame_missing',
  /** Frames that no record claims. */
  ExtraFrames: 'extra_frames',
  /** More than 65,535 records in one message. */
  TooManyRecords: 'too_many_records',
  /** Stock: no empty frame ends the envelope, or it is too deep. */
  Envelope: 'envelope',
  /** Stock: a number of frames that the dialect does not have. */
  Parts: 'parts',
  /** Stock: a worker's command that is neither READY nor HEARTBEAT. */
  Command: 'command',
} as const
export type DecodeReason = (typeof DecodeReason)[keyof typeof DecodeReason]

/** What decoders return for a malformed message. They never throw. Tell it from a result by `'error' in …`. */
export interface DecodeError {
  readonly error: DecodeReason
}

/** One object a reason: garbage must not be able to make us allocate. */
const errors = new Map<DecodeReason, DecodeError>()
for (const reason of Object.values(DecodeReason)) errors.set(reason, Object.freeze({ error: reason }))

/** The error for a reason. */
export function decodeError(reason: DecodeReason): DecodeError {
  return errors.get(reason) ?? { error: reason }
}
