/** fast-check arbitraries for everything that goes over the native wire: what a correct sender may send, in full range. */

import fc from 'fast-check'
import { INLINE_BODY_MAX } from '../protocol/native.ts'
import type {
  Audit,
  Cancel,
  Credit,
  Disconnect,
  Heartbeat,
  Hello,
  Inventory,
  Message,
  Partial,
  Pending,
  Ready,
  Record,
  Refuse,
  Reject,
  Reply,
  Request,
  State,
} from '../protocol/record.ts'
import {
  ADDRESS_MAX,
  ID_MAX,
  Kind,
  MESSAGE_MAX,
  NAME_MAX,
  RejectReason,
  Role,
  TRACEPARENT_MAX,
} from '../protocol/record.ts'

const U32_MAX = 0xffff_ffff

export const u8 = fc.nat({ max: 255 })
export const u32 = fc.oneof(fc.nat({ max: 1000 }), fc.integer({ min: 0, max: U32_MAX }), fc.constant(U32_MAX))
export const epoch = fc.integer({ min: 1, max: U32_MAX })
/** Cumulative counts, sequence numbers: anything below 2^53. */
export const counter = fc.oneof(fc.nat({ max: 1000 }), fc.maxSafeNat())
export const token = fc.oneof(
  fc.maxSafeNat(),
  fc.constantFrom(0, U32_MAX, U32_MAX + 1, Number.MAX_SAFE_INTEGER),
)

/** Any text, of whole characters, that takes at most so many octets of UTF-8. */
export function text(octetsMax: number): fc.Arbitrary<string> {
  return fc
    .string({
      unit: fc.oneof(
        fc.constantFrom('a', 'B', '7', '-'),
        fc.string({ minLength: 1, maxLength: 1, unit: 'binary' }),
      ),
      maxLength: octetsMax,
    })
    .map((drawn) => {
      let kept = ''
      let octets = 0
      for (const character of drawn) {
        octets += Buffer.byteLength(character)
        if (octets > octetsMax) break
        kept += character
      }
      return kept
    })
}

/** Services, clusters, workers: usually one of few, as on a real link. */
export const name = fc.oneof(fc.constantFrom('', 'west', 'east', 'resize', 'worker-1'), text(NAME_MAX))
export const address = fc.oneof(fc.constantFrom('', 'tcp://10.0.0.7:5557'), text(ADDRESS_MAX))
export const id = fc.string({
  unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)),
  minLength: 1,
  maxLength: ID_MAX,
})
/** Mostly small, sometimes about the size from which a body gets a frame of its own. */
export const body: fc.Arbitrary<Uint8Array> = fc.oneof(
  { weight: 8, arbitrary: fc.uint8Array({ maxLength: 64 }) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.integer({ min: INLINE_BODY_MAX - 1, max: INLINE_BODY_MAX + 2 }), u8)
      .map(([length, octet]) => new Uint8Array(length).fill(octet)),
  },
)

