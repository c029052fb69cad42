import { describe, expect, test } from 'vitest'
import { Call, type CallTerms } from '../../client/core/call.ts'
import { Client } from '../../client/core/client.ts'
import type { ClientCoreConfig } from '../../client/core/config.ts'
import type { Connection } from '../../client/core/connection.ts'
import type { Outcome } from '../../client/core/outcome.ts'
import type { ClientEvent, ClientPort } from '../../client/core/port.ts'
import { ErrorCode } from '../../protocol/error-code.ts'
import type { Partial, Record as ProtocolRecord, Reply, Request } from '../../protocol/record.ts'
import { EMPTY_BODY, Flag, Kind, Role } from '../../protocol/record.ts'

const CLIENT_EPOCH = 77
const A = 'tcp://a:1'
const B = 'tcp://b:1'

interface Sent {
  readonly to: string
  readonly record: ProtocolRecord
}

class Scene implements ClientPort<Call> {
  readonly client: Client<Call>
  now = 1000
  connections: Connection[] = []
  sent: Sent[] = []
  settled = new Map<Call, Outcome[]>()
  pieces: { call: Call; index: number; attempt: number }[] = []
  events: ClientEvent[] = []
  random = 0

  constructor(config: Partial_<ClientCoreConfig> = {}) {
    this.client = new Client<Call>(
      {
        name: 'test',
        epoch: CLIENT_EPOCH,
        endpoints: [A],
        heartbeatIntervalMs: 1000,
        outstandingMax: 1000,
        bodyMax: 1 << 20,
        ...config,
      },
      this,
      () => (this.random = (this.random + 1) % 2 ** 32),
    )
  }

  open(connection: Connection): void {
    this.connections.push(connection)
  }
  close(): void {}
  send(connection: Connection, record: ProtocolRecord): void {
    expect(connection.closed).toBe(false)
    this.sent.push({ to: connection.endpoint.address, record })
  }
  settle(call: Call, outcome: Outcome): void {
    this.settled.set(call, [...(this.settled.get(call) ?? []), outcome])
  }
  partial(call: Call, piece: Partial): void {
    this.pieces.push({ call, index: piece.index, attempt: call.attempt })
  }
  event(event: ClientEvent): void {
    this.events.push(event)
  }

  /** The connection opened last. */
  get connection(): Connection {
    const last = this.connections.at(-1)
    if (last === undefined) throw new Error('nothing was opened')
    return last
  }

  submit(terms: Partial_<CallTerms> = {}): Call {
    const call = new Call({
      id: `task${++ids}`,
      body: EMPTY_BODY,
      service: '',
      priority: 4,
      flags: 0,
      traceparent: '',
      timeoutMs: 2500,
      retries: 3,
      deadlineMs: 7500,
      window: 0,
      ...terms,
    })
    this.client.submit(call, this.now)
    return call
  }

  hear(record: ProtocolRecord, from = 500, connection = this.connection): void {
    this.client.receive(connection, { from, to: CLIENT_EPOCH, records: [record] }, this.now)
  }

  /** As a broker of another version does: of its message nothing but the refusal can be read. */
  refuse(message: string, connection = this.connection): void {
    this.client.refused(connection, 'version', message, this.now)
  }

  beat(from = 500, connection = this.connection): void {
    this.hear({ kind: Kind.Heartbeat, ask: false, sent: 0 }, from, connection)
  }

  /** A broker that tells which question it answers. */
  answerTo(question: number, from = 500): void {
    this.hear({ kind: Kind.Heartbeat, ask: false, sent: question }, from)
  }

  /** The number of the last question. */
  get question(): number {
    const last = this.of(Kind.Heartbeat).at(-1)
    return last?.kind === Kind.Heartbeat && last.ask ? last.sent : 0
  }

  /** Lets time pass as a reactor would, `timeout` at every time asked for. */
  pass(ms: number): void {
    const until = this.now + ms
    for (let next = this.client.nextTimeout(); next <= until; next = this.client.nextTimeout()) {
      this.now = Math.max(this.now, next)
      this.client.timeout(this.now)
    }
    this.now = until
  }

  /** Lets time pass with a broker that answers every question whether it is there, and nothing else. */
  passWithBeats(ms: number): void {
    for (let passed = 0; passed < ms; passed += 100) {
      this.pass(Math.min(100, ms - passed))
      this.beat()
    }
  }

  requests(): Request[] {
    return this.sent.flatMap(({ record }) => (record.kind === Kind.Request ? [record] : []))
  }

  of(kind: ProtocolRecord['kind']): ProtocolRecord[] {
    return this.sent.map(({ record }) => record).filter((record) => record.kind === kind)
  }

  outcome(call: Call): Outcome | undefined {
    const outcomes = this.settled.get(call) ?? []
    expect(outcomes.length).toBeLessThan(2)
    return outcomes[0]
  }

  codeOf(call: Call): string | undefined {
    return this.outcome(call)?.code
  }
}

let ids = 0
const long = { timeoutMs: 60_000, deadlineMs: 600_000 }
type Partial_<T> = { [K in keyof T]?: T[K] }

