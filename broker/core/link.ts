import type { Record } from '../../protocol/record.ts'

/** Which socket a link's messages leave by. */
export type LinkSocket = 'localfe' | 'localbe' | 'cloudfe' | 'cloudbe'

/** How the other end speaks; recognised by its first frames and fixed for the life of the link. */
export type Dialect = 'native' | 'req' | 'ppp'

const NO_FRAMES: readonly Uint8Array[] = []

/**
 * One correspondent behind one socket, as the core addresses it. The core makes links and holds them; the caller that
 * carries out sends may keep what it likes in `outbox` (a batch under way, a simulated wire).
 */
export class Link {
  /** The other end's epoch, 0 until known: goes into the header of every message, so that a restart is noticed. */
  epoch: number
  /** The caller's own. */
  outbox: unknown
  /** The core's own: who is behind it; null once that is nobody any more. */
  owner: object | null
  /** The routing id (latin1) on a ROUTER; for cloudbe the alias that `connectPeer` was called with. */
  readonly key: string
  readonly socket: LinkSocket
  readonly dialect: Dialect
  /** Stock clients only: the frames in front of the body, routing id included, replayed in front of the reply. */
  readonly envelope: readonly Uint8Array[]

  /** In this order its fields lie, what every message needs first. */
  constructor(
    socket: LinkSocket,
    key: string,
    dialect: Dialect = 'native',
    envelope: readonly Uint8Array[] = NO_FRAMES,
  ) {
    this.epoch = 0
    this.outbox = undefined
    this.owner = null
    this.key = key
    this.socket = socket
    this.dialect = dialect
    this.envelope = envelope
  }
}

/** Why a message that the core sent did not leave. */
export type UndeliveredReason = 'unreachable' | 'full'

/** A message that could not be sent, as the caller hands it back to the core. */
export interface Undelivered {
  readonly link: Link
  readonly reason: UndeliveredReason
  readonly records: readonly Record[]
}
