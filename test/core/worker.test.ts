import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ErrorCode } from '../../protocol/error-code.ts'
import type { Hello, Record as ProtocolRecord, Reply, Request } from '../../protocol/record.ts'
import { EMPTY_BODY, Flag, Kind, RejectReason, Role } from '../../protocol/record.ts'
import { Assignment, type Failure } from '../../worker/core/assignment.ts'
import type { WorkerCoreConfig } from '../../worker/core/config.ts'
import type { WorkerEvent } from '../../worker/core/event.ts'
import type { WorkerPort } from '../../worker/core/port.ts'
import { Worker } from '../../worker/core/worker.ts'

const WORKER_EPOCH = 77
const WEST = 500
const RESTARTED = 501
const A = 'tcp://a:1'
const B = 'tcp://b:1'
const BEAT = 1000
const LIVENESS = 3

interface Sent {
  readonly record: ProtocolRecord
  readonly to: number
}

/** A worker with its surroundings played by hand. */
class Scene implements WorkerPort<Assignment> {
  readonly worker: Worker<Assignment>
  now = 10_000
  opened: string[] = []
  closed: ('at once' | 'after a farewell')[] = []
  /** Since `took` was called last. */
  sent: Sent[] = []
  started: Assignment[] = []
  cancelled: { assignment: Assignment; why: Failure }[] = []
  credited: Assignment[] = []
  events: WorkerEvent[] = []
  ends: (Failure | undefined)[] = []

  constructor(config: Partial<WorkerCoreConfig> = {}, random = () => 1) {
    this.worker = new Worker<Assignment>(
      {
        name: 'w1',
        epoch: WORKER_EPOCH,
        endpoints: [A],
        slots: 2,
        services: ['', 'hash'],
        heartbeatIntervalMs: BEAT,
        liveness: LIVENESS,
        reconnectMinMs: 1000,
        reconnectMaxMs: 32_000,
        bodyMax: 1 << 20,
        keptMax: 1000,
        ...config,
      },
      this,
      random,
    )
    this.worker.start(this.now)
  }

  open(endpoint: string): void {
    expect(this.opened.length).toBe(this.closed.length)
    this.opened.push(endpoint)
  }
  close(farewell: boolean): void {
    this.closed.push(farewell ? 'after a farewell' : 'at once')
  }
  send(record: ProtocolRecord, to: number): void {
    expect(this.opened.length, 'a record for a connection that is closed').toBe(this.closed.length + 1)
    this.sent.push({ record, to })
  }
  start(request: Request, now: number): Assignment {
    const assignment = new Assignment(request, now)
    this.started.push(assignment)
    return assignment
  }
  cancel(assignment: Assignment, why: Failure): void {
    this.cancelled.push({ assignment, why })
  }
  credit(assignment: Assignment): void {
    this.credited.push(assignment)
  }
  event(event: WorkerEvent): void {
    this.events.push(event)
  }
  stopped(error: Failure | undefined): void {
    this.ends.push(error)
  }

  hear(...records: ProtocolRecord[]): void {
    this.hearFrom(WEST, ...records)
  }

  hearFrom(from: number, ...records: ProtocolRecord[]): void {
    this.worker.receive({ from, to: WORKER_EPOCH, records }, this.now)
  }

  /** The broker answers the sign-in; what was sent so far is put away. */
  signIn(from = WEST, fields: Partial<Hello> = {}): this {
    this.hearFrom(from, hello({ epoch: from, ...fields }))
    this.sent = []
    return this
  }

  /** Gives a task, which must start. */
  give(token: number, fields: Partial<Request> = {}, from = WEST): Assignment {
    const before = this.started.length
    this.hearFrom(from, request(token, fields))
    expect(this.started.length).toBe(before + 1)
    return this.last
  }

  get last(): Assignment {
    const last = this.started.at(-1)
    if (last === undefined) throw new Error('nothing was started')
    return last
  }

  /** Lets time pass as a loop would, `timeout` at every time asked for. */
  pass(ms: number): void {
    const until = this.now + ms
    for (let next = this.worker.nextTimeout(); next <= until; next = this.worker.nextTimeout()) {
      this.now = Math.max(this.now, next)
      this.worker.timeout(this.now)
    }
    this.now = until
  }

  /** Lets time pass with a broker that beats. */
  passWithBeats(ms: number, requestsSent: number, from = WEST): void {
    for (let passed = 0; passed < ms; passed += BEAT / 2) {
      this.pass(Math.min(BEAT / 2, ms - passed))
      this.hearFrom(from, beat(requestsSent))
    }
  }

  /** What has been sent since the last call. */
  took(): ProtocolRecord[] {
    const records = this.sent.map(({ record }) => record)
    this.sent = []
    return records
  }

  replies(): Reply[] {
    return this.sent.flatMap(({ record }) => (record.kind === Kind.Reply ? [record] : []))
  }

