/** A promise that was not kept: which, when, and over which task. */
export class Breach extends Error {
  override readonly name = 'Breach'
  /** One of a fixed set, so that a smaller scenario can be asked whether it breaks the same promise. */
  readonly promise: string
  /** Virtual time, ms. */
  readonly at: number
  readonly task: number | null

  constructor(promise: string, at: number, task: number | null, detail: string) {
    super(`${promise} at ${at.toFixed(3)} ms${task === null ? '' : `, task ${task}`}: ${detail}`)
    this.promise = promise
    this.at = at
    this.task = task
  }
}
