import type { RecordOctets } from './octets.ts'

/**
 * The records of the native dialect: what clients, workers and brokers say to each other.
 *
 * One set serves every link. A broker is a worker to its clients and a client to its workers and peers, so a
 * REQUEST always travels from the side that wants a task done to the side that does it, and REPLY, PARTIAL and
 * REJECT travel back. `docs/protocol.md` is the normative text.
 */

/** Major version: peers that differ refuse each other. */
export const VERSION_MAJOR = 1
/** Minor version: a higher one may add record kinds and trailing fields, which older decoders skip. */
export const VERSION_MINOR = 0

/** First octet of a record on the wire. */
export const Kind = {
  Hello: 1,
  Ready: 2,
  Request: 3,
  Reply: 4,
  Partial: 5,
  Reject: 6,
  Credit: 7,
  Cancel: 8,
  Heartbeat: 9,
  Inventory: 10,
  Audit: 11,
  State: 12,
  Pending: 13,
  Disconnect: 14,
  Refuse: 15,
} as const
export type Kind = (typeof Kind)[keyof typeof Kind]

/**
 * Names one assignment of a task to one executor; whoever sent the REQUEST chose it, and the other side only echoes
 * it. An integer below 2^53: the high 21 bits index the requester's table, the low 32 are a nonce, so an answer to
 * an earlier attempt, or to an earlier life of the requester, matches nothing and is dropped.
 */
export type Token = number

/** Bits of {@link Request.flags}. */
export const Flag = {
  /** The task may not be started twice: when it may have run, its client is told UNKNOWN. */
  NotIdempotent: 1,
  /** Fail with NO_SERVICE at once when nobody anywhere serves the service, instead of waiting. */
  FailFast: 2,
  /** The client takes PARTIAL replies. */
  Stream: 4,
  /** A stream that broke may be started again from its beginning. */
  RestartStream: 8,
} as const

/** What a process at the other end is. */
export const Role = { Client: 1, Worker: 2, Broker: 3 } as const
export type Role = (typeof Role)[keyof typeof Role]

/** Priorities run from 0 (last) to 9 (first). */
export const PRIORITY_MAX = 9
export const PRIORITY_DEFAULT = 4

/** The service whose workers are all alike; used when a task or a worker names none. */
export const ANONYMOUS_SERVICE = ''

/** Longest text fields, in octets of UTF-8. The decoder refuses longer ones. */
export const NAME_MAX = 255
export const ID_MAX = 64
export const TRACEPARENT_MAX = 64
export const MESSAGE_MAX = 4096
export const ADDRESS_MAX = 512

/** A peer that the sender of a HELLO can vouch for: it has heard from it within the TTL. */
export interface PeerAddress {
  readonly name: string
  readonly cloudfe: string
}

/** Opens every link, and is repeated whenever something in it changes. */
export interface Hello {
  readonly kind: typeof Kind.Hello
  readonly role: Role
  readonly name: string
  /** Random 32-bit number, never 0, drawn anew at each start of the process. */
  readonly epoch: number
  readonly major: number
  readonly minor: number
  /** Milliseconds between the sender's heartbeats on this link. */
  readonly heartbeatIntervalMs: number
  /** Largest task or reply body the sender takes, octets. */
  readonly bodyMax: number
  /** Where peers reach the sender; empty from clients and workers. */
  readonly cloudfe: string
  readonly statebe: string
  readonly peers: readonly PeerAddress[]
}

/** A worker signs in, or changes what it offers. `slots` 0: no further task, please (draining). */
export interface Ready {
  readonly kind: typeof Kind.Ready
  readonly slots: number
  readonly services: readonly string[]
}

export interface Request {
  readonly kind: typeof Kind.Request
  readonly token: Token
  /** Random id (nanoid), the same over all retries and attempts. */
  readonly id: string
  /** 1 at the first start; from a client: how many times it has sent the task since it was last turned away. */
  readonly attempt: number
  /** Time left until nobody wants the answer, milliseconds: a budget, since clocks differ. */
  readonly timeLeftMs: number
  readonly priority: number
  /** Bits of {@link Flag}. */
  readonly flags: number
  /** For a stream: PARTIALs with an index below this may be sent. Cumulative, so that repeating it is harmless. */
  readonly creditUpTo: number
  readonly service: string
  /** W3C trace context, passed on unread; empty if none. */
  readonly traceparent: string
  readonly body: Uint8Array
  /** Where id, traceparent and body lie, in one that is passed on as it came. */
  readonly octets?: RecordOctets
}

/** Ends a task: with a body when `code` is empty, otherwise with an error. */
export interface Reply {
  readonly kind: typeof Kind.Reply
  readonly token: Token
  /** Empty: done. Otherwise an {@link ErrorCode}, or a handler's own code. */
  readonly code: string
  readonly retryable: boolean
  /** For BUSY and DRAINING: try again after so many milliseconds. */
  readonly retryAfterMs: number
  readonly attempts: number
  /** From the task's arrival at its first broker to its (last) start, microseconds, saturating at 2^32 - 1. */
  readonly queuedUs: number
  /** From start to end at the worker, microseconds, saturating. */
  readonly runUs: number
  /** How many PARTIALs went before it in this attempt; a reader that has seen fewer has lost some. */
  readonly partials: number
  /** Cluster and worker that ran it; empty when it never ran. */
  readonly cluster: string
  readonly worker: string
  /** What went wrong and what to do next; empty when done. */
  readonly message: string
  readonly body: Uint8Array
  /** Where the body lies, in one that is passed on as it came. */
  readonly octets?: RecordOctets
}

