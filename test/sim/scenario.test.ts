import { describe, expect, test } from 'vitest'
import { parameters } from '../../sim/scenario.ts'

/** What is wrong with these, field by field. */
function wrong(given: object): string[] {
  const { error } = parameters.safeParse({ clusters: 3, workers: 4, clients: 5, faults: [], ...given })
  return (error?.issues ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`)
}

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