  of(kind: ProtocolRecord['kind']): ProtocolRecord[] {
    return this.sent.map(({ record }) => record).filter((record) => record.kind === kind)
  }

  happened(type: WorkerEvent['type']): WorkerEvent[] {
    return this.events.filter((event) => event.type === type)
  }
}

function hello(fields: Partial<Hello> = {}): Hello {
  return {
    kind: Kind.Hello,
    role: Role.Broker,
    name: 'west',
    epoch: WEST,
    major: 1,
    minor: 0,
    heartbeatIntervalMs: BEAT,
    bodyMax: 100,
    cloudfe: '',
    statebe: '',
    peers: [],
    ...fields,
  }
}

function request(token: number, fields: Partial<Request> = {}): Request {
  return {
    kind: Kind.Request,
    token,
    id: `task${token}`,
    attempt: 1,
    timeLeftMs: 60_000,
    priority: 4,
    flags: 0,
    creditUpTo: 0,
    service: '',
    traceparent: '',
    body: EMPTY_BODY,
    ...fields,
  }
}

const beat = (sent: number): ProtocolRecord => ({ kind: Kind.Heartbeat, ask: false, sent })
const octets = (n: number) => new Uint8Array(n)
const kinds = (records: readonly ProtocolRecord[]) => records.map(({ kind }) => kind)
const OOPS: Failure = { code: 'OOPS', message: 'the tray is empty', retryable: true }

describe('signing in', () => {
  test('says HELLO and READY, to nobody in particular', () => {
    const s = new Scene()
    expect(s.opened).toEqual([A])
    expect(s.sent).toMatchObject([
      { to: 0, record: { kind: Kind.Hello, role: Role.Worker, name: 'w1', epoch: WORKER_EPOCH } },
      { to: 0, record: { kind: Kind.Ready, slots: 2, services: ['', 'hash'] } },
    ])
    expect(s.worker.signedIn).toBe(false)
    s.signIn()
    expect(s.worker.signedIn).toBe(true)
    expect(s.happened('signed-in')).toMatchObject([{ broker: 'west', epoch: WEST, tasksKept: 0 }])
  })

  test('is done again when the broker does not know the worker any more, with what it holds before what it offers', () => {
    const s = new Scene().signIn()
    s.give(1)
    s.pass(1500)
    s.took()
    s.hear({ kind: Kind.Disconnect, reason: 'who are you?' })
    expect(s.sent).toMatchObject([
      { to: WEST, record: { kind: Kind.Hello } },
      { to: WEST, record: { kind: Kind.Inventory, received: 1, tokens: [1] } },
      { to: WEST, record: { kind: Kind.Ready, slots: 2 } },
    ])
    expect(s.closed).toEqual([])
  })

  test('is repeated with the next heartbeat when the broker speaks but has not answered it', () => {
    const s = new Scene().signIn()
    s.pass(1500)
    s.hear({ kind: Kind.Disconnect, reason: 'who are you?' })
    s.took()
    s.pass(100)
    s.hear(beat(0))
    s.took()
    s.pass(1000)
    expect(kinds(s.took())).toEqual([Kind.Hello, Kind.Ready])
    s.signIn()
    s.pass(1000)
    expect(kinds(s.took())).toEqual([Kind.Heartbeat])
  })

  test('again and again with a broker that throws it out each time is done with pauses', () => {
    const s = new Scene().signIn()
    s.pass(10)
    s.hear({ kind: Kind.Disconnect, reason: 'out' })
    expect(s.closed).toEqual(['at once'])
    s.pass(999)
    expect(s.opened.length).toBe(1)
    s.pass(1)
    expect(s.opened.length).toBe(2)
  })

  test('with a broker that left for good moves on to the next endpoint after one interval', () => {
    const s = new Scene({ endpoints: [A, B] }).signIn()
    s.pass(1500)
    s.hear({ kind: Kind.Disconnect, reason: 'west leaves' })
    s.pass(999)
    expect(s.closed).toEqual([])
    s.pass(1)
    expect(s.closed).toEqual(['at once'])
    s.pass(1000)
    expect(s.opened).toEqual([A, B])
  })

  test('with what is no broker is refused, in words that help', () => {
    const s = new Scene()
    s.hear(hello({ role: Role.Client, name: 'oops' }))
    expect(s.happened('refused')).toMatchObject([
      { endpoint: A, reason: 'role', message: expect.stringContaining('localbe'), retryMs: 1000 },
    ])
    expect(s.ends).toEqual([])
  })
})

