/** Between looks at the clock, ms. */
const LOOK_EVERY_MS = 100

/** A process that stood still for so long is late by its own machine's fault, ms. Whoever waits for it waits several times longer. */
export const STANDSTILL_MS = 400

/** Told of every time in which this process did not get to its work. */
export function onStandstill(clock: () => number, tell: (since: number, until: number) => void): void {
  let lookedAt = clock()
  setInterval(() => {
    const now = clock()
    if (now - lookedAt > STANDSTILL_MS + LOOK_EVERY_MS) tell(lookedAt, now)
    lookedAt = now
  }, LOOK_EVERY_MS).unref()
}
