/** A number that was measured several times. */
export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

/** @throws when there is nothing to take the middle of */
export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle]
  const min = sorted[0]
  const max = sorted.at(-1)
  if (upper === undefined || min === undefined || max === undefined) throw new Error('no value was measured')
  const median = sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2
  return { median, min, max }
}

/** Ratios of what was measured in the same turn, so that what slows the machine for a while slows both. */
export function ratioOf(ours: readonly number[], theirs: readonly number[]): Spread {
  return spreadOf(ours.slice(0, theirs.length).map((value, turn) => value / (theirs[turn] ?? Number.NaN)))
}
