import { type AddressInfo, isIP } from 'node:net'
import { type FastifyInstance, fastify } from 'fastify'
import { endpointProblem } from '../../settings/endpoint.ts'
import { DRAIN_DEADLINE_MAX_MS } from '../config.ts'
import type { BrokerStatus, PeerStatus } from '../status.ts'

/** What an operator may see and do, as the broker offers it. */
export interface Administered {
  /** Its sockets are bound, and it does not drain. */
  ready(): boolean
  draining(): boolean
  status(): BrokerStatus
  peers(): PeerStatus[]
  metrics(): Promise<{ readonly contentType: string; readonly text: string }>
  /** @returns false when it is known already, or there are too many */
  addPeer(address: string): boolean
  /** @returns false when there is none of this name or address */
  removePeer(nameOrAddress: string): boolean
  /** @param deadlineMs undefined: as configured */
  beginDrain(deadlineMs: number | undefined): void
}

/** An address, each octet of it escaped. */
const PARAMETER_MAX = 2048
const REQUEST_TIMEOUT_MS = 10_000

/** The admin HTTP: metrics, health, status, drain, peers. */
export class Admin {
  readonly #app: FastifyInstance

  constructor(administered: Administered) {
    this.#app = routes(administered)
  }

  /** @returns what it listens at, as `host:port` @throws an error that says what to do, when it cannot */
  async listen(host: string, port: number): Promise<string> {
    try {
      await this.#app.listen({ host, port })
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : String(error)
      const advice =
        code === 'EADDRINUSE'
          ? 'another process listens there (another broker?): stop it, or choose another port'
          : code === 'EACCES'
            ? 'permission denied: choose a port above 1023'
            : 'check that the address is one of this host'
      throw new Error(`http cannot be bound to ${host}:${port} (${code}): ${advice}`, { cause: error })
    }
    const address = this.#app.server.address()
    return typeof address === 'object' && address !== null ? addressText(address) : `${host}:${port}`
  }

  close(): Promise<void> {
    return this.#app.close()
  }
}

function addressText({ address, family, port }: AddressInfo): string {
  return family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`
}

function routes(administered: Administered): FastifyInstance {
  const app = fastify({
    logger: false,
    // Scrapers keep their connections: without it they would hold up the end by as long as they like.
    forceCloseConnections: true,
    requestTimeout: REQUEST_TIMEOUT_MS,
    bodyLimit: 16_384,
    routerOptions: { maxParamLength: PARAMETER_MAX },
    // A text is not taken for a number, nor an unknown property for nothing.
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false } },
  })

  // Any web page may make a browser on this machine send a request here; it cannot keep the browser from saying so.
  app.addHook('onRequest', async (request, reply) => {
    const { origin, host } = request.headers
    if (request.method === 'GET' || request.method === 'HEAD' || origin === undefined) return
    if (ownPage(origin, host)) return
    await reply
      .code(403)
      .send(problem('FORBIDDEN', `a page of ${origin} may not change this broker; use curl or spillway`))
  })

  app.setErrorHandler(async (error: Error & { statusCode?: number; code?: string }, request, reply) => {
    const status = error.statusCode ?? 500
    const advice = status < 500 ? `; see ${USES[request.routeOptions.url ?? ''] ?? 'docs/operations.md'}` : ''
    await reply.code(status).send(problem(error.code ?? 'INTERNAL', `${error.message}${advice}`))
  })

  app.setNotFoundHandler(async (request, reply) => {
    await reply
      .code(404)
      .send(
        problem(
          'NOT_FOUND',
          `there is no ${request.method} ${request.url}; there are ${Object.values(USES).join(', ')}`,
        ),
      )
  })

  app.get('/metrics', async (_request, reply) => {
    const { contentType, text } = await administered.metrics()
    return reply.header('content-type', contentType).send(text)
  })

  app.get('/healthz', async () => ({ ok: true }))

  app.get('/readyz', async (_request, reply) => {
    const ready = administered.ready()
    return reply.code(ready ? 200 : 503).send({ ready, draining: administered.draining() })
  })

  app.get('/status', async () => administered.status())

  app.post<{ Body: { deadlineMs?: number } | null }>(
    '/drain',
    {
      schema: {
        body: {
          type: ['object', 'null'],
          additionalProperties: false,
          properties: { deadlineMs: { type: 'integer', minimum: 0, maximum: DRAIN_DEADLINE_MAX_MS } },
        },
      },
    },
    async (request, reply) => {
      administered.beginDrain(request.body?.deadlineMs)
      return reply.code(202).send({ draining: true })
    },
  )

  app.get('/peers', async () => ({ peers: administered.peers() }))

  app.post<{ Body: { address: string } }>(
    '/peers',
    {
      schema: {
        body: {
          type: 'object',
          additionalProperties: false,
          required: ['address'],
          properties: { address: { type: 'string', minLength: 1, maxLength: 512 } },
        },
      },
    },
    async (request, reply) => {
      const { address } = request.body
      const expected = endpointProblem(address, 'connect')
      if (expected !== null) {
        return reply
          .code(400)
          .send(problem('BAD_ADDRESS', `address = ${JSON.stringify(address)}: expected ${expected}`))
      }
      if (administered.addPeer(address)) return reply.code(201).send({ added: true, address })
      if (administered.peers().some((peer) => peer.address === address)) return { added: false, address }
      return reply
        .code(409)
        .send(
          problem('TOO_MANY_PEERS', 'as many peers are known as peersMax allows: remove one, or raise it'),
        )
    },
  )

  app.delete<{ Params: { peer: string } }>('/peers/:peer', async (request, reply) => {
    const { peer } = request.params
    if (administered.removePeer(peer)) return { removed: true, peer }
    return reply
      .code(404)
      .send(problem('NO_SUCH_PEER', `no peer is called ${peer}, nor connected at it; GET /peers lists them`))
  })

  return app
}

/** By route, how it is used: what complaints refer to. */
const USES: { readonly [route: string]: string } = {
  '/metrics': 'GET /metrics',
  '/healthz': 'GET /healthz',
  '/readyz': 'GET /readyz',
  '/status': 'GET /status',
  '/drain': 'POST /drain {"deadlineMs": 30000}',
  '/peers': 'GET /peers, POST /peers {"address": "tcp://host:port"}',
  '/peers/:peer': 'DELETE /peers/<name or escaped address>',
}

function problem(code: string, message: string): { error: { code: string; message: string } } {
  return { error: { code, message } }
}

/** A page that this broker's own address was asked for. By address: a name can be made to point here by whoever owns it. */
function ownPage(origin: string, host: string | undefined): boolean {
  if (!URL.canParse(origin)) return false
  const { host: from, hostname } = new URL(origin)
  return from === host && (hostname === 'localhost' || isIP(hostname.replace(/^\[|\]$/g, '')) !== 0)
}
