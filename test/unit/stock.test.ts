import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { DecodeReason } from '../../protocol/decode-error.ts'
import {
  PPP_HEARTBEAT,
  PPP_READY,
  readStockRequest,
  readStockWorker,
  writeStockHeartbeat,
  writeStockReply,
  writeStockRequest,
} from '../../protocol/stock.ts'
import * as arbitrary from '../arbitraries.ts'

const REASONS: readonly string[] = Object.values(DecodeReason)
const ID = Buffer.from('id')
const EMPTY = Buffer.alloc(0)
const BODY = Buffer.from('body')
const CORRELATION = Buffer.of(0, 0, 0, 5)
const TOKEN = 0x5_0000_0102
const TEXT = Buffer.from('00000500000102')

/** Frames as hex, so that Buffers and Uint8Arrays compare. */
function hex(frames: readonly Uint8Array[]): readonly string[] {
  return frames.map((frame) => Buffer.from(frame).toString('hex'))
}

describe('a stock client', () => {
  const deep = (depth: number) => [...new Array<Buffer>(depth - 1).fill(CORRELATION), EMPTY]
  const rows: readonly (readonly [name: string, envelope: readonly Uint8Array[]])[] = [
    ['Lazy Pirate: an empty frame', [EMPTY]],
    ['REQ with correlate: a request id and an empty frame', [CORRELATION, EMPTY]],
    ['REQ behind a proxy: an address, a request id and an empty frame', [ID, CORRELATION, EMPTY]],
    ['the deepest envelope', deep(8)],
  ]
  test.each(rows)('%s is split and replayed', (_name, envelope) => {
    const request = readStockRequest([ID, ...envelope, BODY])
    expect(request).toEqual({ envelope: [ID, ...envelope], body: BODY })
    expect(writeStockReply([ID, ...envelope], BODY)).toEqual([ID, ...envelope, BODY])
  })

  test('may send an empty body', () => {
    expect(readStockRequest([ID, EMPTY, EMPTY])).toEqual({ envelope: [ID, EMPTY], body: EMPTY })
  })

  const malformed: readonly (readonly [name: string, frames: readonly Uint8Array[], error: string])[] = [
    ['no frames', [], 'envelope'],
    ['a routing id alone', [ID], 'envelope'],
    ['no empty frame', [ID, BODY], 'envelope'],
    ['no empty frame among many', [ID, ...new Array<Buffer>(20).fill(BODY)], 'envelope'],
    ['an envelope of nine frames', [ID, ...deep(9), BODY], 'envelope'],
    ['no body', [ID, EMPTY], 'parts'],
    ['two body frames', [ID, EMPTY, BODY, BODY], 'parts'],
    ['a Majordomo client', [ID, EMPTY, Buffer.from('MDPC01'), Buffer.from('echo'), BODY], 'parts'],
  ]
  test.each(malformed)('%s is an error', (_name, frames, error) => {
    expect(readStockRequest(frames)).toEqual({ error })
  })
})

describe('a stock worker', () => {
  const rows: readonly (readonly [name: string, frames: readonly Uint8Array[], message: object])[] = [
    ['REQ signs in with READY', [ID, EMPTY, Buffer.from('READY')], { type: 'ready', dialect: 'req' }],
    ['REQ signs in with 0x01', [ID, EMPTY, Buffer.of(1)], { type: 'ready', dialect: 'req' }],
    [
      'REQ replies',
      [ID, EMPTY, TEXT, EMPTY, BODY],
      { type: 'reply', dialect: 'req', token: TOKEN, body: BODY },
    ],
    [
      'REQ replies with nothing',
      [ID, EMPTY, TEXT, EMPTY, EMPTY],
      { type: 'reply', dialect: 'req', token: TOKEN, body: EMPTY },
    ],
    ['PPP signs in', [ID, PPP_READY], { type: 'ready', dialect: 'ppp' }],
    ['PPP beats', [ID, PPP_HEARTBEAT], { type: 'heartbeat', dialect: 'ppp' }],
    ['PPP replies', [ID, TEXT, EMPTY, BODY], { type: 'reply', dialect: 'ppp', token: TOKEN, body: BODY }],
  ]
  test.each(rows)('%s', (_name, frames, message) => {
    expect(readStockWorker(frames)).toEqual(message)
  })

  const malformed: readonly (readonly [name: string, frames: readonly Uint8Array[], error: string])[] = [
    ['no frames', [], 'parts'],
    ['a routing id alone', [ID], 'parts'],
    ['REQ with nothing to say', [ID, EMPTY], 'parts'],
    ['REQ with another command', [ID, EMPTY, Buffer.of(2)], 'command'],
    ['REQ with a longer READY', [ID, EMPTY, Buffer.from('READY!')], 'command'],
    ['REQ with half a reply', [ID, EMPTY, TEXT, EMPTY], 'parts'],
    ['REQ with two bodies', [ID, EMPTY, TEXT, EMPTY, BODY, BODY], 'parts'],
    ['REQ without the inner empty frame', [ID, EMPTY, TEXT, BODY, BODY], 'parts'],
    ['PPP with another command', [ID, Buffer.of(3)], 'command'],
    ['PPP with a command of two octets', [ID, Buffer.of(1, 1)], 'command'],
    ['PPP with half a reply', [ID, TEXT, EMPTY], 'parts'],
    ['PPP with two bodies', [ID, TEXT, EMPTY, BODY, BODY], 'parts'],
    ['PPP without the empty frame', [ID, TEXT, BODY, BODY], 'parts'],
    ['a token too short', [ID, TEXT.subarray(1), EMPTY, BODY], 'token'],
    ['a token in capitals', [ID, Buffer.from('0000050000010A'), EMPTY, BODY], 'token'],
    ['a token that is no number', [ID, EMPTY, Buffer.from('0000050000010g'), EMPTY, BODY], 'token'],
    ['a token of 2^53', [ID, Buffer.from('20000000000000'), EMPTY, BODY], 'token'],
  ]
  test.each(malformed)('%s is an error', (_name, frames, error) => {
    expect(readStockWorker(frames)).toEqual({ error })
  })

  test('gets a task in the frames of its dialect', () => {
    expect(hex(writeStockRequest('ppp', ID, TOKEN, BODY))).toEqual(hex([ID, TEXT, EMPTY, BODY]))
    expect(hex(writeStockRequest('req', ID, TOKEN, BODY))).toEqual(hex([ID, EMPTY, TEXT, EMPTY, BODY]))
    expect(hex(writeStockHeartbeat(ID))).toEqual(hex([ID, Buffer.of(2)]))
  })

  test('that echoes token and frames is understood, for any token', () => {
    fc.assert(
      fc.property(arbitrary.token, fc.constantFrom('req' as const, 'ppp' as const), (token, dialect) => {
        expect(readStockWorker(writeStockRequest(dialect, ID, token, BODY))).toEqual({
          type: 'reply',
          dialect,
          token,
          body: BODY,
        })
      }),
    )
  })
})

test('whatever comes in, the stock readers give a message or an error', () => {
  const frame = fc.oneof(
    fc.constantFrom(EMPTY, TEXT, Buffer.of(1), Buffer.of(2), Buffer.from('READY')),
    fc.uint8Array({ maxLength: 20 }),
  )
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 10 }), (frames) => {
      for (const result of [readStockRequest(frames), readStockWorker(frames)]) {
        if ('error' in result) expect(REASONS).toContain(result.error)
        else expect(result).toHaveProperty('body' in result ? 'body' : 'dialect')
      }
    }),
    { numRuns: 3000 },
  )
})