export const hello: fc.Arbitrary<Hello> = fc.record({
  kind: fc.constant(Kind.Hello),
  role: fc.constantFrom(...Object.values(Role)),
  name,
  epoch,
  major: u8,
  minor: u8,
  heartbeatIntervalMs: u32,
  bodyMax: u32,
  cloudfe: address,
  statebe: address,
  peers: fc.array(fc.record({ name, cloudfe: address }), { maxLength: 5 }),
})
export const ready: fc.Arbitrary<Ready> = fc.record({
  kind: fc.constant(Kind.Ready),
  slots: u32,
  services: fc.array(name, { maxLength: 5 }),
})
export const request: fc.Arbitrary<Request> = fc.record({
  kind: fc.constant(Kind.Request),
  token,
  id,
  attempt: u32,
  timeLeftMs: u32,
  priority: fc.nat({ max: 9 }),
  flags: u8,
  creditUpTo: u32,
  service: name,
  traceparent: text(TRACEPARENT_MAX),
  body,
})
export const reply: fc.Arbitrary<Reply> = fc.record({
  kind: fc.constant(Kind.Reply),
  token,
  code: fc.oneof(fc.constantFrom('', 'BUSY', 'TASK_FAILED'), text(NAME_MAX)),
  retryable: fc.boolean(),
  retryAfterMs: u32,
  attempts: u32,
  queuedUs: u32,
  runUs: u32,
  partials: u32,
  cluster: name,
  worker: name,
  message: text(MESSAGE_MAX),
  body,
})
export const partial: fc.Arbitrary<Partial> = fc.record({
  kind: fc.constant(Kind.Partial),
  token,
  index: u32,
  attempt: u32,
  cluster: name,
  worker: name,
  body,
})
export const reject: fc.Arbitrary<Reject> = fc.record({
  kind: fc.constant(Kind.Reject),
  token,
  reason: fc.constantFrom(...Object.values(RejectReason)),
  free: u32,
  received: counter,
  worker: name,
})
export const credit: fc.Arbitrary<Credit> = fc.record({ kind: fc.constant(Kind.Credit), token, upTo: u32 })
export const cancel: fc.Arbitrary<Cancel> = fc.record({ kind: fc.constant(Kind.Cancel), token })
export const heartbeat: fc.Arbitrary<Heartbeat> = fc.record({
  kind: fc.constant(Kind.Heartbeat),
  ask: fc.boolean(),
  sent: counter,
})
export const inventory: fc.Arbitrary<Inventory> = fc.record({
  kind: fc.constant(Kind.Inventory),
  received: counter,
  tokens: fc.array(token, { maxLength: 20 }),
})
export const audit: fc.Arbitrary<Audit> = fc.record({ kind: fc.constant(Kind.Audit), sent: counter })
export const state: fc.Arbitrary<State> = fc.record({
  kind: fc.constant(Kind.State),
  name,
  epoch,
  seq: counter,
  draining: fc.boolean(),
  inFlight: u32,
  queueDepth: u32,
  cloudfe: address,
  services: fc.array(fc.record({ service: name, free: u32, total: u32, queued: u32 }), { maxLength: 5 }),
  received: fc.array(fc.record({ peer: name, epoch: u32, count: counter }), { maxLength: 5 }),
})
export const pending: fc.Arbitrary<Pending> = fc.record({
  kind: fc.constant(Kind.Pending),
  token,
  running: fc.boolean(),
  attempt: u32,
  partials: u32,
})
export const disconnect: fc.Arbitrary<Disconnect> = fc.record({
  kind: fc.constant(Kind.Disconnect),
  reason: text(NAME_MAX),
})
export const refuse: fc.Arbitrary<Refuse> = fc.record({
  kind: fc.constant(Kind.Refuse),
  reason: text(NAME_MAX),
  message: text(MESSAGE_MAX),
})

/** One arbitrary a kind, so that a test can go through all of them. */
export const recordsByKind = {
  Hello: hello,
  Ready: ready,
  Request: request,
  Reply: reply,
  Partial: partial,
  Reject: reject,
  Credit: credit,
  Cancel: cancel,
  Heartbeat: heartbeat,
  Inventory: inventory,
  Audit: audit,
  State: state,
  Pending: pending,
  Disconnect: disconnect,
  Refuse: refuse,
} satisfies { readonly [K in keyof typeof Kind]: fc.Arbitrary<Record & { readonly kind: (typeof Kind)[K] }> }

export const record: fc.Arbitrary<Record> = fc.oneof(...Object.values(recordsByKind))

export const message: fc.Arbitrary<Message> = fc.record({
  from: epoch,
  to: u32,
  records: fc.array(record, { maxLength: 8 }),
})

/** Frames as garbage arrives: any number, any octets, often with the magic in front so that it gets past the door. */
export const garbage: fc.Arbitrary<Uint8Array[]> = fc.array(
  fc.oneof(
    fc.uint8Array({ maxLength: 80 }),
    fc
      .uint8Array({ maxLength: 120 })
      .map((octets) => Uint8Array.from([0xd7, 0x53, 0x57, 1, 0, 0, 0, 1, 0, 0, 0, 0, ...octets])),
  ),
  { maxLength: 5 },
)
