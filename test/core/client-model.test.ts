import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Call } from '../../client/core/call.ts'
import { Client } from '../../client/core/client.ts'
import type { Connection } from '../../client/core/connection.ts'
import { DeadlineWheel, Timed } from '../../client/core/deadline-wheel.ts'
import type { Outcome } from '../../client/core/outcome.ts'
import type { ClientPort } from '../../client/core/port.ts'
import { ErrorCode } from '../../protocol/error-code.ts'
import type { Message, Partial, Record as ProtocolRecord } from '../../protocol/record.ts'
import { EMPTY_BODY, Flag, Kind } from '../../protocol/record.ts'

const DEADLINE_MAX = 9000

/** A broker that keeps the protocol: attaches by id, answers again, and drops what was meant for its former life. */
class ModelBroker {
  epoch: number
  draining = false
  busy = false
  /** Under way and answered, by id. */
  readonly tasks = new Map<string, { token: number; wire: Wire; done: boolean; cancelled: boolean }>()
  /** Starts by id, over all lives. */
  readonly starts: Map<string, number>

  constructor(epoch: number, starts: Map<string, number>) {
    this.epoch = epoch
    this.starts = starts
  }

  restart(): void {
    this.epoch++
    this.tasks.clear()
    this.draining = false
  }

  receive(wire: Wire, message: Message): void {
    if (message.to !== 0 && message.to !== this.epoch) {
      this.send(wire, { kind: Kind.Heartbeat, ask: false, sent: 0 })
      return
    }
    for (const record of message.records) {
      if (record.kind === Kind.Heartbeat && record.ask) {
        this.send(wire, { kind: Kind.Heartbeat, ask: false, sent: record.sent })
      } else if (record.kind === Kind.Cancel) {
        for (const task of this.tasks.values())
          if (task.wire === wire && task.token === record.token) task.cancelled = true
      } else if (record.kind === Kind.Request) {
        const { id, token } = record
        const known = this.tasks.get(id)
        if (known !== undefined) {
          known.token = token
          known.wire = wire
          if (known.done) this.answer(id)
          else this.send(wire, { kind: Kind.Pending, token, running: true, attempt: 1, partials: 0 })
        } else if (this.draining || this.busy) {
          this.reply(wire, token, this.draining ? ErrorCode.Draining : ErrorCode.Busy)
        } else {
          this.starts.set(id, (this.starts.get(id) ?? 0) + 1)
          this.tasks.set(id, { token, wire, done: false, cancelled: false })
        }
      }
    }
  }

  answer(id: string): void {
    const task = this.tasks.get(id)
    if (task === undefined) return
    task.done = true
    this.reply(task.wire, task.token, '')
  }

  reply(wire: Wire, token: number, code: string): void {
    this.send(wire, {
      kind: Kind.Reply,
      token,
      code,
      retryable: code !== '',
      retryAfterMs: 50,
      attempts: 1,
      queuedUs: 0,
      runUs: 0,
      partials: 0,
      cluster: 'west',
      worker: 'w',
      message: '',
      body: EMPTY_BODY,
    })
  }

  send(wire: Wire, record: ProtocolRecord): void {
    wire.toClient.push({ from: this.epoch, to: 77, records: [record] })
  }
}

class Wire {
  readonly connection: Connection
  readonly broker: ModelBroker
  /** What the client has said in its turn, and the epoch it said it to: it travels as one message. */
  said: ProtocolRecord[] = []
  to = 0
  readonly toBroker: Message[] = []
  readonly toClient: Message[] = []

  constructor(connection: Connection, broker: ModelBroker) {
    this.connection = connection
    this.broker = broker
  }

  letOut(): void {
    if (this.said.length > 0) this.toBroker.push({ from: 77, to: this.to, records: this.said })
    this.said = []
  }
}

class World implements ClientPort<Call> {
  now = 0
  readonly starts = new Map<string, number>()
  readonly brokers = [new ModelBroker(100, this.starts), new ModelBroker(200, this.starts)]
  readonly wires: Wire[] = []
  readonly calls: Call[] = []
  readonly cancelled = new Set<Call>()
  readonly tokensCancelled = new Set<number>()
  readonly outcomes = new Map<Call, Outcome>()
  readonly client: Client<Call>

  constructor(endpoints: number) {
    let nonce = 0
    const config = {
      name: '',
      epoch: 77,
      endpoints: ['0', '1'].slice(0, endpoints),
      heartbeatIntervalMs: 1000,
      outstandingMax: 50,
      bodyMax: 100,
    }
    this.client = new Client<Call>(config, this, () => ++nonce)
  }

