import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  decodeIntroduction,
  decodeMessage,
  decodePacked,
  decodeRefusal,
  peekVersion,
  releasePacked,
} from '../../protocol/decode.ts'
import { DecodeReason } from '../../protocol/decode-error.ts'
import { MessageEncoder } from '../../protocol/encode.ts'
import { INLINE_BODY_MAX, isNative, RECORDS_MAX } from '../../protocol/native.ts'
import { unpacked } from '../../protocol/octets.ts'
import type { Message, Record, Reply, Request } from '../../protocol/record.ts'
import { EMPTY_BODY, Kind, MESSAGE_MAX, NAME_MAX, RejectReason, Role } from '../../protocol/record.ts'
import * as arbitrary from '../arbitraries.ts'

const LIMITS = { bodyMax: 1 << 20 }
const REASONS: readonly string[] = Object.values(DecodeReason)

function encode(records: readonly Record[], from = 7, to = 9): Buffer[] {
  const encoder = new MessageEncoder()
  encoder.begin(from, to)
  for (const record of records) encoder.add(record)
  return encoder.finish()
}

/** A message or a test failure. */
function decode(frames: readonly Uint8Array[], limits = LIMITS): Message {
  const result = decodeMessage(frames, 0, limits)
  if ('error' in result) throw new Error(`not decoded: ${result.error}`)
  return result
}

/** Why it was not decoded; '' if it was. */
function errorOf(frames: readonly Uint8Array[], first = 0): string {
  const result = decodeMessage(frames, first, LIMITS)
  return 'error' in result ? result.error : ''
}

/** Bodies as plain arrays, since what comes back is a Buffer where a Uint8Array went in. */
function plain(message: Message): unknown {
  return {
    ...message,
    records: message.records.map((record) =>
      'body' in record ? { ...record, body: [...record.body] } : record,
    ),
  }
}

/** A packed frame with one record written by hand. */
function packed(kind: number, ...payload: readonly number[]): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(payload.length)
  return Buffer.from([0xd7, 0x53, 0x57, 1, 0, 0, 0, 7, 0, 0, 0, 9, kind, ...length, ...payload])
}

const TOKEN_OCTETS = [0, 0, 0, 5, 0, 0, 1, 2] as const
const TOKEN = 5 * 2 ** 32 + 258

const REQUEST: Request = {
  kind: Kind.Request,
  token: TOKEN,
  id: 'id-1',
  attempt: 1,
  timeLeftMs: 2500,
  priority: 4,
  flags: 0,
  creditUpTo: 0,
  service: '',
  traceparent: '',
  body: EMPTY_BODY,
}
const REPLY: Reply = {
  kind: Kind.Reply,
  token: TOKEN,
  code: '',
  retryable: false,
  retryAfterMs: 0,
  attempts: 1,
  queuedUs: 10,
  runUs: 20,
  partials: 0,
  cluster: 'west',
  worker: 'w1',
  message: '',
  body: EMPTY_BODY,
}

describe('a round trip', () => {
  for (const [kind, records] of Object.entries(arbitrary.recordsByKind)) {
    test(`leaves every field of ${kind} as it was`, () => {
      fc.assert(
        fc.property(records, (record) => {
          const decoded = decode(encode([record]))
          expect(plain(decoded)).toEqual(plain({ from: 7, to: 9, records: [record] }))
        }),
        { numRuns: 200 },
      )
    })
  }

  test('keeps the order of records and the epochs of a message', () => {
    fc.assert(
      fc.property(arbitrary.message, (message) => {
        const decoded = decode(encode(message.records, message.from, message.to))
        expect(plain(decoded)).toEqual(plain(message))
      }),
    )
  })

  test('works from plain Uint8Arrays at an offset in a larger buffer, and from any first frame', () => {
    const frames = encode([REQUEST, { ...REQUEST, body: Buffer.alloc(INLINE_BODY_MAX + 1, 3) }])
    const shifted = frames.map((frame) => {
      const room = new Uint8Array(frame.length + 20)
      room.set(frame, 11)
      return room.subarray(11, 11 + frame.length)
    })
    const decoded = decodeMessage([Buffer.from('routing id'), ...shifted], 1, LIMITS)
    if ('error' in decoded) throw new Error(`not decoded: ${decoded.error}`)
    expect(plain(decoded)).toEqual(plain(decode(frames)))
  })

  test('keeps apart names that fall on the same slot of the cache', () => {
    const services = Array.from({ length: 5000 }, (_, i) => `service-${i}`)
    const decoded = decode(encode([{ kind: Kind.Ready, slots: 1, services }]))
    expect(decoded.records).toEqual([{ kind: Kind.Ready, slots: 1, services }])
  })

  test('carries a list larger than the scratch buffer', () => {
    const tokens = Array.from({ length: 100_000 }, (_, i) => i * 65_537)
    const decoded = decode(encode([{ kind: Kind.Inventory, received: 3, tokens }]))
    expect(decoded.records).toEqual([{ kind: Kind.Inventory, received: 3, tokens }])
  })
})

