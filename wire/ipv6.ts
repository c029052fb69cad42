/**
 * Whether a socket has to speak IPv6 for an address: for IPv6 literals only. With the option set libzmq looks host names up
 * as IPv6 first and tries nothing else, so that `localhost` would not reach a broker at 127.0.0.1.
 */
export function needsIpv6(endpoint: string): boolean {
  return endpoint.startsWith('tcp://[')
}
