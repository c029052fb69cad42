import pc from 'picocolors'
import type { Outcome } from './director.ts'
import type { Breach } from './judge.ts'
import type { LiveParameters } from './parameters.ts'

/** Of each promise: what breaks one often must not hide what else is broken. */
const BREACHES_TOLD = 3
const LINES_TOLD = 20

/** What came out, in words. */
export function verdict(p: LiveParameters, outcome: Outcome): string {
  const { judge, series, faults, recoveredAfterMs } = outcome
  const { answered, p50, p99, max } = series.latencyOverall
  const ran = [...judge.ranIn].sort().map(([cluster, tasks]) => `${cluster} ${count(tasks)}`)
  const lent = series.loans.reduce((sum, [, , tasks]) => sum + tasks, 0)
  const unknown = judge.outcomes.get('UNKNOWN') ?? 0
  const torn = judge.outcomes.get('STREAM_BROKEN') ?? 0
  const broken = judge.brokenCount()
  const again = series.recoveries
    .flatMap(({ againMs }) => (againMs === null ? [] : [againMs]))
    .sort((a, b) => a - b)
  const lines = [
    broken === 0
      ? `${pc.green(pc.bold('Every promise kept.'))} Seed ${p.seed}: ${p.clusters} clusters × ${p.workers} workers × ${p.clients} clients, ${(outcome.durationMs / 1000).toFixed(1)} s`
      : pc.red(pc.bold(`${count(broken)} breaches. Seed ${p.seed}.`)),
    `  tasks     ${count(judge.sent)} sent, ${count(judge.starts)} starts; ${count(judge.outcomes.get('') ?? 0)} answered, ${count(unknown)} UNKNOWN, ${count(torn)} STREAM_BROKEN, ${count(judge.abandoned)} whose client died, ${count(judge.startedAgain)} started more than once`,
    `  ran       in ${ran.join(', ')}; ${count(lent)} of ${count(answered)} in another cluster than they came from`,
    `  latency   ${ms(p50)} in the middle, ${ms(p99)} of 99 %, ${ms(max)} at most`,
    `  faults    ${count(faults.struck)}: ${count(faults.killed)} processes killed, ${count(faults.frozen)} frozen; all work done and everybody agreed ${(recoveredAfterMs / 1000).toFixed(1)} s after the last`,
  ]
  if (again.length > 0) {
    lines.push(
      `  recovery  ${ms(again[again.length >> 1] ?? null)} in the middle, ${ms(again.at(-1) ?? null)} at most, from a broker's start until a task that ran in its cluster is answered`,
    )
  }
  return [...lines, ...promises(outcome), ...breaches(outcome)].join('\n')
}

function promises({ judge }: Outcome): string[] {
  return [...judge.checked].map(([promise, checked]) => {
    const broken = judge.broken.get(promise) ?? 0
    const mark = broken > 0 ? pc.red('✖') : pc.green('✔')
    const counts =
      broken > 0 ? pc.red(`broken ${count(broken)} times`) : pc.dim(`looked at ${count(checked)} times`)
    return `  ${mark} ${promise}  ${counts}`
  })
}

function breaches({ judge, ledger, folder }: Outcome): string[] {
  if (judge.breaches.length === 0) return []
  const lines: string[] = []
  const told = new Map<string, number>()
  let more = judge.brokenCount()
  for (const breach of judge.breaches) {
    const before = told.get(breach.promise) ?? 0
    if (before === BREACHES_TOLD) continue
    told.set(breach.promise, before + 1)
    more--
    lines.push(...story(breach, ledger))
  }
  if (more > 0) lines.push(pc.dim(`… and ${count(more)} more`))
  lines.push(`What clients and workers wrote down is in ${folder}`)
  return lines
}

function story({ promise, task, detail }: Breach, ledger: Outcome['ledger']): string[] {
  const head = `${pc.red('BREACH')} ${promise}${task === null ? '' : `, task ${task}`}: ${detail}`
  const lines = task === null ? [] : ledger.linesAbout(task).slice(-LINES_TOLD)
  return [head, ...lines.map((line) => pc.dim(`         ${line}`))]
}

function ms(value: number | null): string {
  if (value === null) return '–'
  return value < 10_000 ? `${value.toFixed(0)} ms` : `${(value / 1000).toFixed(1)} s`
}

function count(figure: number): string {
  return figure.toLocaleString('en')
}
