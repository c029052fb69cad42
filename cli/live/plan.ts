import { Random } from '../../sim/random.ts'
import { FREEZES, KILLS, LINK_FAULTS, type LiveFault, type LiveParameters } from './parameters.ts'

/** One thing that shall go wrong. */
export interface PlannedFault {
  /** From the start of the work, ms. */
  readonly at: number
  readonly fault: LiveFault
  readonly cluster: number
  /** The other end of a link. */
  readonly other: number
  /** Which process of its kind, for whoever takes it modulo their number. */
  readonly node: number
  readonly forMs: number
}

const NODES = 1 << 16

/**
 * Everything that goes wrong in a run, drawn from its seed before it begins: the same seed, the same plan, whatever
 * really happens then.
 */
export function drawPlan(p: LiveParameters): PlannedFault[] {
  const wanted = (kinds: readonly LiveFault[]) => kinds.filter((kind) => p.faults.includes(kind))
  const plan = [
    ...drawKind(p, 'kills', wanted(KILLS), p.killEvery),
    ...drawKind(p, 'freezes', wanted(FREEZES), p.freezeEvery),
    ...drawKind(p, 'links', wanted(LINK_FAULTS), p.linkEvery),
  ]
  return plan.sort((one, other) => one.at - other.at)
}

function drawKind(
  p: LiveParameters,
  purpose: string,
  kinds: readonly LiveFault[],
  everyMs: number,
): PlannedFault[] {
  const plan: PlannedFault[] = []
  if (kinds.length === 0 || everyMs === 0) return plan
  const random = new Random(p.seed, purpose)
  for (
    let at = everyMs * random.between(0.5, 1.5);
    at < p.duration;
    at += everyMs * random.between(0.5, 1.5)
  ) {
    const fault = random.pick(kinds)
    const cluster = random.below(p.clusters)
    const other = (cluster + 1 + random.below(p.clusters - 1)) % p.clusters
    const node = random.below(NODES)
    const forMs = p.faultFor * random.between(0.3, 1.7)
    if (fault !== undefined) plan.push({ at, fault, cluster, other, node, forMs })
  }
  return plan
}