describe('the octets on the wire', () => {
  // Written by hand from docs/protocol.md, not from what the code gave.
  const golden = Buffer.from(
    [
      'd7 53 57 01', // magic, major 1
      '00 00 00 07', // from epoch 7
      '00 00 00 09', // to epoch 9
      '08 00000008', // CANCEL, 8 octets
      '00000005 00000102', // token 5 * 2^32 + 258
      '03 00000047', // REQUEST, 71 octets
      '001fffff ffffffff', // token 2^53 - 1
      '00000002', // attempt
      '000009c4', // time left 2500 ms
      '09', // priority
      '05', // flags: not idempotent, stream
      '00000010', // credit up to 16
      '04 69642d31', // id "id-1"
      '05 63 61 66 c3 a9', // service "café"
      '1e 3030 2d 61616161616161616161616161616161 2d 6262626262626262 2d30', // traceparent
      '00000003 ff0001', // body, inline
      '09 00000009', // HEARTBEAT, 9 octets
      '01', // please answer
      '00000000 00000040', // sent 64
    ]
      .join('')
      .replaceAll(' ', ''),
    'hex',
  )
  const records: readonly Record[] = [
    { kind: Kind.Cancel, token: TOKEN },
    {
      kind: Kind.Request,
      token: Number.MAX_SAFE_INTEGER,
      id: 'id-1',
      attempt: 2,
      timeLeftMs: 2500,
      priority: 9,
      flags: 5,
      creditUpTo: 16,
      service: 'café',
      traceparent: `00-${'a'.repeat(16)}-${'b'.repeat(8)}-0`,
      body: Uint8Array.of(0xff, 0, 1),
    },
    { kind: Kind.Heartbeat, ask: true, sent: 64 },
  ]

  test('are those of the specification', () => {
    expect(encode(records).map((frame) => frame.toString('hex'))).toEqual([golden.toString('hex')])
    expect(plain(decode([golden]))).toEqual(plain({ from: 7, to: 9, records }))
  })

  test('start with a magic that no stock frame has', () => {
    expect(isNative(golden)).toBe(true)
    expect(isNative(undefined)).toBe(false)
    expect(isNative(Buffer.alloc(0))).toBe(false)
    expect(isNative(Buffer.from('READY'))).toBe(false)
    expect(isNative(golden.subarray(0, 11))).toBe(false)
  })
})

describe('a body', () => {
  test('of up to 4096 octets is packed, one octet more makes it a frame of its own by reference', () => {
    const inline = Buffer.alloc(INLINE_BODY_MAX, 1)
    const own = Buffer.alloc(INLINE_BODY_MAX + 1, 2)
    expect(encode([{ ...REQUEST, body: inline }])).toHaveLength(1)
    const frames = encode([
      { ...REQUEST, body: own },
      { ...REQUEST, body: inline },
      { ...REPLY, body: own },
    ])
    expect(frames).toHaveLength(3)
    expect(frames[1]).toBe(own)
    expect(frames[2]).toBe(own)
  })

  test('is not copied by the decoder', () => {
    const frames = encode([
      { ...REQUEST, body: Buffer.from('small') },
      { ...REPLY, body: Buffer.alloc(INLINE_BODY_MAX + 1) },
    ])
    const [request, reply] = decode(frames).records
    expect((request as Request).body.buffer).toBe(frames[0]?.buffer)
    expect((reply as Reply).body).toBe(frames[1])
  })

  test('over the limit costs its own task only', () => {
    for (const size of [101, INLINE_BODY_MAX + 1]) {
      const large = Buffer.alloc(size)
      const decoded = decode(
        encode([
          { ...REQUEST, token: 1, body: large },
          { ...REQUEST, token: 2, body: Buffer.alloc(100, 5) },
          { ...REPLY, token: 3, body: large },
          { kind: Kind.Partial, token: 4, index: 0, attempt: 1, cluster: '', worker: '', body: large },
          { ...REQUEST, token: 5, body: large },
        ]),
        { bodyMax: 100 },
      )
      expect(decoded.oversized).toEqual([1, 5])
      expect(decoded.records).toMatchObject([
        { token: 1, body: { length: 0 } },
        { token: 2, body: { length: 100 } },
        { token: 3, code: 'TOO_LARGE', retryable: false, body: { length: 0 } },
        { token: 5, body: { length: 0 } },
      ])
    }
  })
})