/** One piece of a stream. `index` counts from 0 within an attempt. */
export interface Partial {
  readonly kind: typeof Kind.Partial
  readonly token: Token
  readonly index: number
  readonly attempt: number
  readonly cluster: string
  readonly worker: string
  readonly body: Uint8Array
}

/** "I did not, or no longer, run this": the task goes back to the requester, who alone decides what next. */
export interface Reject {
  readonly kind: typeof Kind.Reject
  readonly token: Token
  readonly reason: RejectReason
  /** Slots free for the task's service at the sender, now. */
  readonly free: number
  /** REQUESTs the sender has received on this link in all. */
  readonly received: number
  /** The worker that died with it, for {@link RejectReason.WorkerLost}. */
  readonly worker: string
}

export const RejectReason = {
  /** No slot free: never started. */
  Full: 1,
  /** The sender is leaving: never started. */
  Draining: 2,
  /** Nobody here serves the service: never started. */
  NoService: 3,
  /** The worker died with the task: it may have run. */
  WorkerLost: 4,
  /** The worker handed it back unfinished on leaving: it may have run. */
  HandedBack: 5,
} as const
export type RejectReason = (typeof RejectReason)[keyof typeof RejectReason]

/** The reader of a stream takes PARTIALs with an index below `upTo`. Cumulative. */
export interface Credit {
  readonly kind: typeof Kind.Credit
  readonly token: Token
  readonly upTo: number
}

/** Nobody waits for this task any more. The executor answers with a REPLY all the same, once the slot is free. */
export interface Cancel {
  readonly kind: typeof Kind.Cancel
  readonly token: Token
}

/**
 * I am here. `sent` counts the sender's REQUESTs (requester) or final answers (executor: REPLY and REJECT) on this
 * link so far: a link keeps order, so a receiver that has seen fewer knows that some were lost and asks for, or sends,
 * an INVENTORY. From a client it numbers the client's questions instead, and the broker's answer says which one it answers.
 */
export interface Heartbeat {
  readonly kind: typeof Kind.Heartbeat
  /** Please answer with a heartbeat (clients ask; workers and brokers beat by themselves). */
  readonly ask: boolean
  readonly sent: number
}

/**
 * Executor to requester: of your first `received` REQUESTs, these tokens are all that I still hold. What is missing was
 * lost on the way here, or its answer was lost on the way back.
 */
export interface Inventory {
  readonly kind: typeof Kind.Inventory
  readonly received: number
  readonly tokens: readonly Token[]
}

/** Requester to executor: answers were lost; send an INVENTORY. `sent`: REQUESTs sent so far on this link. */
export interface Audit {
  readonly kind: typeof Kind.Audit
  readonly sent: number
}

export interface ServiceCapacity {
  readonly service: string
  readonly free: number
  readonly total: number
  readonly queued: number
}

/** How many of a peer's REQUESTs had arrived when a state was taken. */
export interface ReceivedFrom {
  readonly peer: string
  /** The peer's epoch that the count belongs to. */
  readonly epoch: number
  readonly count: number
}

/** Spare capacity, published on statebe. */
export interface State {
  readonly kind: typeof Kind.State
  readonly name: string
  readonly epoch: number
  /** Grows by one a publication within an epoch; an older one is ignored. */
  readonly seq: number
  readonly draining: boolean
  readonly inFlight: number
  readonly queueDepth: number
  readonly cloudfe: string
  readonly services: readonly ServiceCapacity[]
  readonly received: readonly ReceivedFrom[]
}

/**
 * To a client that sent a task again: it is known here, waiting or running, and nothing was started twice. To whoever
 * repeats a CREDIT: this is how far the stream has come.
 */
export interface Pending {
  readonly kind: typeof Kind.Pending
  readonly token: Token
  readonly running: boolean
  /** The attempt that runs, and how many PARTIALs of it went before this: a reader that has seen fewer has lost some. */
  readonly attempt: number
  readonly partials: number
}

/** The sender leaves for good. */
export interface Disconnect {
  readonly kind: typeof Kind.Disconnect
  readonly reason: string
}

/** The sender will not talk to you: another major version, a name taken, a limit reached. */
export interface Refuse {
  readonly kind: typeof Kind.Refuse
  readonly reason: string
  readonly message: string
}

export type Record =
  | Hello
  | Ready
  | Request
  | Reply
  | Partial
  | Reject
  | Credit
  | Cancel
  | Heartbeat
  | Inventory
  | Audit
  | State
  | Pending
  | Disconnect
  | Refuse

/** What travels at once: all that one turn of the sender's loop had for one receiver, in order. */
export interface Message {
  /** The sender's epoch. */
  readonly from: number
  /** The receiver's epoch as the sender knows it; 0 when it has not heard from it yet. */
  readonly to: number
  readonly records: readonly Record[]
  /**
   * Only where a decoder met some: tokens of REQUESTs in `records` whose body was over the receiver's limit. Their body
   * was left out (it is empty here); they are to be answered with TOO_LARGE, not run.
   */
  readonly oversized?: readonly Token[]
}

export const EMPTY_BODY: Uint8Array = new Uint8Array(0)

/** The largest body of who has not said it yet: more than any has, and small enough for V8 to keep it in the object itself. */
export const BODY_MAX_UNKNOWN = 0x7fff_ffff
