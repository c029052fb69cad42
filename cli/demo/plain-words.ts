import { howBusy, type Words } from '../plain-view.ts'
import type { Scene } from './scene.ts'

/** The scene, told in lines. */
export const plainWords: Words<Scene> = {
  timeWidth: 5,
  heading: ({ act, actsTotal, sentence }) => `[${act}/${actsTotal}] ${sentence}`,
  counts({ clusters, report }) {
    if (report === undefined) return null
    const busy = clusters.map(({ name, condition, busy, slots, borrowed, queue }) =>
      condition === 'up' ? `${name} ${howBusy(busy, slots, borrowed, queue)}` : `${name} ${condition}`,
    )
    const { sent, answered, wrong } = report
    return `${busy.join(' · ')} · ${sent} sent, ${answered} answered, ${wrong} wrong`
  },
}
