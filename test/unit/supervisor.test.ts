import { EventEmitter } from 'node:events'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { type Ending, Supervisor } from '../../cli/supervisor.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

/** A process played by hand. */
class Puppet extends EventEmitter {
  readonly signals: (NodeJS.Signals | number | undefined)[] = []
  kill(signal?: NodeJS.Signals | number): boolean {
    this.signals.push(signal)
    return true
  }
}

function scene() {
  const started: Puppet[] = []
  const pauses: number[] = []
  const ends: Ending[] = []
  const supervisor = new Supervisor({
    spawn: () => {
      const puppet = new Puppet()
      started.push(puppet)
      return puppet
    },
    final: [0, 78],
    onRestart: (_how, pauseMs) => pauses.push(pauseMs),
  })
  void supervisor.run().then((how) => ends.push(how))
  return { supervisor, started, pauses, ends, die: () => started.at(-1)?.emit('exit', null, 'SIGKILL') }
}

test('what dies again and again is started after pauses that double to ten seconds', () => {
  const s = scene()
  for (let i = 0; i < 9; i++) {
    s.die()
    vi.advanceTimersByTime((s.pauses[i] ?? 0) - 1)
    expect(s.started.length).toBe(i + 1)
    vi.advanceTimersByTime(1)
    expect(s.started.length).toBe(i + 2)
  }
  expect(s.pauses).toEqual([100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000])
})

test('what has lived for a minute is started again after the shortest pause', () => {
  const s = scene()
  s.die()
  vi.advanceTimersByTime(100)
  vi.advanceTimersByTime(59_999)
  s.die()
  vi.advanceTimersByTime(200)
  vi.advanceTimersByTime(60_000)
  s.die()
  expect(s.pauses).toEqual([100, 200, 100])
})

test('what ends with a status that is final is not started again', async () => {
  const s = scene()
  s.started[0]?.emit('exit', 78, null)
  await vi.runAllTimersAsync()
  expect([s.started.length, s.ends]).toEqual([1, [78]])
})

test('what cannot be started at all is tried again', () => {
  const s = scene()
  s.started[0]?.emit('error', new Error('EAGAIN'))
  vi.advanceTimersByTime(100)
  expect(s.started.length).toBe(2)
})

test('a signal is passed on, and nothing is started after it', async () => {
  const s = scene()
  s.supervisor.signal('SIGTERM')
  s.supervisor.signal('SIGINT')
  expect(s.started[0]?.signals).toEqual(['SIGTERM', 'SIGINT'])
  s.started[0]?.emit('exit', null, 'SIGTERM')
  await vi.runAllTimersAsync()
  expect([s.started.length, s.ends]).toEqual([1, ['SIGTERM']])
})

test('a signal in a pause ends it', async () => {
  const s = scene()
  s.die()
  s.supervisor.signal('SIGTERM')
  await vi.runAllTimersAsync()
  expect([s.started.length, s.ends]).toEqual([1, [0]])
})
