import { isIPv6 } from 'node:net'
import { z } from 'zod'
import { ADDRESS_MAX } from '../protocol/record.ts'

/** A path longer than this does not fit into a socket's address. */
const IPC_PATH_MAX = 107
const HOST =
  /^(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)*\.?$/
const DOTTED_NUMBERS = /^[\d.]+$/
const PORT_MAX = 65_535

/**
 * Why libzmq would not take an address, or would take it and never do anything with it; null when it is a good one.
 * Checked here, since what libzmq says to a bad one depends on the moment, and a few take the process down.
 *
 * @param use an address to bind may be a wildcard and leave the port to the system: `*` or 0
 */
export function endpointProblem(address: string, use: 'bind' | 'connect'): string | null {
  if (Buffer.byteLength(address) > ADDRESS_MAX) return `at most ${ADDRESS_MAX} octets`
  if (address.startsWith('ipc://')) {
    const path = address.slice('ipc://'.length)
    if (!/^[\x21-\x7e]+$/.test(path) || path === '*') return 'ipc:// and the path of a socket, without blanks'
    return path.length > IPC_PATH_MAX ? `a path of at most ${IPC_PATH_MAX} characters after ipc://` : null
  }
  const [, host, port] = /^tcp:\/\/(.*):([^:]*)$/.exec(address) ?? []
  if (host === undefined || port === undefined) {
    return use === 'bind'
      ? 'tcp://address:port or ipc://path, as in tcp://127.0.0.1:5555'
      : 'tcp://host:port or ipc://path, as in tcp://east.example.net:5557'
  }
  if (host.startsWith('[') && host.endsWith(']')) {
    if (!isIPv6(host.slice(1, -1))) return 'an IPv6 address in the brackets, as in tcp://[::1]:5555'
  } else if (host.includes(':')) return 'an IPv6 address in brackets, as in tcp://[::1]:5555'
  else if (!(use === 'bind' && host === '*') && !isHost(host)) {
    return `a host name, an IPv4 address or an IPv6 address in brackets${use === 'bind' ? ', or *,' : ''} between tcp:// and the port`
  }
  if (use === 'bind' && (port === '*' || port === '0')) return null
  if (!/^[1-9]\d{0,4}$/.test(port) || Number(port) > PORT_MAX) {
    return use === 'bind'
      ? `a port from 1 to ${PORT_MAX}, or * for any free one`
      : `a port from 1 to ${PORT_MAX}`
  }
  return null
}

/** Also refuses what looks like an IPv4 address and is none, which would be looked up as a name. */
function isHost(host: string): boolean {
  if (!HOST.test(host)) return false
  if (!DOTTED_NUMBERS.test(host)) return true
  const numbers = host.split('.')
  return numbers.length === 4 && numbers.every((number) => number !== '' && Number(number) <= 255)
}

/** An address that a socket is bound to. */
export const bindEndpoint = z.string().check(endpointCheck('bind'))

/** An address that others connect to. */
export const connectEndpoint = z.string().check(endpointCheck('connect'))

/** Addresses that one connects to, in the order in which they are tried; one of them may be given as a text by itself. */
export const connectEndpoints = z
  .union([connectEndpoint, z.array(connectEndpoint).min(1)])
  .transform((given) => (typeof given === 'string' ? [given] : given))

function endpointCheck(use: 'bind' | 'connect') {
  return z.superRefine<string>((address, context) => {
    const expected = endpointProblem(address, use)
    if (expected !== null) context.addIssue({ code: 'custom', message: expected, params: { expected } })
  })
}

/** Where HTTP is served. A port alone is on loopback. @returns null when it is no address */
export function parseHttpAddress(address: string): { host: string; port: number } | null {
  const [, host = '', port = ''] = /^(?:(.*):)?(\d{1,5})$/.exec(address) ?? []
  if (port === '' || Number(port) > PORT_MAX) return null
  const [, v6] = /^\[([0-9A-Fa-f:.]+)\]$/.exec(host) ?? []
  if (v6 !== undefined) return { host: v6, port: Number(port) }
  if (host === '*') return { host: '0.0.0.0', port: Number(port) }
  if (host !== '' && !isHost(host)) return null
  return { host: host === '' ? '127.0.0.1' : host, port: Number(port) }
}
