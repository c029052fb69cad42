import Table from 'cli-table3'
import pc from 'picocolors'
import { ACTS, type Act, LOADED, NAMES, type Outcome, VICTIM } from './director.ts'
import type { Report } from './load-report.ts'

const ACT_TITLES: { readonly [act in Act]: string } = {
  alone: `${LOADED} alone`,
  spill: 'before the kill',
  killed: `${VICTIM} dead`,
  back: `${VICTIM} back`,
}

/** What became of the tasks of one client, or of all. */
export interface Account {
  readonly sent: number
  readonly answered: number
  readonly ranIn: { readonly [cluster: string]: number }
  /** Answered tasks that were started more than once. */
  readonly startedAgain: number
  readonly sentAgain: number
  readonly lost: number
  readonly wrong: number
  /** Answers beyond the first, which the client dropped. */
  readonly dropped: number
}

export interface Verdict {
  /** Every task had its right answer, once, and everything happened that was to be shown. */
  readonly good: boolean
  readonly accounts: { readonly [cluster: string]: Account }
  readonly total: Account
  /** Of the loaded cluster's client. */
  readonly latencies: Report['latencies']
  readonly heldAtKill: number
  readonly shortcomings: readonly string[]
}

/** What the outcome comes to. */
export function judge(outcome: Outcome): Verdict {
  const accounts: { [cluster: string]: Account } = {}
  const shortcomings = [...outcome.shortcomings]
  for (const name of NAMES) {
    const report = outcome.reports.get(name)
    if (report === undefined) {
      shortcomings.push(`the client of ${name} has said nothing`)
      continue
    }
    accounts[name] = accountOf(report)
    shortcomings.push(...report.errors.map((error) => `a task of ${name} failed: ${error}`))
  }
  const total = Object.values(accounts).reduce(sum, NOTHING)
  return {
    good: total.lost === 0 && total.wrong === 0 && total.answered > 0 && shortcomings.length === 0,
    accounts,
    total,
    latencies: outcome.reports.get(LOADED)?.latencies ?? [],
    heldAtKill: outcome.heldAtKill,
    shortcomings,
  }
}

const NOTHING: Account = {
  sent: 0,
  answered: 0,
  ranIn: {},
  startedAgain: 0,
  sentAgain: 0,
  lost: 0,
  wrong: 0,
  dropped: 0,
}

function accountOf(report: Report): Account {
  const { sent, answered, ranIn, startedAgain, sentAgain, wrong, late } = report
  return { sent, answered, ranIn, startedAgain, sentAgain, lost: sent - answered, wrong, dropped: late }
}

function sum(one: Account, other: Account): Account {
  const ranIn: { [cluster: string]: number } = {}
  for (const name of NAMES) ranIn[name] = (one.ranIn[name] ?? 0) + (other.ranIn[name] ?? 0)
  return {
    sent: one.sent + other.sent,
    answered: one.answered + other.answered,
    ranIn,
    startedAgain: one.startedAgain + other.startedAgain,
    sentAgain: one.sentAgain + other.sentAgain,
    lost: one.lost + other.lost,
    wrong: one.wrong + other.wrong,
    dropped: one.dropped + other.dropped,
  }
}

/** The verdict as tables and a sentence. */
export function verdictTables(verdict: Verdict): string {
  const { total, shortcomings } = verdict
  const conclusion = verdict.good
    ? pc.green(pc.bold(`All ${count(total.sent)} tasks got their right answer, each exactly once.`))
    : pc.red(pc.bold('Not every task got its right answer, or not everything could be shown:'))
  return [
    countsTable(verdict),
    latencyTable(verdict),
    conclusion,
    ...shortcomings.map((text) => pc.red(`- ${text}`)),
  ].join('\n')
}

function countsTable({ accounts, total }: Verdict): string {
  const table = newTable(['tasks', ...NAMES.map((name) => `from ${name}`), 'all'])
  const row = (title: string, of: (account: Account) => number, paint = plain) => {
    const figures = [...NAMES.map((name) => accounts[name]), total]
    table.push([title, ...figures.map((account) => (account === undefined ? '?' : paint(of(account))))])
  }
  row('sent', ({ sent }) => sent)
  row('answered', ({ answered }) => answered)
  for (const name of NAMES) row(`  run in ${name}`, ({ ranIn }) => ranIn[name] ?? 0)
  row('run again', ({ startedAgain }) => startedAgain)
  row('sent again', ({ sentAgain }) => sentAgain)
  row('lost', ({ lost }) => lost, alarming)
  row('wrong', ({ wrong }) => wrong, alarming)
  return table.toString()
}

function latencyTable({ latencies }: Verdict): string {
  const table = newTable([`${LOADED}'s client`, ...ACTS.map((act) => ACT_TITLES[act])])
  const row = (title: string, of: (latency: Report['latencies'][number]) => string) => {
    const cells = ACTS.map((act) => latencies.find((latency) => latency.act === act))
    table.push([title, ...cells.map((latency) => (latency === undefined ? '–' : of(latency)))])
  }
  row('answers', ({ answers }) => count(answers))
  row('p50', ({ p50Ms }) => `${p50Ms} ms`)
  row('p99', ({ p99Ms }) => `${p99Ms} ms`)
  return table.toString()
}

function newTable(head: string[]): Table.Table {
  return new Table({
    head: head.map((title) => pc.bold(title)),
    colAligns: head.map((_, index) => (index === 0 ? 'left' : 'right')),
    // Colours are picocolors' business, which knows NO_COLOR and pipes.
    style: { head: [], border: [], compact: true },
  })
}

function plain(figure: number): string {
  return count(figure)
}

function alarming(figure: number): string {
  return figure === 0 ? pc.green('0') : pc.red(pc.bold(count(figure)))
}

function count(figure: number): string {
  return figure.toLocaleString('en-US')
}
