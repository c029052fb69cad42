import type { CallTerms } from '../client/core/call.ts'
import { EMPTY_BODY, Flag, PRIORITY_DEFAULT } from '../protocol/record.ts'
import { SimCall } from './client-node.ts'
import { Behaviour, BODY_MIN, Errand, SMALL_MAX, type Work, writeWork } from './errand.ts'
import { Random } from './random.ts'
import type { Parameters } from './scenario.ts'

/** Longest service time, as a multiple of the mean: a run that ends must not wait for the one task in a million. */
const LONGEST = 50
const BURST_FACTOR = 4
const BURST_MS = 1000
const WAVE_MS = 30_000
const WAVE_SWING = 0.8

export function meanServiceMs(p: Parameters): number {
  return p.serviceMs > 0 ? p.serviceMs : (p.load * p.workers * p.slots * 1000) / (p.clients * p.rate)
}

/** How many times the average a cluster's share of the tasks is. */
function shareOf(cluster: number, p: Parameters): number {
  const whole = p.hot + p.clusters - 1
  return ((cluster === 0 ? p.hot : 1) * p.clusters) / whole
}

export function serviceName(number: number): string {
  return number === 0 ? '' : `s${number}`
}

type Writable<T> = { -readonly [Key in keyof T]: T[Key] }

/** How long a client waits: for a sign of life, and for the answer, ms. */
export interface Patience {
  readonly timeoutMs: number
  readonly deadlineMs: number
}

/** When a cluster's clients want something done, and what. */
export class Workload {
  readonly cluster: number
  readonly #p: Parameters
  readonly #arrivals: Random
  readonly #work: Random
  readonly #meanMs: number
  readonly #peakPerMs: number
  readonly #peakFactor: number
  /** What the next task is made from, which keeps neither. */
  readonly #next: Writable<Work> = {
    number: 0,
    serviceMs: 0.5,
    pieces: 0,
    behaviour: Behaviour.Answers,
    size: 0,
  }
  readonly #terms: Writable<CallTerms>

  constructor(seed: number, cluster: number, p: Parameters) {
    this.cluster = cluster
    this.#p = p
    this.#arrivals = new Random(seed, `arrivals ${cluster}`)
    this.#work = new Random(seed, `work ${cluster}`)
    this.#meanMs = meanServiceMs(p)
    this.#peakFactor = p.arrivals === 'bursts' ? BURST_FACTOR : p.arrivals === 'wave' ? 1 + WAVE_SWING : 1
    this.#terms = {
      id: '',
      body: EMPTY_BODY,
      service: '',
      priority: PRIORITY_DEFAULT,
      flags: 0,
      traceparent: '',
      timeoutMs: p.timeoutMs,
      retries: p.retries,
      deadlineMs: p.deadlineMs,
      window: 4,
    }
    this.#peakPerMs = ((p.clients * p.rate) / 1000) * shareOf(cluster, p) * this.#peakFactor
  }

  /** When somebody may next want something. */
  next(at: number): number {
    return at + this.#arrivals.exponential(1 / this.#peakPerMs)
  }

  /** Whose it is, or -1: drawn at the highest rate, thinned to the present one (Lewis and Shedler, 1979). */
  who(at: number): number {
    if (this.#peakFactor > 1 && !this.#arrivals.chance(this.#factor(at) / this.#peakFactor)) return -1
    return this.#arrivals.below(this.#p.clients)
  }

  #factor(at: number): number {
    if (this.#p.arrivals === 'bursts') {
      // A quarter of the time at four times the rate, each cluster in its turn.
      const phase = (at / BURST_MS + this.cluster * 0.7) % BURST_FACTOR
      return phase < 1 ? BURST_FACTOR : 0
    }
    const turn = at / WAVE_MS + this.cluster / this.#p.clusters
    return 1 + WAVE_SWING * Math.sin(2 * Math.PI * turn)
  }

  task(number: number, client: string, at: number): SimCall {
    const p = this.#p
    const random = this.#work
    const once = random.chance(p.notIdempotent)
    const streams = random.chance(p.streams)
    const restarts = streams && random.chance(p.restartStreams)
    const failsFast = random.chance(p.failFast)
    const kills = random.chance(p.poison)
    const behaviour = kills ? Behaviour.Kills : random.chance(p.failing) ? Behaviour.Fails : Behaviour.Answers
    const work = this.#next
    work.number = number
    work.serviceMs = this.#serviceMs()
    work.pieces = streams && behaviour === Behaviour.Answers ? random.below(20) : 0
    work.behaviour = behaviour
    work.size = this.#size()
    const service = p.services === 1 ? '' : serviceName(random.below(p.services))
    const priority = random.chance(0.1) ? random.below(10) : PRIORITY_DEFAULT
    const flags =
      (once ? Flag.NotIdempotent : 0) |
      (streams ? Flag.Stream : 0) |
      (restarts ? Flag.RestartStream : 0) |
      (failsFast ? Flag.FailFast : 0)
    return this.#call(work, client, service, flags, priority, p.timeoutMs, p.deadlineMs, at)
  }

  /** A task that any broker in its right mind gets done. */
  probe(number: number, client: string, service: string, patience: Patience, at: number): SimCall {
    const work: Work = { number, serviceMs: 1, pieces: 0, behaviour: Behaviour.Answers, size: BODY_MIN }
    return this.#call(work, client, service, 0, PRIORITY_DEFAULT, patience.timeoutMs, patience.deadlineMs, at)
  }

  #call(
    work: Work,
    client: string,
    service: string,
    flags: number,
    priority: number,
    timeoutMs: number,
    deadlineMs: number,
    at: number,
  ): SimCall {
    const errand = new Errand(
      work.number,
      client,
      this.cluster,
      service,
      at,
      deadlineMs,
      work,
      (flags & Flag.NotIdempotent) === 0,
      (flags & Flag.Stream) !== 0,
      (flags & Flag.FailFast) !== 0,
    )
    const terms = this.#terms
    terms.id = String(work.number)
    terms.body = writeWork(work)
    terms.service = service
    terms.priority = priority
    terms.flags = flags
    terms.timeoutMs = timeoutMs
    terms.deadlineMs = deadlineMs
    return new SimCall(terms, errand)
  }

  #size(): number {
    const { large, largeBytes } = this.#p
    const random = this.#work
    if (!random.chance(large)) return BODY_MIN + random.below(SMALL_MAX - BODY_MIN)
    return Math.ceil(random.logBetween(SMALL_MAX + 1, largeBytes))
  }

  #serviceMs(): number {
    const mean = this.#meanMs
    switch (this.#p.service) {
      case 'fixed':
        return mean
      case 'uniform':
        return this.#work.between(0, 2 * mean)
      case 'exponential':
        return Math.min(this.#work.exponential(mean), LONGEST * mean)
      case 'pareto':
        return Math.min(this.#work.pareto(mean, 1.8), LONGEST * mean)
    }
  }
}
