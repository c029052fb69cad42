import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Histogram, TIME_BUCKETS } from '../../broker/core/histogram.ts'

test('each time is counted in the first bucket whose bound it does not exceed', () => {
  const bounds = [
    ...TIME_BUCKETS.map((seconds) => seconds * 1000),
    0,
    1,
    2,
    1024,
    1023.999,
    65_536,
    2 ** 31,
    2 ** 40,
  ]
  const time = fc.oneof(
    fc.constantFrom(...bounds, -3, Number.NaN),
    fc.double({ min: 0, max: 10, noNaN: true }),
    fc.double({ min: 0, max: 200_000, noNaN: true }),
  )
  fc.assert(
    fc.property(time, (ms) => {
      const histogram = new Histogram()
      histogram.observeMs(ms)
      const beyond = TIME_BUCKETS.findIndex((bound) => !(ms / 1000 > bound))
      expect(histogram.counts.indexOf(1)).toBe(beyond < 0 ? TIME_BUCKETS.length : beyond)
      expect(histogram.sumSeconds).toBe(ms / 1000)
    }),
    { numRuns: 1000 },
  )
})
