/** The six sockets, by their names. */
export const SOCKET_NAMES = ['localfe', 'localbe', 'cloudfe', 'cloudbe', 'statefe', 'statebe'] as const
export type SocketName = (typeof SOCKET_NAMES)[number]

type BySocket<T> = { readonly [socket in SocketName]: T }

function bySocket<T>(make: () => T): BySocket<T> {
  return {
    localfe: make(),
    localbe: make(),
    cloudfe: make(),
    cloudbe: make(),
    statefe: make(),
    statebe: make(),
  }
}

/** What went through the sockets. Plain numbers, read when somebody scrapes. */
export class Traffic {
  readonly received = bySocket(() => ({ messages: 0, bytes: 0 }))
  readonly sent = bySocket(() => ({ messages: 0, bytes: 0 }))
  /** By reason. */
  readonly malformed = bySocket(() => new Map<string, number>())
  readonly undelivered = bySocket(() => ({ unreachable: 0, full: 0 }))

  /** @returns how often this has been seen on this socket, this time included */
  countMalformed(socket: SocketName, reason: string): number {
    const reasons = this.malformed[socket]
    const total = (reasons.get(reason) ?? 0) + 1
    reasons.set(reason, total)
    return total
  }
}
