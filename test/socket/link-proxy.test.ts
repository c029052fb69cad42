import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { Hearsay } from '../../cli/live/hearsay.ts'
import { LinkProxy } from '../../cli/live/link-proxy.ts'
import { Links } from '../../cli/live/links.ts'
import { MessageEncoder } from '../../protocol/encode.ts'
import { EMPTY_BODY, Kind } from '../../protocol/record.ts'
import { until } from '../process/cluster-rig.ts'

const closing: (() => unknown)[] = []

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

/** Echoes, as somebody who speaks ZMTP would not, but the proxy does not care. */
async function echo(): Promise<{ readonly server: Server; readonly port: number }> {
  const server = createServer((socket) => {
    socket.on('error', () => {}).pipe(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  closing.push(() => server.close())
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return { server, port: address.port }
}

/** Who speaks ZMTP at least as far as the proxy looks: a greeting, then frames. */
class Speaker {
  readonly socket: Socket
  heard = Buffer.alloc(0)

  constructor(port: number) {
    this.socket = connect(port, '127.0.0.1')
    this.socket.on('error', () => {})
    this.socket.on('data', (piece) => {
      this.heard = Buffer.concat([this.heard, piece])
    })
    closing.push(() => this.socket.destroy())
    this.socket.write(Buffer.alloc(64))
  }

  /** What came after the greeting, as text. */
  get words(): string {
    return this.heard.toString('latin1', 64).replace(/[^ -~]/g, '')
  }

  say(...texts: (string | Uint8Array)[]): void {
    this.socket.write(
      Buffer.concat(
        texts.map((text, index) => {
          const body = Buffer.from(text)
          const flags = index < texts.length - 1 ? 1 : 0
          if (body.length < 256) return Buffer.concat([Buffer.of(flags, body.length), body])
          const header = Buffer.alloc(9)
          header[0] = flags | 2
          header.writeBigUInt64BE(BigInt(body.length), 1)
          return Buffer.concat([header, body])
        }),
      ),
    )
  }
}

async function proxyBefore(...[port, options]: Parameters<typeof LinkProxy.before>): Promise<LinkProxy> {
  const proxy = await LinkProxy.before(port, options)
  closing.push(() => proxy.close())
  return proxy
}

test('a link holds everything back while it is cut, and lets it through in order afterwards', async () => {
  const { port } = await echo()
  const proxy = await proxyBefore(port)
  const client = new Speaker(proxy.port)
  client.say('a')
  await until('the echo is there', () => client.words === 'a')
  proxy.weather = { kind: 'clear', delayMs: 20 }
  const sentAt = performance.now()
  client.say('b')
  await until('the slow echo is there', () => client.words === 'ab')
  expect(performance.now() - sentAt).toBeGreaterThanOrEqual(38)
  proxy.weather = { kind: 'cut' }
  client.say('c')
  // Whatever is not held back would be here before a later connection has been made, used and answered, past the proxy.
  const direct = new Speaker(port)
  direct.say('d')
  await until('somebody else has been answered', () => direct.words === 'd')
  expect(client.words).toBe('ab')
  proxy.weather = { kind: 'clear', delayMs: 0 }
  await until('what was held back is there', () => client.words === 'abc')
})

test('a link that is cut one way still lets through what goes the other way', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  closing.push(() => server.close())
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const proxy = await proxyBefore(address.port)
  proxy.outward = { kind: 'cut' }
  const accepted = once(server, 'connection')
  const client = new Speaker(proxy.port)
  client.say('question')
  const [broker]: Socket[] = await accepted
  closing.push(() => broker?.destroy())
  let asked = 0
  broker?.on('data', (piece) => {
    asked += piece.length
  })
  broker?.write(Buffer.alloc(64))
  broker?.write(Buffer.of(0, 1, 0x61))
  await until('the broker is heard', () => client.words === 'a')
  expect(asked).toBe(0)
  proxy.outward = { kind: 'clear', delayMs: 0 }
  await until('the broker hears', () => asked === 64 + 2 + 'question'.length)
})

test('connections break, and a new one is taken at once', async () => {
  const { port } = await echo()
  const proxy = await proxyBefore(port)
  const client = new Speaker(proxy.port)
  client.say('a')
  await until('it is connected', () => client.words === 'a')
  const closed = once(client.socket, 'close')
  proxy.break()
  await closed
  const next = new Speaker(proxy.port)
  next.say('b')
  await until('the next one is connected', () => next.words === 'b')
})

test('messages are seen whole, however they are cut into packets, and translated wherever an address lies', async () => {
  const { port } = await echo()
  const seen: string[] = []
  const echoed: number[] = []
  const proxy = await proxyBefore(port, {
    onConnection: () => ({
      outward: (frames) => seen.push(frames.map((frame) => Buffer.from(frame).toString()).join('|')),
      inward: (frames) => echoed.push(frames.length),
    }),
    translate: (frames, direction) => {
      const at = frames.indexOf('east')
      if (direction === 'outward' && at >= 0) frames.write('west', at)
    },
  })
  const client = new Speaker(proxy.port)
  const long = 'x'.repeat(300)
  client.say('one')
  client.say('two', long)
  const last = Buffer.concat([Buffer.of(0, 8), Buffer.from('to eastX')])
  for (const octet of last) {
    client.socket.write(Buffer.of(octet))
    await new Promise((resolve) => setImmediate(resolve))
  }
  await until('all of it is back', () => client.words.endsWith('X'))
  expect(seen).toEqual(['one', `two|${long}`, 'to eastX'])
  expect(echoed).toEqual([1, 2, 1])
  expect(client.words).toContain('to westX')
})

test('between clusters each hears of the others by the addresses of its own proxies, and tasks on their way are seen', async () => {
  const own = await Promise.all(
    [0, 1, 2].map(async () => {
      const [cloudfe, statebe] = [await echo(), await echo()]
      const at = ({ port }: { readonly port: number }) => `tcp://127.0.0.1:${port}`
      return { localfe: '', localbe: '', http: '', cloudfe: at(cloudfe), statebe: at(statebe) }
    }),
  )
  const relayed: unknown[] = []
  const witness = { relayed: (...what: unknown[]) => relayed.push(what), advertised: () => {} }
  const links = await Links.between(own, 0, new Hearsay(witness, () => 0))
  closing.push(() => links.close())
  const [c1, c2] = links.peersOf(0)
  const [c0FromC1] = links.peersOf(1)
  const addresses = own.map(({ cloudfe }) => cloudfe)
  // None of them is the broker's own.
  expect(new Set([...links.peersOf(0), ...links.peersOf(1), ...links.peersOf(2), ...addresses]).size).toBe(9)

  const client = new Speaker(Number(c1?.split(':').at(-1)))
  const [a0, a1, a2] = addresses
  client.say(`at ${a0} ${a1} ${a2} ${own[2]?.statebe}`)
  await until('the echo is there', () => client.words.length > 80)
  const heard = client.words.split(' ')
  // Out and back again: what it says of itself is as it said it, of others as it knows them.
  expect(heard.slice(1, 4)).toEqual([a0, c1, c2])
  expect(heard[4]).not.toBe(own[2]?.statebe)
  expect(c0FromC1).not.toBe(a0)

  const encoder = new MessageEncoder()
  encoder.begin(7, 0)
  const request = {
    kind: Kind.Request,
    token: 1,
    id: 'x',
    attempt: 1,
    timeLeftMs: 1000,
    priority: 4,
    flags: 0,
    creditUpTo: 0,
    service: '',
    traceparent: '',
  } as const
  encoder.add({ ...request, body: Buffer.from('c0h1.1/2.3 5.000 1\n and more') })
  encoder.add({ ...request, token: 2, body: EMPTY_BODY })
  client.say(...encoder.finish())
  await until('the task was seen', () => relayed.length > 0)
  expect(relayed).toEqual([['c0h1.1/2.3', 0, 1]])
})
