import { Histogram as PromHistogram, type Registry } from 'prom-client'
import { type Histogram, TIME_BUCKETS } from '../core/histogram.ts'

type Ran = 'local' | 'peer'

interface Sample {
  readonly metricName: string
  readonly labels: { readonly ran: Ran; readonly le?: number | '+Inf' }
  readonly sharedLabels: Record<string, never>
  readonly value: number
}

/** The core's histograms as one of prom-client's, which formats them: read when somebody scrapes, observed by the core alone. */
export class TimingHistogram extends PromHistogram<'ran'> {
  readonly #name: string
  readonly #help: string
  readonly #read: () => { readonly [ran in Ran]: Histogram }

  constructor(
    name: string,
    help: string,
    registry: Registry,
    read: () => { readonly [ran in Ran]: Histogram },
  ) {
    super({ name, help, labelNames: ['ran'], buckets: [...TIME_BUCKETS], registers: [registry] })
    this.#name = name
    this.#help = help
    this.#read = read
  }

  /** What prom-client asks a histogram for, in its own form; `get()` goes by way of this too. */
  async getForPromString() {
    const histograms = this.#read()
    const values = (['local', 'peer'] as const).flatMap((ran) => this.#samples(ran, histograms[ran]))
    return { name: this.#name, help: this.#help, type: 'histogram', values, aggregator: 'sum' }
  }

  #samples(ran: Ran, { counts, sumSeconds }: Histogram): Sample[] {
    const sample = (suffix: string, value: number, le?: number | '+Inf'): Sample => ({
      metricName: `${this.#name}_${suffix}`,
      labels: le === undefined ? { ran } : { le, ran },
      sharedLabels: {},
      value,
    })
    const samples: Sample[] = []
    let upTo = 0
    for (const [index, bound] of TIME_BUCKETS.entries()) {
      upTo += counts[index] ?? 0
      samples.push(sample('bucket', upTo, bound))
    }
    upTo += counts[TIME_BUCKETS.length] ?? 0
    samples.push(sample('bucket', upTo, '+Inf'), sample('sum', sumSeconds), sample('count', upTo))
    return samples
  }
}
