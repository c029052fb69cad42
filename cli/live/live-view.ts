import pc from 'picocolors'
import { COLUMNS_MAX, happeningLine, type Paint, spark, wrapped } from '../terminal-view.ts'
import type { Board } from './board.ts'
import type { Cluster, Condition, Host } from './cluster.ts'

const PAINTS = [pc.cyan, pc.yellow, pc.magenta, pc.green, pc.blue]
const NAME = 5
const BAR = 20
/** More processes than this are counted. */
const SIGNS_MAX = 4

/** Of a broker; one that is up and has said nothing yet is starting. */
const WORDS: { readonly [condition in Condition]: string } = {
  up: 'starting',
  down: 'killed',
  frozen: 'frozen',
  stopped: 'stopped',
}
const SIGNS: { readonly [condition in Condition]: string } = {
  up: pc.green('●'),
  down: pc.red('✖'),
  frozen: pc.blue('❄'),
  stopped: pc.dim('·'),
}

/** The board as lines that fit in a terminal of that size. */
export function picture(board: Board, now: number, columns: number, rows: number): string {
  const width = Math.min(columns, COLUMNS_MAX) - 1
  // Lines that are always there, and what each cluster takes: beyond that, only the first clusters are shown.
  const shown = board.clusters.slice(0, Math.max(1, Math.floor((rows - 13) / 2)))
  const lines = [
    ...header(board, now, width),
    '',
    ...shown.map((cluster) => clusterLine(cluster)),
    linksLine(board, width),
    '',
    pc.dim('  tasks answered a second, by where they ran'),
    ...shown.map((cluster) => ranLine(board, cluster, width)),
    '',
    countsLine(board),
    '',
  ]
  const room = Math.max(1, rows - lines.length - 1)
  for (const happening of board.happenings.slice(-room)) lines.push(happeningLine(happening, width))
  return lines.join('\n')
}

function header(board: Board, now: number, width: number): string[] {
  const title = 'spillway sim live'
  const clock = `${(board.elapsedMs(now) / 1000).toFixed(0)} s`
  const gap = ' '.repeat(Math.max(1, width - 2 - title.length - clock.length))
  const [first = '', second = ''] = wrapped(board.sentence, width - 2)
  return [`  ${pc.bold(title)}${gap}${pc.dim(clock)}`, '', `  ${pc.bold(first)}`, `  ${pc.bold(second)}`]
}

function paintOf({ index }: Cluster): Paint {
  return PAINTS[index % PAINTS.length] ?? pc.white
}

/** Slots as a bar, and a sign for each process. */
function clusterLine(cluster: Cluster): string {
  const { broker, workerHosts, clientHosts, status, name } = cluster
  const paint = paintOf(cluster)
  const processes = `broker ${signOf(broker)} workers ${signsOf(workerHosts)} clients ${signsOf(clientHosts)}`
  const head = `  ${paint(name.padEnd(NAME))}`
  if (broker.condition !== 'up' || status === null) {
    const word = WORDS[broker.condition].padEnd(13)
    const painted = broker.condition === 'stopped' ? pc.dim(word) : pc.red(word)
    return `${head}${pc.dim('·'.repeat(BAR))}  ${painted} ${processes}`
  }
  const { slots, busy, borrowed, queued } = status
  const blocks = (count: number) => Math.min(BAR, Math.round((count / Math.max(1, slots)) * BAR))
  const lent = blocks(borrowed)
  const own = Math.min(BAR - lent, blocks(busy - borrowed))
  const bar = paint('█'.repeat(own)) + pc.white('▒'.repeat(lent)) + pc.dim('░'.repeat(BAR - own - lent))
  const words = queued > 0 ? `${queued} queued` : `${busy} of ${slots} busy`
  return `${head}${bar}  ${words.padEnd(13)} ${processes}`
}

function signsOf(hosts: readonly Host[]): string {
  if (hosts.length <= SIGNS_MAX) return hosts.map(signOf).join('')
  return `${hosts.filter(({ condition }) => condition === 'up').length} of ${hosts.length}`
}

function signOf({ condition }: Host): string {
  return SIGNS[condition]
}

function linksLine({ links }: Board, width: number): string {
  const words = [...links].map(([link, what]) => `${link} ${what}`)
  if (words.length === 0) return pc.dim('  links well')
  return pc.red(`  links: ${words.join(' · ')}`.slice(0, width))
}

function ranLine(board: Board, cluster: Cluster, width: number): string {
  const paint = paintOf(cluster)
  const ran = board.judge?.ranIn.get(cluster.name) ?? 0
  const room = width - 2 - NAME - 9
  const most = Math.max(1, ...board.ranByTick.flatMap((ticks) => ticks.slice(-room)))
  const sparks = (board.ranByTick[cluster.index] ?? []).slice(-room).map((count) => spark(count, most))
  return `  ${paint(cluster.name.padEnd(NAME))}${String(ran).padStart(7)}  ${paint(sparks.join(''))}`
}

function countsLine({ judge }: Board): string {
  if (judge === null) return ''
  const breaches = judge.brokenCount()
  const parts = [
    `${judge.sent} sent`,
    `${judge.open} open`,
    `${judge.startedAgain} run again`,
    `${judge.outcomes.get('UNKNOWN') ?? 0} unknown`,
    `${judge.abandoned} abandoned`,
    breaches === 0 ? pc.green('0 breaches') : pc.red(pc.bold(`${breaches} breaches`)),
  ]
  return `  ${parts.join(pc.dim(' · '))}`
}