function reply(token: number, fields: Partial_<Reply> = {}): Reply {
  return {
    kind: Kind.Reply,
    token,
    code: '',
    retryable: false,
    retryAfterMs: 0,
    attempts: 1,
    queuedUs: 0,
    runUs: 0,
    partials: 0,
    cluster: 'west',
    worker: 'w1',
    message: '',
    body: EMPTY_BODY,
    ...fields,
  }
}

function piece(token: number, index: number, attempt = 1): Partial {
  return { kind: Kind.Partial, token, index, attempt, cluster: 'west', worker: 'w1', body: EMPTY_BODY }
}

function hello(bodyMax = 1 << 20): ProtocolRecord {
  return {
    kind: Kind.Hello,
    role: Role.Broker,
    name: 'west',
    epoch: 500,
    major: 1,
    minor: 0,
    heartbeatIntervalMs: 1000,
    bodyMax,
    cloudfe: '',
    statebe: '',
    peers: [],
  }
}

describe('a request', () => {
  test('opens a connection, introduces itself, asks for a sign of life, and carries its time as a budget', () => {
    const s = new Scene()
    const call = s.submit({ service: 'hash', priority: 7 })
    expect(s.sent.map(({ record }) => record.kind)).toEqual([Kind.Hello, Kind.Heartbeat, Kind.Request])
    expect(s.sent[0]?.record).toMatchObject({ role: Role.Client, epoch: CLIENT_EPOCH })
    expect(s.requests()[0]).toMatchObject({
      id: call.taskId,
      attempt: 1,
      // A little less than its own deadline, for the answer's way home.
      timeLeftMs: 7450,
      service: 'hash',
      priority: 7,
    })
  })

  test('ends with its reply, once; a second reply is counted as late', () => {
    const s = new Scene()
    const call = s.submit()
    const { token } = call
    s.hear(reply(token))
    s.hear(reply(token))
    expect(s.codeOf(call)).toBe('')
    expect(s.client.counters.late).toBe(1)
    expect(s.client.outstanding).toBe(0)
    expect(s.client.nextTimeout()).toBe(Number.POSITIVE_INFINITY)
  })

  test('is not answered by the reply to a call that had its place in the table before', () => {
    const s = new Scene()
    const first = s.submit()
    const { token } = first
    s.hear(reply(token))
    const second = s.submit()
    expect(Math.floor(second.token / 2 ** 32)).toBe(Math.floor(token / 2 ** 32))
    s.hear(reply(token))
    expect(s.outcome(second)).toBeUndefined()
  })

  test('that the handler failed ends with the handler’s code', () => {
    const s = new Scene()
    const call = s.submit()
    s.hear(reply(call.token, { code: 'OUT_OF_PAPER', message: 'the tray is empty' }))
    expect(s.outcome(call)).toMatchObject({ code: 'OUT_OF_PAPER', message: 'the tray is empty' })
    expect(s.client.counters.failed.get(ErrorCode.TaskFailed)).toBe(1)
  })

  test('beyond outstandingMax fails with BUSY at once, and others go on', () => {
    const s = new Scene({ outstandingMax: 2 })
    const calls = [s.submit(), s.submit(), s.submit()]
    expect(calls.map((call) => s.codeOf(call))).toEqual([undefined, undefined, ErrorCode.Busy])
  })

  test('larger than the broker takes fails at once when the broker has said so', () => {
    const s = new Scene()
    s.submit()
    s.hear(hello(10))
    const call = s.submit({ body: new Uint8Array(11) })
    expect(s.outcome(call)).toMatchObject({ code: ErrorCode.TooLarge, retryable: false })
    expect(s.requests()).toHaveLength(1)
  })

  test('that is cancelled tells the broker and hears nothing more', () => {
    const s = new Scene()
    const call = s.submit()
    const { token } = call
    s.client.cancel(call)
    expect(s.of(Kind.Cancel)).toEqual([{ kind: Kind.Cancel, token }])
    s.hear(reply(token))
    expect(s.outcome(call)).toBeUndefined()
    expect(s.client.outstanding).toBe(0)
  })

  test('that is cancelled is so with each heartbeat, until one has been answered that was sent after it', () => {
    const s = new Scene()
    s.submit(long)
    const call = s.submit(long)
    const { token } = call
    s.client.cancel(call)
    const said = () => s.of(Kind.Cancel).length
    expect(said()).toBe(1)
    // Lost, with the connection perhaps, and nobody has noticed.
    s.pass(2000)
    expect(said()).toBe(3)
    // This may be the answer to the question that was sent before.
    s.beat()
    s.pass(1000)
    expect(said()).toBe(4)
    s.beat()
    s.pass(3000)
    expect(said()).toBe(4)
    expect(s.of(Kind.Cancel)).toEqual(Array(4).fill({ kind: Kind.Cancel, token }))
  })

  test('that is cancelled is said to be so until its own question is answered, however many were lost before', () => {
    const s = new Scene()
    s.submit(long)
    // All lost with a connection, and nobody was told.
    s.pass(5000)
    const before = s.question
    expect(before).toBe(6)
    s.client.cancel(s.submit(long))
    const said = () => s.of(Kind.Cancel).length
    s.pass(2000)
    expect(said()).toBe(3)
    // To one of those that were asked before it, once more to the same, and to one that was never asked.
    for (const question of [before, before, s.question + 1, before]) s.answerTo(question)
    s.pass(1000)
    expect(said()).toBe(4)
    s.answerTo(s.question)
    s.pass(3000)
    expect(said()).toBe(4)
  })

  test('that is cancelled, and was the only one, is said to be so until a question is answered; then there is silence', () => {
    const s = new Scene()
    const call = s.submit(long)
    s.answerTo(1)
    const { token } = call
    s.client.cancel(call)
    s.sent.length = 0
    s.pass(2000)
    expect(s.sent.map(({ record }) => record)).toEqual([
      { kind: Kind.Cancel, token },
      { kind: Kind.Heartbeat, ask: true, sent: 2 },
      { kind: Kind.Cancel, token },
      { kind: Kind.Heartbeat, ask: true, sent: 3 },
    ])
    s.answerTo(2)
    expect(s.client.nextTimeout()).toBe(Number.POSITIVE_INFINITY)
  })

  test('that is cancelled is said to be so five times to a broker that says nothing, and again to one that is asked anyway', () => {
    const s = new Scene()
    const call = s.submit(long)
    s.answerTo(1)
    s.client.cancel(call)
    s.pass(60_000)
    expect(s.of(Kind.Cancel)).toHaveLength(6)
    expect(s.client.nextTimeout()).toBe(Number.POSITIVE_INFINITY)
    expect(s.connections).toHaveLength(1)
    const next = s.submit(long)
    s.pass(1000)
    expect(s.of(Kind.Cancel)).toHaveLength(7)
    s.hear(reply(next.token))
    expect(s.client.nextTimeout()).toBe(Number.POSITIVE_INFINITY)
    s.client.cancel(s.submit(long))
    s.pass(60_000)
    expect(s.of(Kind.Cancel)).toHaveLength(8 + 5 * 2)
    expect(s.client.nextTimeout()).toBe(Number.POSITIVE_INFINITY)
  })

  test('that is cancelled keeps nobody awake for a broker that was never heard, or is another, or after the end', () => {
    const s = new Scene()
    s.client.cancel(s.submit(long))
    expect(s.client.nextTimeout()).toBe(Number.POSITIVE_INFINITY)
    s.answerTo(1)
    s.pass(1000)
    s.answerTo(2)
    expect(s.client.nextTimeout()).toBe(Number.POSITIVE_INFINITY)
    s.client.cancel(s.submit(long))
    expect(s.client.nextTimeout()).toBeLessThanOrEqual(s.now + 1000)
    s.beat(501)
    expect(s.client.nextTimeout()).toBe(Number.POSITIVE_INFINITY)
    s.client.cancel(s.submit(long))
    expect(s.client.nextTimeout()).toBeLessThanOrEqual(s.now + 1000)
    s.client.close(s.now)
    expect(s.client.nextTimeout()).toBe(Number.POSITIVE_INFINITY)
    s.client.timeout(s.now + 10_000)
    expect(s.of(Kind.Heartbeat)).toHaveLength(2)
  })

  test('that is cancelled is not taken for heard because a restarted broker answers what the one before was asked', () => {
    const s = new Scene()
    s.submit(long)
    s.pass(3000)
    const former = s.question
    s.answerTo(former)
    s.answerTo(0, 501)
    s.client.cancel(s.submit(long))
    s.sent.length = 0
    s.answerTo(former, 501)
    s.pass(1000)
    expect(s.question).toBeGreaterThan(former)
    expect(s.of(Kind.Cancel)).toHaveLength(1)
  })

  test('that is cancelled is forgotten by a broker that restarts, and of a hundred thousand only the last are repeated', () => {
    const s = new Scene({ outstandingMax: 200_000 })
    s.submit(long)
    s.beat()
    for (let i = 0; i < 100_000; i++) s.client.cancel(s.submit(long))
    s.sent.length = 0
    s.pass(1000)
    expect(s.of(Kind.Cancel).length).toBe(1024)
    s.sent.length = 0
    s.beat(501)
    s.pass(1000)
    expect(s.of(Kind.Cancel)).toEqual([])
  })

  test.each([
    { sent: 'once', copies: 1 },
    { sent: 'again when one was known', copies: 2 },
  ])(
    'that is cancelled, sent before any broker was known and $sent, is so to the next life of it',
    ({ copies }) => {
      const s = new Scene()
      const call = s.submit({ ...long, timeoutMs: 1500, retries: 5 })
      const { token } = call
      // The answer to what was said before the task: that may be under way for longer than this life of the broker lasts.
      s.beat()
      while (s.requests().length < copies) s.passWithBeats(100)
      s.client.cancel(call)
      s.sent.length = 0
      s.beat(501)
      s.pass(1000)
      expect(s.of(Kind.Cancel)).toEqual([{ kind: Kind.Cancel, token }])
      // Whether that life had it or not, it has heard it now.
      s.answerTo(s.question, 501)
      expect(s.client.nextTimeout()).toBe(Number.POSITIVE_INFINITY)
    },
  )

  test('that is cancelled, sent before any broker was known, is not taken for heard because the next life says that it is there', () => {
    const s = new Scene()
    const call = s.submit(long)
    const { token } = call
    s.answerTo(1)
    s.client.cancel(call)
    s.pass(1000)
    expect(s.question).toBe(2)
    s.sent.length = 0
    // Which question this answers is not said: none that another life was asked.
    s.beat(501)
    s.pass(1000)
    expect(s.of(Kind.Cancel)).toEqual([{ kind: Kind.Cancel, token }])
  })

  test('that is cancelled, and that a life of the broker said it had, is forgotten by the next', () => {
    const s = new Scene()
    const call = s.submit(long)
    s.hear({ kind: Kind.Pending, token: call.token, running: true, attempt: 1, partials: 0 })
    s.client.cancel(call)
    s.sent.length = 0
    s.beat(501)
    expect(s.client.nextTimeout()).toBe(Number.POSITIVE_INFINITY)
    expect(s.of(Kind.Cancel)).toEqual([])
  })
})

