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
}

/** @returns the index of the chosen candidate, or -1 when none has anything to spare. `random` is in [0, 1). */
export type Policy = (candidates: readonly Candidate[], random: () => number) => number

/** The founding case's rule: whoever has most. Ties are broken at random, or all brokers would pick the same one. */
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

export const POLICIES = {
  'most-capacity': mostCapacity,
  weighted,
  'two-choices': twoChoices,
  random: uniform,
} as const satisfies { [name: string]: Policy }

export type PolicyName = keyof typeof POLICIES
