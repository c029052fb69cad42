import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { comparedPlot, comparisonPage, MEASURES_PLOTTED } from './comparison-page.ts'
import type { ComparisonReport } from './comparison-report.ts'
import { linePlot } from './line-plot.ts'
import type { Report } from './report.ts'
import { runPage } from './run-page.ts'
import { standaloneSvg } from './svg.ts'

/** Makes sure, before a long run, that there will be a place for its report. @throws what the file system says */
export function prepareFolder(folder: string): void {
  mkdirSync(folder, { recursive: true })
}

/** Writes `report.html` and `report.json` of a run. @returns their paths */
export function writeReport(folder: string, report: Report): string[] {
  return writeBoth(folder, runPage(report), report)
}

/**
 * Writes `report.html` and `report.json` of a comparison, and each plot as a file of its own: `plots/load-p99.svg`.
 * @returns the paths of the first two
 */
export function writeComparison(folder: string, report: ComparisonReport): string[] {
  const plots = join(folder, 'plots')
  prepareFolder(plots)
  for (const dimension of report.dimensions) {
    for (const measure of MEASURES_PLOTTED) {
      const svg = standaloneSvg(linePlot(comparedPlot(report, dimension, measure)))
      writeFileSync(join(plots, `${dimension.name}-${measure}.svg`), svg)
    }
  }
  return writeBoth(folder, comparisonPage(report), report)
}

function writeBoth(folder: string, html: string, report: Report | ComparisonReport): string[] {
  prepareFolder(folder)
  const files = { 'report.html': html, 'report.json': `${JSON.stringify(report, rounded)}\n` }
  return Object.entries(files).map(([name, content]) => {
    const path = join(folder, name)
    writeFileSync(path, content)
    return path
  })
}

/** Digits beyond a microsecond, or a thousandth of a slot, tell nobody anything. */
function rounded(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Math.round(value * 1000) / 1000 : value
}
