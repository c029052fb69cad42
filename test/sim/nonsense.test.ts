import { expect, test, vi } from 'vitest'
import { Kind } from '../../protocol/record.ts'
import { drawParameters } from '../../sim/draw.ts'
import { Nonsense, type NonsenseCounts, type Where } from '../../sim/nonsense.ts'
import { Random } from '../../sim/random.ts'
import { run } from '../../sim/run.ts'

// Work for the processor, not waiting: a loaded machine takes longer.
vi.setConfig({ testTimeout: 60_000 })

const WHERE: readonly Where[] = (['localfe', 'localbe', 'cloudfe', 'statebe'] as const).flatMap((socket) => [
  { socket, outward: true },
  { socket, outward: false },
])

/** Kinds of nonsense and what became of them. */
function kindsOf(counts: NonsenseCounts): Set<string> {
  return new Set([...counts.keys()].map((what) => what.replace(/: .*/, '')))
}

test('nonsense is said as records and as octets, and the decoder refuses what is no message', () => {
  const counts: NonsenseCounts = new Map()
  const nonsense = new Nonsense(new Random(1, 'test'), counts, 10_000)
  let said = 0
  for (let n = 0; n < 4000; n++) {
    const where = WHERE[n % WHERE.length]
    if (where === undefined) continue
    const message = nonsense.message(7, 8, where)
    if (message === null) continue
    said++
    expect(message).toMatchObject({ from: 7, to: 8 })
    for (const { kind } of message.records) {
      // Nobody believes it of a worker or a peer that it has a thousand slots, or leaves.
      if (where.socket !== 'localfe')
        expect([Kind.Ready, Kind.State, Kind.Hello, Kind.Disconnect, Kind.Request]).not.toContain(kind)
    }
  }
  for (const kind of ['plain', 'absurd', 'damaged', 'damaged, refused', 'octets, refused'])
    expect(kindsOf(counts)).toContain(kind)
  const refused = [...counts.keys()].filter((what) => what.startsWith('damaged, refused: '))
  expect(refused.length).toBeGreaterThan(5)
  expect(counts.get('damaged') ?? 0).toBeGreaterThan(100)
  const whole = [...counts].filter(([what]) => !what.includes(',')).reduce((sum, [, times]) => sum + times, 0)
  expect(said).toBe(whole)
})

test('a run in which much nonsense is said keeps every promise, and tells how much it was', () => {
  for (let seed = 1; seed <= 12; seed++) {
    const p = { ...drawParameters(seed), faults: ['garbage' as const], faultEveryMs: 5 }
    const { breach, summary } = run(seed, p)
    expect(breach).toBeNull()
    const kinds = kindsOf(new Map(Object.entries(summary?.nonsense ?? {})))
    for (const kind of ['plain', 'absurd', 'damaged, refused', 'octets, refused'])
      expect(kinds).toContain(kind)
  }
})

test('the same seed says the same nonsense', () => {
  const p = { ...drawParameters(2), faults: ['garbage' as const], faultEveryMs: 20 }
  expect(run(2, p).summary?.hash).toBe(run(2, p).summary?.hash)
})
