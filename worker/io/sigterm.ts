/** libzmq tells nobody when the last answer has left, and unlike an exit a signal does not wait for it; ms. */
const LAST_WORDS_MS = 200

/** How the workers of this process drain; one listener serves them all. */
const drains = new Set<() => Promise<void>>()

/**
 * Has `drain` called when the process is told to end (SIGTERM), and the process end as it would have, once all that were
 * called are done, unless somebody else listens for the signal as well. Told again, it calls them again.
 *
 * @returns takes it back
 */
export function drainOnSigterm(drain: () => Promise<void>): () => void {
  if (drains.size === 0) process.on('SIGTERM', drainAll)
  drains.add(drain)
  return () => {
    if (drains.delete(drain) && drains.size === 0) process.off('SIGTERM', drainAll)
  }
}

function drainAll(): void {
  void Promise.allSettled([...drains].map((drain) => drain())).then(() => {
    setTimeout(() => {
      if (process.listenerCount('SIGTERM') === 0) process.kill(process.pid, 'SIGTERM')
    }, LAST_WORDS_MS)
  })
}
