import type { Parameters } from '../../sim/scenario.ts'
import { parameters } from '../../sim/scenario.ts'
import { meanServiceMs, Workload } from '../../sim/workload.ts'

/** Mean wait of M/M/c, in service times (Erlang, 1917). */
export function erlangC(servers: number, load: number): number {
  const offered = servers * load
  // Erlang B by its recursion, which does not overflow.
  let blocked = 1
  for (let n = 1; n <= servers; n++) blocked = (offered * blocked) / (n + offered * blocked)
  const waits = blocked / (1 - load * (1 - blocked))
  return waits / (servers * (1 - load))
}

/** Nothing but queueing: no faults, no failures, no delay worth the name, no clock that is off. */
export function puristic(given: Partial<Parameters>): Parameters {
  return parameters.parse({
    clusters: 1,
    slots: 1,
    hot: 1,
    arrivals: 'poisson',
    service: 'exponential',
    localMs: 1e-6,
    cloudMs: 1e-6,
    jitter: 0,
    drift: 0,
    notIdempotent: 0,
    failing: 0,
    queueMax: 1_000_000,
    deadlineMs: 1e9,
    timeoutMs: 1e8,
    retries: 2,
    workerHeartbeatMs: 1e7,
    repliesMax: 10,
    faultEveryMs: 0,
    checkBooksEvery: 0,
    ...given,
  })
}

/**
 * What any first-come-first-served pool of that many servers does with the very tasks that a simulation is given, by the
 * recursion of Kiefer and Wolfowitz (1955): for each arrival, the server that is free first.
 */
export function poolWaitMs(seed: number, p: Parameters, untilMs: number): { meanMs: number; tasks: number } {
  const clusters = Array.from({ length: p.clusters }, (_, i) => {
    const workload = new Workload(seed, i, p)
    return { workload, at: workload.next(0) }
  })
  const freeAt = new Float64Array(p.clusters * p.workers * p.slots)
  let sum = 0
  let tasks = 0
  for (;;) {
    let next = clusters[0]
    for (const cluster of clusters) if (next === undefined || cluster.at < next.at) next = cluster
    if (next === undefined || next.at > untilMs) return { meanMs: sum / tasks, tasks }
    const { workload, at } = next
    workload.who(at)
    const { serviceMs } = workload.task(1, '', at).errand
    next.at = workload.next(at)
    let first = 0
    for (let i = 1; i < freeAt.length; i++) if ((freeAt[i] ?? 0) < (freeAt[first] ?? 0)) first = i
    const startsAt = Math.max(at, freeAt[first] ?? 0)
    freeAt[first] = startsAt + serviceMs
    sum += startsAt - at
    tasks++
  }
}

export function erlangWaitMs(p: Parameters): number {
  return erlangC(p.clusters * p.workers * p.slots, p.load) * meanServiceMs(p)
}
