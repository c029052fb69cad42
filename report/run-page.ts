import type { Band } from './frame.ts'
import { heatMatrix } from './heat-matrix.ts'
import { histogram, medianOf } from './histogram.ts'
import { type Lane, lanes, type Mark, type MarkKind } from './lanes.ts'
import { linePlot } from './line-plot.ts'
import {
  command,
  figure,
  figures,
  folded,
  type Html,
  note,
  page,
  paragraph,
  section,
  table,
  verdict,
} from './page.ts'
import type { Fault, Report } from './report.ts'
import { shortTime, type TimeUnit, timeUnitFor } from './scale.ts'
import { OTHERS, stackedArea } from './stacked-area.ts'

/** Clusters that get a lane, or a row and column, of their own. */
const SHOWN_MAX = 24
/** Faults drawn at most; beyond, a page takes longer to open than to read. */
const MARKS_MAX = 3000
const FAULT_ROWS_MAX = 500
/** Share of the time beyond which setting it off would set off nothing. */
const BANDS_SHARE_MAX = 0.7

const KIND_OF: { readonly [kind: string]: MarkKind } = {
  cluster: 'kill',
  broker: 'kill',
  worker: 'kill',
  client: 'kill',
  vanish: 'kill',
  partition: 'cut',
  'one-way': 'cut',
  isolate: 'cut',
  'half-open': 'cut',
  slow: 'cut',
  break: 'cut',
  join: 'come',
  leave: 'come',
}

const WORDS: { readonly [kind: string]: string } = {
  cluster: 'whole cluster killed',
  broker: 'broker killed',
  worker: 'worker killed',
  client: 'client killed',
  'freeze-broker': 'broker frozen',
  'freeze-worker': 'worker frozen',
  'freeze-client': 'client frozen',
  'freeze-cluster': 'whole cluster frozen',
  partition: 'cut off',
  'one-way': 'cut off one way',
  isolate: 'a process cut off',
  vanish: 'a process gone without a word',
  'half-open': 'connections dead unnoticed',
  lag: 'a process lags',
  slow: 'slow link',
  break: 'connection broken',
  silent: 'worker hangs',
  twice: 'worker answers twice',
  garbage: 'nonsense sent',
  late: 'an answer repeated late',
  join: 'new cluster joins',
  leave: 'leaves for good',
}

/** A whole run on one page, from nothing but its report. */
export function runPage(report: Report): string {
  const unit = timeUnitFor(report.durationMs)
  const { title, seed, version, time } = report
  return page({
    title,
    lead: lead(report),
    sections: [
      section('summary', 'Summary', figures(report.summary)),
      promises(report),
      timeline(report, unit),
      throughput(report, unit),
      latency(report, unit),
      spare(report, unit),
      recovery(report),
      lending(report),
    ],
    origin: `Spillway ${version}, seed ${seed}, ${time} time. The same figures are in report.json.`,
  })
}

function lead({ breach, promises: all, command: line, time }: Report): Html {
  const checks = all.reduce((sum, { checked }) => sum + checked, 0)
  const told =
    breach === null
      ? verdict(true, 'Every promise kept', `${whole(checks)} checks of ${all.length} promises.`)
      : verdict(false, 'A promise was broken', breach)
  const same = time === 'virtual' ? 'The same run again, to the byte:' : 'Once more with the same faults:'
  return `${told}\n${note(same)}\n${command(line)}`
}

function promises({ promises: all }: Report): Html {
  const rows = all.map(({ promise, checked, broken }) => [promise, whole(checked), whole(broken)])
  const idle = all.some(({ checked }) => checked === 0)
    ? [note('What was checked 0 times did not come up in this run.')]
    : []
  return section('promises', 'Promises', table(['promise', 'checked', 'broken'], rows, [1, 2]), ...idle)
}

// ---------------------------------------------------------------- over time