describe('silence', () => {
  test('of the whole connection for timeoutMs closes it, opens another and sends everything again', () => {
    const s = new Scene()
    const first = s.submit()
    s.pass(1000)
    const second = s.submit()
    s.pass(1499)
    expect(s.connections).toHaveLength(1)
    s.pass(1)
    expect(s.connections).toHaveLength(2)
    expect(s.connections[0]?.closed).toBe(true)
    expect(s.requests().map(({ id, attempt }) => [id, attempt])).toEqual([
      [first.taskId, 1],
      [second.taskId, 1],
      [first.taskId, 2],
      [second.taskId, 2],
    ])
    expect(s.requests()[2]?.timeLeftMs).toBe(4950)
    // Only the one that timed out used up a try.
    expect([first.tries, second.tries]).toEqual([2, 1])
  })

  test('about one task, from a broker that is heard, sends only that task again on the same connection', () => {
    const s = new Scene()
    const lost = s.submit()
    s.passWithBeats(1000)
    const other = s.submit()
    s.passWithBeats(1500)
    expect(s.connections).toHaveLength(1)
    expect(s.requests().map(({ id }) => id)).toEqual([lost.taskId, other.taskId, lost.taskId])
  })

  test('of a broker that was heard after the send, but not for two heartbeats, moves everything', () => {
    const s = new Scene()
    s.submit()
    s.pass(100)
    s.beat()
    s.pass(2400)
    expect(s.connections).toHaveLength(2)
  })

  test('through all tries ends with TIMEOUT, retryable, saying how long and what to check', () => {
    const s = new Scene()
    const call = s.submit({ deadlineMs: 60_000 })
    s.beat()
    s.pass(7499)
    expect(s.outcome(call)).toBeUndefined()
    s.pass(1)
    expect(s.outcome(call)).toMatchObject({ code: 'TIMEOUT', retryable: true })
    expect(s.outcome(call)?.message).toMatch(
      /no answer after 7\.5 s: 3 tries in a row.*tcp:\/\/a:1 has been silent/,
    )
    expect(s.requests()).toHaveLength(3)
  })

  test('from the very beginning ends with UNAVAILABLE, naming the endpoints', () => {
    const s = new Scene({ endpoints: [A, B] })
    const call = s.submit()
    s.pass(7500)
    expect(s.outcome(call)).toMatchObject({ code: 'UNAVAILABLE', retryable: true })
    expect(s.outcome(call)?.message).toContain(`${A}, ${B}`)
  })

  test('goes around the endpoints in turn', () => {
    const s = new Scene({ endpoints: [A, B] })
    s.submit({ deadlineMs: 60_000 })
    s.pass(5000)
    expect(s.connections.map(({ endpoint }) => endpoint.address)).toEqual([A, B, A])
  })

  test('is broken by PENDING: tries count anew, and only the deadline ends the task', () => {
    const s = new Scene()
    const call = s.submit({ deadlineMs: 30_000, retries: 2 })
    let answered = 0
    for (let passed = 0; passed < 29_900; passed += 100) {
      s.pass(100)
      s.beat()
      const { length } = s.requests()
      if (length > Math.max(1, answered)) {
        answered = length
        s.hear({ kind: Kind.Pending, token: call.token, running: true, attempt: 1, partials: 0 })
      }
    }
    expect(s.outcome(call)).toBeUndefined()
    expect(s.connections).toHaveLength(1)
    s.pass(100)
    expect(s.outcome(call)).toMatchObject({ code: 'TIMEOUT' })
    expect(s.outcome(call)?.message).toContain('its deadline passed')
  })

  test('until the deadline ends the task, with tries left', () => {
    const s = new Scene()
    const call = s.submit({ deadlineMs: 1000 })
    s.pass(999)
    expect(s.outcome(call)).toBeUndefined()
    s.pass(1)
    expect(s.codeOf(call)).toBe('UNAVAILABLE')
  })

  test('is asked about every heartbeat interval while anything is outstanding, and never otherwise', () => {
    const s = new Scene()
    const call = s.submit()
    s.pass(2100)
    expect(s.of(Kind.Heartbeat)).toHaveLength(1 + 2)
    s.hear(reply(call.token))
    s.pass(60_000)
    expect(s.of(Kind.Heartbeat)).toHaveLength(1 + 2)
  })

  test('is asked about more often for shorter timeouts, so that a slow task is not taken for a dead broker', () => {
    const s = new Scene()
    s.submit({ timeoutMs: 300, deadlineMs: 5000 })
    s.beat()
    s.pass(299)
    expect(s.of(Kind.Heartbeat).length).toBeGreaterThan(1)
    s.beat()
    s.pass(1)
    expect(s.connections).toHaveLength(1)
    expect(s.requests()).toHaveLength(2)
  })

  test('of a connection with ten thousand calls costs each one more send, in order', () => {
    const s = new Scene({ outstandingMax: 10_000 })
    const calls = Array.from({ length: 10_000 }, () => s.submit())
    s.pass(2500)
    expect(s.requests()).toHaveLength(20_000)
    expect(
      s
        .requests()
        .slice(10_000)
        .map(({ id }) => id),
    ).toEqual(calls.map(({ taskId }) => taskId))
  })
})

