import { howBusy, type Words } from '../plain-view.ts'
import type { Board } from './board.ts'
import type { Cluster } from './cluster.ts'

/** The board, told in lines. */
export const plainWords: Words<Board> = {
  timeWidth: 6,
  heading: ({ sentence }) => sentence,
  counts({ judge, clusters }) {
    if (judge === null || judge.sent === 0) return null
    const busy = clusters.map((cluster) => `${cluster.name} ${wordsOf(cluster)}`)
    const counts = `${judge.sent} sent, ${judge.settled} settled, ${judge.open} open, ${judge.brokenCount()} breaches`
    return `${busy.join(' · ')} · ${counts}`
  },
}

function wordsOf({ broker, status }: Cluster): string {
  if (broker.condition === 'down') return 'killed'
  if (broker.condition !== 'up') return broker.condition
  if (status === null) return 'starting'
  return howBusy(status.busy, status.slots, status.borrowed, status.queued)
}