function timeline(report: Report, unit: TimeUnit): Html {
  const { clusters, faults, series } = report
  const struck = new Array<number>(clusters.length).fill(0)
  for (const { cluster } of faults) struck[cluster] = (struck[cluster] ?? 0) + 1
  const shown = most(clusters.length, (index) => struck[index] ?? 0)
  const laneOf = new Map(shown.map((index, lane) => [index, lane]))
  const perSecond = 1000 / series.bucketMs
  const all: Lane[] = shown.map((index) => ({
    name: clusters[index] ?? '',
    values: (series.ranAtHome[index] ?? []).map(
      (count, bucket) => (count + (series.ranForOthers[index]?.[bucket] ?? 0)) * perSecond,
    ),
  }))
  // Faults that struck everywhere, or a cluster without a lane, are marked all the same.
  const elsewhere = faults.some(({ cluster }) => !laneOf.has(cluster))
  if (elsewhere) all.push({ name: OTHERS, values: [] })
  const marks: Mark[] = []
  for (const fault of faults.slice(0, MARKS_MAX)) {
    const tip = told(fault, report)
    const from = fault.fromMs / unit.ms
    const to = (fault.untilMs ?? report.durationMs) / unit.ms
    const at = new Set([laneOf.get(fault.cluster) ?? shown.length])
    if (fault.other !== null) at.add(laneOf.get(fault.other) ?? at.values().next().value ?? 0)
    // So much happens to the others that only the beginnings can be told apart.
    for (const lane of at)
      marks.push({ lane, from, to: lane < shown.length ? to : from, kind: kindOf(fault.kind), tip })
  }
  const full = all.reduce((top, { values }) => values.reduce<number>((a, b) => Math.max(a, b ?? 0), top), 1)
  const left = clusters.length - shown.length
  const caption = [
    'Every fault, in the lane of the cluster it struck. Grey: tasks a second that ran there.',
    left > 0 ? `${whole(shown.length)} of ${whole(clusters.length)} clusters, those with most faults.` : '',
    faults.length > MARKS_MAX ? `The first ${whole(MARKS_MAX)} of ${whole(faults.length)} faults.` : '',
  ]
  return section(
    'timeline',
    'Clusters and faults',
    figure(
      (width) =>
        lanes({
          title: 'Clusters over time, with every fault',
          x: { label: `time (${unit.unit})` },
          step: series.bucketMs / unit.ms,
          end: report.durationMs / unit.ms,
          lanes: all,
          full,
          what: 'tasks/s',
          marks,
          marksAs: 'bars',
          width,
        }),
      caption.filter((part) => part !== '').join(' '),
    ),
    faults.length === 0 ? note('Nothing went wrong.') : faultTable(report),
  )
}

function faultTable(report: Report): Html {
  const { faults } = report
  const rows = faults
    .slice(0, FAULT_ROWS_MAX)
    .map((fault) => [
      shortTime(fault.fromMs),
      fault.untilMs === null ? 'to the end' : shortTime(fault.untilMs - fault.fromMs),
      report.clusters[fault.cluster] ?? 'everywhere',
      what(fault, report),
    ])
  const label =
    faults.length > FAULT_ROWS_MAX
      ? `The first ${whole(FAULT_ROWS_MAX)} of ${whole(faults.length)} faults`
      : `${whole(faults.length)} ${faults.length === 1 ? 'fault' : 'faults'}`
  return folded(label, table(['at', 'for', 'cluster', 'what'], rows, [0, 1]))
}

function throughput(report: Report, unit: TimeUnit): Html {
  const { clusters, series } = report
  const perSecond = 1000 / series.bucketMs
  const layers = clusters.map((name, index) => ({
    name,
    values: (series.ranAtHome[index] ?? []).map(
      (count, bucket) => (count + (series.ranForOthers[index]?.[bucket] ?? 0)) * perSecond,
    ),
  }))
  const home = sum(series.ranAtHome.flat())
  const lent = sum(series.ranForOthers.flat())
  const share = home + lent === 0 ? 0 : (100 * lent) / (home + lent)
  const failed = sum(series.failed)
  const errors =
    failed === 0
      ? []
      : [
          figure(
            (width) =>
              linePlot({
                title: 'Errors a second',
                x: { label: `time (${unit.unit})`, min: 0, max: report.durationMs / unit.ms },
                y: { label: 'errors/s' },
                curves: [
                  {
                    name: 'tasks that ended with an error',
                    points: points(
                      series.failed.map((n) => n * perSecond),
                      report,
                      unit,
                    ),
                  },
                ],
                bands: bands(report, unit),
                width,
                plotHeight: 120,
              }),
            `${whole(failed)} ${failed === 1 ? 'task' : 'tasks'} ended with an error, right or wrong.`,
          ),
        ]
  return section(
    'throughput',
    'Throughput, by where tasks ran',
    figure(
      (width) =>
        stackedArea({
          title: 'Tasks answered a second, by the cluster they ran in',
          x: { label: `time (${unit.unit})` },
          y: { label: 'tasks/s' },
          step: series.bucketMs / unit.ms,
          end: report.durationMs / unit.ms,
          layers,
          layersMax: width < 500 ? 8 : 12,
          bands: bands(report, unit),
          width,
        }),
      `${share.toFixed(1)} % of ${whole(home + lent)} tasks ran in another cluster than the one they came from. ${setOff(report)}`,
    ),
    ...errors,
  )
}