  open(connection: Connection): void {
    const broker = this.brokers[Number(connection.endpoint.address)]
    if (broker !== undefined) this.wires.push(new Wire(connection, broker))
  }
  close(): void {}
  send(connection: Connection, record: ProtocolRecord): void {
    if (record.kind === Kind.Cancel) this.tokensCancelled.add(record.token)
    const wire = this.wires.find((one) => one.connection === connection)
    if (wire === undefined) return
    if (wire.to !== connection.epoch) {
      // What a broker's former life would get is forgotten: all of it is sent again anyway.
      if (wire.to !== 0) wire.said = []
      else wire.letOut()
      wire.to = connection.epoch
    }
    wire.said.push(record)
  }
  /** The client's turn is over. */
  flush(): void {
    for (const wire of this.wires) wire.letOut()
  }
  /** What nobody waits for is known to be so where it runs, or will be said there again. */
  checkCancelled(): void {
    for (const { tasks, epoch } of this.brokers) {
      for (const { token, done, cancelled, wire } of tasks.values()) {
        const { connection } = wire
        if (!this.tokensCancelled.has(token) || done || cancelled) continue
        if (
          connection.closed ||
          connection.epoch !== epoch ||
          connection.cancelled?.some((one) => one.token === token)
        )
          continue
        expect.fail(`a CANCEL of ${token} was lost and is not repeated`)
      }
    }
  }
  settle(call: Call, outcome: Outcome): void {
    expect(this.outcomes.has(call), `${call.taskId} settled twice`).toBe(false)
    expect(this.cancelled.has(call), `${call.taskId} settled after it was cancelled`).toBe(false)
    this.outcomes.set(call, outcome)
  }
  partial(_call: Call, _piece: Partial): void {}
  event(): void {}

  pass(ms: number): void {
    const until = this.now + ms
    let turns = 0
    for (let next = this.client.nextTimeout(); next <= until; next = this.client.nextTimeout()) {
      expect(++turns, 'the clock stands still').toBeLessThan(10_000)
      this.now = Math.max(this.now, next)
      this.client.timeout(this.now)
      this.flush()
    }
    this.now = until
  }

  wire(which: number): Wire | undefined {
    return this.wires[this.wires.length - 1 - (which % Math.max(1, Math.min(3, this.wires.length)))]
  }
}

interface Step {
  readonly run: (world: World) => void
  /** How fast-check prints it in a counterexample. */
  readonly [fc.toStringMethod]: () => string
}

function step(name: string, run: (world: World) => void): Step {
  return { run, [fc.toStringMethod]: () => name }
}

const index = fc.nat({ max: 7 })

/** Both ways until nothing is under way any more. */
function deliverAll(world: World): void {
  for (let round = 0; round < 4; round++) {
    for (const wire of world.wires) {
      for (const message of wire.toBroker.splice(0)) wire.broker.receive(wire, message)
      for (const message of wire.toClient.splice(0)) world.client.receive(wire.connection, message, world.now)
      world.flush()
    }
  }
}

const submit = fc
  .record({
    idempotent: fc.boolean(),
    timeoutMs: fc.constantFrom(100, 700, 2500),
    deadlineMs: fc.constantFrom(50, 3000, DEADLINE_MAX),
    retries: fc.integer({ min: 1, max: 3 }),
  })
  .map(({ idempotent, ...terms }) =>
    step(`submit ${JSON.stringify({ idempotent, ...terms })}`, (world: World) => {
      const flags = idempotent ? 0 : Flag.NotIdempotent
      const fixed = { body: EMPTY_BODY, service: '', priority: 4, flags, traceparent: '', window: 0 }
      const call = new Call({ id: `t${world.calls.length}`, ...fixed, ...terms })
      world.calls.push(call)
      world.client.submit(call, world.now)
    }),
  )

const pass = fc
  .constantFrom(1, 40, 99, 500, 1000, 2500)
  .map((ms) => step(`pass ${ms}`, (world: World) => world.pass(ms)))

const deliver = fc.constant(step('deliver all', deliverAll))

const disturb = fc
  .record({ which: index, toBroker: fc.boolean(), what: fc.constantFrom('deliver', 'lose', 'repeat') })
  .map(({ which, toBroker, what }) =>
    step(`${what} ${toBroker ? 'to broker' : 'to client'} ${which}`, (world: World) => {
      const wire = world.wire(which)
      if (wire === undefined) return
      const batch = (toBroker ? wire.toBroker : wire.toClient).splice(0, 4)
      if (what === 'lose') return
      for (const message of what === 'repeat' ? batch.flatMap((one) => [one, one]) : batch) {
        if (toBroker) wire.broker.receive(wire, message)
        else world.client.receive(wire.connection, message, world.now)
      }
    }),
  )