describe('the encoder', () => {
  test('gives frames that later messages do not write to', () => {
    const encoder = new MessageEncoder()
    encoder.begin(1, 2)
    encoder.add({ ...REQUEST, body: Buffer.from('first') })
    const first = encoder.finish()
    const before = first.map((frame) => frame.toString('hex'))
    encoder.begin(3, 4)
    encoder.add({ ...REPLY, body: Buffer.alloc(1000, 0xee) })
    const second = encoder.finish()
    expect(first.map((frame) => frame.toString('hex'))).toEqual(before)
    expect(decode(second).records).toMatchObject([{ kind: Kind.Reply }])
  })

  test('copies small bodies, so that their owner may reuse them', () => {
    const body = Buffer.from('before')
    const frames = encode([{ ...REQUEST, body }])
    body.write('after!')
    expect(Buffer.from((decode(frames).records[0] as Request).body).toString()).toBe('before')
  })

  test('counts what it has packed, and forgets it when a message begins', () => {
    const encoder = new MessageEncoder()
    encoder.begin(1, 2)
    expect([encoder.size, encoder.count]).toEqual([12, 0])
    encoder.add({ kind: Kind.Cancel, token: 1 })
    expect([encoder.size, encoder.count]).toEqual([25, 1])
    encoder.add({ ...REQUEST, body: Buffer.alloc(10_000) })
    expect(encoder.count).toBe(2)
    const announced = encoder.size
    const octets = encoder.finish().reduce((sum, frame) => sum + frame.length, 0)
    expect(announced).toBe(octets)
    expect([encoder.size, encoder.count]).toEqual([12, 0])
    encoder.begin(1, 2)
    expect([encoder.size, encoder.count]).toEqual([12, 0])
    expect(encoder.finish()).toHaveLength(1)
  })

  test('cuts texts that are too long, at a character', () => {
    const long = `${'x'.repeat(NAME_MAX - 1)}é and more`
    const message = '€'.repeat(MESSAGE_MAX)
    const emoji = '😀'.repeat(NAME_MAX)
    const [reply] = decode(
      encode([{ ...REPLY, code: emoji, cluster: long, worker: `x${emoji}`, message }]),
    ).records
    expect(reply).toMatchObject({
      code: '😀'.repeat(63),
      cluster: 'x'.repeat(NAME_MAX - 1),
      worker: `x${'😀'.repeat(63)}`,
      message: '€'.repeat(1365),
    })
  })

  test('gives a message that decodes for any text, number and priority', () => {
    const number = fc.double()
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 600 }), number, number, (text, a, b) => {
        const records: readonly Record[] = [
          {
            ...REQUEST,
            timeLeftMs: a,
            attempt: b,
            priority: a,
            creditUpTo: b,
            service: text,
            traceparent: text,
          },
          { ...REPLY, queuedUs: a, runUs: b, code: text, message: text, worker: text },
          { kind: Kind.Heartbeat, ask: false, sent: a },
          { kind: Kind.Refuse, reason: text, message: text },
        ]
        expect(decode(encode(records)).records).toHaveLength(4)
      }),
    )
  })

  test('saturates numbers and drops fractions', () => {
    const [reply, request] = decode(
      encode([
        {
          ...REPLY,
          queuedUs: 2 ** 40,
          runUs: Number.POSITIVE_INFINITY,
          retryAfterMs: -5,
          partials: Number.NaN,
        },
        { ...REQUEST, timeLeftMs: 0.9 },
      ]),
    ).records
    expect(reply).toMatchObject({ queuedUs: 2 ** 32 - 1, runUs: 2 ** 32 - 1, retryAfterMs: 0, partials: 0 })
    expect(request).toMatchObject({ timeLeftMs: 0 })
  })

  test('throws at tokens and ids that are none: our own bugs', () => {
    for (const token of [-1, 0.5, 2 ** 53, Number.NaN]) {
      expect(() => encode([{ kind: Kind.Cancel, token }])).toThrow(RangeError)
    }
    for (const id of ['', 'a b', 'é', 'x'.repeat(65)]) {
      expect(() => encode([{ ...REQUEST, id }])).toThrow(RangeError)
    }
  })

  test('takes as many records as the decoder, and no more', () => {
    const encoder = new MessageEncoder()
    encoder.begin(1, 2)
    for (let i = 0; i < RECORDS_MAX; i++) encoder.add({ kind: Kind.Cancel, token: i })
    expect(() => encoder.add({ kind: Kind.Cancel, token: 0 })).toThrow(RangeError)
    const [frame = Buffer.alloc(0)] = encoder.finish()
    expect(decode([frame]).records).toHaveLength(RECORDS_MAX)
    const oneMore = Buffer.concat([frame, frame.subarray(12, 25)])
    expect(errorOf([oneMore])).toBe('too_many_records')
  })
})