function latency(report: Report, unit: TimeUnit): Html {
  const { latency: by, latencyOverall: all } = report.series
  const ms = (value: number | null): string => (value === null ? '–' : shortTime(value))
  const overall = `Over the whole run: p50 ${ms(all.p50)}, p90 ${ms(all.p90)}, p99 ${ms(all.p99)}, p99.9 ${ms(all.p999)}, longest ${ms(all.max)}.`
  const curves = (['p50', 'p90', 'p99', 'max'] as const).map((name) => ({
    name,
    points: points(by[name], report, unit),
  }))
  return section(
    'latency',
    'Latency',
    figure(
      (width) =>
        linePlot({
          title: 'Latency percentiles over time',
          x: { label: `time (${unit.unit})`, min: 0, max: report.durationMs / unit.ms },
          y: { label: 'ms, logarithmic', scale: 'log' },
          curves,
          bands: bands(report, unit),
          width,
        }),
      `From submission to answer, of tasks answered at that time; service included. ${overall} ${setOff(report)}`,
    ),
  )
}

function spare(report: Report, unit: TimeUnit): Html {
  const { clusters, series, faults } = report
  const struck = new Set(faults.filter(stops).map(({ cluster }) => cluster))
  const mean = (index: number): number => {
    const known = (series.spare[index] ?? []).filter((free) => free !== null)
    return known.length === 0 ? Number.POSITIVE_INFINITY : sum(known) / known.length
  }
  const shown = most(clusters.length, (index) => -mean(index))
  const full = series.spare.flat().reduce<number>((a, b) => Math.max(a, b ?? 0), 1)
  const marks = faults
    .filter(stops)
    .slice(0, MARKS_MAX)
    .flatMap((fault): Mark[] => {
      const lane = shown.indexOf(fault.cluster)
      if (lane < 0) return []
      const to = (fault.untilMs ?? report.durationMs) / unit.ms
      return [{ lane, from: fault.fromMs / unit.ms, to, kind: kindOf(fault.kind), tip: told(fault, report) }]
    })
  const fewer =
    shown.length < clusters.length
      ? ` ${whole(shown.length)} of ${whole(clusters.length)} clusters, those with least to spare.`
      : ''
  const killed = struck.size > 0 ? ' Set off: the cluster, or its broker, was dead or frozen.' : ''
  return section(
    'spare',
    'Spare capacity',
    figure(
      (width) =>
        lanes({
          title: 'Free slots of each cluster over time',
          x: { label: `time (${unit.unit})` },
          step: series.bucketMs / unit.ms,
          end: report.durationMs / unit.ms,
          lanes: shown.map((index) => ({ name: clusters[index] ?? '', values: series.spare[index] ?? [] })),
          full,
          what: 'free slots',
          marks,
          marksAs: 'bands',
          width,
        }),
      `Slots free at each cluster's workers, as its broker counts them.${killed}${fewer}`,
    ),
  )
}

// ---------------------------------------------------------------- over the whole run

function recovery({ series }: Report): Html {
  const { recoveries, retakenAfterMs } = series
  const again = recoveries.flatMap(({ againMs }) => (againMs === null ? [] : [againMs]))
  const idle = recoveries.length - again.length
  const parts: Html[] = []
  if (recoveries.length === 0) parts.push(paragraph('No cluster was killed and started again.'))
  else {
    const down = medianOf(recoveries.map(({ downMs }) => downMs)) ?? 0
    parts.push(
      times(
        'Time from the restart of a killed cluster to its first answer',
        'kills',
        again,
        `After each kill of a cluster or its broker: from its restart until a task that ran in it was answered, the task's own time included. Before that it had been down for ${shortTime(down)} (median).${idle > 0 ? ` ${whole(idle)} of ${whole(recoveries.length)} ran no task before the next kill or the end, and ${idle === 1 ? 'is' : 'are'} not shown.` : ''}`,
      ),
    )
  }
  if (retakenAfterMs.length > 0)
    parts.push(
      times(
        'Time until a task whose worker died was started again',
        'tasks',
        retakenAfterMs,
        'Of each task that may start twice and whose worker died under it: from the death until it was started elsewhere.',
      ),
    )
  return section('recovery', 'Recovery', ...parts)
}

function times(title: string, counted: string, values: readonly number[], caption: string): Html {
  const unit = timeUnitFor(values.reduce((a, b) => Math.max(a, b), 0))
  return figure(
    (width) =>
      histogram({
        title,
        x: { label: `time (${unit.unit})` },
        unit: unit.unit,
        what: counted,
        values: values.map((value) => value / unit.ms),
        width,
      }),
    caption,
  )
}

