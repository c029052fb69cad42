/** The load generator's shortcuts through the native dialect, held against the codec. */

import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  encodeRecords,
  PackedMessage,
  type RecordReader,
  readPacked,
  replyTemplate,
  requestTemplate,
} from '../../bench/load/native-wire.ts'
import { decodeMessage } from '../../protocol/decode.ts'
import { Kind } from '../../protocol/record.ts'
import { epoch, reply, request } from '../arbitraries.ts'

const LIMITS = { bodyMax: 1 << 20 }
const u21 = fc.integer({ min: 0, max: 2 ** 21 - 1 })
const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 })
/** On both sides of the size from which a body is a frame of its own. */
const body = fc.oneof(
  fc.uint8Array({ maxLength: 100 }),
  fc.integer({ min: 4090, max: 4110 }).map((size) => Buffer.alloc(size, 'x')),
)

test('what a packed message is made of is what the codec reads out of it', () => {
  const task = fc.record({ high: u21, low: u32, suffix: u32, body })
  fc.assert(
    fc.property(fc.array(task, { minLength: 1, maxLength: 20 }), (tasks) => {
      const requests = new PackedMessage(requestTemplate('abcdefghijklm', 5000))
      const replies = new PackedMessage(replyTemplate('worker'))
      for (const { high, low, suffix, body } of tasks) {
        const octets = Buffer.from(body)
        requests.add(high, low, suffix, octets, 0, octets.length)
        replies.add(high, low, suffix, octets, 0, octets.length)
      }
      const asked = decodeMessage(requests.finish(7, 8), 0, LIMITS)
      const answered = decodeMessage(replies.finish(7, 0), 0, LIMITS)
      if ('error' in asked || 'error' in answered) throw new Error('not well-formed')
      expect([asked.from, asked.to, answered.from, answered.to]).toEqual([7, 8, 7, 0])
      for (const [n, { high, low, suffix, body }] of tasks.entries()) {
        const token = high * 2 ** 32 + low
        const id = `abcdefghijklm${suffix.toString(16).padStart(8, '0')}`
        expect(asked.records[n]).toMatchObject({ kind: Kind.Request, token, id, timeLeftMs: 5000 })
        expect(answered.records[n]).toMatchObject({ kind: Kind.Reply, token, code: '', worker: 'worker' })
        for (const record of [asked.records[n], answered.records[n]]) {
          expect(record !== undefined && 'body' in record && Buffer.compare(record.body, body)).toBe(0)
        }
      }
    }),
  )
})

test('whatever the codec writes is read as the codec reads it', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(request, reply), { maxLength: 10 }), epoch, (records, from) => {
      const seen: unknown[] = []
      const octets = (bytes: Buffer, start: number, end: number) => bytes.toString('hex', start, end)
      const reader: RecordReader = {
        request: (high, low, bytes, start, end) =>
          seen.push([Kind.Request, high * 2 ** 32 + low, true, octets(bytes, start, end)]),
        reply: (high, low, ok, bytes, start, end) =>
          seen.push([Kind.Reply, high * 2 ** 32 + low, ok, octets(bytes, start, end)]),
        other: (kind) => seen.push(kind),
      }
      const heartbeat = { kind: Kind.Heartbeat, ask: true, sent: 3 } as const
      expect(readPacked(encodeRecords(from, 1, [...records, heartbeat]), reader)).toBe(from)
      expect(seen).toEqual([
        ...records.map((record) => [
          record.kind,
          record.token,
          record.kind === Kind.Request || record.code === '',
          Buffer.from(record.body).toString('hex'),
        ]),
        Kind.Heartbeat,
      ])
    }),
  )
})