describe('a newer minor version', () => {
  test('may add kinds of records, which are skipped', () => {
    const known = encode([REPLY])[0] ?? Buffer.alloc(0)
    const unknown = Buffer.from([200, 0, 0, 0, 3, 1, 2, 3])
    const frame = Buffer.concat([known.subarray(0, 12), unknown, known.subarray(12), unknown])
    expect(plain(decode([frame]))).toEqual(plain({ from: 7, to: 9, records: [REPLY] }))
  })

  test('may add fields at the end of every kind of record', () => {
    fc.assert(
      fc.property(arbitrary.record, fc.uint8Array({ minLength: 1, maxLength: 9 }), (record, added) => {
        const [frame = Buffer.alloc(0), ...bodies] = encode([record])
        const longer = Buffer.concat([frame, added])
        longer.writeUInt32BE(frame.readUInt32BE(13) + added.length, 13)
        expect(plain(decode([longer, ...bodies]))).toEqual(plain({ from: 7, to: 9, records: [record] }))
      }),
    )
  })

  test('may use the reserved bits of a flag octet', () => {
    expect(decode([packed(Kind.Heartbeat, 0xfe, 0, 0, 0, 0, 0, 0, 0, 1)]).records).toEqual([
      { kind: Kind.Heartbeat, ask: false, sent: 1 },
    ])
  })
})

describe('another major version', () => {
  const other = (records: readonly Record[]): Buffer => {
    const frame = encode(records)[0] ?? Buffer.alloc(0)
    frame[3] = 77
    return frame
  }

  test('is refused, and can be told so', () => {
    const refusal = { kind: Kind.Refuse, reason: 'version', message: 'Upgrade west to 77.' } as const
    const frame = other([{ kind: Kind.Cancel, token: 1 }, refusal])
    expect(errorOf([frame])).toBe('version')
    expect(peekVersion(frame)).toBe(77)
    expect(decodeRefusal(frame)).toEqual(refusal)
    expect(decodeIntroduction(frame)).toBeUndefined()
  })

  test('can be named from its HELLO, whose later fields may be anything', () => {
    const frame = other([
      {
        kind: Kind.Hello,
        role: Role.Broker,
        name: 'ost',
        epoch: 5,
        major: 77,
        minor: 3,
        heartbeatIntervalMs: 1,
        bodyMax: 1,
        cloudfe: '',
        statebe: '',
        peers: [],
      },
    ])
    const cut = frame.subarray(0, 12 + 5 + 7 + 4)
    cut.writeUInt32BE(11, 13)
    expect(decodeIntroduction(cut)).toEqual({ role: 3, major: 77, minor: 3, epoch: 5, name: 'ost' })
    expect(decodeRefusal(cut)).toBeUndefined()
  })

  test('is no version at all when the frame is not native', () => {
    expect(peekVersion(Buffer.from('hello there, broker'))).toBe(0)
    expect(peekVersion(undefined)).toBe(0)
    expect(decodeRefusal(undefined)).toBeUndefined()
    expect(decodeIntroduction(undefined)).toBeUndefined()
  })
})

