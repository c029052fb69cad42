import pc from 'picocolors'
import { COLUMNS_MAX, happeningLine, type Paint, spark, wrapped } from '../terminal-view.ts'
import { type ClusterOnStage, DEAD, type Scene } from './scene.ts'

const PAINTS = [pc.cyan, pc.yellow, pc.magenta, pc.green, pc.blue]

/** The scene as lines that fit in a terminal of that size. */
export function picture(scene: Scene, now: number, columns: number, rows: number): string {
  const width = Math.min(columns, COLUMNS_MAX) - 1
  const loaded = scene.clusters[0]
  const lines = [
    ...header(scene, now, width),
    '',
    ...scene.clusters.map((cluster, index) => clusterLine(cluster, paintOf(index), PAINTS[0] ?? pc.cyan)),
    '',
    pc.dim(`  where the tasks of ${loaded?.name ?? ''} ran`),
    ...scene.clusters.map((cluster, index) => ranLine(scene, cluster, paintOf(index), width)),
    '',
    countsLine(scene),
    '',
  ]
  const room = Math.max(1, rows - lines.length - 1)
  for (const happening of scene.happenings.slice(-room)) lines.push(happeningLine(happening, width))
  return lines.join('\n')
}

function paintOf(index: number): Paint {
  return PAINTS[index % PAINTS.length] ?? pc.white
}

function header(scene: Scene, now: number, width: number): string[] {
  const title = 'Spillway'
  const subtitle = '  clusters that lend each other workers'
  const clock = `${(scene.elapsedMs(now) / 1000).toFixed(0)} s`
  const gap = ' '.repeat(Math.max(1, width - 2 - title.length - subtitle.length - clock.length))
  const step = `${scene.act}/${scene.actsTotal}  `
  const [first = '', second = ''] = wrapped(scene.sentence, width - 2 - step.length)
  return [
    `  ${pc.bold(title)}${pc.dim(subtitle)}${gap}${pc.dim(clock)}`,
    '',
    `  ${pc.dim(step)}${pc.bold(first)}`,
    `  ${' '.repeat(step.length)}${pc.bold(second)}`,
  ]
}

/** A block a slot, in the colour of the cluster whose task it runs: one sees the loaded cluster's colour flow over. */
function clusterLine(cluster: ClusterOnStage, paint: Paint, loaded: Paint): string {
  const name = paint(cluster.name.padEnd(7))
  if (cluster.condition !== 'up') {
    const bar =
      cluster.condition === 'killed'
        ? pc.red('✖✖ '.repeat(cluster.slots))
        : pc.dim('·· '.repeat(cluster.slots))
    const words = cluster.condition === 'killed' ? pc.red(pc.bold('killed')) : pc.dim(cluster.condition)
    return `  ${name}${bar}  ${words}`
  }
  const own = Math.min(cluster.own, cluster.slots)
  const borrowed = Math.min(cluster.borrowed, cluster.slots - own)
  const bar =
    paint('██ '.repeat(own)) +
    loaded('██ '.repeat(borrowed)) +
    pc.dim('░░ '.repeat(cluster.slots - own - borrowed))
  const busy = `${own + borrowed} of ${cluster.slots} busy`
  const queue = cluster.queue === 0 ? '' : `queue ${cluster.queue}`
  const lent = borrowed === 0 ? '' : loaded(`${borrowed} borrowed`)
  return `  ${name}${bar}  ${busy}   ${queue}${lent}`
}

function ranLine(scene: Scene, cluster: ClusterOnStage, paint: Paint, width: number): string {
  const room = width - 2 - 7 - 8
  const most = Math.max(1, ...scene.clusters.flatMap(({ ranByTick }) => ranByTick.slice(-room)))
  const sparks = cluster.ranByTick.slice(-room).map((ran) => {
    if (ran === DEAD) return pc.red('×')
    return paint(spark(ran, most))
  })
  return `  ${paint(cluster.name.padEnd(7))}${String(cluster.ran).padStart(6)}  ${sparks.join('')}`
}

function countsLine({ report }: Scene): string {
  if (report === undefined) return ''
  const p99 = report.latencies.at(-1)?.p99Ms
  const parts = [
    `${report.answered} of ${report.sent} answered`,
    `${report.startedAgain} run again`,
    alarming(report.wrong, 'wrong'),
    alarming(report.failed, 'lost'),
    p99 === undefined ? '' : `p99 ${p99} ms`,
  ]
  return `  ${parts.filter((part) => part !== '').join(pc.dim(' · '))}`
}

function alarming(count: number, word: string): string {
  const text = `${count} ${word}`
  return count === 0 ? pc.green(text) : pc.red(pc.bold(text))
}
