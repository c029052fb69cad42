import { setMaxListeners } from 'node:events'

/**
 * Calls `abort` once, when the signal fires.
 *
 * @returns takes it back
 */
export function onAbort(signal: AbortSignal, abort: () => void): () => void {
  // One signal for a thousand calls is no leak, as Node 20 would have it at the eleventh: each leaves with its call.
  if (signal instanceof EventTarget) setMaxListeners(Number.POSITIVE_INFINITY, signal)
  signal.addEventListener('abort', abort, { once: true })
  return () => signal.removeEventListener('abort', abort)
}
