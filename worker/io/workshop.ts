import type { Handler } from '../handler.ts'

/** Where tasks are done: in this process, in child processes, or by a program for each. */
export interface Workshop {
  readonly handler: Handler
  /**
   * Makes ready for the first task.
   * @throws ConfigurationError when the handler cannot be used
   */
  open(): Promise<void>
  /** Ends what still runs: asked for at first, killed after `graceMs`. No task may be given to it afterwards. */
  close(graceMs: number): Promise<void>
}

/** In this process: the cheapest, but a handler that blocks stops the heartbeats, and one that crashes ends all. */
export function inProcess(handler: Handler): Workshop {
  return { handler, open: async () => {}, close: async () => {} }
}