const answer = fc.record({ which: fc.nat({ max: 1 }), nth: index }).map(({ which, nth }) =>
  step(`answer ${which} ${nth}`, (world: World) => {
    const broker = world.brokers[which]
    const id = [...(broker?.tasks.keys() ?? [])][nth]
    if (id !== undefined) broker?.answer(id)
  }),
)

const govern = fc
  .record({ which: fc.nat({ max: 1 }), how: fc.constantFrom('restart', 'restart', 'drain', 'busy', 'free') })
  .map(({ which, how }) =>
    step(`${how} ${which}`, (world: World) => {
      const broker = world.brokers[which]
      if (broker === undefined) return
      if (how === 'restart') broker.restart()
      else if (how === 'drain') broker.draining = true
      else broker.busy = how === 'busy'
    }),
  )

const cancel = index.map((nth) =>
  step(`cancel ${nth}`, (world: World) => {
    const call = world.calls[nth]
    if (call === undefined || world.outcomes.has(call)) return
    world.cancelled.add(call)
    world.client.cancel(call)
  }),
)

// Deliveries first: without them most runs end before anything interesting has begun.
const steps: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: submit },
  { weight: 5, arbitrary: deliver },
  { weight: 4, arbitrary: pass },
  { weight: 2, arbitrary: disturb },
  { weight: 2, arbitrary: answer },
  { weight: 2, arbitrary: govern },
  { weight: 1, arbitrary: cancel },
)

test('whatever is lost, repeated or restarted, each task ends exactly once, none that must not runs twice, no CANCEL is forgotten', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 2 }),
      fc.array(steps, { maxLength: 60, size: 'max' }),
      (endpoints, drawn) => {
        const world = new World(endpoints)
        for (const step of drawn) {
          step.run(world)
          world.flush()
          world.checkCancelled()
        }
        // The longest task, and five questions whether the last CANCEL has come.
        world.pass(DEADLINE_MAX + 1 + 5 * 1000)
        for (const call of world.calls) {
          expect(world.outcomes.has(call) || world.cancelled.has(call), `${call.taskId} never ended`).toBe(
            true,
          )
          const starts = world.starts.get(call.taskId) ?? 0
          if (!call.mayRunTwice) expect(starts, `${call.taskId} started twice`).toBeLessThanOrEqual(1)
          if (world.outcomes.get(call)?.code === '') expect(starts).toBeGreaterThan(0)
        }
        expect(world.client.outstanding).toBe(0)
        expect(world.client.nextTimeout()).toBe(Number.POSITIVE_INFINITY)
        // Nothing waits anywhere for what has ended.
        for (const { connection } of world.wires) expect([connection.calls, connection.held]).toEqual([0, 0])
        expect(world.wires.filter(({ connection }) => !connection.closed).length).toBeLessThanOrEqual(1)
      },
    ),
    { numRuns: 1500 },
  )
})

class Item extends Timed {
  readonly name: number
  constructor(name: number) {
    super()
    this.name = name
  }
}

test('the wheel hands out each deadline when it is due, not before, and never asks to be called too late', () => {
  const step = fc.record({
    item: fc.nat({ max: 9 }),
    delay: fc.oneof(fc.nat({ max: 30 }), fc.nat({ max: 20_000 })),
    pass: fc.nat({ max: 6000 }),
    clear: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (drawn) => {
      const wheel = new DeadlineWheel<Item>()
      const items = Array.from({ length: 10 }, (_, name) => new Item(name))
      const due = new Map<Item, number>()
      let now = 0.5
      for (const { item: name, delay, pass, clear } of drawn) {
        const item = items[name]
        if (item === undefined) continue
        if (clear) {
          wheel.clear(item)
          due.delete(item)
        } else {
          wheel.set(item, now + delay, now)
          due.set(item, now + delay)
        }
        expect(wheel.size).toBe(due.size)
        expect(wheel.next).toBeLessThanOrEqual(Math.min(...due.values()))
        now += pass
        const expired: Item[] = []
        wheel.expire(now, expired)
        const expected = items.filter((one) => (due.get(one) ?? Number.POSITIVE_INFINITY) <= now)
        expect(expired.map((one) => one.name).sort()).toEqual(expected.map((one) => one.name))
        for (const one of expired) due.delete(one)
        expect(wheel.next).toBeGreaterThan(now - 8)
      }
    }),
  )
})
