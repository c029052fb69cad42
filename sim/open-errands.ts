import type { Errand } from './errand.ts'

const PAGE = 1024

interface Page {
  readonly errands: (Errand | undefined)[]
  count: number
}

/**
 * Errands that are not done with, by their numbers. These are given one after the other, so that those of a time lie side by
 * side on a few pages; a page goes with its last errand.
 */
export class OpenErrands {
  readonly #pages: (Page | undefined)[] = []

  get(number: number): Errand | undefined {
    return this.#pages[Math.floor(number / PAGE)]?.errands[number % PAGE]
  }

  add(errand: Errand): void {
    const { number } = errand
    const index = Math.floor(number / PAGE)
    while (this.#pages.length <= index) this.#pages.push(undefined)
    let page = this.#pages[index]
    if (page === undefined) {
      page = { errands: new Array<Errand | undefined>(PAGE).fill(undefined), count: 0 }
      this.#pages[index] = page
    }
    page.errands[number % PAGE] = errand
    page.count++
  }

  delete(number: number): void {
    const index = Math.floor(number / PAGE)
    const page = this.#pages[index]
    if (page?.errands[number % PAGE] === undefined) return
    page.errands[number % PAGE] = undefined
    if (--page.count === 0) this.#pages[index] = undefined
  }

  /** By number. */
  *values(): Iterable<Errand> {
    for (const page of this.#pages) {
      if (page === undefined) continue
      for (const errand of page.errands) if (errand !== undefined) yield errand
    }
  }
}
