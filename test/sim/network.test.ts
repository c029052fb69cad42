import { describe, expect, test } from 'vitest'
import { EMPTY_BODY, Kind, type Message, type Record } from '../../protocol/record.ts'
import { EventQueue } from '../../sim/event-queue.ts'
import {
  lookaheadMs,
  Network,
  type NetworkParameters,
  octetsOf,
  type Pipe,
  TAIL_MAX,
} from '../../sim/network.ts'
import { Clock, Listener } from '../../sim/node.ts'
import { Random } from '../../sim/random.ts'

const PLAIN: NetworkParameters = {
  localMs: 1,
  cloudMs: 10,
  cloudSpread: 1,
  jitter: 0,
  distribution: 'uniform',
  localMbps: 0,
  cloudMbps: 0,
  links: [],
  highWater: 100_000,
  reconnectMs: 100,
  silenceBreaksMs: Number.POSITIVE_INFINITY,
  freezeRecords: true,
}

/** A process that keeps what it gets. */
class Mailbox extends Listener {
  readonly got: { readonly at: number; readonly pipe: Pipe; readonly token: number }[] = []
  /** How many had been read when it let out what it had to say. */
  readonly turns: number[] = []
  /** What others opened, by their routing ids. */
  readonly #pipes = new Map<string, Pipe>()

  protected override nextTimeout(): number {
    return Number.POSITIVE_INFINITY
  }
  protected override timeout(): void {}
  override arrived(pipe: Pipe, message: Message, at: number): void {
    const [record] = message.records
    this.got.push({ at, pipe, token: record !== undefined && 'token' in record ? record.token : -1 })
    this.endTurn(at)
  }
  override answered(): void {}
  override hungUp(): void {}
  override behind(_socket: string, key: string): Pipe | undefined {
    return this.#pipes.get(key)
  }
  override joined(pipe: Pipe): void {
    this.#pipes.set(pipe.key, pipe)
  }
  override lost(): void {}
  protected override letOut(): void {
    this.turns.push(this.got.length)
  }
}

function message(token: number, octets = 0): Message {
  const body = octets === 0 ? EMPTY_BODY : new Uint8Array(octets)
  const record: Record = { kind: Kind.Partial, token, index: 0, attempt: 1, cluster: '', worker: '', body }
  return { from: 1, to: 1, records: [record] }
}

class Scene {
  readonly queue = new EventQueue()
  readonly network: Network
  #nodes = 0

  constructor(parameters: Partial<NetworkParameters>, seed = 1) {
    this.network = new Network({ ...PLAIN, ...parameters }, this.queue, seed)
  }

  node(cluster: number, address?: string): Mailbox {
    const number = ++this.#nodes
    const node = new Mailbox(this.queue, number, `n${number}`, cluster, new Clock(0, 1))
    if (address !== undefined) this.network.listen(address, node, 0)
    return node
  }

  dial(from: Mailbox, address: string): Pipe {
    const pipe = this.network.dial(from, 'localfe', address, from.name, from.name, this.queue.time)
    this.run()
    expect(pipe.up).toBe(true)
    return pipe
  }

  step(): void {
    this.queue.pop()?.happen(this.queue.time)
  }

  run(): void {
    for (let next = this.queue.pop(); next !== undefined; next = this.queue.pop())
      next.happen(this.queue.time)
  }
}

function sendOut(scene: Scene, pipe: Pipe, { from, to, records }: Message, at: number): boolean {
  return scene.network.sendOut(pipe, from, to, records, at)
}

function took(to: Mailbox, sentAt: number): number[] {
  return to.got.map(({ at }) => at - sentAt)
}

