import { expect, test } from 'vitest'
import type { Happening } from '../../sim/event-queue.ts'
import { Delivery } from '../../sim/network.ts'
import { parameters } from '../../sim/scenario.ts'
import { Simulation } from '../../sim/simulation.ts'

const DURATION_MS = 5000

/**
 * Nothing is drawn while it runs that two clusters share (how long a message takes, when somebody dials again): what happens in one
 * cannot change what is drawn in another by being earlier or later in the order. And no two ways are alike, so that nothing comes
 * from two clusters at once.
 */
const QUIET = parameters.parse({
  clusters: 5,
  workers: 8,
  clients: 40,
  rate: 2,
  load: 0.9,
  hot: 3,
  jitter: 0,
  cloudSpread: 2,
  durationMs: DURATION_MS,
  faultEveryMs: 0,
  script: [
    { at: 1500, fault: 'partition', cluster: 0, other: 1, forMs: 700 },
    { at: 1800, fault: 'freeze-worker', cluster: 2, node: 3, forMs: 400 },
    { at: 2500, fault: 'slow', cluster: 3, other: 4, node: 2, forMs: 1000 },
    { at: 2600, fault: 'freeze-client', cluster: 1, node: 5, forMs: 300 },
    { at: 3000, fault: 'silent', cluster: 0, node: 1, forMs: 500 },
  ],
})

/** Connections have other numbers if they were made in another order. */
function nameOf(item: Happening): string {
  if (!(item instanceof Delivery)) return `${item.mark}`
  const { key, address } = item.pipe
  return `${key} ${address} ${item.socket}`
}

/** Everything that happens, when and where, in the order in which it was done. */
function happenings(strictly: boolean) {
  const simulation = new Simulation(7, QUIET, { strictly })
  const { queue, ledger } = simulation
  const done: { at: number; what: string }[] = []
  const pop = queue.pop.bind(queue)
  queue.pop = (until) => {
    const item = pop(until)
    if (item !== undefined) done.push({ at: queue.time, what: nameOf(item) })
    return item
  }
  simulation.advance(DURATION_MS)
  return { done, lent: ledger.forwarded, starts: ledger.starts }
}

test('clusters that have turns do the very same, at the very same times, as if all were done in order of time', () => {
  const strict = happenings(true)
  const turns = happenings(false)
  // In order of time and not so: otherwise nothing would be shown.
  expect(strict.done.every(({ at }, i) => at >= (strict.done[i - 1]?.at ?? 0))).toBe(true)
  expect(turns.done.filter(({ at }, i) => at < (turns.done[i - 1]?.at ?? 0)).length).toBeGreaterThan(1000)
  expect(strict.lent).toBeGreaterThan(100)
  expect([turns.lent, turns.starts]).toEqual([strict.lent, strict.starts])
  const sorted = ({ done }: typeof strict): string[] => done.map(({ at, what }) => `${at} ${what}`).sort()
  expect(sorted(turns)).toEqual(sorted(strict))
})
