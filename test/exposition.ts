/** Reads Prometheus' text format strictly: what it does not allow throws. */

export interface Family {
  readonly name: string
  readonly type: string
  readonly help: string
  /** By the whole left side, as in `name{label="value"}`. */
  readonly samples: Map<string, number>
}

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*'
const LABELS = '[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\\\\n]|\\\\["\\\\n])*"'
const SAMPLE = new RegExp(`^((${NAME})(?:\\{${LABELS}(?:,${LABELS})*\\})?) (\\S+)$`)

export function parseExposition(text: string): Map<string, Family> {
  if (!text.endsWith('\n')) throw new Error('the last line does not end')
  const families = new Map<string, Family>()
  let help: string | undefined
  let family: Family | undefined
  for (const line of text.split('\n')) {
    if (line === '') continue
    const [, keyword, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? []
    if (keyword === 'HELP') help = rest
    else if (keyword === 'TYPE') {
      if (families.has(name) || help === undefined) throw new Error(`twice, or without help: ${line}`)
      family = { name, type: rest, help, samples: new Map() }
      families.set(name, family)
    } else {
      const [, series, metric, value = ''] = SAMPLE.exec(line) ?? []
      if (series === undefined || metric === undefined || family === undefined)
        throw new Error(`no sample: ${line}`)
      const suffix = metric.startsWith(family.name) ? metric.slice(family.name.length) : '?'
      const allowed = family.type === 'histogram' ? ['_bucket', '_sum', '_count'] : ['']
      if (!allowed.includes(suffix)) throw new Error(`not of ${family.name}: ${line}`)
      if (family.samples.has(series)) throw new Error(`twice: ${line}`)
      const number = Number(value)
      if (Number.isNaN(number) && value !== 'Nan') throw new Error(`no number: ${line}`)
      family.samples.set(series, number)
    }
  }
  return families
}
