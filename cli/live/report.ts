import { VERSION } from '../../broker/io/version.ts'
import type { Figure, Report } from '../../report/report.ts'
import type { Outcome } from './director.ts'
import type { LiveParameters } from './parameters.ts'

/** A run as a report shows it. @param command what to type to get it again */
export function reportOf(p: LiveParameters, outcome: Outcome, command: string): Report {
  const { judge, collector, series, durationMs, arrivalsUntilMs } = outcome
  const [breach] = judge.breaches
  return {
    format: 1,
    title: `Live: ${p.clusters} clusters of ${p.workers} workers and ${p.clients} clients`,
    command,
    seed: p.seed,
    version: VERSION,
    time: 'real',
    clusters: collector.clusters,
    durationMs,
    arrivalsUntilMs,
    breach:
      breach === undefined
        ? null
        : `${breach.promise}${breach.task === null ? '' : `, task ${breach.task}`}: ${breach.detail}`,
    summary: summaryOf(outcome),
    promises: [...judge.checked].map(([promise, checked]) => ({
      promise,
      checked,
      broken: judge.broken.get(promise) ?? 0,
    })),
    faults: collector.faults,
    series,
  }
}

function summaryOf({ judge, faults, recoveredAfterMs, durationMs }: Outcome): Figure[] {
  const count = (figure: number) => figure.toLocaleString('en')
  const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`
  return [
    { label: 'real time', value: seconds(durationMs) },
    { label: 'tasks sent', value: count(judge.sent) },
    { label: 'answered', value: count(judge.outcomes.get('') ?? 0) },
    { label: 'told UNKNOWN', value: count(judge.outcomes.get('UNKNOWN') ?? 0) },
    { label: 'streams broken', value: count(judge.outcomes.get('STREAM_BROKEN') ?? 0) },
    { label: 'pieces of streams read', value: count(judge.pieces) },
    { label: 'whose client died', value: count(judge.abandoned) },
    { label: 'started more than once', value: count(judge.startedAgain) },
    { label: 'faults', value: count(faults.struck) },
    { label: 'processes killed', value: count(faults.killed) },
    { label: 'processes frozen', value: count(faults.frozen) },
    { label: 'times a process stood still', value: count(judge.standstills) },
    { label: 'all well after the last fault', value: seconds(recoveredAfterMs) },
  ]
}