describe('heartbeats', () => {
  test('go out every interval and count the answers', () => {
    const s = new Scene().signIn()
    s.worker.finished(s.give(1), EMPTY_BODY, s.now)
    s.worker.failed(s.give(2), OOPS, s.now)
    s.took()
    s.pass(999)
    expect(s.took()).toEqual([])
    s.pass(1)
    expect(s.took()).toEqual([beat(2)])
    s.pass(1000)
    expect(s.took()).toEqual([beat(2)])
  })

  test('go on while tasks run', () => {
    const s = new Scene().signIn()
    s.give(1)
    s.took()
    s.passWithBeats(5000, 1)
    expect(s.took()).toEqual(Array.from({ length: 5 }, () => beat(0)))
  })

  // Seed 3351: the inventory was lost with a connection that neither end saw break, and the counts agreed from then on.
  test('that have counted more REQUESTs than came bring an inventory with as many of ours as may be missed, and one more', () => {
    const s = new Scene().signIn()
    s.give(1)
    s.hear(beat(3))
    s.took()
    const inventories = Array.from({ length: LIVENESS + 3 }, () => {
      s.hear(beat(3))
      s.pass(1000)
      return s.took().filter(({ kind }) => kind === Kind.Inventory)
    })
    const one = [{ kind: Kind.Inventory, received: 3, tokens: [1] }]
    expect(inventories).toEqual([...Array.from({ length: LIVENESS + 1 }, () => one), [], []])
  })

  // It may count from an earlier sign-in: a broker that has given us a task since would take that one for lost.
  test('bring no inventory from before a sign-in that has not been answered', () => {
    const s = new Scene().signIn()
    s.hear(beat(3))
    while (s.opened.length < 2) s.pass(BEAT / 2)
    expect(s.took().filter(({ kind }) => kind === Kind.Inventory)).not.toEqual([])
    s.pass(2 * BEAT)
    expect(s.took().map(({ kind }) => kind)).toEqual([Kind.Heartbeat, Kind.Heartbeat])
  })

  test('that count more REQUESTs than came make an inventory, once', () => {
    const s = new Scene().signIn()
    s.give(1)
    s.took()
    s.hear(beat(3))
    expect(s.took()).toEqual([{ kind: Kind.Inventory, received: 3, tokens: [1] }])
    s.hear(beat(3))
    expect(s.took()).toEqual([])
    expect(s.worker.counters.requestsLost).toBe(2)
  })

  test('that count fewer come from a broker that had forgotten the worker: its count holds', () => {
    const s = new Scene().signIn()
    s.worker.finished(s.give(1), EMPTY_BODY, s.now)
    s.give(2)
    s.took()
    s.hear(beat(1))
    expect(s.took()).toEqual([{ kind: Kind.Inventory, received: 1, tokens: [2] }])
    s.give(3)
    s.took()
    s.hear(beat(2))
    expect(s.took()).toEqual([])
  })

  test('that ask are answered at once', () => {
    const s = new Scene().signIn()
    s.hear({ kind: Kind.Heartbeat, ask: true, sent: 0 })
    expect(s.took()).toEqual([beat(0)])
  })

  test('AUDIT makes an inventory of what is held', () => {
    const s = new Scene().signIn()
    s.give(1)
    s.give(2)
    s.worker.finished(s.started[0] ?? s.last, EMPTY_BODY, s.now)
    s.took()
    s.hear({ kind: Kind.Audit, sent: 2 })
    expect(s.took()).toEqual([{ kind: Kind.Inventory, received: 2, tokens: [2] }])
  })
})

