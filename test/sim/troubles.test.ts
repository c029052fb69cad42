import { expect, test } from 'vitest'
import { place, Troubles } from '../../sim/troubles.ts'

test('trouble is an excuse where it was, while it lasts and until it was over, and nowhere else', () => {
  const troubles = new Troubles()
  troubles.begins([place.broker(1), place.link(2, 1)])
  expect(troubles.touched(place.broker(1), 1e9)).toBe(true)
  expect(troubles.touched(place.link(1, 2), 0)).toBe(true)
  expect(troubles.touched(place.broker(2), 0)).toBe(false)
  troubles.ends([place.broker(1), place.link(2, 1)], 500)
  expect(troubles.touched(place.broker(1), 500)).toBe(true)
  expect(troubles.touched(place.broker(1), 501)).toBe(false)
})

test('of two troubles at one place the later end counts', () => {
  const troubles = new Troubles()
  troubles.begins([place.worker('c0.w1')])
  troubles.begins([place.worker('c0.w1')])
  troubles.ends([place.worker('c0.w1')], 100)
  expect(troubles.touched(place.worker('c0.w1'), 1000)).toBe(true)
  troubles.ends([place.worker('c0.w1')], 200)
  troubles.passing(place.worker('c0.w1'), 150)
  expect(troubles.touched(place.worker('c0.w1'), 200)).toBe(true)
  expect(troubles.touched(place.worker('c0.w1'), 201)).toBe(false)
  expect(troubles.count).toBe(2)
})