describe('a broker that restarted', () => {
  test('is told everything again at once, after a new introduction, and no try is used up', () => {
    const s = new Scene()
    const calls = [s.submit(), s.submit()]
    s.beat(500)
    s.sent = []
    s.beat(501)
    expect(s.sent.map(({ record }) => record.kind)).toEqual([Kind.Hello, Kind.Request, Kind.Request])
    expect(calls.map(({ tries }) => tries)).toEqual([1, 1])
    expect(s.connection.epoch).toBe(501)
    s.beat(501)
    expect(s.requests()).toHaveLength(2)
  })

  test('is not asked again for what its first message answers', () => {
    const s = new Scene()
    const done = s.submit()
    const open = s.submit()
    s.beat(500)
    s.sent = []
    s.hear(reply(done.token), 501)
    expect(s.codeOf(done)).toBe('')
    expect(s.requests().map(({ id }) => id)).toEqual([open.taskId])
  })

  test('is not believed when its former life speaks once more', () => {
    const s = new Scene()
    const call = s.submit()
    s.beat(500)
    s.beat(501)
    s.hear(reply(call.token), 500)
    expect(s.outcome(call)).toBeUndefined()
    expect(s.client.counters.dropped.get('stale_epoch')).toBe(1)
  })
})

describe('a task that must not run twice', () => {
  const flags = Flag.NotIdempotent

  test('waits for a sign of life before it leaves', () => {
    const s = new Scene()
    const call = s.submit({ flags })
    expect(s.requests()).toHaveLength(0)
    s.beat()
    expect(s.requests().map(({ id }) => id)).toEqual([call.taskId])
  })

  test('and was sent is not to be sent again when its time is over: it may have run', () => {
    const s = new Scene()
    const call = s.submit({ flags, deadlineMs: 500 })
    s.beat()
    s.pass(500)
    expect(s.outcome(call)).toMatchObject({ code: 'TIMEOUT', retryable: false })
    expect(s.outcome(call)?.message).toContain('find out whether it ran')
  })

  test('that never left can go to the next endpoint', () => {
    const s = new Scene({ endpoints: [A, B] })
    const call = s.submit({ flags })
    s.pass(2500)
    s.beat()
    expect(s.requests()).toHaveLength(1)
    s.hear(reply(call.token))
    expect(s.codeOf(call)).toBe('')
  })

  test('is UNKNOWN when the broker that had it restarts', () => {
    const s = new Scene()
    const call = s.submit({ flags })
    s.beat(500)
    expect(s.requests()).toHaveLength(1)
    s.beat(501)
    expect(s.outcome(call)).toMatchObject({ code: ErrorCode.Unknown, retryable: false })
  })

  test('is UNKNOWN when only another endpoint answers', () => {
    const s = new Scene({ endpoints: [A, B] })
    const call = s.submit({ flags })
    s.beat(500)
    s.pass(2600)
    expect(s.connection.endpoint.address).toBe(B)
    expect(s.outcome(call)).toBeUndefined()
    s.beat(900)
    expect(s.codeOf(call)).toBe(ErrorCode.Unknown)
    expect(s.requests()).toHaveLength(1)
  })

  test('is sent again to the same life of the same broker, after a reconnect too', () => {
    const s = new Scene()
    const call = s.submit({ flags })
    s.beat(500)
    s.pass(2600)
    expect(s.connections).toHaveLength(2)
    s.beat(500)
    expect(s.requests().map(({ id }) => id)).toEqual([call.taskId, call.taskId])
    s.hear(reply(call.token), 500)
    expect(s.codeOf(call)).toBe('')
  })

  test('that was turned away never started, so another broker may have it', () => {
    const s = new Scene({ endpoints: [A, B] })
    const call = s.submit({ flags })
    s.beat(500)
    s.hear(reply(call.token, { code: ErrorCode.Draining, retryable: true, retryAfterMs: 500 }), 500)
    expect(s.connection.endpoint.address).toBe(B)
    s.beat(900)
    expect(s.requests()).toHaveLength(2)
    s.hear(reply(call.token), 900)
    expect(s.codeOf(call)).toBe('')
  })

  test('asks first on a connection that was quiet for long, since the broker may be another', () => {
    const s = new Scene()
    const first = s.submit()
    s.beat(500)
    s.hear(reply(first.token))
    s.pass(60_000)
    const call = s.submit({ flags })
    expect(s.requests()).toHaveLength(1)
    s.beat(501)
    expect(s.requests().map(({ id }) => id)).toEqual([first.taskId, call.taskId])
    expect(s.outcome(call)).toBeUndefined()
  })
})

