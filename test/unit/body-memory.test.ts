import { constants, PerformanceObserver } from 'node:perf_hooks'
import { expect, test, vi } from 'vitest'
import { BodyMemory } from '../../broker/io/body-memory.ts'

const MIB = 1 << 20

test('sixteen MiB of bodies that have been passed on make V8 collect what is young, once', () => {
  const collect = vi.fn()
  const memory = new BodyMemory(collect)
  for (let n = 0; n < 15; n++) memory.add(MIB)
  memory.release()
  expect(collect).not.toHaveBeenCalled()
  memory.add(MIB)
  memory.release()
  memory.release()
  expect(collect.mock.calls).toEqual([[{ type: 'minor' }]])
})

test('what is copied into V8’s own memory does not count', () => {
  const collect = vi.fn()
  const memory = new BodyMemory(collect)
  for (let n = 0; n < 200_000; n++) memory.add(128)
  memory.release()
  expect(collect).not.toHaveBeenCalled()
})

test('a small frame that is not copied counts what it was received into, and what was made to be sent its size', () => {
  const collect = vi.fn()
  const memory = new BodyMemory(collect)
  for (let n = 0; n < 1024; n++) memory.add(129)
  memory.addMade(8 * MIB - 1)
  memory.release()
  expect(collect).not.toHaveBeenCalled()
  memory.addMade(1)
  memory.release()
  expect(collect).toHaveBeenCalledOnce()
})

test('V8 does as it is asked, and no global is left behind', async () => {
  const minor = new Promise<void>((resolve) => {
    const observer = new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) {
        const detail = 'detail' in entry ? entry.detail : null
        if (typeof detail !== 'object' || detail === null || !('kind' in detail)) continue
        if (detail.kind !== constants.NODE_PERFORMANCE_GC_MINOR) continue
        observer.disconnect()
        resolve()
      }
    })
    observer.observe({ entryTypes: ['gc'] })
  })
  const memory = new BodyMemory()
  memory.add(16 * MIB)
  memory.release()
  await minor
  expect('gc' in globalThis).toBe(false)
})
