import type { ChildProcess } from 'node:child_process'
import { constants } from 'node:os'

/** What asks a command to end. */
export const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/**
 * What a command leaves that a signal ends while other processes work for it: none of them, and a terminal as it was.
 *
 * A bar takes the cursor away, and the breaking of long lines, for as long as it moves. Ctrl-C reaches everybody in front of a
 * terminal, but a signal sent by a script reaches the command alone.
 */
export class Interruption {
  /** Those that work for it now. */
  readonly #children = new Set<ChildProcess>()
  readonly #restore: () => void
  readonly #leave = (signal: (typeof SIGNALS)[number]): void => {
    this.end()
    process.exit(128 + constants.signals[signal])
  }

  /** @param restore gives the terminal back */
  constructor(restore: () => void) {
    this.#restore = restore
    for (const signal of SIGNALS) process.once(signal, this.#leave)
  }

  /** Ends with the command, and the command with it when a signal has asked that of it. @returns what it was given */
  take<C extends ChildProcess>(child: C): C {
    this.#children.add(child)
    child.once('exit', (_status, signal) => {
      this.#children.delete(child)
      // Of a Ctrl-C the command may see this before it gets the signal itself: its runs have not failed.
      const asked = SIGNALS.find((one) => one === signal)
      if (asked !== undefined) this.#leave(asked)
    })
    return child
  }

  /** Nobody works any longer, nothing is drawn, and signals do what they always do. */
  end(): void {
    for (const signal of SIGNALS) process.removeListener(signal, this.#leave)
    // They have nothing to put in order, and nobody to hear of it.
    for (const child of this.#children) child.kill('SIGKILL')
    this.#restore()
  }
}