describe('a silent broker', () => {
  test('is left after three intervals, and tried again after a pause that doubles', () => {
    const s = new Scene().signIn()
    s.pass(LIVENESS * BEAT - 1)
    expect(s.closed).toEqual([])
    s.pass(1)
    expect(s.closed).toEqual(['at once'])
    const pauses: number[] = []
    for (let i = 0; i < 8; i++) {
      const closedAt = s.now
      const opened = s.opened.length
      while (s.opened.length === opened) s.pass(100)
      pauses.push(s.now - closedAt)
      s.pass(LIVENESS * BEAT)
    }
    expect(pauses).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 32_000, 32_000])
  })

  test('is tried again after half of the pause at least, the rest at random', () => {
    const s = new Scene({}, () => 0).signIn()
    s.pass(LIVENESS * BEAT)
    s.pass(499)
    expect(s.opened.length).toBe(1)
    s.pass(1)
    expect(s.opened.length).toBe(2)
  })

  test('that was heard again is tried with the shortest pause the next time', () => {
    const s = new Scene().signIn()
    s.pass(LIVENESS * BEAT + 1000 + LIVENESS * BEAT + 2000)
    expect(s.opened.length).toBe(3)
    s.signIn()
    s.pass(LIVENESS * BEAT + 1000)
    expect(s.opened.length).toBe(4)
  })

  test('is followed by the next endpoint, and by the first after the last', () => {
    const s = new Scene({ endpoints: [A, B] })
    s.pass(LIVENESS * BEAT + 1000)
    s.pass(LIVENESS * BEAT + 2000)
    expect(s.opened).toEqual([A, B, A])
  })

  test('is given as long as its own interval asks for', () => {
    const s = new Scene().signIn(WEST, { heartbeatIntervalMs: 5000 })
    s.pass(LIVENESS * 5000 - 1)
    expect(s.closed).toEqual([])
    s.pass(1)
    expect(s.closed).toEqual(['at once'])
  })

  test('does not stop what runs: the same epoch finds it in the inventory', () => {
    const s = new Scene().signIn()
    s.give(1)
    s.give(2)
    s.pass(LIVENESS * BEAT)
    s.took()
    s.pass(1000)
    expect(s.cancelled).toEqual([])
    expect(s.sent).toMatchObject([
      { to: WEST, record: { kind: Kind.Hello } },
      { to: WEST, record: { kind: Kind.Inventory, received: 2, tokens: [1, 2] } },
      { to: WEST, record: { kind: Kind.Ready, slots: 2 } },
    ])
    s.signIn()
    s.worker.finished(s.last, EMPTY_BODY, s.now)
    expect(s.replies()).toMatchObject([{ token: 2, code: '' }])
  })

  test('gets the answers that were ready meanwhile when it has signed the worker in again, not before', () => {
    const s = new Scene().signIn()
    const first = s.give(1)
    const second = s.give(2, { flags: Flag.Stream, creditUpTo: 9 })
    s.pass(LIVENESS * BEAT)
    s.took()
    s.worker.finished(first, Buffer.from('done'), s.now)
    s.worker.partial(second, Buffer.from('piece'))
    s.worker.failed(second, OOPS, s.now)
    s.pass(1000)
    expect(s.of(Kind.Inventory)).toEqual([{ kind: Kind.Inventory, received: 2, tokens: [1, 2] }])
    expect(s.replies()).toEqual([])
    s.took()
    s.hear(hello())
    expect(s.took()).toMatchObject([
      { kind: Kind.Reply, token: 1, code: '', body: Buffer.from('done') },
      { kind: Kind.Partial, token: 2, index: 0 },
      { kind: Kind.Reply, token: 2, code: 'OOPS', partials: 1 },
    ])
    s.hear(beat(2))
    s.pass(1000)
    expect(s.took()).toEqual([beat(2)])
  })

  test('gets no more of them than are kept, and can find by the count that one is lost', () => {
    const s = new Scene({ keptMax: 10 }).signIn(WEST, { bodyMax: 1000 })
    const [first, second] = [s.give(1), s.give(2)]
    s.pass(LIVENESS * BEAT)
    s.worker.finished(first, octets(10), s.now)
    s.worker.finished(second, octets(1), s.now)
    expect(s.happened('answers-dropped').length).toBe(1)
    s.pass(1000)
    expect(s.of(Kind.Inventory)).toEqual([{ kind: Kind.Inventory, received: 2, tokens: [1] }])
    s.took()
    s.hear(hello())
    expect(s.replies().map(({ token }) => token)).toEqual([1])
    s.took()
    s.pass(1000)
    expect(s.took()).toEqual([beat(2)])
  })
})