describe('BUSY and DRAINING', () => {
  const busy = { code: ErrorCode.Busy, retryable: true, retryAfterMs: 200, message: 'full' }

  test('are waited out for as long as the broker says, at most half longer, then the task is sent again', () => {
    const s = new Scene()
    s.random = 2 ** 31
    const call = s.submit()
    s.hear(reply(call.token, busy))
    s.pass(199)
    expect(s.requests()).toHaveLength(1)
    s.pass(101)
    expect(s.requests()).toHaveLength(2)
    expect(s.outcome(call)).toBeUndefined()
  })

  test('fail the task at once when the wait would outlast its deadline', () => {
    const s = new Scene()
    const call = s.submit({ deadlineMs: 150 })
    s.hear(reply(call.token, busy))
    expect(s.outcome(call)).toMatchObject(busy)
  })

  test('fail the task at once when it has a single try', () => {
    const s = new Scene()
    const call = s.submit({ retries: 1 })
    s.hear(reply(call.token, busy))
    expect(s.codeOf(call)).toBe(ErrorCode.Busy)
  })

  test('of a leaving broker send the task to the next, while what it still has is answered by it', () => {
    const s = new Scene({ endpoints: [A, B] })
    const running = s.submit()
    const refused = s.submit()
    const first = s.connection
    s.beat(500)
    s.hear(reply(refused.token, { ...busy, code: ErrorCode.Draining }))
    expect(s.connection.endpoint.address).toBe(B)
    expect(first.closed).toBe(false)
    expect(s.sent.at(-1)).toMatchObject({ to: B, record: { id: refused.taskId } })
    s.submit()
    expect(s.sent.at(-1)?.to).toBe(B)
    s.hear(reply(running.token), 500, first)
    expect(s.codeOf(running)).toBe('')
    expect(first.closed).toBe(true)
  })

  test('of a leaving broker do not keep a task that it still has from being sent to it again', () => {
    const s = new Scene({ endpoints: [A, B] })
    const running = s.submit()
    s.pass(1000)
    const refused = s.submit()
    const first = s.connection
    s.hear(reply(refused.token, { ...busy, code: ErrorCode.Draining }))
    s.beat(900)
    s.pass(1000)
    s.beat(500, first)
    s.pass(500)
    expect(s.sent.at(-1)).toMatchObject({ to: A, record: { id: running.taskId, attempt: 2 } })
    expect(first.closed).toBe(false)
    s.hear(reply(running.token), 500, first)
    expect(s.codeOf(running)).toBe('')
  })

  test('of every broker in turn end in waiting, not in a race around them', () => {
    const s = new Scene({ endpoints: [A, B] })
    const call = s.submit()
    s.beat(500)
    s.hear(reply(call.token, { ...busy, code: ErrorCode.Draining }), 500)
    s.beat(900)
    s.hear(reply(call.token, { ...busy, code: ErrorCode.Draining }), 900)
    expect(s.connections).toHaveLength(2)
    expect(s.requests()).toHaveLength(2)
    s.pass(300)
    expect(s.requests()).toHaveLength(3)
  })
})

