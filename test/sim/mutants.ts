import { Answered } from '../../broker/core/answer-pages.ts'
import type { Broker } from '../../broker/core/broker.ts'
import type { Link } from '../../broker/core/link.ts'
import { Task } from '../../broker/core/task.ts'
import { Worker } from '../../broker/core/worker.ts'
import { ErrorCode } from '../../protocol/error-code.ts'
import { Flag, Kind, type Message, type Record } from '../../protocol/record.ts'
import type { BrokerNode } from '../../sim/broker-node.ts'
import type { ClientNode } from '../../sim/client-node.ts'
import { NO_TASK_IS_LOST, type SimulationOptions } from '../../sim/simulation.ts'

/** A core that is broken on purpose, on its instance or its prototype; the production code knows nothing of it. */
export interface Mutant {
  readonly what: string
  /** @returns what a run is to be given, and how the harm is undone */
  readonly make: () => { options: SimulationOptions; undo?: () => void }
  /** The only promise that can find it out. */
  readonly promise?: string
}

function onBroker(change: (core: Broker, node: BrokerNode) => void): Mutant['make'] {
  return () => ({ options: { onBroker: change } })
}

function onClient(change: (node: ClientNode) => void): Mutant['make'] {
  return () => ({ options: { onClient: (_core, node) => change(node) } })
}

/** A getter of a class that says something else until it is undone. */
function getter<T extends object>(
  of: { prototype: T },
  name: keyof T & string,
  says: (self: T) => unknown,
): Mutant['make'] {
  return () => {
    const was = Object.getOwnPropertyDescriptor(of.prototype, name)
    Object.defineProperty(of.prototype, name, {
      configurable: true,
      get(this: T) {
        return says(this)
      },
    })
    return {
      options: {},
      undo: () => {
        if (was !== undefined) Object.defineProperty(of.prototype, name, was)
      },
    }
  }
}

function without(message: Message, unwanted: Record['kind']): Message {
  return { ...message, records: message.records.filter(({ kind }) => kind !== unwanted) }
}

const WORD = 2 ** 32
const ORDER_RETURNS = 'after faults end, all work drains and everybody agrees who is there'