describe('a broker of another epoch', () => {
  test('makes orphans of what runs: cancelled, not answered, and everything is counted anew', () => {
    const s = new Scene().signIn()
    const [first, second] = [s.give(1), s.give(2)]
    s.took()
    s.hearFrom(RESTARTED, hello({ epoch: RESTARTED }))
    expect(s.cancelled.map(({ assignment }) => assignment)).toEqual([first, second])
    expect(s.happened('broker-changed')).toMatchObject([{ epoch: RESTARTED, tasksCancelled: 2 }])
    expect(s.sent).toMatchObject([
      { to: RESTARTED, record: { kind: Kind.Hello } },
      { to: RESTARTED, record: { kind: Kind.Ready, slots: 0 } },
    ])
    s.took()
    s.worker.finished(first, EMPTY_BODY, s.now)
    s.worker.failed(second, OOPS, s.now)
    expect(s.replies()).toEqual([])
    // Their slots are offered again when they are really free.
    expect(s.took()).toMatchObject([{ kind: Kind.Ready, slots: 2 }])
    s.pass(1000)
    expect(s.took()).toMatchObject([{ kind: Kind.Ready, slots: 2 }, beat(0)])
    s.give(1, {}, RESTARTED)
    s.hearFrom(RESTARTED, beat(1))
    expect(s.of(Kind.Inventory)).toEqual([])
  })

  test('is offered with the next heartbeat what has become free, while other orphans still run', () => {
    const s = new Scene().signIn()
    s.give(1)
    s.give(2)
    s.hearFrom(RESTARTED, hello({ epoch: RESTARTED }))
    s.took()
    s.worker.finished(s.last, EMPTY_BODY, s.now)
    expect(s.took()).toEqual([])
    s.pass(1000)
    expect(s.took()).toMatchObject([{ kind: Kind.Ready, slots: 1 }, beat(0)])
  })

  // Seed 8371: it was lost with a connection that neither end saw break, and the broker counted without the slot for good.
  test('is offered what has become free as often as it may miss heartbeats, and once more', () => {
    const s = new Scene().signIn()
    s.give(1)
    s.hearFrom(RESTARTED, hello({ epoch: RESTARTED }))
    s.worker.finished(s.last, EMPTY_BODY, s.now)
    s.took()
    const offers = Array.from({ length: LIVENESS + 3 }, () => {
      s.hearFrom(RESTARTED, beat(0))
      s.pass(1000)
      return s.took().filter(({ kind }) => kind === Kind.Ready).length
    })
    expect(offers).toEqual([...Array.from({ length: LIVENESS + 1 }, () => 1), 0, 0])
  })

  test('is never sent answers that were kept for the one before', () => {
    const s = new Scene().signIn()
    const first = s.give(1)
    s.pass(LIVENESS * BEAT)
    s.worker.finished(first, EMPTY_BODY, s.now)
    s.pass(1000)
    s.took()
    s.hearFrom(RESTARTED, hello({ epoch: RESTARTED }))
    expect(kinds(s.took())).toEqual([Kind.Hello, Kind.Ready])
  })

  test('is not confused by late words of the one before', () => {
    const s = new Scene().signIn()
    s.hearFrom(RESTARTED, hello({ epoch: RESTARTED }))
    s.took()
    s.hear(request(1))
    expect(s.started).toEqual([])
    expect(s.worker.brokerEpoch).toBe(RESTARTED)
    expect(s.worker.counters.dropped.get('stale_epoch')).toBe(1)
  })

  test('and a message to another life of the worker are told apart', () => {
    const s = new Scene().signIn()
    s.worker.receive({ from: WEST, to: WORKER_EPOCH + 1, records: [request(1)] }, s.now)
    expect(s.started).toEqual([])
    expect(s.worker.counters.dropped.get('misaddressed')).toBe(1)
    s.worker.receive({ from: WEST, to: 0, records: [request(1)] }, s.now)
    expect(s.started.length).toBe(1)
  })

  test('may take up a token that an orphan still has', () => {
    const s = new Scene({ slots: 3 }).signIn()
    const orphan = s.give(1)
    s.hearFrom(RESTARTED, hello({ epoch: RESTARTED }))
    const heir = s.give(1, {}, RESTARTED)
    s.took()
    s.worker.finished(orphan, Buffer.from('old'), s.now)
    expect(s.replies()).toEqual([])
    s.worker.finished(heir, Buffer.from('new'), s.now)
    expect(s.replies()).toMatchObject([{ token: 1, body: Buffer.from('new') }])
  })
})