describe('bandwidth', () => {
  test('a message keeps its link busy for its size, and those behind it wait', () => {
    const scene = new Scene({ cloudMbps: 1 })
    const to = scene.node(1, 'there')
    const pipe = scene.dial(scene.node(0), 'there')
    const at = scene.queue.time
    const large = message(1, 10_000)
    const largeMs = (octetsOf(large) * 8) / 1000
    const smallMs = (octetsOf(message(2)) * 8) / 1000
    sendOut(scene, pipe, large, at)
    sendOut(scene, pipe, message(2), at)
    scene.run()
    expect(largeMs).toBeGreaterThan(80)
    expect(took(to, at)[0]).toBeCloseTo(largeMs + 10, 6)
    expect(took(to, at)[1]).toBeCloseTo(largeMs + smallMs + 10, 6)
  })

  test('connections from one cluster to another share their link, other links do not wait', () => {
    const scene = new Scene({ cloudMbps: 1 })
    const to = scene.node(1, 'there')
    const pipes = [scene.node(0), scene.node(0), scene.node(2)].map((from) => scene.dial(from, 'there'))
    const at = scene.queue.time
    pipes.forEach((pipe, i) => {
      sendOut(scene, pipe, message(i, 10_000), at)
    })
    scene.run()
    expect(to.got.map(({ token }) => token)).toEqual([0, 2, 1])
    expect(took(to, at)[1]).toBeCloseTo(took(to, at)[0] ?? 0, 6)
  })

  test('a link of its own terms is unlike the rest, that way only', () => {
    const scene = new Scene({ links: [{ from: 0, to: 1, ms: 200, mbps: 1 }] })
    const there = scene.node(1, 'there')
    const here = scene.node(0, 'here')
    const outward = scene.dial(here, 'there')
    const homeward = scene.dial(there, 'here')
    const at = scene.queue.time
    sendOut(scene, outward, message(1, 10_000), at)
    sendOut(scene, homeward, message(2, 10_000), at)
    scene.run()
    expect(took(there, at)[0]).toBeGreaterThan(280)
    expect(took(here, at)[0]).toBeCloseTo(10, 6)
  })
})

describe('a link whose delays are distributed in a way of its own', () => {
  const SENT = 2000

  /** What messages took from cluster 0 to cluster 1, and back. */
  function delays(parameters: Partial<NetworkParameters>): { there: number[]; back: number[] } {
    const scene = new Scene(parameters)
    const there = scene.node(1, 'there')
    const here = scene.node(0, 'here')
    const outward = scene.dial(here, 'there')
    const homeward = scene.dial(there, 'here')
    const all: { there: number[]; back: number[] } = { there: [], back: [] }
    for (let i = 0; i < SENT; i++) {
      const at = scene.queue.time
      sendOut(scene, outward, message(i), at)
      sendOut(scene, homeward, message(i), at)
      scene.run()
      all.there.push((there.got.at(-1)?.at ?? 0) - at)
      all.back.push((here.got.at(-1)?.at ?? 0) - at)
    }
    return all
  }

  test('has that distribution, and no other link does', () => {
    const { there, back } = delays({ jitter: 1, links: [{ from: 0, to: 1, distribution: 'exponential' }] })
    expect(Math.max(...back)).toBeLessThanOrEqual(20 + 1e-6)
    expect(Math.max(...there)).toBeGreaterThan(30)
    expect(there.reduce((sum, ms) => sum + ms, 0) / SENT).toBeCloseTo(15, 0)
  })

  test('may jitter where no other does, and be steady where all others jitter', () => {
    const nervous = delays({ jitter: 0, links: [{ from: 0, to: 1, jitter: 3 }] })
    expect(Math.max(...nervous.back)).toBeCloseTo(10, 6)
    expect(Math.max(...nervous.there)).toBeGreaterThan(30)
    const steady = delays({ jitter: 3, links: [{ from: 0, to: 1, jitter: 0 }] })
    expect(Math.max(...steady.back)).toBeGreaterThan(30)
    expect(Math.max(...steady.there)).toBeCloseTo(10, 6)
  })
})

