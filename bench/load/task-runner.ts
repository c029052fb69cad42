import { Load } from '../../cli/bench/load.ts'
import { obey, pairsOf, say } from './orders.ts'
import { BODY_MIN, isMarked, makeBody, mark } from './task-body.ts'

/** A client library: has one task done. */
export type RequestTask = (body: Buffer) => Promise<Uint8Array>

/** Obeys orders with a client library, one promise a task, as its users would. */
export function runTasksWith(request: RequestTask): void {
  let sequence = 1
  obey((order) => {
    const size = Math.max(BODY_MIN, order.size)
    let wrong = 0
    const load: Load = new Load(
      order,
      {
        issue: (slot, expected) => {
          const body = makeBody(size)
          mark(body, slot, expected)
          request(body).then(
            (answer) => {
              const octets = Buffer.from(answer.buffer, answer.byteOffset, answer.byteLength)
              const right = isMarked(octets, 0, octets.length, size, slot, expected)
              if (!right || !load.answered(slot, expected, performance.now())) wrong++
            },
            () => load.failed(slot, expected),
          )
        },
        flush: () => {},
        opened: () => say({ type: 'open' }),
        closed: () => say({ type: 'close' }),
      },
      sequence,
    )
    void load.done.then((result) => {
      sequence = load.nextSequence
      const { latency, late, ...counts } = result
      say({ type: 'result', ...counts, wrong, latency: pairsOf(latency), late: pairsOf(late) })
    })
  })
  say({ type: 'ready' })
}