describe('a malformed message is an error, and says which', () => {
  const request = (fields: {
    priority?: number
    id?: readonly number[]
    body?: readonly number[]
    trace?: readonly number[]
  }) =>
    packed(
      Kind.Request,
      ...TOKEN_OCTETS,
      ...[0, 0, 0, 1, 0, 0, 0, 1],
      fields.priority ?? 4,
      ...[0, 0, 0, 0, 0],
      ...(fields.id ?? [1, 0x61]),
      0,
      ...(fields.trace ?? [0]),
      ...(fields.body ?? [0, 0, 0, 0]),
    )
  const withOctet = (frame: Buffer, at: number, octet: number): Buffer => {
    const changed = Buffer.from(frame)
    changed[at] = octet
    return changed
  }
  const own = [0x80, 0, 0, 2]
  const rows: readonly (readonly [name: string, frames: readonly Uint8Array[], error: string])[] = [
    ['the hand-written REQUEST itself', [request({})], ''],
    ['no frame', [], 'magic'],
    ['an empty frame', [Buffer.alloc(0)], 'magic'],
    ['half a header', [packed(Kind.Cancel).subarray(0, 11)], 'magic'],
    ['another magic', [withOctet(request({}), 0, 0xd6)], 'magic'],
    ['a header without records', [packed(Kind.Cancel).subarray(0, 12)], ''],
    ['version 2', [withOctet(request({}), 3, 2)], 'version'],
    ['version 0', [withOctet(request({}), 3, 0)], 'version'],
    ['epoch 0 as sender', [withOctet(request({}), 7, 0)], 'number'],
    ['half a record header', [packed(Kind.Cancel).subarray(0, 16)], 'truncated'],
    ['a record longer than its frame', [withOctet(request({}), 13, 0xff)], 'truncated'],
    ['a payload shorter than its fields', [packed(Kind.Cancel, 0, 0, 0, 1)], 'truncated'],
    ['an empty payload', [packed(Kind.Audit)], 'truncated'],
    ['a token of 2^53', [packed(Kind.Cancel, 0, 0x20, 0, 0, 0, 0, 0, 0)], 'token'],
    ['a counter of 2^53', [packed(Kind.Audit, 0, 0x20, 0, 0, 0, 0, 0, 0)], 'number'],
    ['priority 10', [request({ priority: 10 })], 'number'],
    ['an empty id', [request({ id: [0] })], 'id'],
    ['an id of 65 characters', [request({ id: [65, ...new Array<number>(65).fill(0x61)] })], 'id'],
    ['an id with a blank', [request({ id: [2, 0x61, 0x20] })], 'id'],
    ['an id with an octet over 7e', [request({ id: [2, 0x61, 0x7f] })], 'id'],
    ['an id beyond the payload', [request({ id: [60, 0x61] })], 'truncated'],
    ['a traceparent of 65 octets', [request({ trace: [65, ...new Array<number>(65).fill(0x61)] })], 'text'],
    ['a text that is not UTF-8', [packed(Kind.Disconnect, 2, 0xc3, 0x28)], 'utf8'],
    ['a surrogate in UTF-8', [packed(Kind.Disconnect, 3, 0xed, 0xa0, 0x80)], 'utf8'],
    [
      'a message of 4097 octets',
      [packed(Kind.Refuse, 0, 0x10, 0x01, ...new Array<number>(4097).fill(0x61))],
      'text',
    ],
    ['an unknown role', [packed(Kind.Hello, 4, 1, 0, 0, 0, 0, 1, 0)], 'number'],
    ['a HELLO of epoch 0', [packed(Kind.Hello, 1, 1, 0, 0, 0, 0, 0, 0)], 'number'],
    [
      'an unknown reason to reject',
      [packed(Kind.Reject, ...TOKEN_OCTETS, 6, ...new Array<number>(13).fill(0))],
      'number',
    ],
    [
      'a list that claims more names than there are',
      [packed(Kind.Ready, 0, 0, 0, 1, 0xff, 0xff, 0)],
      'truncated',
    ],
    [
      'an inventory that claims 2^32 - 1 tokens',
      [packed(Kind.Inventory, ...TOKEN_OCTETS, 255, 255, 255, 255)],
      'truncated',
    ],
    ['a body longer than its record', [request({ body: [0, 0, 0, 2, 1] })], 'truncated'],
    ['a body frame that is not there', [request({ body: own })], 'body_frame_missing'],
    ['a body frame too short', [request({ body: own }), Buffer.alloc(1)], 'length'],
    ['a body frame too long', [request({ body: own }), Buffer.alloc(3)], 'length'],
    ['the right body frame', [request({ body: own }), Buffer.alloc(2)], ''],
    [
      'a frame that no record claims',
      [request({ body: own }), Buffer.alloc(2), Buffer.alloc(2)],
      'extra_frames',
    ],
  ]
  test.each(rows)('%s', (_name, frames, error) => {
    expect(errorOf(frames)).toBe(error)
  })

  test('rejects for every reason there is decode', () => {
    for (const reason of Object.values(RejectReason)) {
      const rejected: Record = { kind: Kind.Reject, token: 1, reason, free: 0, received: 1, worker: '' }
      expect(decode(encode([rejected])).records).toEqual([rejected])
    }
  })
})