export const MUTANTS: readonly Mutant[] = [
  {
    what: 'an answer is matched by its index alone, whatever its nonce',
    make: onBroker(({ scheduler }) => {
      scheduler.assignments.find = (token) => {
        const index = Math.floor(token / WORD)
        for (const a of scheduler.assignments.all()) if (Math.floor(a.token / WORD) === index) return a
        return null
      }
    }),
  },
  {
    what: 'capacity is not decremented when a task is given out',
    make: onBroker(({ scheduler }) => {
      const { slotsChanged } = scheduler
      scheduler.slotsChanged = (worker) => {
        if (worker.free >= worker.countedFree) slotsChanged.call(scheduler, worker)
      }
    }),
  },
  { what: 'a busy worker counts as free', make: getter(Worker, 'free', (worker) => worker.slots) },
  {
    what: 'tasks are not taken back from a peer that is lost',
    make: onBroker(({ scheduler }) => {
      scheduler.abandon = () => false
      const { takeBack } = scheduler
      scheduler.takeBack = (assignment, why, now, worker) => {
        if (why !== 'peerLost') takeBack.call(scheduler, assignment, why, now, worker)
      }
    }),
  },
  {
    what: 'tasks are not taken back from a worker that died',
    make: onBroker(({ scheduler }) => {
      const { takeBack } = scheduler
      scheduler.takeBack = (assignment, why, now, worker) => {
        if (why !== 'workerLost') takeBack.call(scheduler, assignment, why, now, worker)
      }
    }),
  },
  {
    what: 'a task that may not start twice is started again',
    make: getter(Task, 'mayStartTwice', () => true),
  },
  {
    what: 'a borrowed task waits in line, and is sent on',
    make: onBroker(({ scheduler }) => {
      scheduler.host = (task, now) => {
        scheduler.guestTasks++
        scheduler.submit(task, now)
        return null
      }
    }),
  },
  {
    what: 'one slot more is advertised than is free',
    make: onBroker((_core, node) => {
      const { publish } = node
      node.publish = (state) => {
        const services = state.services.map((service) => ({ ...service, free: service.free + 1 }))
        publish.call(node, { ...state, services })
      }
    }),
  },
  {
    what: 'inventories are not read',
    make: onBroker(({ workers, peers }) => {
      const fromWorker = workers.receive
      workers.receive = (key, message, now, link) =>
        fromWorker.call(workers, key, without(message, Kind.Inventory), now, link)
      const fromPeer = peers.receive
      peers.receive = (key, message, now, link) =>
        fromPeer.call(peers, key, without(message, Kind.Inventory), now, link)
    }),
  },
  {
    what: 'what waits for the retry budget is never released',
    make: onBroker(({ scheduler }) => {
      scheduler.releaseDeferred = () => Number.POSITIVE_INFINITY
    }),
  },
  {
    what: 'a task that is sent again while it runs is taken for another',
    make: onBroker(({ scheduler }) => {
      const { find } = scheduler.ledger
      scheduler.ledger.find = (id) => {
        const found = find.call(scheduler.ledger, id)
        return found instanceof Answered ? found : undefined
      }
    }),
  },
  {
    what: 'a worker that comes free is given nothing',
    make: onBroker(({ scheduler }) => {
      scheduler.pumpWorker = () => {}
    }),
  },
  {
    what: 'a READY counts twice',
    make: onBroker(({ scheduler, workers }) => {
      const { receive } = workers
      workers.receive = (key, message, now, link) => {
        receive.call(workers, key, message, now, link)
        const worker = workers.byKey.get(key)
        if (worker === undefined || !message.records.some(({ kind }) => kind === Kind.Ready)) return
        worker.slots *= 2
        scheduler.slotsChanged(worker)
        scheduler.pumpWorker(worker, now)
      }
    }),
  },
  {
    what: 'a silent worker is never given up',
    make: onBroker(({ workers }) => {
      workers.check = () => {}
      workers.lose = () => {}
    }),
  },
  {
    what: 'a silent peer is never given up',
    make: onBroker(({ peers }) => {
      peers.check = () => {}
    }),
  },
  {
    what: 'a silent reader is never given up',
    make: onBroker(({ clients }) => {
      clients.check = () => {}
    }),
    promise: ORDER_RETURNS,
  },
  {
    what: 'a worker that holds what nobody waits for is told so only once',
    make: onBroker(({ workers }) => {
      const { beat } = workers
      workers.beat = () => {
        for (const worker of workers.byKey.values()) worker.unwanted = 0
        beat.call(workers)
      }
    }),
    promise: ORDER_RETURNS,
  },
  {
    // One of the two alone is made up for by the other, a client's timeout later.
    what: 'neither a repeated credit nor an inventory brings back a credit that was lost',
    make: onBroker(({ scheduler }) => {
      const { credit, renewCredit } = scheduler
      let grants = false
      scheduler.credit = (task, upTo) => {
        grants = upTo > task.creditUpTo
        credit.call(scheduler, task, upTo)
        grants = false
      }
      scheduler.renewCredit = (assignment) => {
        if (grants) renewCredit.call(scheduler, assignment)
      }
    }),
    promise: NO_TASK_IS_LOST,
  },
  {
    what: 'a client sends a task again under another id',
    make: onClient((node) => {
      const { send } = node
      node.send = (connection, record) => {
        const again = record.kind === Kind.Request && record.attempt > 1
        send.call(
          node,
          connection,
          again ? { ...record, id: `${record.id}-${record.attempt}`, attempt: 1 } : record,
        )
      }
    }),
  },
  {
    what: 'a restarted broker takes what was meant for its former life',
    make: onBroker(({ clients }) => {
      const { receive } = clients
      clients.receive = (key, message, now, link) =>
        receive.call(clients, key, { ...message, to: 0 }, now, link)
    }),
  },
  {
    what: 'an answer goes to whoever asked last',
    make: onBroker(({ scheduler }) => {
      let last: Task | null = null
      const { submit, reply } = scheduler
      scheduler.submit = (task, now) => {
        submit.call(scheduler, task, now)
        last = task
      }
      scheduler.reply = (assignment, answer, now) => {
        const { task } = assignment
        if (task !== null && last !== null && last !== task && task.guest === null && !last.settled) {
          task.token = last.token
        }
        return reply.call(scheduler, assignment, answer, now)
      }
    }),
  },
  {
    what: 'an answer goes to its client, and to the one that asked before as well',
    make: onBroker((_core, node) => {
      const { send } = node
      let before: Link | null = null
      node.send = (link, record) => {
        send.call(node, link, record)
        if (link.socket !== 'localfe' || record.kind !== Kind.Reply || record.code !== '') return
        if (before !== null && before.key !== link.key) send.call(node, before, record)
        before = link
      }
    }),
    promise: 'no answer to the wrong client',
  },
  {
    what: 'a piece of a stream is passed on twice',
    make: onBroker((_core, node) => {
      const { send } = node
      node.send = (link, record) => {
        send.call(node, link, record)
        if (record.kind === Kind.Partial && record.index === 1) send.call(node, link, { ...record, index: 2 })
      }
    }),
  },
  // These break their promise only where something else is wrong anyway, and are found out because that is no excuse.
  {
    what: 'with a worker that died its neighbour is given up',
    make: onBroker(({ workers }) => {
      const { lose } = workers
      workers.lose = (worker, reason, now) => {
        lose.call(workers, worker, reason, now)
        const [neighbour] = workers.byKey.values()
        if (neighbour !== undefined) lose.call(workers, neighbour, reason, now)
      }
    }),
  },
  {
    what: 'with a peer that is lost all others are given up',
    make: onBroker(({ peers }, node) => {
      const { event } = node
      node.event = (what) => {
        event.call(node, what)
        if (what.type !== 'peer-lost') return
        for (const peer of peers.byName.values()) {
          if (peer.phase !== 'up') continue
          const now = peer.heardAt + 1e9
          peers.check(peer, now)
        }
      }
    }),
  },
  {
    what: 'a client is turned away as soon as anybody waits',
    make: onBroker(({ scheduler }) => {
      const { submit } = scheduler
      scheduler.submit = (task, now) => {
        if (scheduler.queued === 0) submit.call(scheduler, task, now)
        else {
          task.service.tasks++
          const failure = { code: ErrorCode.Busy, retryable: true, retryAfterMs: 10, message: '' }
          scheduler.fail(task, failure, now)
        }
      }
    }),
  },
  {
    what: 'nobody serves a service whose workers are all busy',
    make: onBroker(({ scheduler }) => {
      const { submit } = scheduler
      scheduler.submit = (task, now) => {
        submit.call(scheduler, task, now)
        if ((task.flags & Flag.FailFast) === 0 || task.current !== null || task.settled) return
        const failure = { code: ErrorCode.NoService, retryable: true, retryAfterMs: 0, message: '' }
        scheduler.fail(task, failure, now)
      }
    }),
  },
  {
    what: 'a task whose worker died is poison at once',
    make: onBroker(({ scheduler }) => {
      const { takeBack } = scheduler
      scheduler.takeBack = (assignment, why, now, worker) => {
        const { task } = assignment
        if (task === null || why !== 'workerLost' || task.guest !== null || !task.mayStartTwice)
          takeBack.call(scheduler, assignment, why, now, worker)
        else {
          const failure = { code: ErrorCode.Poison, retryable: false, retryAfterMs: 0, message: '' }
          scheduler.fail(task, failure, now)
          takeBack.call(scheduler, assignment, why, now, worker)
        }
      }
    }),
  },
  {
    what: 'what a worker has is given to another with each inventory',
    make: onBroker(({ workers }) => {
      const { receive } = workers
      workers.receive = (key, message, now, link) => {
        const records = message.records.map((record) =>
          record.kind === Kind.Inventory ? { ...record, tokens: record.tokens.slice(1) } : record,
        )
        receive.call(workers, key, { ...message, records }, now, link)
      }
    }),
  },
]
