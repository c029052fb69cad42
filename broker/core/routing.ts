/**
 * Choosing the peer that gets a task. Policies are pure: what they know of the peers and a source of randomness in, an
 * index out. What a peer has to spare is already corrected for the tasks on their way to it (local shared queue
 * estimates, arXiv 2003.02368), so that no policy aims two tasks at one slot of its own accord.
 */

/** What a policy may know of a peer that serves the task's service. */
export interface Candidate {
  /** Slots free there by its last state, less our tasks that it had not seen then. 0: no candidate. */
  spare: number
  readonly total: number
  /** Smoothed, ms; 0 while unknown. */
  readonly roundTripMs: number
  /** Slots free there, less our tasks that it had not seen and less all that wait there: below 0 there is a queue. `NO_ROOM`:
   *  no candidate. */
  readonly room: number
  /** Our tasks that it had not seen then, and tasks that waited there, whosever they are. */
  readonly unseen: number
  readonly queued: number
  /** How old that news is, ms. */
  readonly ageMs: number
}

/** It takes no task at all. */
export const NO_ROOM = Number.NEGATIVE_INFINITY

/** What a policy may know of the broker that chooses. */
export interface Here {
  /** How long the task would wait here, ms; Infinity where nobody serves it, or nobody knows. */
  readonly waitMs: number
  /** How long a task takes once it has started, smoothed, ms; 0 while unknown. */
  readonly runMs: number
  /** Share of the slots here that tasks of our own clients find taken, smoothed. */
  readonly load: number
  /** How long peers let a task wait, ms. */
  readonly guestWaitMs: number
}

/** @returns the index of the chosen candidate, or -1 when the task had better wait here. `random` is in [0, 1). */
export type Choice = (candidates: readonly Candidate[], random: () => number, here: Here) => number

export interface Policy {
  readonly choose: Choice
  /** It weighs the wait at peers against the wait here, for every task. */
  readonly balances: boolean
  /** Peers that it looks at for one task, at most. */
  readonly looksAt: number
}

/** What `soonest` is made with. Brokers use those that won (docs/routing.md); simulations vary them. */
export interface Tuning {
  /** A task rather waits here than travels to a free slot if it waits for less than this share of the way, times the share of
   *  the slots here that are free on average. 0: it travels whenever a slot is free there in time. */
  readonly patience: number
  /** What a peer's slot is worth to its own tasks, in ways there: so many, times what room is expected to be lacking, in spreads.
   *  That is 0.41 for the last free slot, less the more are free, more the longer its line. 0: nothing. */
  readonly price: number
  /** With twice the cost, 2 to the power of this by the number of peers looked at times less likely. 0: all alike; 10,000: none
   *  but the best. */
  readonly steepness: number
  /** Tasks that each of the peers looked at that has a backlog is taken to have sent to a peer, for each of ours on its way there;
   *  a peer with a backlog counts against itself, too. */
  readonly rivalry: number
  /** Peers looked at for one task. */
  readonly looksAt: number
}

export const TUNING: Tuning = { patience: 1, price: 1, steepness: 64, rivalry: 1, looksAt: 32 }

/** The simplest rule: whoever has most. Ties are broken at random, or all brokers would pick the same one. */
const mostCapacity: Choice = (candidates, random) => {
  let best = -1
  let most = 0
  let ties = 1
  for (let i = 0; i < candidates.length; i++) {
    const spare = candidates[i]?.spare ?? 0
    if (spare > most) {
      best = i
      most = spare
      ties = 1
    } else if (spare === most && spare > 0) {
      ties++
      if (random() * ties < 1) best = i
    }
  }
  return best
}

/** In proportion to what each has (tidal water filling, DISC 2020: account for the others who look at the same news). */
const weighted: Choice = (candidates, random) => {
  let sum = 0
  for (const candidate of candidates) sum += candidate.spare
  if (sum === 0) return -1
  let mark = random() * sum
  let last = -1
  for (let i = 0; i < candidates.length; i++) {
    const spare = candidates[i]?.spare ?? 0
    if (spare === 0) continue
    last = i
    mark -= spare
    if (mark < 0) return i
  }
  return last
}

/** The better of two at random (Mitzenmacher, TPDS 2000): very good over a wide range of staleness. */
const twoChoices: Choice = (candidates, random) => {
  const first = uniform(candidates, random)
  if (first < 0) return -1
  const second = uniform(candidates, random)
  return (candidates[second]?.spare ?? 0) > (candidates[first]?.spare ?? 0) ? second : first
}