describe('what is read to be passed on', () => {
  /** Bodies inline and in frames of their own, whatever their size: another encoder may draw the line elsewhere. */
  function written(requests: readonly (Request & { inline: boolean })[]): Buffer[] {
    const frames = [encode([])[0] ?? Buffer.alloc(0)]
    const bodies: Buffer[] = []
    for (const { inline, ...request } of requests) {
      const [frame = Buffer.alloc(0)] = encode([{ ...request, body: EMPTY_BODY }])
      const head = Buffer.from(frame.subarray(12))
      const { length } = request.body
      head.writeUInt32BE(inline ? length : length + 0x8000_0000, head.length - 4)
      head.writeUInt32BE(head.length - 5 + (inline ? length : 0), 1)
      frames.push(head)
      if (inline) frames.push(Buffer.from(request.body))
      else bodies.push(Buffer.from(request.body))
    }
    return [Buffer.concat(frames), ...bodies]
  }
  const anywhere = fc.array(
    fc
      .tuple(arbitrary.request, fc.boolean(), fc.option(fc.integer({ min: 1, max: 10_000 })))
      .map(([request, inline, size]) => ({
        ...request,
        inline,
        body: size === null ? request.body : Buffer.alloc(size, size),
      })),
    { maxLength: 5 },
  )

  test('says the same, and is written as if it had been taken apart', () => {
    fc.assert(
      fc.property(arbitrary.message, (message) => {
        const frames = encode(message.records, message.from, message.to)
        const whole = decodeMessage(frames, 0, LIMITS)
        const result = decodePacked(frames, 0, LIMITS)
        if ('error' in result || 'error' in whole) throw new Error('not decoded')
        expect(plain({ ...result, records: result.records.map(unpacked) })).toEqual(plain(whole))
        expect(encode(result.records, message.from, message.to)).toEqual(frames)
      }),
      { numRuns: 500 },
    )
  })

  test('wherever its bodies lie', () => {
    fc.assert(
      fc.property(anywhere, (requests) => {
        const frames = written(requests)
        const result = decodePacked(frames, 0, LIMITS)
        if ('error' in result) throw new Error(result.error)
        expect(encode(result.records)).toEqual(encode(requests))
      }),
    )
  })

  test('and is the same when it is taken out of a message of many', () => {
    let taken = 0
    fc.assert(
      fc.property(anywhere, (requests) => {
        const others = Array.from({ length: 40 }, () => ({
          ...REQUEST,
          inline: true,
          body: Buffer.alloc(500),
        }))
        const result = decodePacked(written([...requests, ...others]), 0, LIMITS)
        if ('error' in result) throw new Error(result.error)
        const records = result.records.slice(0, requests.length)
        for (const record of records) {
          if (record.kind !== Kind.Request || record.octets === undefined) throw new Error('not packed')
          const whole = record.octets.frame?.octets.length ?? 0
          record.octets.detach()
          const left = record.octets.frame?.octets.length ?? 0
          if (left < whole) taken++
          // It keeps no more than four times what it is.
          const own =
            record.id.length + record.service.length + record.traceparent.length + record.body.length
          expect(left).toBeLessThanOrEqual(4 * (own + 16))
        }
        expect(encode(records)).toEqual(encode(requests))
      }),
    )
    expect(taken).toBeGreaterThan(50)
  })

  test('is refused for the same reasons', () => {
    const changes = fc.array(fc.tuple(fc.nat({ max: 2000 }), arbitrary.u8), { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(arbitrary.message, changes, fc.nat({ max: 5000 }), (message, mutations, bodyMax) => {
        const frames = encode(message.records, message.from, message.to)
        const [frame] = frames
        if (frame !== undefined) for (const [at, octet] of mutations) frame[at % frame.length] = octet
        const whole = decodeMessage(frames, 0, { bodyMax })
        const result = decodePacked(frames, 0, { bodyMax })
        if ('error' in result || 'error' in whole) expect(result).toEqual(whole)
        else expect(plain({ ...result, records: result.records.map(unpacked) })).toEqual(plain(whole))
      }),
      { numRuns: 2000 },
    )
  })

  test('is written anew by the next message, and lets go of the frames of the last', () => {
    const first = decodePacked(encode([REQUEST, REQUEST, REPLY]), 0, LIMITS)
    if ('error' in first) throw new Error(first.error)
    const [request, second] = first.records
    const next = decodePacked(encode([{ ...REQUEST, id: 'id-2' }]), 0, LIMITS)
    if ('error' in next) throw new Error(next.error)
    expect(next.records[0]).toBe(request)
    expect(request).toMatchObject({ id: 'id-2' })
    expect(second).toMatchObject({ octets: { frame: null, ownFrame: null } })
    releasePacked()
    expect(request).toMatchObject({ octets: { frame: null, ownFrame: null } })
  })
})

describe('whatever comes in, the decoder gives a message or an error', () => {
  function survives(frames: readonly Uint8Array[]): void {
    const result = decodeMessage(frames, 0, { bodyMax: 32 })
    if ('error' in result) expect(REASONS).toContain(result.error)
    else expect(result.records.every((record) => record.kind >= 1 && record.kind <= 15)).toBe(true)
    decodeRefusal(frames[0])
    decodeIntroduction(frames[0])
    peekVersion(frames[0])
  }

  test('for a message cut at any length', () => {
    const message: fc.Arbitrary<readonly Record[]> = fc.tuple(...Object.values(arbitrary.recordsByKind))
    fc.assert(
      fc.property(message, (records) => {
        const [frame = Buffer.alloc(0), ...bodies] = encode(records)
        const ends = new Set<number>([12])
        for (let at = 12; at < frame.length; ) {
          at += 5 + frame.readUInt32BE(at + 1)
          ends.add(at)
        }
        for (let length = 0; length < frame.length; length++) {
          const cut = [frame.subarray(0, length), ...bodies]
          const result = decodeMessage(cut, 0, LIMITS)
          if (length < 12) expect(result).toEqual({ error: 'magic' })
          else if (!ends.has(length)) expect(result).toHaveProperty('error')
        }
      }),
      { numRuns: 10 },
    )
  })

  test('for valid messages with octets changed', () => {
    const changes = fc.array(fc.tuple(fc.nat({ max: 2000 }), arbitrary.u8), { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(arbitrary.message, changes, (message, mutations) => {
        const frames = encode(message.records, message.from, message.to)
        const [frame] = frames
        if (frame !== undefined) for (const [at, octet] of mutations) frame[at % frame.length] = octet
        survives(frames)
      }),
      { numRuns: 2000 },
    )
  })

  test('for random frames', () => {
    fc.assert(fc.property(arbitrary.garbage, survives), { numRuns: 5000 })
  })

  test('for records of every kind with random payloads', () => {
    fc.assert(
      fc.property(fc.nat({ max: 17 }), fc.uint8Array({ maxLength: 100 }), (kind, payload) => {
        survives([packed(kind, ...payload)])
      }),
      { numRuns: 5000 },
    )
  })

  test('for frame lists whose first frame is beyond the end', () => {
    expect(errorOf(encode([REQUEST]), 1)).toBe('magic')
    expect(errorOf([], -1)).toBe('magic')
  })
})
