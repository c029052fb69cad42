/**
 * Whatever happens to a broker, in whatever order: what must hold holds after every step, and when all has come to rest
 * its tables are empty. The actors are truthful but unreliable: they lose messages, fall silent, die, answer twice.
 */

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Peer } from '../../broker/core/peer.ts'
import { Task } from '../../broker/core/task.ts'
import type { Worker } from '../../broker/core/worker.ts'
import type { Record, Request, Token } from '../../protocol/record.ts'
import { Flag, Kind, RejectReason } from '../../protocol/record.ts'
import {
  aRequest,
  type ClientActor,
  type GuestActor,
  type PeerActor,
  Rig,
  type StockWorkerActor,
  type WorkerActor,
} from './broker-rig.ts'

const SERVICES = ['', 'x', 'y']
const QUEUE_MAX = 4

/** vitest's `expect` would take nine tenths of the time. */
function same(got: unknown, expected: unknown, what = () => ''): void {
  if (got !== expected) throw new Error(`${what()}: ${String(got)}, not ${String(expected)}`)
}
function atMost(got: number, most: number, what = () => ''): void {
  if (got > most) throw new Error(`${what()}: ${got}, not at most ${most}`)
}

type Step = readonly [op: number, a: number, b: number, c: number]
type AnExecutor = WorkerActor | StockWorkerActor | PeerActor

class World {
  readonly rig: Rig
  readonly clients: ClientActor[]
  readonly workers: WorkerActor[]
  readonly stock: StockWorkerActor[]
  readonly peers: PeerActor[]
  readonly guest: GuestActor
  #ids = 0
  #epochs = 5000
  /** Sends by client and token, and answers. */
  readonly sends = new Set<string>()
  /** Tasks of clients: flags, and whether the client still wants an answer, by whom and which token it asked last. */
  readonly tasks = new Map<
    string,
    { flags: number; client: ClientActor; token: Token; asked: string; wanted: boolean }
  >()
  readonly stale: Token[] = []
  #seen = 0
  /** Free slots by peer and service, as advertised, less what was sent since. */
  readonly room = new Map<string, Map<string, number>>()
  readonly #sentBefore = new Map<Worker, number>()
  /** REQUESTs that an executor may have started, by task. */
  readonly starts = new Map<string, number>()
  readonly answers = new Map<string, number>()
  readonly log: string[] = []

  constructor(seed: number) {
    this.rig = new Rig(
      {
        queueMax: QUEUE_MAX,
        servicesMax: 4,
        peerForgetMs: 5000,
        replyAgeMaxMs: 5000,
        repliesMax: 8,
        retryBudgetBurst: seed % 2 === 0 ? 1 : 100,
        retryBudgetPerSecond: 0.5,
        stockTaskTimeMs: 4000,
      },
      seed,
    )
    // Callers may do so, or not: it must make no difference.
    this.rig.remembersLinks = (seed >> 1) % 2 === 1
    const { rig } = this
    this.clients = ['c1', 'c2'].map((key) => rig.client(key))
    this.workers = [
      rig.worker('w1'),
      rig.worker('w2', { slots: 2, services: ['', 'x'] }),
      rig.worker('w3', { slots: 3, services: ['x', 'y'] }),
    ]
    this.stock = [rig.stockWorker('p1', 'ppp'), rig.stockWorker('r1', 'req')]
    this.peers = [rig.peer('east', 2001), rig.peer('north', 2002)]
    this.guest = rig.guest('east', 2001)
  }

  pick<T>(from: readonly T[], n: number): T {
    const chosen = from[n % from.length]
    if (chosen === undefined) throw new Error('nothing to pick from')
    return chosen
  }

  get executors(): AnExecutor[] {
    return [...this.workers, ...this.stock, ...this.peers]
  }

  /** The token of something that it holds, if anything. */
  held(executor: AnExecutor, n: number): Token | undefined {
    return [...executor.holds.keys()][n % Math.max(1, executor.holds.size)]
  }