function lending({ clusters, series }: Report): Html {
  const { loans } = series
  if (loans.length === 0)
    return section('lending', 'Who lent to whom', paragraph('No cluster ran a task of another.'))
  const dealt = new Array<number>(clusters.length).fill(0)
  for (const [lender, borrower, tasks] of loans)
    for (const index of [lender, borrower]) dealt[index] = (dealt[index] ?? 0) + tasks
  const shown = most(clusters.length, (index) => dealt[index] ?? 0)
  const rowOf = new Map(shown.map((index, row) => [index, row]))
  const some = shown.length < clusters.length
  const names = [...shown.map((index) => clusters[index] ?? ''), ...(some ? [OTHERS] : [])]
  const values = names.map(() => new Array<number>(names.length).fill(0))
  for (const [lender, borrower, tasks] of loans) {
    const row = values[rowOf.get(lender) ?? shown.length]
    const column = rowOf.get(borrower) ?? shown.length
    if (row !== undefined) row[column] = (row[column] ?? 0) + tasks
  }
  return section(
    'lending',
    'Who lent to whom',
    figure(
      (width) =>
        heatMatrix({
          title: 'Tasks that a cluster ran for another',
          rows: names,
          columns: names,
          rowLabel: 'ran in',
          columnLabel: 'came from',
          what: 'tasks',
          values,
          hollow: true,
          rest: some,
          width,
        }),
      `${whole(sum(loans.map(([, , tasks]) => tasks)))} tasks ran in another cluster than the one they came from.`,
    ),
  )
}

// ---------------------------------------------------------------- pieces of the above

function points(values: readonly (number | null)[], { series }: Report, unit: TimeUnit) {
  return values.map((y, bucket) => ({ x: ((bucket + 0.5) * series.bucketMs) / unit.ms, y }))
}

/** Takes a whole cluster out of action. */
function stops({ kind }: Fault): boolean {
  return kind === 'cluster' || kind === 'broker' || kind === 'freeze-cluster' || kind === 'freeze-broker'
}

/** When any cluster was out of action; what overlaps is one. Empty where that was most of the time. */
function bands(report: Report, unit: TimeUnit): Band[] {
  const merged: { from: number; to: number; tips: string[] }[] = []
  for (const fault of report.faults.filter(stops).sort((a, b) => a.fromMs - b.fromMs)) {
    const [from, to] = [fault.fromMs / unit.ms, (fault.untilMs ?? report.durationMs) / unit.ms]
    const before = merged.at(-1)
    if (before === undefined || from > before.to) merged.push({ from, to, tips: [told(fault, report)] })
    else {
      before.to = Math.max(before.to, to)
      before.tips.push(told(fault, report))
    }
  }
  const share = (sum(merged.map(({ from, to }) => to - from)) * unit.ms) / report.durationMs
  if (share > BANDS_SHARE_MAX) return []
  return merged.map(({ from, to, tips }) => ({ from, to, tip: tips.slice(0, 20).join('\n') }))
}

/** What stands out in plots of the whole federation. */
function setOff(report: Report): string {
  const dead =
    bands(report, { unit: 'ms', ms: 1 }).length > 0
      ? 'Set off: a cluster, or its broker, was dead or frozen. '
      : ''
  const { arrivalsUntilMs, time } = report
  if (arrivalsUntilMs === undefined) return dead
  const last = time === 'real' ? ', and each client sent one task more' : ''
  return `${dead}From ${shortTime(arrivalsUntilMs)} on no new tasks came: the rest got done${last}.`
}

function kindOf(kind: string): MarkKind {
  if (Object.hasOwn(KIND_OF, kind)) return KIND_OF[kind] ?? 'odd'
  return kind.startsWith('freeze') ? 'freeze' : 'odd'
}

function what({ kind, node, other }: Fault, { clusters }: Report): string {
  const words = Object.hasOwn(WORDS, kind) ? (WORDS[kind] ?? kind) : kind
  const whose = node === null ? '' : ` (number ${node})`
  const towards = other === null ? '' : `, to ${clusters[other] ?? 'another'}`
  return `${words}${whose}${towards}`
}

function told(fault: Fault, report: Report): string {
  const { fromMs, untilMs, cluster } = fault
  const lasted = untilMs === null ? 'to the end' : `for ${shortTime(untilMs - fromMs)}`
  return `${report.clusters[cluster] ?? 'everywhere'}: ${what(fault, report)}, at ${shortTime(fromMs)} ${lasted}`
}

/** @returns the indices of those with most, in their order */
function most(count: number, of: (index: number) => number): number[] {
  const all = Array.from({ length: count }, (_, index) => index)
  if (count <= SHOWN_MAX) return all
  const sizes = all.map(of)
  return all
    .sort((a, b) => (sizes[b] ?? 0) - (sizes[a] ?? 0) || a - b)
    .slice(0, SHOWN_MAX)
    .sort((a, b) => a - b)
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0)
}

function whole(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}