describe('a broker that says', () => {
  test('DISCONNECT is left at once for the next', () => {
    const s = new Scene({ endpoints: [A, B] })
    const call = s.submit()
    s.beat(500)
    s.hear({ kind: Kind.Disconnect, reason: 'drained' })
    expect(s.connections.map(({ closed }) => closed)).toEqual([true, false])
    expect(s.sent.at(-1)).toMatchObject({ to: B, record: { id: call.taskId, attempt: 2 } })
  })

  test('REFUSE, and is the only one, ends all tasks at once as UNAVAILABLE, with its words, not to be tried again', () => {
    const s = new Scene()
    const first = s.submit()
    s.refuse('install version 2')
    expect(s.outcome(first)).toMatchObject({ code: 'UNAVAILABLE', retryable: false })
    expect(s.outcome(first)?.message).toContain('install version 2')
    expect(s.outcome(first)?.message).not.toContain('was ever heard')
    // Whoever asks later is told as soon as the broker has said so again.
    const second = s.submit({ flags: Flag.NotIdempotent })
    expect(s.outcome(second)).toBeUndefined()
    s.refuse('install version 2')
    expect(s.codeOf(second)).toBe('UNAVAILABLE')
    expect(s.events.filter(({ type }) => type === 'refused')).toHaveLength(1)
  })

  test('REFUSE, while there is another, leaves the tasks to that one', () => {
    const s = new Scene({ endpoints: [A, B] })
    const call = s.submit()
    s.refuse('install version 2')
    expect(s.outcome(call)).toBeUndefined()
    s.pass(2500)
    expect(s.sent.at(-1)).toMatchObject({ to: B, record: { id: call.taskId } })
    s.refuse('install version 3')
    expect(s.outcome(call)).toMatchObject({ code: 'UNAVAILABLE', retryable: false })
    expect(s.outcome(call)?.message).toContain('install version 2')
    expect(s.outcome(call)?.message).toContain('install version 3')
  })

  test('REFUSE, after the other said so a long time ago, sends the tasks there once more', () => {
    const s = new Scene({ endpoints: [A, B] })
    s.submit()
    s.refuse('install version 2')
    s.pass(2500)
    s.refuse('install version 2')
    s.pass(60_000)
    const call = s.submit()
    s.refuse('install version 2')
    expect(s.outcome(call)).toBeUndefined()
    s.pass(2500)
    expect(s.sent.at(-1)).toMatchObject({ to: A, record: { id: call.taskId } })
    s.hear(reply(call.token))
    expect(s.codeOf(call)).toBe('')
  })

  test('REFUSE leaves open what an earlier life of it may have started and must not start twice', () => {
    const s = new Scene()
    s.submit()
    s.beat(500)
    const call = s.submit({ flags: Flag.NotIdempotent })
    expect(s.requests().at(-1)?.id).toBe(call.taskId)
    s.refuse('install version 2')
    expect(s.outcome(call)).toBeUndefined()
    s.pass(7500)
    expect(s.outcome(call)).toMatchObject({ retryable: false })
  })

  test('nothing that a broker should say to a client only moves counters', () => {
    const s = new Scene()
    const call = s.submit()
    s.hear({ kind: Kind.Ready, slots: 1, services: [] })
    s.hear(piece(call.token, 0))
    s.client.receive(s.connection, { from: 500, to: CLIENT_EPOCH + 1, records: [reply(call.token)] }, s.now)
    expect(Object.fromEntries(s.client.counters.dropped)).toEqual({
      out_of_place: 1,
      unasked_partial: 1,
      misaddressed: 1,
    })
    expect(s.outcome(call)).toBeUndefined()
  })
})

