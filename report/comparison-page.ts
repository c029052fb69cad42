import type { ComparedDimension, ComparisonReport, PolicyFigures } from './comparison-report.ts'
import { type Curve, type LinePlot, linePlot } from './line-plot.ts'
import { command, figure, folded, type Html, note, page, paragraph, section, table, verdict } from './page.ts'
import { short } from './scale.ts'

/** What a routing policy is asked to reach: p99 wait by the omniscient scheduler's, and rejects of what is sent to peers. */
const RATIO_GOAL = 1.3
const REJECTS_GOAL = 0.01

/** A measure that has a plot in each dimension. */
interface Plotted {
  readonly name: string
  readonly title: string
  readonly label: string
  readonly log: boolean
  readonly of: (figures: PolicyFigures) => number | null
  /** Not measured of the yardstick: it rejects nothing and needs no state. */
  readonly policiesOnly?: boolean
  readonly goal?: number
}

const PLOTTED: readonly Plotted[] = [
  {
    name: 'ratio',
    title: 'p99 wait, times the omniscient scheduler’s',
    label: 'times the omniscient scheduler’s p99',
    log: true,
    of: ({ timesOmniscient }) => timesOmniscient,
    policiesOnly: true,
    goal: RATIO_GOAL,
  },
  {
    name: 'p99',
    title: 'p99 wait',
    label: 'ms',
    log: true,
    of: ({ p99WaitMs }) => p99WaitMs,
  },
  {
    name: 'mean',
    title: 'Mean wait',
    label: 'ms',
    log: true,
    of: ({ meanWaitMs }) => meanWaitMs,
  },
  {
    name: 'lent',
    title: 'Tasks subcontracted',
    label: '% of all tasks',
    log: false,
    of: ({ lentShare }) => 100 * lentShare,
  },
  {
    name: 'rejects',
    title: 'Tasks that a peer turned away',
    label: '% of tasks sent to a peer',
    log: false,
    of: ({ rejectShare }) => 100 * rejectShare,
    policiesOnly: true,
    goal: 100 * REJECTS_GOAL,
  },
  {
    name: 'states',
    title: 'States sent',
    label: 'states a task',
    log: false,
    of: ({ statesPerTask }) => statesPerTask,
    policiesOnly: true,
  },
]

/** What `comparedPlot` takes as its measure. */
export const MEASURES_PLOTTED: readonly string[] = PLOTTED.map(({ name }) => name)

/** All policies next to the omniscient scheduler on one page, from nothing but the report. */
export function comparisonPage(report: ComparisonReport): string {
  const { title, version, command: line, setting } = report
  const breaches = breachesOf(report)
  const lead = [
    ...(breaches.length === 0
      ? []
      : [verdict(false, 'A promise was broken: figures of that run do not count', breaches.join('\n'))]),
    paragraph(setting),
    note('Virtual time: the same figures again, to the last digit:'),
    command(line),
  ]
  return page({
    title,
    lead: lead.join('\n'),
    sections: report.dimensions.map((dimension) => dimensionSection(report, dimension)),
    origin: `Spillway ${version}. The same figures are in report.json.`,
  })
}

function breachesOf({ dimensions }: ComparisonReport): string[] {
  return dimensions.flatMap(({ title, values }) =>
    values.flatMap(({ value, policies }) =>
      policies.flatMap(({ policy, breach }) =>
        breach === null ? [] : [`${title} ${value}, ${policy}: ${breach}`],
      ),
    ),
  )
}

function dimensionSection(report: ComparisonReport, dimension: ComparedDimension): Html {
  const { name, title, values } = dimension
  const figures = PLOTTED.map((plotted) =>
    figure(
      (width) => linePlot({ ...comparedPlot(report, dimension, plotted.name), width }),
      `${plotted.title}.${plotted.goal === undefined ? '' : ` Goal: at most ${short(plotted.goal)}.`}`,
    ),
  )
  const rows = values.flatMap(({ value, policies }) => policies.map((one) => rowOf(report, value, one)))
  return section(
    `dimension-${name}`,
    `By ${title}`,
    note(
      'Values lie side by side, not to scale. Where a policy is not seen another one’s curve covers it: the table tells.',
    ),
    ...figures,
    folded('Table', table([axisLabel(dimension), ...HEAD], rows, [0, 2, 3, 4, 5, 6, 7, 8, 9])),
  )
}

/** One measure in one dimension, for a page or a file of its own. @throws RangeError for a measure that is not plotted */
export function comparedPlot(
  { yardstick }: ComparisonReport,
  dimension: ComparedDimension,
  measure: string,
): LinePlot {
  const plotted = PLOTTED.find(({ name }) => name === measure)
  if (plotted === undefined)
    throw new RangeError(`there is no "${measure}"; there are ${MEASURES_PLOTTED.join(', ')}`)
  const { title, values } = dimension
  const names = [...new Set(values.flatMap(({ policies }) => policies.map(({ policy }) => policy)))]
  const curves: Curve[] = names
    .filter((name) => name !== yardstick || !plotted.policiesOnly)
    .map((name) => ({
      name,
      goal: name === yardstick,
      points: values.map(({ policies }, x) => {
        const one = policies.find(({ policy }) => policy === name)
        return { x, y: one === undefined || one.breach !== null ? null : plotted.of(one) }
      }),
    }))
  const { goal } = plotted
  if (goal !== undefined)
    curves.push({ name: `goal: ${short(goal)}`, goal: true, points: values.map((_, x) => ({ x, y: goal })) })
  return {
    title: `${plotted.title}, by ${title}`,
    x: {
      label: axisLabel(dimension),
      format: (x) => (values[Math.round(x)] === undefined ? '' : short(values[Math.round(x)]?.value ?? 0)),
      ticks: values.map((_, x) => x),
    },
    y: { label: plotted.label, scale: plotted.log ? 'log' : 'linear' },
    curves,
    dots: true,
  }
}

function axisLabel({ title, unit }: ComparedDimension): string {
  return unit === '' ? title : `${title}, ${unit}`
}

const HEAD = [
  'policy',
  'mean ms',
  'p99 ms',
  '× omniscient',
  'subcontracted %',
  'rejected %',
  'states/s',
  'states/task',
  'tasks/s',
]

function rowOf({ yardstick }: ComparisonReport, value: number, m: PolicyFigures): string[] {
  const knowsAll = m.policy === yardstick
  return [
    short(value),
    m.policy,
    m.meanWaitMs.toFixed(2),
    m.p99WaitMs.toFixed(2),
    knowsAll || m.timesOmniscient === null ? '' : m.timesOmniscient.toFixed(2),
    (100 * m.lentShare).toFixed(1),
    knowsAll ? '' : (100 * m.rejectShare).toFixed(2),
    knowsAll ? '' : m.statesPerSecond.toFixed(0),
    knowsAll ? '' : m.statesPerTask.toFixed(2),
    m.throughput.toFixed(0),
  ]
}