describe('a task', () => {
  test('is answered with who ran it and for how long', () => {
    const s = new Scene().signIn()
    const task = s.give(5, { attempt: 2 })
    s.took()
    s.worker.finished(task, Buffer.from('done'), s.now + 12.5)
    expect(s.took()).toEqual([
      {
        kind: Kind.Reply,
        token: 5,
        code: '',
        retryable: false,
        retryAfterMs: 0,
        attempts: 2,
        queuedUs: 0,
        runUs: 12_500,
        partials: 0,
        cluster: '',
        worker: 'w1',
        message: '',
        body: Buffer.from('done'),
      },
    ])
  })

  test('that fails is answered with its code, words and whether it may be tried again', () => {
    const s = new Scene().signIn()
    s.worker.failed(s.give(1), OOPS, s.now)
    expect(s.replies()).toMatchObject([
      { code: 'OOPS', message: 'the tray is empty', retryable: true, body: EMPTY_BODY },
    ])
  })

  test('without a free slot is rejected, and starts when sent again later', () => {
    const s = new Scene().signIn()
    const first = s.give(1)
    s.give(2)
    s.took()
    s.hear(request(3))
    expect(s.took()).toEqual([
      { kind: Kind.Reject, token: 3, reason: RejectReason.Full, free: 0, received: 3, worker: 'w1' },
    ])
    s.worker.finished(first, EMPTY_BODY, s.now)
    s.give(3)
    s.pass(1000)
    expect(s.of(Kind.Heartbeat)).toEqual([beat(2)])
  })

  test('that is held already is not started twice', () => {
    const s = new Scene().signIn()
    s.give(1)
    s.took()
    s.hear(request(1))
    expect(s.started.length).toBe(1)
    expect(s.took()).toEqual([])
    expect(s.worker.counters.dropped.get('duplicate_request')).toBe(1)
  })

  test('whose time is up is cancelled, and keeps its slot until it has really ended', () => {
    const s = new Scene({ slots: 1 }).signIn()
    const task = s.give(1, { timeLeftMs: 300 })
    s.pass(299)
    expect(s.cancelled).toEqual([])
    s.pass(1)
    expect(s.cancelled).toMatchObject([{ assignment: task, why: { code: ErrorCode.Expired } }])
    s.took()
    s.hear(request(2))
    expect(s.took()).toMatchObject([{ kind: Kind.Reject, token: 2 }])
    s.worker.finished(task, Buffer.from('too late'), s.now)
    expect(s.took()).toMatchObject([
      { kind: Kind.Reply, token: 1, code: ErrorCode.Expired, retryable: true, body: EMPTY_BODY },
    ])
    s.give(3)
  })

  test('that may not run twice says so when its time is up', () => {
    const s = new Scene().signIn()
    const task = s.give(1, { timeLeftMs: 300, flags: Flag.NotIdempotent })
    s.pass(300)
    s.worker.failed(task, OOPS, s.now)
    expect(s.replies()).toMatchObject([{ code: ErrorCode.Expired, retryable: false }])
  })

  test('among others is cancelled at its own time', () => {
    const s = new Scene({ slots: 3 }).signIn()
    const [long, short, middle] = [
      s.give(1, { timeLeftMs: 900 }),
      s.give(2, { timeLeftMs: 100 }),
      s.give(3, { timeLeftMs: 500 }),
    ]
    const seen: [number, Assignment][] = []
    const begun = s.now
    for (let ms = 0; ms < 1000; ms += 50) {
      s.pass(50)
      for (const { assignment } of s.cancelled.splice(0)) seen.push([s.now - begun, assignment])
    }
    expect(seen).toEqual([
      [100, short],
      [500, middle],
      [900, long],
    ])
  })

  test('that comes without any time left is answered at once', () => {
    const s = new Scene().signIn()
    s.hear(request(1, { timeLeftMs: 0 }))
    expect(s.started).toEqual([])
    expect(s.replies()).toMatchObject([{ token: 1, code: ErrorCode.Expired }])
  })

  test('that nobody waits for is cancelled once, and answered as such when it has ended', () => {
    const s = new Scene().signIn()
    const task = s.give(1)
    s.took()
    s.hear({ kind: Kind.Cancel, token: 1 }, { kind: Kind.Cancel, token: 1 }, { kind: Kind.Cancel, token: 9 })
    expect(s.cancelled).toMatchObject([{ assignment: task, why: { code: ErrorCode.Cancelled } }])
    expect(s.took()).toEqual([])
    s.pass(60_000)
    expect(s.cancelled.length).toBe(1)
  })

  test('cancelled and ended is answered with CANCELLED', () => {
    const s = new Scene().signIn()
    const task = s.give(1)
    s.hear({ kind: Kind.Cancel, token: 1 })
    s.took()
    s.worker.finished(task, Buffer.from('for nobody'), s.now)
    expect(s.took()).toMatchObject([{ kind: Kind.Reply, code: ErrorCode.Cancelled, body: EMPTY_BODY }])
  })

  test('with a result too large for the broker ends with TOO_LARGE', () => {
    const s = new Scene().signIn(WEST, { bodyMax: 100 })
    s.worker.finished(s.give(1), octets(100), s.now)
    s.worker.finished(s.give(2), octets(101), s.now)
    expect(s.replies()).toMatchObject([{ code: '' }, { code: ErrorCode.TooLarge, body: EMPTY_BODY }])
    expect(s.replies()[1]?.message).toMatch(/101 .* 100.*bodyMax/)
  })

  test('too large for the worker is answered, counted as received, and not started', () => {
    const s = new Scene().signIn()
    s.worker.receive(
      { from: WEST, to: WORKER_EPOCH, records: [request(1), request(2)], oversized: [1] },
      s.now,
    )
    expect(s.started.map(({ token }) => token)).toEqual([2])
    expect(s.replies()).toMatchObject([{ token: 1, code: ErrorCode.TooLarge }])
    s.took()
    s.hear(beat(2))
    expect(s.took()).toEqual([])
  })
})