describe.each(['uniform', 'exponential', 'lognormal'] as const)('a delay that is %s', (distribution) => {
  const SENT = 20_000
  const jitter = 2

  /** What each message took, apart from all others. */
  function delays(): number[] {
    const scene = new Scene({ distribution, jitter })
    const to = scene.node(1, 'there')
    const pipe = scene.dial(scene.node(0), 'there')
    const first = scene.queue.time
    for (let i = 0; i < SENT; i++) scene.queue.push(first + i * 1000, sending(scene, pipe, i))
    scene.run()
    return to.got.map(({ at }, i) => at - first - i * 1000)
  }

  test('adds half of the jitter on average, never less than nothing, never more than its tail', () => {
    const all = delays()
    expect(all).toHaveLength(SENT)
    expect(all.reduce((sum, ms) => sum + ms, 0) / SENT / 10).toBeCloseTo(1 + jitter / 2, 1)
    expect(Math.min(...all)).toBeGreaterThanOrEqual(10 - 1e-6)
    const tail = distribution === 'uniform' ? 1 : TAIL_MAX
    expect(Math.max(...all)).toBeLessThanOrEqual(10 * (1 + jitter * tail) + 1e-6)
    if (distribution !== 'uniform') expect(Math.max(...all)).toBeGreaterThan(10 * (1 + jitter * 3))
  })

  test('never reorders a connection, and does reorder messages on two', () => {
    const scene = new Scene({ distribution, jitter })
    const to = scene.node(1, 'there')
    const pipes = [scene.node(0), scene.node(0)].map((from) => scene.dial(from, 'there'))
    const first = scene.queue.time
    for (let i = 0; i < 1000; i++) {
      const pipe = pipes[i % 2]
      if (pipe !== undefined) scene.queue.push(first + i, sending(scene, pipe, i))
    }
    scene.run()
    const tokens = to.got.map(({ token }) => token)
    expect(tokens).toHaveLength(1000)
    for (const pipe of pipes) {
      const own = to.got.filter((one) => one.pipe === pipe).map(({ token }) => token)
      expect(own).toEqual([...own].sort((a, b) => a - b))
    }
    expect(tokens).not.toEqual([...tokens].sort((a, b) => a - b))
  })
})

function sending(scene: Scene, pipe: Pipe, token: number) {
  return {
    mark: 0,
    happen: (at: number) => {
      sendOut(scene, pipe, message(token), at)
    },
  }
}

test('links between clusters are as far apart as the spread allows, the same both ways', () => {
  const scene = new Scene({ cloudSpread: 3 })
  const nodes = [0, 1, 2, 3, 4, 5].map((cluster) => scene.node(cluster, `${cluster}`))
  const ways = new Map<string, number>()
  for (const from of nodes) {
    for (const to of nodes) {
      if (from === to) continue
      const pipe = scene.dial(from, `${to.cluster}`)
      const at = scene.queue.time
      sendOut(scene, pipe, message(0), at)
      scene.run()
      ways.set(`${from.cluster} ${to.cluster}`, (to.got.at(-1)?.at ?? 0) - at)
    }
  }
  const all = [...ways.values()]
  expect(Math.min(...all)).toBeGreaterThanOrEqual(10 / 3)
  expect(Math.max(...all)).toBeLessThanOrEqual(30)
  expect(Math.max(...all) / Math.min(...all)).toBeGreaterThan(2)
  expect(ways.get('1 4')).toBeCloseTo(ways.get('4 1') ?? 0, 6)
})

describe('a process whose loop takes its time', () => {
  test('reads all that has come meanwhile in one turn, and then says what it has to say', () => {
    const scene = new Scene({})
    const to = scene.node(1, 'there')
    const pipe = scene.dial(scene.node(0), 'there')
    to.takeTurns(50, new Random(1, 'turns'))
    const first = scene.queue.time
    for (let i = 0; i < 100; i++) scene.queue.push(first + i, sending(scene, pipe, i))
    scene.run()
    expect(to.got.map(({ token }) => token)).toEqual(Array.from({ length: 100 }, (_, i) => i))
    expect(to.turns.length).toBeLessThan(20)
    expect(to.turns.at(-1)).toBe(100)
  })

  test('says what it has to say after 64 messages of one socket, however many have come', () => {
    const scene = new Scene({})
    const to = scene.node(1, 'there')
    const pipe = scene.dial(scene.node(0), 'there')
    to.takeTurns(50, new Random(1, 'turns'))
    for (let i = 0; i < 150; i++) sendOut(scene, pipe, message(i), scene.queue.time)
    scene.run()
    expect(to.turns).toEqual([64, 128, 150])
  })

  test('reads what had come before its connection broke', () => {
    const scene = new Scene({})
    const to = scene.node(1, 'there')
    const pipe = scene.dial(scene.node(0), 'there')
    to.takeTurns(50, new Random(1, 'turns'))
    sendOut(scene, pipe, message(1), scene.queue.time)
    const next = scene.queue.pop()
    next?.happen(scene.queue.time)
    scene.network.breakConnection(pipe, scene.queue.time)
    expect(to.got).toHaveLength(0)
    scene.run()
    expect(to.got).toHaveLength(1)
  })
})