  readonly ops: { readonly [name: string]: (a: number, b: number, c: number) => void } = {
    request: (a, b, c) => {
      const client = this.pick(this.clients, a)
      const id = `t${this.#ids++}`
      const flags = this.pick(
        [0, 0, Flag.NotIdempotent, Flag.FailFast, Flag.Stream, Flag.Stream | Flag.RestartStream],
        b,
      )
      const before = this.rig.broker.scheduler.queued
      this.ask(client, id, flags, {
        service: this.pick(SERVICES, c),
        priority: b % 10,
        timeLeftMs: this.pick([1, 50, 1000, 5000], c),
      })
      const after = this.rig.broker.scheduler.queued
      if (after > before) expect(after).toBeLessThanOrEqual(QUEUE_MAX)
    },
    retry: (a, b) => {
      const ids = [...this.tasks.keys()]
      if (ids.length === 0) return
      const id = this.pick(ids, a)
      const task = this.tasks.get(id)
      if (task === undefined || !task.wanted) return
      // A client does not send such a task again unless it knows that the broker has not lost it.
      if (task.flags & Flag.NotIdempotent && !this.known(id)) return
      this.ask(this.pick(this.clients, b), id, task.flags, { timeLeftMs: 1000 })
    },
    cancel: (a) => {
      const ids = [...this.tasks.keys()]
      if (ids.length === 0) return
      const task = this.tasks.get(this.pick(ids, a))
      if (task === undefined || !task.wanted) return
      task.wanted = false
      task.client.cancel(task.token)
    },
    clientLeaves: (a) => {
      const client = this.pick(this.clients, a)
      for (const task of this.tasks.values()) if (task.client === client) task.wanted = false
      client.say({ kind: Kind.Disconnect, reason: '' })
    },
    clientRestarts: (a) => {
      const client = this.pick(this.clients, a)
      for (const task of this.tasks.values()) if (task.client === client) task.wanted = false
      client.restart(this.#epochs++)
    },
    stockRequest: (a) => this.rig.stockClient(`s${a % 3}`).request(`${this.#ids++}`),
    credit: (a, b) => {
      const tasks = [...this.tasks.values()]
      if (tasks.length === 0) return
      const { client, token } = this.pick(tasks, a)
      client.say({ kind: Kind.Credit, token, upTo: b % 5 })
    },

    ready: (a, b) => {
      const worker = this.pick(this.workers, a)
      if (!this.signedIn(worker)) this.forgetAll(worker)
      worker.ready(b % 4)
    },
    workerServices: (a, b) => {
      const worker = this.pick(this.workers, a)
      if (!this.signedIn(worker)) return
      worker.services = SERVICES.slice(b % 3)
      worker.ready()
    },
    workerRestarts: (a) => {
      const worker = this.pick(this.workers, a)
      this.forgetAll(worker)
      worker.epoch = this.#epochs++
      worker.ready(1 + (a % 3))
    },
    workerVanishes: (a) => {
      const worker = this.pick(this.workers, a)
      if (worker.link !== null && this.signedIn(worker)) worker.vanish()
      this.forgetAll(worker)
    },
    workerLeaves: (a) => {
      const worker = this.pick(this.workers, a)
      worker.disconnect()
      this.forgetAll(worker)
    },
    stockReady: (a) => {
      const worker = this.pick(this.stock, a)
      worker.holds.clear()
      worker.ready()
    },
    stockHeartbeat: () => this.pick(this.stock, 0).heartbeat(),

    reply: (a, b, c) => {
      const executor = this.pick(this.executors, a)
      const token = this.held(executor, b)
      if (token === undefined) return
      this.stale.push(token)
      if ('done' in executor) executor.done(token)
      else executor.reply({ token, code: this.pick(['', '', 'TASK_FAILED'], c), partials: c % 3 })
    },
    replyAgain: (a, b) => {
      if (this.stale.length === 0) return
      const token = this.pick(this.stale, b)
      const executor = this.pick(this.executors, a)
      if ('done' in executor) executor.done(token)
      else executor.reply({ token })
    },
    garbage: (a, b) => {
      const token = b * 0x1_0000_0001
      const executor = this.pick(this.executors, a)
      if ('done' in executor) executor.done(token)
      else {
        executor.answered += 1
        executor.say({
          kind: Kind.Partial,
          token,
          index: 0,
          attempt: 1,
          cluster: '',
          worker: '',
          body: new Uint8Array(),
        })
        executor.reject(RejectReason.Full, { token })
      }
    },
    piece: (a, b, c) => {
      const executor = this.pick([...this.workers, ...this.peers], a)
      const token = this.held(executor, b)
      if (token === undefined) return
      executor.piece(c % 3, executor.holds.get(token)?.id)
    },
    reject: (a, b, c) => {
      const executor = this.pick([...this.workers, ...this.peers], a)
      const token = this.held(executor, b)
      if (token === undefined) return
      const reason = this.pick(Object.values(RejectReason), c)
      const id = executor.holds.get(token)?.id
      if (reason <= RejectReason.NoService && id !== undefined) this.unstarted(id)
      const service = executor.holds.get(token)?.service ?? ''
      const room = this.room.get(executor.name)
      if (reason <= RejectReason.NoService) room?.set(service, Math.max(room.get(service) ?? 0, c % 2))
      executor.reject(reason, { token, free: c % 2, worker: 'somebody' })
    },
    undelivered: (a, b, c) => {
      const executor = this.pick(this.executors, a)
      const token = this.held(executor, b)
      const link = executor.link
      if (token === undefined || link === null) return
      const record = executor.got(Kind.Request).find((r) => r.token === token)
      if (record === undefined) return
      this.unstarted(record.id)
      executor.holds.delete(token)
      executor.received--
      this.rig.undelivered(link, [record], c % 2 === 0 ? 'full' : 'unreachable')
      if (c % 2 === 1 && !('seq' in executor)) this.forgetAll(executor)
    },
    requestLost: (a, b) => {
      const executor = this.pick(this.executors, a)
      const token = this.held(executor, b)
      if (token === undefined) return
      executor.holds.delete(token)
      executor.received--
    },
    answerLost: (a, b) => {
      const executor = this.pick(this.executors, a)
      const token = this.held(executor, b)
      if (token === undefined) return
      executor.holds.delete(token)
      executor.answered++
    },
    leftover: (a, b) => {
      // It holds something that the broker knows nothing of (any more), as its inventory tells.
      const worker = this.pick(this.workers, a)
      const token = b * 0x1_0000_0003
      worker.holds.set(token, aRequest({ token, id: 'leftover' }))
      worker.inventory()
    },
    heartbeat: (a) => {
      const executor = this.pick([...this.workers, ...this.peers], a)
      executor.heartbeat()
    },
    inventory: (a) => {
      const executor = this.pick([...this.workers, ...this.peers], a)
      const sent = [...executor.got(Kind.Audit), ...executor.got(Kind.Heartbeat)].map((r) => r.sent)
      executor.received = Math.max(executor.received, sent.at(-1) ?? 0)
      executor.inventory()
    },

    peerConnects: (a) => this.pick(this.peers, a).connect(),
    peerHello: (a) => this.pick(this.peers, a).hello(),
    peerUp: (a, b) => this.up(this.pick(this.peers, a), b % 4),
    peerState: (a, b, c) => {
      const peer = this.pick(this.peers, a)
      const free = new Map([
        ['', b % 3],
        [this.pick(SERVICES, c), c % 3],
      ])
      const draining = c % 7 === 6
      // Of another life than the broker knows it is ignored.
      const heard = this.rig.broker.peers.byName.get(peer.name)
      if (heard?.link.epoch === peer.epoch && peer.seq > heard.stateSeq)
        this.advertise(peer, [...free], draining)
      const services = [...free].map(([service, n]) => ({ service, free: n, total: 4, queued: 0 }))
      peer.state(services, { draining })
    },
    peerRestarts: (a) => {
      const peer = this.pick(this.peers, a)
      this.forgetAll(peer)
      peer.restart(this.#epochs++).hello()
    },
    peerBreaks: (a) => this.pick(this.peers, a).breakConnection(),
    peerLeaves: (a) => {
      const peer = this.pick(this.peers, a)
      peer.disconnect()
      this.forgetAll(peer)
    },
    peerRefuses: (a) => this.pick(this.peers, a).say({ kind: Kind.Refuse, reason: 'x', message: '' }),
    peerRemoved: (a) => {
      this.rig.broker.removePeer(this.pick(this.peers, a).address, this.rig.now)
    },

    guestHello: () => this.guest.hello(),
    guestRequests: (_, b, c) => {
      const flags = this.pick([0, Flag.NotIdempotent, Flag.Stream], b)
      this.guest.request({ id: `g${this.#ids++}`, flags, service: this.pick(SERVICES, c), timeLeftMs: 3000 })
    },
    guestLosesRequest: () => {
      this.guest.sent++
    },
    guestHeartbeat: () => this.guest.heartbeat(),
    guestCancels: (a) => this.guest.say({ kind: Kind.Cancel, token: 1 + (a % Math.max(1, this.guest.sent)) }),
    guestRestarts: () => {
      this.guest.epoch = this.#epochs++
      this.guest.sent = 0
      this.guest.hello()
    },

    time: (a) => {
      this.rig.advance(this.pick([1, 5, 10, 100, 499, 500, 1000, 2999], a))
    },
    standstill: () => {
      this.rig.now += 10_000
      this.rig.broker.timeout(this.rig.now)
    },
  }

  up(peer: PeerActor, free: number): void {
    peer.connect().hello()
    this.read()
    this.advertise(peer, [['', free]])
    peer.state(free)
  }

  ask(
    client: ClientActor,
    id: string,
    flags: number,
    fields: { readonly [K in keyof Request]?: Request[K] },
  ) {
    const token = client.request({ id, flags, creditUpTo: 2, ...fields })
    const asked = `${client.key} ${client.epoch} ${token}`
    this.sends.add(asked)
    this.tasks.set(id, { flags, client, token, asked, wanted: true })
  }

  known(id: string): boolean {
    return this.rig.broker.scheduler.ledger.find(id) !== undefined
  }

  signedIn(worker: WorkerActor): boolean {
    return this.rig.broker.workers.byKey.get(worker.key)?.link.epoch === worker.epoch
  }

  forgetAll(executor: AnExecutor): void {
    executor.holds.clear()
    executor.received = 0
    executor.answered = 0
  }

  unstarted(id: string): void {
    this.starts.set(id, (this.starts.get(id) ?? 0) - 1)
  }

  /** Reads what has been sent since it was last read. */
  read(): void {
    for (; this.#seen < this.rig.wire.length; this.#seen++) {
      const sent = this.rig.wire[this.#seen]
      if (sent === undefined) throw new Error('no record')
      const { link, record } = sent
      if (record.kind === Kind.Request) {
        this.starts.set(record.id, (this.starts.get(record.id) ?? 0) + 1)
        if (link.socket === 'cloudbe') this.lent(link.key, record)
      }
      if (record.kind === Kind.Reply && link.socket === 'localfe' && link.dialect === 'native') {
        const key = `${link.key} ${link.epoch} ${record.token}`
        this.answers.set(key, (this.answers.get(key) ?? 0) + 1)
      }
      if (record.kind === Kind.Reply && link.socket === 'cloudfe') this.answer(link.key, link.epoch, record)
      if (record.kind === Kind.Reject && link.socket === 'cloudfe') this.answer(link.key, link.epoch, record)
    }
  }

  lent(key: string, request: Request): void {
    same(request.id.startsWith('g'), false, () => `${request.id} is a guest's and sent on`)
    const name = this.rig.nameBehind(key)
    const room = this.room.get(name)
    const left = (room?.get(request.service) ?? 0) - 1
    atMost(0, left, () => `room at ${name} for "${request.service}"`)
    room?.set(request.service, left)
  }

  /** What a peer is about to advertise is the most that it may be sent before it advertises again. */
  advertise(peer: PeerActor, capacities: readonly (readonly [string, number])[], draining = false): void {
    this.room.set(peer.name, new Map(draining ? [] : capacities))
  }

  answer(guest: string, epoch: number, record: Record & { readonly token: Token }): void {
    const key = `guest ${guest} ${epoch} ${record.token}`
    this.answers.set(key, (this.answers.get(key) ?? 0) + 1)
  }

  step(step: Step): void {
    const name = this.pick(NAMES, step[0])
    this.log.push(`${name}(${step.slice(1).join(', ')}) at ${this.rig.now}`)
    this.ops[name]?.(step[1], step[2], step[3])
    this.check()
  }

  check(): void {
    this.read()
    const { scheduler, workers, peers, guests } = this.rig.broker
    for (const [key, count] of this.answers) {
      same(count, 1, () => `answers to ${key}`)
      same(key.startsWith('guest') || this.sends.has(key), true, () => `${key} was asked`)
    }
    for (const [id, count] of this.starts) {
      const task = this.tasks.get(id)
      if (task !== undefined && task.flags & Flag.NotIdempotent) atMost(count, 1, () => `starts of ${id}`)
    }

    const tasks = new Set<Task>()
    let assignments = 0
    for (const executor of [...workers.byKey.values(), ...peers.byAddress.values()]) {
      let length = 0
      let last = null
      for (let a = executor.firstHeld; a !== null; a = a.next) {
        length++
        same(a.prev, last, () => 'the list backwards')
        same(a.open, true, () => 'listed and open')
        same(scheduler.assignments.find(a.token), a, () => 'listed and in the table')
        atMost(a.number, executor.sent, () => `a number of ${executor.name}`)
        if (a.task !== null) tasks.add(a.task)
        last = a
      }
      same(executor.lastHeld, last, () => 'the last of the list')
      same(executor.held, length, () => 'the length of the list')
      assignments += length
      if (executor instanceof Peer) {
        if (executor.phase !== 'lost') continue
        for (let a = executor.firstHeld; a !== null; a = a.next) {
          same(a.task?.current === a, false, () => `${a.task?.id} waits for a lost peer`)
        }
        continue
      }
      same(executor.countedFree, executor.free, () => `free slots of ${executor.name}`)
      if (executor.sent > (this.#sentBefore.get(executor) ?? 0)) {
        atMost(executor.busy, executor.slots, () => `busy slots of ${executor.name} after a send`)
      }
      this.#sentBefore.set(executor, executor.sent)
      for (let m = executor.serves; m !== null; m = m.other)
        same(m.linked, executor.free > 0, () => 'in line and free')
    }
    same(scheduler.assignments.size, assignments, () => 'the table and the lists')

    let queued = 0
    for (const service of scheduler.services.byName.values()) {
      const name = `"${service.name}"`
      let free = 0
      let slots = 0
      let serving = 0
      for (const worker of workers.byKey.values()) {
        if (!worker.services().includes(service)) continue
        free += worker.free
        slots += worker.slots
        serving++
      }
      same(service.free, free, () => `free slots for ${name}`)
      same(service.slots, slots, () => `slots for ${name}`)
      same(service.workers, serving, () => `workers for ${name}`)
      atMost(service.free, service.slots, () => `free slots for ${name}`)
      same(service.leastRecentlyUsed === null, free === 0, () => `nobody in line for ${name}`)
      same(service.idle, false, () => `${name} is of no use to anybody`)
      let waiting = 0
      for (const task of service.queue) {
        waiting++
        tasks.add(task)
      }
      same(service.queue.length, waiting, () => `the length of the queue of ${name}`)
      queued += waiting
      if (waiting === 0) continue
      same(service.free, 0, () => `free slots while tasks wait for ${name}`)
      for (const offer of service.offers) {
        if (!offer.peer.takesTasks(this.rig.now, 1500)) continue
        atMost(offer.free, offer.unseen, () => `room at ${offer.peer.name} while tasks wait for ${name}`)
      }
    }
    same(scheduler.queued, queued, () => 'tasks in queues')

    for (const id of this.tasks.keys()) {
      const task = scheduler.ledger.find(id)
      if (task instanceof Task) tasks.add(task)
    }
    for (const guest of guests.byName.values()) for (const task of guest.tasks.all()) tasks.add(task)
    const byService = new Map<string, number>()
    let running = 0
    for (const task of tasks) {
      same(task.settled, false, () => `${task.id} is settled and in a table`)
      if (task.current !== null) running++
      const places = Number(task.current !== null) + Number(task.queued) + Number(task.deferred)
      same(places, 1, () => `the places that ${task.id} is at`)
      byService.set(task.service.name, (byService.get(task.service.name) ?? 0) + 1)
    }
    same(scheduler.running, running, () => 'running tasks')
    for (const service of scheduler.services.byName.values()) {
      // A stock client's task that waits for the retry budget is in no table but that one.
      const unlisted = service.tasks - (byService.get(service.name) ?? 0)
      atMost(0, unlisted, () => `tasks of "${service.name}"`)
      atMost(unlisted, scheduler.deferred, () => `unlisted tasks of "${service.name}"`)
    }
  }

  rest(): void {
    for (let i = 0; i < 3; i++) {
      this.rig.advance(5000)
      this.check()
    }
    const { scheduler, clients, workers, guests } = this.rig.broker
    for (const [id, task] of this.tasks) {
      if (!task.wanted) continue
      expect(this.answers.get(task.asked), `${id} was answered`).toBe(1)
    }
    expect({
      assignments: scheduler.assignments.size,
      underWay: scheduler.ledger.underWay,
      answered: scheduler.ledger.answered,
      clients: clients.size,
      guests: guests.byName.size,
      guestTasks: scheduler.guestTasks,
      running: scheduler.running,
      queued: scheduler.queued,
      deferred: scheduler.deferred,
    }).toEqual({
      assignments: 0,
      underWay: 0,
      answered: 0,
      clients: 0,
      guests: 0,
      guestTasks: 0,
      running: 0,
      queued: 0,
      deferred: 0,
    })
    for (const worker of workers.byKey.values()) expect(worker.link.dialect).toBe('req')
    for (const service of scheduler.services.byName.values()) {
      expect(service.workers + service.offers.length).toBeGreaterThan(0)
      expect(service.tasks).toBe(0)
    }
  }
}

/** What there is most of in life is drawn more often. */
const OFTEN = [
  'request',
  'request',
  'request',
  'request',
  'reply',
  'reply',
  'time',
  'time',
  'peerUp',
  'peerUp',
  'peerState',
  'peerLeaves',
]
const NAMES = [...Object.keys(new World(0).ops), ...OFTEN]

const small = fc.nat({ max: 30 })
const steps = fc.array(fc.tuple(fc.nat({ max: 1000 }), small, small, small), { maxLength: 80, size: 'max' })

describe('whatever happens', () => {
  test('what must hold holds after every step, and at rest nothing is left', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat({ max: 31 }), steps, (seed, present, script) => {
        const world = new World(seed)
        // Something to begin with: random steps alone would rarely come to work.
        for (const [i, worker] of [...world.workers, ...world.stock].entries()) {
          if ((present >> i) & 1) worker.ready()
        }
        for (const peer of world.peers) world.up(peer, 2)
        world.guest.hello()
        try {
          for (const step of script) world.step(step)
          world.rest()
        } catch (error) {
          throw new Error(`${String(error)}\n${world.log.join('\n')}`, { cause: error })
        }
      }),
      { numRuns: 4000, interruptAfterTimeLimit: 25_000 },
    )
  })
})
