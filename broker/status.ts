import { z } from 'zod'

const offerSchema = z.object({
  /** Empty: the anonymous one. */
  service: z.string(),
  free: z.number(),
  total: z.number(),
})

/** A peer, as this broker knows it by the peer's last state and its own books. */
export const peerStatusSchema = z.object({
  /** Empty until it has said hello. */
  name: z.string(),
  address: z.string(),
  phase: z.string(),
  configured: z.boolean(),
  draining: z.boolean(),
  epoch: z.number(),
  /** Since its last state, ms; null before the first. */
  stateAgeMs: z.number().nullable(),
  roundTripMs: z.number(),
  services: z.array(offerSchema),
  slots: z.object({ free: z.number(), total: z.number() }),
  queueDepth: z.number(),
  inFlight: z.number(),
  /** Our tasks that it runs, and its tasks that we run, now. */
  lent: z.number(),
  borrowed: z.number(),
  /** Since we know it. */
  lentTotal: z.number(),
  borrowedTotal: z.number(),
})
export type PeerStatus = z.output<typeof peerStatusSchema>

/** What a broker says of itself at `GET /status`. */
export const brokerStatusSchema = z.object({
  name: z.string(),
  version: z.string(),
  epoch: z.number(),
  uptimeMs: z.number(),
  ready: z.boolean(),
  draining: z.boolean(),
  endpoints: z.object({ localfe: z.string(), localbe: z.string(), cloudfe: z.string(), statebe: z.string() }),
  /** Of all workers here. */
  slots: z.number(),
  busy: z.number(),
  free: z.number(),
  /** Tasks that wait, and tasks that wait for the retry budget. */
  queued: z.number(),
  deferred: z.number(),
  /** Tasks of our clients that run here and at peers; tasks of peers that run here. */
  inFlight: z.object({ local: z.number(), peer: z.number(), guest: z.number() }),
  /** The last two of these again, by their other names. */
  lent: z.number(),
  borrowed: z.number(),
  clients: z.number(),
  peersUp: z.number(),
  workers: z.object({
    total: z.number(),
    byDialect: z.object({ native: z.number(), req: z.number(), ppp: z.number() }),
    /** The first thousand. */
    list: z.array(
      z.object({
        name: z.string(),
        dialect: z.string(),
        slots: z.number(),
        busy: z.number(),
        services: z.array(z.string()),
        silentForMs: z.number(),
      }),
    ),
  }),
  peers: z.array(peerStatusSchema),
  services: z.array(
    z.object({
      service: z.string(),
      queued: z.number(),
      free: z.number(),
      slots: z.number(),
      workers: z.number(),
    }),
  ),
  /** Tasks known by id: under way, and answered a while ago. */
  ledger: z.object({ underWay: z.number(), answered: z.number() }),
  counters: z.object({
    received: z.object({ client: z.number(), stock: z.number(), peer: z.number() }),
    completed: z.object({ local: z.number(), byPeers: z.number(), forPeers: z.number() }),
    settled: z.record(z.string(), z.number()),
    redispatched: z.record(z.string(), z.number()),
    rejects: z.object({ sent: z.number(), received: z.number() }),
    expired: z.object({ queued: z.number(), running: z.number() }),
    busy: z.number(),
    cancelled: z.number(),
    attached: z.number(),
    answeredAgain: z.number(),
    lateReplies: z.number(),
    dropped: z.record(z.string(), z.number()),
  }),
})
export type BrokerStatus = z.output<typeof brokerStatusSchema>
