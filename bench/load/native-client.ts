/** Load in the native dialect from a bare DEALER: packs as the client library does, at a fraction of its cost. */

import { randomInt } from 'node:crypto'
import { nanoid } from 'nanoid'
import { Dealer } from 'zeromq'
import { Load } from '../../cli/bench/load.ts'
import { Kind, Role, VERSION_MAJOR } from '../../protocol/record.ts'
import { drain } from './drain.ts'
import {
  encodeRecords,
  PackedMessage,
  type RecordReader,
  readPacked,
  requestTemplate,
} from './native-wire.ts'
import { obey, pairsOf, type RunOrder, say } from './orders.ts'
import { BODY_MIN, isMarked, makeBody, mark } from './task-body.ts'

const [connect = ''] = process.argv.slice(2)
const TASK_TIME_MS = 60_000

Error.stackTraceLimit = 0
const epoch = randomInt(1, 2 ** 32)
const dealer = new Dealer({ linger: 0, sendTimeout: 0, sendHighWaterMark: 0, receiveHighWaterMark: 0 })
const message = new PackedMessage(requestTemplate(nanoid(13), TASK_TIME_MS))
let broker = 0
let load: Load | undefined
let sequence = 1
let size = BODY_MIN
/** By slot: a body that libzmq may still be reading when the next task is packed must be one of its own. */
let bodies: Buffer[] = []
let wrong = 0
let now = 0

function flush(): void {
  if (message.count > 0) void dealer.send(message.finish(epoch, broker))
}

const reader: RecordReader = {
  request: () => {
    wrong++
  },
  reply: (slot, expected, ok, body, start, end) => {
    if (!ok) load?.failed(slot, expected)
    else if (!isMarked(body, start, end, size, slot, expected) || !load?.answered(slot, expected, now))
      wrong++
  },
  other: (kind) => {
    if (kind === Kind.Hello && load === undefined) say({ type: 'ready' })
  },
}

function run(order: RunOrder): void {
  size = Math.max(BODY_MIN, order.size)
  wrong = 0
  bodies = []
  load = new Load(
    order,
    {
      issue: (slot, expected) => {
        bodies[slot] ??= makeBody(size)
        const body = bodies[slot]
        mark(body, slot, expected)
        message.add(slot, expected, expected, body, 0, size)
        if (message.full) flush()
      },
      flush,
      opened: () => say({ type: 'open' }),
      closed: () => say({ type: 'close' }),
    },
    sequence,
  )
  const current = load
  void current.done.then((result) => {
    sequence = current.nextSequence
    const { latency, late, ...counts } = result
    say({ type: 'result', ...counts, wrong, latency: pairsOf(latency), late: pairsOf(late) })
  })
}

dealer.connect(connect)
void dealer.send(
  encodeRecords(epoch, 0, [
    {
      kind: Kind.Hello,
      role: Role.Client,
      name: 'load',
      epoch,
      major: VERSION_MAJOR,
      minor: 0,
      heartbeatIntervalMs: 1000,
      bodyMax: 1 << 30,
      cloudfe: '',
      statebe: '',
      peers: [],
    },
  ]),
)
void drain(
  dealer,
  (frames) => {
    now = performance.now()
    broker = readPacked(frames, reader)
  },
  flush,
)
obey(run)
