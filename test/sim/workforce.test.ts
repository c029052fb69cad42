import { expect, test } from 'vitest'
import { parameters } from '../../sim/scenario.ts'
import { Simulation } from '../../sim/simulation.ts'
import { serviceName } from '../../sim/workload.ts'

test('what workers have free is right at any time, whoever dies, hangs or comes back', () => {
  const p = parameters.parse({
    clusters: 3,
    workers: 8,
    clients: 20,
    slots: 2,
    services: 2,
    rate: 5,
    poison: 0.01,
    streams: 0.2,
    faultEveryMs: 200,
    durationMs: 6000,
  })
  const simulation = new Simulation(11, p)
  const { workforces } = simulation.ledger
  let partly = 0
  for (let at = 50; at <= p.durationMs; at += 50) {
    simulation.advance(at)
    for (const { index, workers } of simulation.clusters) {
      const alive = workers.filter((worker) => worker?.alive)
      expect(workforces.get(index)?.members.size).toBe(alive.length)
      for (let s = 0; s < p.services; s++) {
        const service = serviceName(s)
        const counted = alive.reduce(
          (sum, worker) => sum + (worker?.services.includes(service) ? worker.slots - worker.running : 0),
          0,
        )
        expect(workforces.get(index)?.free(service)).toBe(counted)
        if (counted > 0 && counted < alive.length * p.slots) partly++
      }
    }
  }
  expect(simulation.faults.history.length).toBeGreaterThan(10)
  expect(partly).toBeGreaterThan(50)
})
