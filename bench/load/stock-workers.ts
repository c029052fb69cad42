/** Stock workers where there is no C compiler: Paranoid Pirate or REQ, one connection and one task at a time each. */

import { PPP_HEARTBEAT, PPP_READY } from '../../protocol/stock.ts'
import { say } from './orders.ts'
import { ZmtpConnection } from './zmtp-connection.ts'

const [connect = '', count = '1', kind = 'ppp'] = process.argv.slice(2)
const isReq = kind === 'req'
const HEARTBEAT_MS = 1000
const READY = isReq ? [Buffer.alloc(0), Buffer.from('READY')] : [PPP_READY]

const open: ZmtpConnection[] = []
for (let n = 0; n < Number(count); n++) {
  const wire = new ZmtpConnection(
    connect,
    isReq ? 'REQ' : 'DEALER',
    (connection) => {
      connection.send(READY)
      open.push(connection)
      if (open.length === Number(count)) say({ type: 'ready' })
    },
    (frames, connection) => {
      // A task goes back as it came: token, empty frame, body.
      if (frames.length >= 3) connection.send(frames)
    },
  )
  void wire
}
if (!isReq) {
  setInterval(() => {
    for (const connection of open) {
      connection.send([PPP_HEARTBEAT])
      connection.flush()
    }
  }, HEARTBEAT_MS)
}
process.stdin.resume().on('end', () => process.exit(0))
