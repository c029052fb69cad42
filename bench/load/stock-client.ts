/** Load in the stock dialect where there is no C compiler: one task a message, over any number of connections. */

import { Load } from '../../cli/bench/load.ts'
import { obey, pairsOf, say } from './orders.ts'
import { BODY_MIN, isMarked, makeBody, mark } from './task-body.ts'
import { ZmtpConnection } from './zmtp-connection.ts'

const [connect = '', count = '1', kind = 'dealer'] = process.argv.slice(2)
const isReq = kind === 'req'
const EMPTY = Buffer.alloc(0)

interface ClientConnection {
  readonly wire: ZmtpConnection
  underWay: number
  /** REQ takes one task at a time: what is due meanwhile. */
  readonly waiting: (readonly [number, number])[]
}

const connections = new Map<ZmtpConnection, ClientConnection>()
const ring: ClientConnection[] = []
let next = 0
let last: ClientConnection | undefined
let size = BODY_MIN
let body = makeBody(size)
let load: Load | undefined
let sequence = 1
let wrong = 0
const dirty = new Set<ClientConnection>()

function transmit(connection: ClientConnection, slot: number, expected: number): void {
  connection.underWay++
  mark(body, slot, expected)
  connection.wire.send([EMPTY, body])
  dirty.add(connection)
}

function flush(): void {
  for (const { wire } of dirty) wire.flush()
  dirty.clear()
}

function answered(frames: Buffer[], wire: ZmtpConnection): void {
  const connection = connections.get(wire)
  const answer = frames[1]
  if (connection === undefined || answer === undefined || answer.length !== size) {
    wrong++
    return
  }
  connection.underWay--
  const waiting = connection.waiting.shift()
  if (waiting !== undefined) transmit(connection, waiting[0], waiting[1])
  const slot = answer.readUInt32BE(0)
  const expected = answer.readUInt32BE(4)
  // The task that follows in a closed loop goes by the same connection, which is free now.
  last = connection
  const right = isMarked(answer, 0, answer.length, size, slot, expected)
  if (!right || !load?.answered(slot, expected, performance.now())) wrong++
  last = undefined
  flush()
}

for (let n = 0; n < Number(count); n++) {
  const wire = new ZmtpConnection(
    connect,
    isReq ? 'REQ' : 'DEALER',
    (opened) => {
      const connection: ClientConnection = { wire: opened, underWay: 0, waiting: [] }
      connections.set(opened, connection)
      ring.push(connection)
      if (ring.length === Number(count)) say({ type: 'ready' })
    },
    answered,
  )
  void wire
}

obey((order) => {
  size = Math.max(BODY_MIN, order.size)
  body = makeBody(size)
  wrong = 0
  const current = new Load(
    order,
    {
      issue: (slot, expected) => {
        const connection = last ?? ring[next++ % ring.length]
        if (connection === undefined) return
        if (isReq && connection.underWay > 0) connection.waiting.push([slot, expected])
        else transmit(connection, slot, expected)
      },
      flush,
      opened: () => say({ type: 'open' }),
      closed: () => say({ type: 'close' }),
    },
    sequence,
  )
  load = current
  void current.done.then((result) => {
    sequence = current.nextSequence
    const { latency, late, ...counts } = result
    say({ type: 'result', ...counts, wrong, latency: pairsOf(latency), late: pairsOf(late) })
  })
})