describe('a stream', () => {
  const stream = { flags: Flag.Stream, creditUpTo: 2, attempt: 3 }

  test('counts its pieces from 0, and says at its end how many there were', () => {
    const s = new Scene().signIn()
    const task = s.give(1, stream)
    s.took()
    s.worker.partial(task, Buffer.from('a'))
    s.worker.partial(task, Buffer.from('b'))
    s.worker.finished(task, EMPTY_BODY, s.now)
    expect(s.took()).toMatchObject([
      { kind: Kind.Partial, token: 1, index: 0, attempt: 3, worker: 'w1', body: Buffer.from('a') },
      { kind: Kind.Partial, token: 1, index: 1, attempt: 3 },
      { kind: Kind.Reply, token: 1, partials: 2 },
    ])
  })

  test('goes no further than its credit, and is told of more', () => {
    const s = new Scene().signIn()
    const task = s.give(1, stream)
    s.worker.partial(task, EMPTY_BODY)
    s.worker.partial(task, EMPTY_BODY)
    expect(task.hasCredit).toBe(false)
    expect(() => s.worker.partial(task, EMPTY_BODY)).toThrow(RangeError)
    s.hear({ kind: Kind.Credit, token: 1, upTo: 3 })
    expect(s.credited).toEqual([task])
    s.worker.partial(task, EMPTY_BODY)
    expect(task.hasCredit).toBe(false)
  })

  test('is not held up by credit that is old or repeated', () => {
    const s = new Scene().signIn()
    const task = s.give(1, stream)
    s.hear({ kind: Kind.Credit, token: 1, upTo: 1 }, { kind: Kind.Credit, token: 1, upTo: 2 })
    expect(s.credited).toEqual([])
    expect(task.creditUpTo).toBe(2)
  })

  test('answers a repeated credit with the number of pieces it has sent, for some may have been lost', () => {
    const s = new Scene().signIn()
    const task = s.give(1, stream)
    s.worker.partial(task, EMPTY_BODY)
    s.worker.partial(task, EMPTY_BODY)
    s.took()
    s.hear({ kind: Kind.Credit, token: 1, upTo: 2 })
    expect(s.took()).toEqual([{ kind: Kind.Pending, token: 1, running: true, attempt: 3, partials: 2 }])
  })

  test('with a piece too large for the broker is cancelled and ends with TOO_LARGE', () => {
    const s = new Scene().signIn(WEST, { bodyMax: 100 })
    const task = s.give(1, stream)
    s.took()
    s.worker.partial(task, octets(101))
    expect(s.cancelled).toMatchObject([{ assignment: task, why: { code: ErrorCode.TooLarge } }])
    s.worker.partial(task, EMPTY_BODY)
    s.worker.failed(task, OOPS, s.now)
    expect(s.took()).toMatchObject([{ kind: Kind.Reply, code: ErrorCode.TooLarge, partials: 0 }])
  })

  test('of an orphan goes nowhere', () => {
    const s = new Scene().signIn()
    const task = s.give(1, stream)
    s.hearFrom(RESTARTED, hello({ epoch: RESTARTED }))
    s.took()
    s.worker.partial(task, EMPTY_BODY)
    expect(s.took()).toEqual([])
  })
})

describe('draining', () => {
  test('takes no more, finishes what runs, says goodbye and stops', () => {
    const s = new Scene().signIn()
    const task = s.give(1)
    s.took()
    s.worker.drain(30_000, s.now)
    expect(s.took()).toMatchObject([{ kind: Kind.Ready, slots: 0 }])
    s.hear(request(2))
    expect(s.took()).toMatchObject([{ kind: Kind.Reject, token: 2, reason: RejectReason.Draining, free: 0 }])
    s.worker.finished(task, EMPTY_BODY, s.now)
    expect(kinds(s.took())).toEqual([Kind.Reply, Kind.Disconnect])
    expect(s.closed).toEqual(['after a farewell'])
    expect(s.ends).toEqual([undefined])
    expect(s.worker.nextTimeout()).toBe(Number.POSITIVE_INFINITY)
  })

  test('with nothing to do stops at once', () => {
    const s = new Scene().signIn()
    s.worker.drain(30_000, s.now)
    expect(kinds(s.took())).toEqual([Kind.Ready, Kind.Disconnect])
    expect(s.ends).toEqual([undefined])
  })

  test('hands back at its deadline what is unfinished', () => {
    const s = new Scene().signIn()
    const task = s.give(1)
    s.worker.drain(30_000, s.now)
    s.took()
    s.passWithBeats(29_999, 1)
    expect(s.of(Kind.Reject)).toEqual([])
    s.took()
    s.pass(1)
    expect(s.cancelled.map(({ assignment }) => assignment)).toEqual([task])
    expect(s.took().filter(({ kind }) => kind !== Kind.Heartbeat)).toMatchObject([
      { kind: Kind.Reject, token: 1, reason: RejectReason.HandedBack },
      { kind: Kind.Disconnect },
    ])
    expect(s.ends).toEqual([undefined])
    s.worker.finished(task, EMPTY_BODY, s.now)
    expect(s.took()).toEqual([])
  })

  test('asked for twice hands back at once', () => {
    const s = new Scene().signIn()
    s.give(1)
    s.worker.drain(30_000, s.now)
    s.worker.drain(30_000, s.now)
    expect(s.of(Kind.Reject)).toMatchObject([{ token: 1, reason: RejectReason.HandedBack }])
    expect(s.ends).toEqual([undefined])
    s.worker.drain(30_000, s.now)
    s.worker.stop()
    expect(s.ends).toEqual([undefined])
  })

  test('waits for a broker that is gone while an answer is there for it, but not beyond its deadline', () => {
    const s = new Scene().signIn()
    const task = s.give(1)
    s.pass(LIVENESS * BEAT)
    s.worker.drain(10_000, s.now)
    s.worker.finished(task, EMPTY_BODY, s.now)
    expect(s.ends).toEqual([])
    s.pass(1000)
    expect(s.of(Kind.Ready).at(-1)).toMatchObject({ slots: 0 })
    s.took()
    s.hear(hello())
    expect(kinds(s.took())).toEqual([Kind.Reply, Kind.Disconnect])
    expect(s.ends).toEqual([undefined])

    const alone = new Scene().signIn()
    const other = alone.give(1)
    alone.pass(LIVENESS * BEAT)
    alone.worker.drain(10_000, alone.now)
    alone.worker.finished(other, EMPTY_BODY, alone.now)
    alone.pass(9999)
    expect(alone.ends).toEqual([])
    alone.pass(1)
    expect(alone.ends).toEqual([undefined])
  })
})

