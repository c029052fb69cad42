/** Native workers by the hundred that have nothing to do but beat, each on a connection of its own. */

import { randomInt } from 'node:crypto'
import { Kind, type Record, Role, VERSION_MAJOR } from '../../protocol/record.ts'
import { encodeRecords } from './native-wire.ts'
import { say } from './orders.ts'
import { ZmtpConnection } from './zmtp-connection.ts'

const [connect = '', count = '1'] = process.argv.slice(2)
/** The worker library's default. */
const HEARTBEAT_MS = 1000

let signedIn = 0
for (let n = 0; n < Number(count); n++) {
  const epoch = randomInt(1, 2 ** 32)
  let broker = 0
  const wire = new ZmtpConnection(
    connect,
    'DEALER',
    (connection) => {
      connection.send(encodeRecords(epoch, 0, introduction(`idle-${n}`, epoch)))
      // At different moments, as processes that were started at different moments.
      setTimeout(() => setInterval(beat, HEARTBEAT_MS), randomInt(HEARTBEAT_MS))
    },
    ([packed]) => {
      if (packed === undefined) return
      if (broker === 0 && ++signedIn === Number(count)) say({ type: 'ready' })
      broker = packed.readUInt32BE(4)
    },
  )
  const beat = (): void => {
    wire.send(encodeRecords(epoch, broker, [{ kind: Kind.Heartbeat, ask: false, sent: 0 }]))
    wire.flush()
  }
}

function introduction(name: string, epoch: number): Record[] {
  return [
    {
      kind: Kind.Hello,
      role: Role.Worker,
      name,
      epoch,
      major: VERSION_MAJOR,
      minor: 0,
      heartbeatIntervalMs: HEARTBEAT_MS,
      bodyMax: 1 << 20,
      cloudfe: '',
      statebe: '',
      peers: [],
    },
    { kind: Kind.Ready, slots: 1, services: [''] },
  ]
}
process.stdin.resume().on('end', () => process.exit(0))
