import { expect, test } from 'vitest'
import { Random } from '../../sim/random.ts'

test('a seed gives these very numbers, on every machine: a run is made of them', () => {
  const random = new Random(2 ** 40 + 7, 'a test')
  expect([random.next32(), random.next32()]).toEqual([1305647301, 3551921258])
  expect(random.uniform()).toBe(0.5492751214187592)
  expect(random.between(2, 3)).toBe(2.5236448131036013)
  expect(random.logBetween(0.1, 1000)).toBe(0.12739980071258974)
  expect(random.below(1000)).toBe(44)
  expect(random.exponential(10)).toBe(0.7849147875359481)
  expect([random.normal(), random.normal()]).toEqual([0.07120371481154279, 0.25350074588170374])
  expect(random.pareto(10, 1.8)).toBe(15.777307195390165)
})

test('another purpose, or the seed next to it, is another stream', () => {
  const first = (seed: number, purpose: string) => new Random(seed, purpose).next32()
  expect(new Set([first(1, 'a'), first(1, 'b'), first(2, 'a'), first(1 + 2 ** 40, 'a')]).size).toBe(4)
})