/** Any that has something. The yardstick the others have to beat. */
function uniform(candidates: readonly Candidate[], random: () => number): number {
  let chosen = -1
  let seen = 0
  for (let i = 0; i < candidates.length; i++) {
    if ((candidates[i]?.spare ?? 0) === 0) continue
    seen++
    if (random() * seen < 1) chosen = i
  }
  return chosen
}

/** So that a peer whose distance has not been measured yet is not infinitely better than all others, ms. */
const NEAREST_MS = 0.01

/**
 * Where it costs least: where it is expected to start soonest, the way there and the age of the news included, and where it is
 * least in the way of others; or nowhere, when that is here.
 *
 * - A slot is freed at a peer every `runMs / total` ms, and taken as often: between its news and our task's arrival its room
 *   changes by chance, as in M/M/∞: by the square root of twice as many slots at first, of all its slots in the end. What it
 *   may then lack of the one slot that we want is waited for.
 * - A slot that we take may be the one that the peer's next task would have had: the fewer are free, the likelier, and then
 *   that one must travel (state-dependent routing by what a circuit is worth, Ott and Krishnan, 1985).
 * - Others who have a backlog read the same news and send as we do: what we have sent since counts once more for each of them, and
 *   for the peer itself if it has one (account for the others, tidal water filling, DISC 2020).
 * - Not always the best, or they would all pick the same one (Mitzenmacher, TPDS 2000): the less so the more they are.
 * - A task that waits here is waited for by all that come until the line has gone, which takes the longer the higher the load:
 *   by `wait / (1 - load)` in all. Where there is too much work for long it never goes, and waiting here is for nothing.
 */
function soonest({ patience, price, steepness, rivalry }: Tuning): Choice {
  return (candidates, random, here) => {
    const { runMs, waitMs, load, guestWaitMs } = here
    const wayShare = 1 - Math.min(1, patience * Math.max(0, 1 - load))
    let rivals = 0
    for (const { room, queued } of candidates) if (room !== NO_ROOM && queued > 0) rivals++
    const power = steepness / candidates.length
    let chosen = -1
    let least = Number.POSITIVE_INFINITY
    let sum = 0
    for (let i = 0; i < candidates.length; i++) {
      const candidate = candidates[i]
      if (candidate === undefined || candidate.room === NO_ROOM) continue
      const { total, ageMs, unseen } = candidate
      const room = candidate.room - rivalry * rivals * unseen
      const wayMs = Math.max(candidate.roundTripMs / 2, NEAREST_MS)
      const perSlotMs = runMs / total
      // Only half of what it may let wait: it would turn away what it cannot place.
      if (room < 1 && (runMs === 0 || 2 * (1 - room) * perSlotMs > guestWaitMs)) continue
      const variance = runMs === 0 ? 0 : total * -Math.expm1((-2 * (ageMs + wayMs)) / runMs)
      const startsMs = wayMs + shortfall(room - 1, Math.sqrt(variance)) * perSlotMs
      const limitMs = room >= 1 ? waitMs + wayShare * wayMs : waitMs
      if (startsMs >= limitMs) continue
      const swing = Math.sqrt(total + variance)
      const costMs = startsMs + (price * wayMs * shortfall(room - 1, swing)) / swing
      // Weights are taken by the least cost so far: to a high power they would be too small to tell from 0.
      let weight = 1
      if (costMs < least) {
        sum *= (costMs / least) ** power
        least = costMs
      } else weight = (least / costMs) ** power
      sum += weight
      if (random() * sum < weight) chosen = i
    }
    return chosen
  }
}

/** Of a normal variable with that mean and spread, by how much it is below 0 on average; to some per cent. */
function shortfall(mean: number, spread: number): number {
  if (spread === 0) return Math.max(0, -mean)
  const z = (-1.7 * mean) / spread
  if (z > 30) return -mean
  return (spread * Math.log1p(Math.exp(z))) / 1.7
}

/** One that sends a task to a slot that is free, whatever it costs. */
function simple(choose: Choice): () => Policy {
  const policy: Policy = { choose, balances: false, looksAt: Number.POSITIVE_INFINITY }
  return () => policy
}

export const POLICIES = {
  'most-capacity': simple(mostCapacity),
  weighted: simple(weighted),
  'two-choices': simple(twoChoices),
  random: simple(uniform),
  soonest: (tuning) => ({ choose: soonest(tuning), balances: true, looksAt: tuning.looksAt }),
} as const satisfies { [name: string]: (tuning: Tuning) => Policy }

export type PolicyName = keyof typeof POLICIES
