import { Publisher, Router, Subscriber } from 'zeromq'

/** The six sockets. Behaviour of libzmq that the options below stand for is in the comments beside them. */
export interface Sockets {
  readonly localfe: Router
  readonly localbe: Router
  readonly cloudfe: Router
  readonly cloudbe: Router
  readonly statefe: Subscriber
  readonly statebe: Publisher
}

/** Messages that may wait for one correspondent in libzmq; beyond it a send says EAGAIN and the core hears of it. */
const PIPE_MAX = 4096
/** Fewer towards clients, of whom there are many and any may be deaf: what it does not take is answered again when it asks. */
const CLIENT_PIPE_MAX = 512

/**
 * Makes the sockets; nothing is bound or connected yet. The arguments must have been validated: a bad socket option
 * throws and then takes the process down at its exit.
 *
 * @param name routing id towards peers, so that a restarted broker takes over from its former self
 * @param frameMax octets of the largest frame that is read; a connection that sends a larger one is closed
 */
export function makeSockets(name: string, frameMax: number): Sockets {
  const common = {
    // Without it a close with unsent data keeps the process alive for ever.
    linger: 0,
    maxMessageSize: frameMax,
    // With a domain set libzmq refuses ZMTP 1 and 2, which it takes anything for that is not ZMTP 3 (an HTTP server at
    // an address we were given, say): a ROUTER that disconnects from such a peer in the middle of its greeting aborts
    // the process. Without a ZAP handler the domain has no other effect.
    zapDomain: 'spillway',
    // A host that vanished without a word would otherwise keep its pipe for hours.
    tcpKeepalive: 1,
    tcpKeepaliveIdle: 30,
    tcpKeepaliveInterval: 10,
    tcpKeepaliveCount: 3,
  }
  const router = {
    ...common,
    // A message for somebody who is gone, or whose pipe is full, is an error that we hear of, not a silent loss.
    mandatory: true,
    // Without it such a send would wait for ever, and every later one would throw EBUSY.
    sendTimeout: 0,
    // A peer or worker that comes back under its routing id replaces its former connection.
    handover: true,
    sendHighWaterMark: PIPE_MAX,
    receiveHighWaterMark: PIPE_MAX,
    // Burst of reconnects after a restart.
    backlog: 1024,
  }
  const redial = {
    reconnectInterval: 100,
    reconnectMaxInterval: 2000,
    // A peer that was moved leaves an address behind at which nobody even refuses, and DNS names it for a while: give up, so
    // that the name is looked up again. Left to itself TCP would try for two minutes.
    connectTimeout: 2000,
  }
  return {
    localfe: new Router({ ...router, sendHighWaterMark: CLIENT_PIPE_MAX }),
    localbe: new Router(router),
    cloudfe: new Router({ ...router, routingId: name }),
    cloudbe: new Router({ ...router, ...redial, routingId: name }),
    statefe: new Subscriber({ ...common, ...redial }),
    // A slow subscriber misses states rather than hold us up: the next one says all that the lost one said.
    statebe: new Publisher({ ...common, sendTimeout: 0, sendHighWaterMark: 64 }),
  }
}
