import { text } from 'node:stream/consumers'
import { type BrokerStatus, brokerStatusSchema } from '../broker/status.ts'
import { parseHttpAddress } from '../settings/endpoint.ts'

export const HTTP_DEFAULT = '127.0.0.1:9464'
const TIMEOUT_MS = 3000

/** A broker's admin HTTP could not be asked. */
export class AdminError extends Error {
  override readonly name = 'AdminError'
  /** False: somebody answered, but not as a broker does. */
  readonly unreachable: boolean

  constructor(message: string, unreachable: boolean, cause?: unknown) {
    super(message, { cause })
    this.unreachable = unreachable
  }
}

/** @returns the URL that is meant by `host:port`, a port, or a URL; null when it is none */
export function adminUrl(http: string): URL | null {
  const text = /^https?:\/\//.test(http) ? http : `http://${withHost(http)}`
  return URL.canParse(text) ? new URL(text) : null
}

function withHost(http: string): string {
  return /^\d+$/.test(http) && parseHttpAddress(http) !== null ? `127.0.0.1:${http}` : http
}

/** @throws AdminError that says what to do */
export async function fetchStatus(url: URL): Promise<BrokerStatus> {
  let answer: string
  try {
    answer = await read(new URL('/status', url))
  } catch (error) {
    if (speaksNoHttp(error)) throw new AdminError(notABroker(url), false, error)
    throw new AdminError(
      `no broker's admin HTTP at ${url.host} (${reasonOf(error)}): is the broker up, with --http ${url.host}?`,
      true,
      error,
    )
  }
  try {
    return brokerStatusSchema.parse(JSON.parse(answer))
  } catch (error) {
    throw new AdminError(notABroker(url), false, error)
  }
}

/** Not by `fetch`, which refuses a hundred ports that browsers must not be sent to. */
async function read(url: URL): Promise<string> {
  const { get } = url.protocol === 'https:' ? await import('node:https') : await import('node:http')
  return await new Promise((resolve, reject) => {
    const request = get(url, { signal: AbortSignal.timeout(TIMEOUT_MS) }, (response) => {
      text(response).then(resolve, reject)
    })
    request.on('error', reject)
  })
}

function notABroker(url: URL): string {
  return `${url.host} answers, but not as this version's broker does: give the address after a broker's --http`
}

/** Somebody is there, who speaks another protocol (a ZeroMQ port, most likely). */
function speaksNoHttp(error: unknown): boolean {
  return (
    error instanceof Error &&
    'code' in error &&
    typeof error.code === 'string' &&
    error.code.startsWith('HPE_')
  )
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (error.name === 'AbortError' || error.name === 'TimeoutError') return `no answer within ${TIMEOUT_MS} ms`
  return 'code' in error ? String(error.code) : error.message
}
