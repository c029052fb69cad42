import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { expect, test } from 'vitest'
import { LinkProxy } from '../../cli/live/link-proxy.ts'

test('a link holds everything back while it is cut, and lets it through in order afterwards', async () => {
  const server = createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const proxy = await LinkProxy.before(address.port)
  const client = connect(Number(proxy.address.split(':').at(-1)), '127.0.0.1')
  let heard = ''
  client.on('data', (piece) => {
    heard += piece.toString()
  })
  try {
    client.write('a')
    await once(client, 'data')
    proxy.weather = { kind: 'clear', delayMs: 20 }
    const sentAt = performance.now()
    client.write('b')
    await once(client, 'data')
    expect(performance.now() - sentAt).toBeGreaterThanOrEqual(38)
    proxy.weather = { kind: 'cut' }
    client.write('c')
    // Whatever is not held back would be here before a later connection has been made, used and answered, past the proxy.
    const direct = connect(address.port, '127.0.0.1')
    direct.write('d')
    await once(direct, 'data')
    direct.destroy()
    expect(heard).toBe('ab')
    proxy.weather = { kind: 'clear', delayMs: 0 }
    await once(client, 'data')
    expect(heard).toBe('abc')
  } finally {
    client.destroy()
    await proxy.close()
    server.close()
  }
})
