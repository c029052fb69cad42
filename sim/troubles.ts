/** Time in which something does not do as well as it could. */
interface Trouble {
  /** Faults under way. */
  open: number
  /** When the last one ended, ms. */
  endedAt: number
}

/** A process, several of them, or a way, as `place` names it. */
export type Place = string

export const place = {
  broker: (cluster: number): Place => `broker ${cluster}`,
  worker: (name: string): Place => `worker ${name}`,
  /** All workers of a cluster at once. */
  workers: (cluster: number): Place => `workers ${cluster}`,
  /** At least one worker of a cluster. */
  someWorker: (cluster: number): Place => `some worker ${cluster}`,
  client: (name: string): Place => `client ${name}`,
  /** All clients of a cluster at once. */
  clients: (cluster: number): Place => `clients ${cluster}`,
  /** Between two clusters, either way. */
  link: (one: number, other: number): Place => `link ${Math.min(one, other)} ${Math.max(one, other)}`,
}

/** What has gone wrong where, and until when. Only what was in a task's way is an excuse for its error. */
export class Troubles {
  readonly #troubles = new Map<Place, Trouble>()
  /** Faults that have begun, wherever. */
  count = 0

  /** A fault begins, at all of these places. */
  begins(places: readonly Place[]): void {
    this.count++
    for (const where of places) this.#at(where).open++
  }

  ends(places: readonly Place[], at: number): void {
    for (const where of places) {
      const trouble = this.#at(where)
      trouble.open--
      trouble.endedAt = Math.max(trouble.endedAt, at)
    }
  }

  /** Something that nobody has begun and that is over by itself: a full pipe, a link with too much to carry. */
  passing(where: Place, until: number): void {
    const trouble = this.#at(where)
    trouble.endedAt = Math.max(trouble.endedAt, until)
  }

  /** Was there trouble at the place at any time since then? */
  touched(where: Place, since: number): boolean {
    const trouble = this.#troubles.get(where)
    return trouble !== undefined && (trouble.open > 0 || trouble.endedAt >= since)
  }

  #at(where: Place): Trouble {
    let trouble = this.#troubles.get(where)
    if (trouble === undefined) {
      trouble = { open: 0, endedAt: Number.NEGATIVE_INFINITY }
      this.#troubles.set(where, trouble)
    }
    return trouble
  }
}