describe('a connection', () => {
  function tokens(box: Mailbox): number[] {
    return box.got.map(({ token }) => token)
  }

  test('loses what is on its way when it breaks, and is made anew', () => {
    const scene = new Scene({})
    const to = scene.node(1, 'there')
    const pipe = scene.dial(scene.node(0), 'there')
    sendOut(scene, pipe, message(1), scene.queue.time)
    scene.network.breakConnection(pipe, scene.queue.time)
    scene.run()
    expect(pipe.up).toBe(true)
    sendOut(scene, pipe, message(2), scene.queue.time)
    scene.run()
    expect(tokens(to)).toEqual([2])
  })

  test('keeps what is sent before it stands', () => {
    const scene = new Scene({})
    const from = scene.node(0)
    const pipe = scene.network.dial(from, 'localfe', 'there', from.name, from.name, 0)
    for (const token of [1, 2]) sendOut(scene, pipe, message(token), 0)
    scene.run()
    expect(pipe.up).toBe(false)
    const to = scene.node(1, 'there')
    scene.run()
    expect(tokens(to)).toEqual([1, 2])
  })

  test('takes as many messages as its high-water mark says, and says so', () => {
    const scene = new Scene({ highWater: 3 })
    const to = scene.node(1, 'there')
    const pipe = scene.dial(scene.node(0), 'there')
    const send = (token: number) => sendOut(scene, pipe, message(token), scene.queue.time)
    expect([1, 2, 3, 4].map(send)).toEqual([true, true, true, false])
    scene.run()
    expect(send(5)).toBe(true)
    scene.run()
    expect(tokens(to)).toEqual([1, 2, 3, 5])
  })

  test('holds back in a partition what is sent, and hands it over in order when that heals', () => {
    const scene = new Scene({})
    const to = scene.node(1, 'there')
    const pipe = scene.dial(scene.node(0), 'there')
    cut(scene, true)
    for (const token of [1, 2]) sendOut(scene, pipe, message(token), scene.queue.time)
    scene.run()
    expect(tokens(to)).toEqual([])
    cut(scene, false)
    scene.run()
    expect(tokens(to)).toEqual([1, 2])
  })

  test('that is cut one way carries everything the other way', () => {
    const scene = new Scene({})
    const there = scene.node(1, 'there')
    const here = scene.node(0, 'here')
    const outward = scene.dial(here, 'there')
    const homeward = scene.dial(there, 'here')
    cut(scene, true)
    sendOut(scene, outward, message(1), scene.queue.time)
    sendOut(scene, homeward, message(2), scene.queue.time)
    scene.run()
    expect([tokens(there), tokens(here)]).toEqual([[], [2]])
  })

  test('through which nothing passes for too long breaks, and what it held back is lost', () => {
    const scene = new Scene({ silenceBreaksMs: 500 })
    const to = scene.node(1, 'there')
    const pipe = scene.dial(scene.node(0), 'there')
    cut(scene, true)
    sendOut(scene, pipe, message(1), scene.queue.time)
    scene.run()
    expect(pipe.up).toBe(false)
    cut(scene, false)
    scene.run()
    expect(pipe.up).toBe(true)
    expect(tokens(to)).toEqual([])
  })

  test('that is half open loses what is sent either way, and stands anew as soon as its opener has noticed', () => {
    const scene = new Scene({})
    const { to, pipe } = halfOpen(scene)
    const { session } = pipe
    sendOut(scene, pipe, message(1), scene.queue.time)
    scene.run()
    scene.network.reopen(pipe, session, scene.queue.time)
    expect(pipe.up).toBe(true)
    expect(to.acceptedPipes()).toEqual([pipe])
    sendOut(scene, pipe, message(2), scene.queue.time)
    scene.run()
    expect(tokens(to)).toEqual([2])
  })

  test('that is half open is dialled like any other when the other end is gone by then', () => {
    const scene = new Scene({})
    const { to, pipe } = halfOpen(scene)
    scene.network.killListener(to, ['there'], scene.queue.time)
    scene.network.reopen(pipe, pipe.session, scene.queue.time)
    scene.run()
    expect(pipe.up).toBe(false)
    const next = scene.node(1, 'there')
    scene.run()
    expect(next.acceptedPipes()).toEqual([pipe])
  })

  test('that is opened to a stopped process stands soon after it goes on', () => {
    const scene = new Scene({ reconnectMs: 1000 })
    const to = scene.node(1, 'there')
    to.freeze()
    const from = scene.node(0)
    const pipe = scene.network.dial(from, 'localfe', 'there', from.name, from.name, 0)
    scene.run()
    expect(pipe.up).toBe(false)
    const at = scene.queue.time
    to.thaw(at)
    scene.network.weatherChanged(at)
    scene.run()
    expect(pipe.up).toBe(true)
    expect(scene.queue.time - at).toBeLessThan(50)
  })

  test('that was opened to a process which died while it was stopped is opened to the next one', () => {
    const scene = new Scene({})
    const to = scene.node(1, 'there')
    to.freeze()
    const from = scene.node(0)
    const pipe = scene.network.dial(from, 'localfe', 'there', from.name, from.name, 0)
    scene.run()
    scene.network.killListener(to, ['there'], scene.queue.time)
    scene.run()
    const next = scene.node(1, 'there')
    scene.run()
    expect(next.acceptedPipes()).toEqual([pipe])
  })

  test('whose end a stopped process would have to notice ends when it goes on', () => {
    const scene = new Scene({})
    const to = scene.node(1, 'there')
    const from = scene.node(0)
    const pipe = scene.dial(from, 'there')
    to.freeze()
    scene.network.kill(from, scene.queue.time)
    for (let i = 0; i < 20; i++) scene.step()
    expect(to.acceptedPipes()).toEqual([pipe])
    to.thaw(scene.queue.time)
    scene.run()
    expect(to.acceptedPipes()).toEqual([])
  })

  test.each([
    { where: 'in another cluster', cluster: 1, waitsMs: 20 + lookaheadMs(PLAIN) },
    { where: 'in its own', cluster: 0, waitsMs: 2 },
  ])(
    'that takes over a routing id $where ends the one before, no sooner than its dialler can feel it',
    ({ cluster, waitsMs }) => {
      const scene = new Scene({})
      const hub = scene.node(cluster, 'there')
      const dial = (): Pipe =>
        scene.network.dial(scene.node(0), 'cloudfe', 'there', 'west', 'west', scene.queue.time)
      const before = dial()
      scene.run()
      expect(hub.acceptedPipes()).toEqual([before])
      const dialledAt = scene.queue.time
      const next = dial()
      while (!next.up) {
        expect(before.up).toBe(true)
        scene.step()
      }
      expect(scene.queue.time - dialledAt).toBeCloseTo(waitsMs)
      expect(before.up).toBe(false)
      expect(hub.acceptedPipes()).toEqual([next])
    },
  )

  function halfOpen(scene: Scene): { to: Mailbox; pipe: Pipe } {
    const to = scene.node(1, 'there')
    const pipe = scene.dial(scene.node(0), 'there')
    scene.network.goDead(pipe, scene.queue.time)
    // Other weather changes nothing about it.
    scene.network.weatherChanged(scene.queue.time)
    return { to, pipe }
  }

  /** Nothing gets from cluster 0 to cluster 1 any more, or again. */
  function cut(scene: Scene, blocked: boolean): void {
    scene.network.block(0, 1, blocked)
    scene.network.weatherChanged(scene.queue.time)
  }
})
