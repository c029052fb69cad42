import type { LeashedProcess } from './leashed-process.ts'
import { moduleNear, packageProcess } from './package-process.ts'

/** Stops processes on a leash and lets them go on, in such a way that none stays behind, stopped, when this process dies. */
export class Freezer {
  readonly #process = packageProcess('the freezer', moduleNear(import.meta.url, './freezer-process'), [])

  freeze({ pid }: LeashedProcess): void {
    this.#process.tell({ type: 'freeze', group: pid })
  }

  /** Nothing happens to a process that was killed meanwhile, but it must be said of it, too. */
  thaw({ pid }: LeashedProcess): void {
    this.#process.tell({ type: 'thaw', group: pid })
  }

  async stop(): Promise<void> {
    this.#process.signal('SIGKILL')
    await this.#process.ended
  }
}
