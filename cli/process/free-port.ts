import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

/**
 * Below the ports that Linux, macOS and Windows give to outgoing connections: one of those could take the port of a broker
 * that was killed, before it is back.
 */
const LOWEST = 20_000
const BEYOND = 32_000
const TRIES_MAX = 200

/**
 * Ports of 127.0.0.1 that nobody listens on at this moment, all different. Somebody may still be faster than the one
 * who asked: who binds them must be ready to ask again.
 *
 * @throws when hardly any port is free
 */
export async function freePorts(count: number): Promise<number[]> {
  const found = new Set<number>()
  for (let tries = 0; found.size < count; tries++) {
    if (tries === TRIES_MAX + count) {
      throw new Error(
        `no ${count} free ports on 127.0.0.1 between ${LOWEST} and ${BEYOND}: stop what listens there`,
      )
    }
    const port = randomInt(LOWEST, BEYOND)
    if (await isFree(port)) found.add(port)
  }
  return [...found]
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)))
  })
}