describe('a stream', () => {
  const stream = { flags: Flag.Stream, window: 8 }
  const restartable = { flags: Flag.Stream | Flag.RestartStream, window: 8 }

  test('grants a window, and tops it up whenever half of it is used', () => {
    const s = new Scene()
    const call = s.submit(stream)
    expect(s.requests()[0]?.creditUpTo).toBe(8)
    for (let index = 0; index < 8; index++) {
      s.hear(piece(call.token, index))
      s.client.taken(call, 1)
    }
    expect(s.of(Kind.Credit)).toMatchObject([{ upTo: 12 }, { upTo: 16 }])
    s.hear(reply(call.token, { partials: 8 }))
    expect(s.codeOf(call)).toBe('')
  })

  test('drops pieces it has had already', () => {
    const s = new Scene()
    const call = s.submit(stream)
    for (const index of [0, 0, 1, 0, 2]) s.hear(piece(call.token, index))
    expect(s.pieces.map(({ index }) => index)).toEqual([0, 1, 2])
  })

  test('breaks at a gap, and tells the broker', () => {
    const s = new Scene()
    const call = s.submit(stream)
    const { token } = call
    s.hear(piece(token, 0))
    s.hear(piece(token, 2))
    expect(s.outcome(call)).toMatchObject({ code: ErrorCode.StreamBroken, retryable: true })
    expect(s.outcome(call)?.message).toContain('piece 1 was lost')
    expect(s.of(Kind.Cancel)).toEqual([{ kind: Kind.Cancel, token }])
  })

  test('breaks when the broker has sent more pieces than came, and would wait for credit for ever', () => {
    const s = new Scene()
    const call = s.submit(stream)
    s.hear(piece(call.token, 0))
    s.hear({ kind: Kind.Pending, token: call.token, running: true, attempt: 1, partials: 1 })
    expect(s.outcome(call)).toBeUndefined()
    s.hear({ kind: Kind.Pending, token: call.token, running: true, attempt: 1, partials: 8 })
    expect(s.codeOf(call)).toBe(ErrorCode.StreamBroken)
  })

  test('breaks when its end announces more pieces than came', () => {
    const s = new Scene()
    const call = s.submit(stream)
    s.hear(piece(call.token, 0))
    s.hear(reply(call.token, { partials: 3 }))
    expect(s.codeOf(call)).toBe(ErrorCode.StreamBroken)
  })

  test('breaks when more pieces come than were asked for', () => {
    const s = new Scene()
    const call = s.submit({ ...stream, window: 1 })
    s.hear(piece(call.token, 0))
    s.hear(piece(call.token, 1))
    expect(s.codeOf(call)).toBe(ErrorCode.StreamBroken)
  })

  test('breaks when the broker that sent its beginning is gone', () => {
    const s = new Scene()
    const call = s.submit(stream)
    s.hear(piece(call.token, 0), 500)
    s.hear(piece(call.token, 0), 501)
    expect(s.pieces).toHaveLength(1)
    expect(s.codeOf(call)).toBe(ErrorCode.StreamBroken)
  })

  test('breaks when its broker gives it up in the middle, and is not sent on as if nothing had come', () => {
    const s = new Scene({ endpoints: [A, B] })
    const call = s.submit(stream)
    s.hear(piece(call.token, 0))
    s.hear(reply(call.token, { code: ErrorCode.Draining, retryable: true, retryAfterMs: 500 }))
    expect(s.codeOf(call)).toBe(ErrorCode.StreamBroken)
    expect(s.requests()).toHaveLength(1)
  })

  test('goes on after a reconnect to the same life of the broker, with the credit it had', () => {
    const s = new Scene()
    const call = s.submit(stream)
    s.hear(piece(call.token, 0), 500)
    s.pass(3000)
    expect(s.connections.length).toBeGreaterThan(1)
    s.beat(500)
    expect(s.requests().at(-1)).toMatchObject({ id: call.taskId, creditUpTo: 8 })
    s.hear(piece(call.token, 1), 500)
    expect(s.pieces.map(({ index }) => index)).toEqual([0, 1])
  })

  test('with restart begins anew at a gap, as another task, whose pieces are of a higher attempt', () => {
    const s = new Scene()
    const call = s.submit(restartable)
    const before = call.token
    s.hear(piece(before, 0))
    s.hear(piece(before, 2))
    expect(s.outcome(call)).toBeUndefined()
    expect(s.requests().at(-1)).toMatchObject({ id: `${call.taskId}~1`, creditUpTo: 8 })
    expect(call.token).not.toBe(before)
    s.hear(piece(before, 3))
    s.hear(piece(call.token, 0))
    expect(s.pieces.map(({ index, attempt }) => [index, attempt])).toEqual([
      [0, 1],
      [0, 2],
    ])
    s.hear(reply(call.token, { partials: 1 }))
    expect(s.codeOf(call)).toBe('')
  })

  test('with restart begins anew when the broker restarts', () => {
    const s = new Scene()
    const call = s.submit(restartable)
    s.hear(piece(call.token, 0), 500)
    s.beat(501)
    s.hear(piece(call.token, 0), 501)
    expect(s.pieces.map(({ attempt }) => attempt)).toEqual([1, 2])
  })

  test('with restart follows the broker to a higher attempt and drops the pieces of the one before', () => {
    const s = new Scene()
    const call = s.submit(restartable)
    s.hear(piece(call.token, 0, 1))
    s.hear(piece(call.token, 0, 2))
    s.hear(piece(call.token, 1, 1))
    s.hear(piece(call.token, 1, 2))
    expect(s.pieces.map(({ index, attempt }) => [attempt, index])).toEqual([
      [1, 0],
      [2, 0],
      [2, 1],
    ])
  })

  test('without restart may start at a higher attempt, but not change to one', () => {
    const s = new Scene()
    const call = s.submit(stream)
    s.hear(piece(call.token, 0, 2))
    expect(s.outcome(call)).toBeUndefined()
    s.hear(piece(call.token, 0, 3))
    expect(s.codeOf(call)).toBe(ErrorCode.StreamBroken)
  })

  test('with restart gives up after as many restarts as it has tries', () => {
    const s = new Scene()
    const call = s.submit(restartable)
    for (let restart = 0; restart < 3; restart++) s.hear(piece(call.token, 1))
    expect(s.outcome(call)).toBeUndefined()
    s.hear(piece(call.token, 1))
    expect(s.codeOf(call)).toBe(ErrorCode.StreamBroken)
  })
})

describe('closing', () => {
  test('ends everything with CLOSED, says goodbye, and refuses what comes after', () => {
    const s = new Scene()
    const call = s.submit()
    s.client.close(s.now)
    s.client.close(s.now)
    expect(s.codeOf(call)).toBe('CLOSED')
    expect(s.sent.at(-1)?.record.kind).toBe(Kind.Disconnect)
    expect(s.codeOf(s.submit())).toBe('CLOSED')
    expect(s.connection.closed).toBe(true)
  })

  test('says goodbye to a broker that is leaving, too, and still has a task', () => {
    const s = new Scene({ endpoints: [A, B] })
    s.submit()
    const refused = s.submit()
    s.beat(500)
    s.hear(reply(refused.token, { code: ErrorCode.Draining, retryable: true, retryAfterMs: 200 }))
    s.sent.length = 0
    s.client.close(s.now)
    const goodbyes = s.sent.filter(({ record }) => record.kind === Kind.Disconnect)
    expect(new Set(goodbyes.map(({ to }) => to))).toEqual(new Set([A, B]))
    expect(s.connections.map(({ closed }) => closed)).toEqual([true, true])
  })
})
