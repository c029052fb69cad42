import { describe, expect, test } from 'vitest'
import { SIMULATIONS } from '../../bench/simulation.ts'
import { CENTRE, DIMENSIONS, QUICK_CENTRE } from '../../sim/comparison.ts'
import { drawParameters } from '../../sim/draw.ts'
import { parameters } from '../../sim/scenario.ts'

/** What is wrong with these, field by field. */
function wrong(given: object): string[] {
  const { error } = parameters.safeParse({ clusters: 3, workers: 4, clients: 5, faults: [], ...given })
  return (error?.issues ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`)
}

describe('parameters that contradict each other are refused', () => {
  test('as the settings of a broker are', () => {
    expect(wrong({ workerLiveness: 1 })[0]).toMatch(/^workerLiveness: .*>=2/)
    expect(wrong({ workerLiveness: 101 })[0]).toMatch(/^workerLiveness: .*<=100/)
    expect(wrong({ stateTtlMs: 100 })[0]).toBe(
      'stateTtlMs: expected at least 2 × stateIntervalMs, which is 1000: one late message would lose a peer',
    )
    expect(wrong({ stateCoalesceMs: 501 })).toEqual([
      'stateCoalesceMs: expected at most stateIntervalMs, which is 500',
    ])
    expect(wrong({ peerForgetMs: 1000 })).toEqual([
      'peerForgetMs: expected more than 2 × stateIntervalMs, which is 1000: a peer would be forgotten before it is lost',
    ])
  })

  test('when nobody works, or no work is small enough, for clients that want something', () => {
    expect(wrong({ workers: 0 })).toEqual([
      'workers: expected at least 1 for the tasks of clients, which is 5: nothing would be done',
    ])
    expect(wrong({ workers: 0, clients: 0 })).toEqual([])
    expect(wrong({ bodyMax: 0 })[0]).toMatch(/^bodyMax: .*>=24/)
  })

  test('when messages take longer than anybody waits for them', () => {
    expect(wrong({ localMs: 3000 })).toEqual([
      'timeoutMs: expected more than 14400 ms, which a task may be on its way to a worker and back with localMs 3000, jitter 0.2 (uniform) and turnMs 0',
      'workerHeartbeatMs: expected workerLiveness, which is 3, times as much to be more than 14400 ms, which it may take to connect and be answered with localMs 3000, jitter 0.2 (uniform) and turnMs 0',
    ])
    expect(wrong({ localMs: 3000, clients: 0, workers: 0 })).toEqual([])
    expect(wrong({ turnMs: 5000 }).map((problem) => problem.split(':')[0])).toEqual([
      'timeoutMs',
      'workerHeartbeatMs',
      'stateIntervalMs',
      'stateTtlMs',
    ])
    expect(wrong({ cloudMs: 3000 })).toEqual([
      'stateIntervalMs: expected at least 600 ms: a broker greets a peer 20 times, so far apart, before it connects anew, and to connect and be answered takes 12000 ms with cloudMs 3000, cloudSpread 1, turnMs 0',
    ])
    expect(wrong({ cloudMs: 3000, stateIntervalMs: 1000, stateTtlMs: 3000 })).toEqual([])
    expect(wrong({ clusters: 1, cloudMs: 3000 })).toEqual([])
    expect(wrong({ clusters: 1, faults: ['join'], cloudMs: 3000 })).toHaveLength(1)
    expect(wrong({ links: [{ from: 0, to: 1, ms: 3000 }] })).toHaveLength(1)
    const tail = { jitter: 1, distribution: 'exponential' }
    expect(wrong({ cloudMs: 100, ...tail })[0]).toMatch(/^stateTtlMs: expected at least 1750 ms/)
    expect(wrong({ localMs: 60, ...tail })[0]).toMatch(/^timeoutMs: expected more than 2640 ms/)
  })

  test('but nothing that the swarm draws, no case of the benchmark and no cell of the comparison is', () => {
    for (let seed = 1; seed <= 3000; seed++) expect(() => drawParameters(seed)).not.toThrow()
    // The slowest links and turns, with the longest tails, that can be drawn for the shortest waits.
    const drawnAtWorst = {
      jitter: 0.9,
      distribution: 'exponential',
      turnMs: 20,
      localMs: 2,
      stateIntervalMs: 50,
    }
    const waits = { timeoutMs: 300, workerHeartbeatMs: 100, workerLiveness: 2 }
    for (const cloudMs of [0.1, 5, 10, 240])
      expect(
        wrong({ ...drawnAtWorst, ...waits, cloudMs, stateTtlMs: Math.max(150, 50 + 20 * cloudMs) }),
      ).toEqual([])
    for (const { flags } of SIMULATIONS) {
      const given: { [key: string]: number } = {}
      for (let i = 0; i < flags.length; i += 2) {
        const key = (flags[i] ?? '').slice(2).replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())
        given[key] = Number(flags[i + 1])
      }
      expect(parameters.safeParse(given).error).toBeUndefined()
    }
    for (const { values, vary } of Object.values(DIMENSIONS))
      for (const value of values)
        for (const centre of [CENTRE, QUICK_CENTRE])
          expect(parameters.safeParse({ ...centre, ...vary(value) }).error).toBeUndefined()
  })
})

describe('a script', () => {
  const fault = (what: object) => wrong({ script: [{ at: 10, fault: 'cluster', ...what }] })

  test('may name what is there', () => {
    expect(fault({ cluster: 2 })).toEqual([])
    expect(fault({ fault: 'partition', cluster: 2, other: 0 })).toEqual([])
    expect(fault({ fault: 'worker', cluster: 2, node: 3 })).toEqual([])
    expect(fault({ fault: 'freeze-client', cluster: 2, node: 4 })).toEqual([])
    expect(fault({})).toEqual([])
  })

  test('is refused when it names what is not', () => {
    const noCluster = 'expected a cluster that is there, from 0 to 2'
    expect(fault({ cluster: 3 })).toEqual([`script.0.cluster: ${noCluster}`])
    expect(fault({ fault: 'slow', cluster: 0, other: 3 })).toEqual([`script.0.other: ${noCluster}`])
    for (const kind of ['worker', 'freeze-worker', 'silent', 'twice'])
      expect(fault({ fault: kind, node: 4 })).toEqual([
        'script.0.node: expected a worker that is there, from 0 to 3',
      ])
    for (const kind of ['client', 'freeze-client'])
      expect(fault({ fault: kind, node: 5 })).toEqual([
        'script.0.node: expected a client that is there, from 0 to 4',
      ])
  })

  test('may give any number where it only tells which of several to take', () => {
    for (const kind of ['break', 'isolate', 'lag', 'slow', 'garbage', 'late', 'vanish', 'half-open'])
      expect(fault({ fault: kind, node: 654_321 })).toEqual([])
  })

  test('may name a cluster that has joined by then, or may have', () => {
    const join = { at: 5, fault: 'join' }
    const late = { at: 10, fault: 'broker', cluster: 3 }
    expect(wrong({ script: [join, late] })).toEqual([])
    expect(wrong({ script: [{ ...join, at: 11 }, late] })).toHaveLength(1)
    expect(wrong({ script: [join, { ...late, cluster: 4 }] })).toHaveLength(1)
    expect(wrong({ faults: ['join'], script: [{ ...late, cluster: 6 }] })).toEqual([])
    expect(wrong({ faults: ['join'], script: [{ ...late, cluster: 7 }] })).toHaveLength(1)
    expect(wrong({ faults: ['join'], faultEveryMs: 0, script: [late] })).toHaveLength(1)
  })

  test('is refused when it goes on after the faults are over', () => {
    expect(wrong({ durationMs: 10, script: [{ at: 10, fault: 'broker' }] })).toEqual([
      'script.0.at: expected a time before the end of the faults, durationMs, which is 10',
    ])
  })
})

describe('links', () => {
  test('may be named once each way', () => {
    const [there, back] = [
      { from: 0, to: 1, ms: 1 },
      { from: 1, to: 0, ms: 2 },
    ]
    expect(wrong({ links: [there, back] })).toEqual([])
    expect(wrong({ links: [there, back, there] })).toEqual([
      'links.2: expected each link once each way; that from 0 to 1 is there already',
    ])
  })

  test('are refused when they go nowhere', () => {
    expect(wrong({ links: [{ from: 3, to: 1 }] })).toEqual([
      'links.0.from: expected a cluster that is there, from 0 to 2',
    ])
    expect(wrong({ links: [{ from: 1, to: 1 }] })).toEqual([
      'links.0.to: expected another cluster than that from which it goes',
    ])
  })
})
