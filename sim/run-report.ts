import type { Collector } from '../report/collector.ts'
import type { Figure, Report } from '../report/report.ts'
import { shortTime } from '../report/scale.ts'
import type { Result } from './run.ts'
import type { Parameters } from './scenario.ts'

/**
 * What a simulated run has to show, kept or broken.
 * @param command what to type to get it again
 */
export function runReport(
  result: Result,
  p: Parameters,
  collector: Collector,
  command: string,
  version: string,
): Report {
  const { seed, breach, promises, gatheredUntil } = result
  const series = collector.series(gatheredUntil)
  return {
    format: 1,
    title: `Simulated: ${whole(p.clusters)} clusters of ${whole(p.workers)} workers and ${whole(p.clients)} clients`,
    command,
    seed,
    version,
    time: 'virtual',
    clusters: collector.clusters,
    durationMs: gatheredUntil,
    ...(gatheredUntil > p.durationMs ? { arrivalsUntilMs: p.durationMs } : {}),
    breach: breach === null ? null : breach.message,
    summary: summaryOf(result, collector),
    promises,
    faults: collector.faults,
    series,
  }
}

function summaryOf({ summary, gatheredUntil }: Result, collector: Collector): Figure[] {
  const figures: Figure[] = [
    { label: 'virtual time', value: shortTime(gatheredUntil) },
    { label: 'faults', value: whole(collector.faults.length) },
  ]
  if (summary === null) return figures
  const errors = Object.entries(summary.outcomes).filter(([code]) => code !== 'OK')
  return [
    ...figures,
    { label: 'tasks sent', value: whole(summary.tasks) },
    { label: 'of them as a check at the end', value: whole(summary.closing) },
    { label: 'answered', value: whole(summary.answered) },
    ...errors.map(([code, count]) => ({ label: `ended with ${code}`, value: whole(count) })),
    { label: 'their client died', value: whole(summary.abandoned) },
    { label: 'mean wait to the start', value: shortTime(summary.meanWaitMs) },
    { label: 'ran in another cluster', value: `${(100 * summary.lentShare).toFixed(1)} %` },
    { label: 'in order again after all faults', value: shortTime(summary.recoveredAfterMs) },
    { label: 'events', value: whole(summary.events) },
    { label: 'messages', value: whole(summary.messages) },
    { label: 'hash of the run', value: summary.hash },
  ]
}

function whole(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}
