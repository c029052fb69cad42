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
  /** How long peers let a task wait, ms. */
  readonly guestWaitMs: number
}

/** @returns the index of the chosen candidate, or -1 when the task had better wait here. `random` is in [0, 1). */
export type Policy = (candidates: readonly Candidate[], random: () => number, here: Here) => number

/** The simplest rule: whoever has most. Ties are broken at random, or all brokers would pick the same one. */
const mostCapacity: Policy = (candidates, random) => {
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
const weighted: Policy = (candidates, random) => {
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
const twoChoices: Policy = (candidates, random) => {
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

/** A task travels to a free slot if it would wait here for longer than this, as a share of the way there. */
const PATIENCE = 0.1
/** So that a peer whose distance has not been measured yet is not infinitely better than all others, ms. */
const NEAREST_MS = 0.01

/**
 * Where it is expected to start soonest, the way there and the age of the news included; or nowhere, when that is here.
 *
 * - A slot is freed at a peer every `runMs / total` ms, and taken as often: between its news and our task's arrival its room
 *   changes by chance by about the square root of twice as many slots. What it may then lack of the one slot that we want
 *   is waited for.
 * - Others who have a backlog read the same news and send as we do: what we have sent since counts once for each of them
 *   (account for the others, tidal water filling, DISC 2020).
 * - Not always the best, or they would all pick the same one (Mitzenmacher, TPDS 2000): twice as soon, eight times as likely.
 */
const soonest: Policy = (candidates, random, here) => {
  const { runMs, waitMs, guestWaitMs } = here
  let rivals = 0
  for (const { room, queued } of candidates) if (room !== NO_ROOM && queued > 0) rivals++
  let chosen = -1
  let sum = 0
  for (let i = 0; i < candidates.length; i++) {
    const candidate = candidates[i]
    if (candidate === undefined || candidate.room === NO_ROOM) continue
    const { total, ageMs, unseen } = candidate
    const room = candidate.room - rivals * unseen
    const wayMs = Math.max(candidate.roundTripMs / 2, NEAREST_MS)
    const perSlotMs = runMs / total
    // Only half of what it may let wait: it would turn away what it cannot place.
    if (room < 1 && (runMs === 0 || 2 * (1 - room) * perSlotMs > guestWaitMs)) continue
    const spread = runMs === 0 ? 0 : Math.sqrt((2 * (ageMs + wayMs)) / perSlotMs)
    const startsMs = wayMs + shortfall(room - 1, spread) * perSlotMs
    const limitMs = room >= 1 ? waitMs + (1 - PATIENCE) * wayMs : waitMs
    if (startsMs >= limitMs) continue
    const weight = startsMs ** -3
    sum += weight
    if (random() * sum < weight) chosen = i
  }
  return chosen
}

/** Of a normal variable with that mean and spread, by how much it is below 0 on average; to some per cent. */
function shortfall(mean: number, spread: number): number {
  if (spread === 0) return Math.max(0, -mean)
  const z = (-1.7 * mean) / spread
  if (z > 30) return -mean
  return (spread * Math.log1p(Math.exp(z))) / 1.7
}

export const POLICIES = {
  'most-capacity': mostCapacity,
  weighted,
  'two-choices': twoChoices,
  random: uniform,
  soonest,
} as const satisfies { [name: string]: Policy }

export type PolicyName = keyof typeof POLICIES