describe('REFUSE', () => {
  test('for a limit is told, and tried again after a pause that grows', () => {
    const s = new Scene()
    const refuse: ProtocolRecord = {
      kind: Kind.Refuse,
      reason: 'workersMax',
      message: 'full: raise workersMax',
    }
    s.hear(refuse)
    expect(s.closed).toEqual(['at once'])
    s.pass(1000)
    s.hear(refuse)
    s.pass(1999)
    expect(s.opened.length).toBe(2)
    s.pass(1)
    expect(s.opened.length).toBe(3)
    expect(s.happened('refused')).toMatchObject([
      { endpoint: A, reason: 'workersMax', message: 'full: raise workersMax', retryMs: 1000 },
      { endpoint: A, retryMs: 2000 },
    ])
  })

  test('for the version ends the worker with an error', () => {
    const s = new Scene().signIn()
    const task = s.give(1)
    s.hear({ kind: Kind.Refuse, reason: 'version', message: 'version 2 here' })
    expect(s.ends).toMatchObject([{ code: 'VERSION', message: expect.stringContaining('version 2 here') }])
    expect(s.cancelled.map(({ assignment }) => assignment)).toEqual([task])
    expect(s.closed.length).toBe(1)
  })

  test('is not needed to see that the version differs', () => {
    const s = new Scene()
    s.hear(hello({ major: 2 }))
    expect(s.ends).toMatchObject([{ code: 'VERSION' }])
    expect(s.happened('refused')).toMatchObject([
      { message: expect.stringMatching(/2\.0.*1\.0/), retryMs: 0 },
    ])
  })
})

test('records out of place are counted and nothing else', () => {
  const s = new Scene().signIn()
  s.hear(
    { kind: Kind.Ready, slots: 3, services: [] },
    { kind: Kind.Pending, token: 1, running: true, attempt: 1, partials: 0 },
    { kind: Kind.Inventory, received: 3, tokens: [] },
  )
  expect(s.took()).toEqual([])
  expect(s.worker.counters.dropped.get('out_of_place')).toBe(3)
})

test('whatever comes in whatever order, slots are never overbooked and each task ends once', () => {
  const token = fc.integer({ min: 1, max: 6 })
  const step = fc.oneof(
    token.map((t) => ({ do: 'request' as const, t })),
    token.map((t) => ({ do: 'cancel' as const, t })),
    token.map((t) => ({ do: 'end' as const, t })),
    fc.integer({ min: 0, max: 9 }).map((t) => ({ do: 'beat' as const, t })),
    fc.constantFrom(WEST, RESTARTED).map((t) => ({ do: 'hello' as const, t })),
    fc.integer({ min: 1, max: 5000 }).map((t) => ({ do: 'pass' as const, t })),
    fc.constant({ do: 'disconnect' as const, t: 0 }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const s = new Scene({ slots: 3 }).signIn()
      let from = WEST
      let ended = 0
      const end = (assignment: Assignment | undefined) => {
        if (assignment === undefined) return
        s.started.splice(s.started.indexOf(assignment), 1)
        ended++
        s.worker.finished(assignment, EMPTY_BODY, s.now)
      }
      for (const { do: what, t } of steps) {
        if (what === 'request') s.hearFrom(from, request(t, { timeLeftMs: 2000 }))
        else if (what === 'cancel') s.hearFrom(from, { kind: Kind.Cancel, token: t })
        else if (what === 'beat') s.hearFrom(from, beat(t))
        else if (what === 'disconnect') s.hearFrom(from, { kind: Kind.Disconnect, reason: '' })
        else if (what === 'pass') s.pass(t)
        else if (what === 'end') end(s.started[t % Math.max(1, s.started.length)])
        else {
          from = t
          s.hearFrom(from, hello({ epoch: from }))
        }
        // `started` has what still runs: `end` takes out the others.
        expect(s.started.length).toBeLessThanOrEqual(3)
        expect(s.worker.running + s.worker.orphans).toBe(s.started.length)
      }
      while (s.started.length > 0) end(s.started[0])
      const { counters } = s.worker
      expect(counters.started).toBe(ended)
      expect(counters.succeeded + counters.cancelled + counters.expired + counters.orphaned).toBe(ended)
      expect([s.worker.running, s.worker.orphans]).toEqual([0, 0])
    }),
    { numRuns: 500 },
  )
})
