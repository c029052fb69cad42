import { mkdirSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { comparedPlot, comparisonPage, MEASURES_PLOTTED } from './comparison-page.ts'
import type { ComparisonReport } from './comparison-report.ts'
import { linePlot } from './line-plot.ts'
import type { Report } from './report.ts'
import { runPage } from './run-page.ts'
import { standaloneSvg } from './svg.ts'
import { tryWriting, writeWhole } from './whole-files.ts'

/** Within a comparison's folder. */
const PLOTS = 'plots'
const REPORT = ['report.html', 'report.json'] as const

/** Makes sure, before a long run, that there is a place for its report. @throws what the file system says */
export function prepareFolder(folder: string): void {
  makeFolder(folder)
  for (const name of REPORT) tryWriting(join(folder, name))
}

/**
 * The same for a comparison, with the plots of these dimensions.
 * @throws what the file system says
 */
export function prepareComparison(folder: string, dimensions: readonly string[]): void {
  prepareFolder(folder)
  makeFolder(join(folder, PLOTS))
  for (const dimension of dimensions) {
    for (const measure of MEASURES_PLOTTED) tryWriting(join(folder, PLOTS, plotName(dimension, measure)))
  }
}

/**
 * Makes a folder, and those around it that are missing, one by one from the outermost: Node's own recursion never ends where a
 * folder is there and yet none can be made in it for want of it, as in /proc.
 */
function makeFolder(folder: string): void {
  const missing: string[] = []
  for (let at = resolve(folder); statSync(at, { throwIfNoEntry: false }) === undefined; at = dirname(at)) {
    missing.push(at)
  }
  for (const path of missing.reverse()) {
    try {
      mkdirSync(path)
    } catch (error) {
      // Somebody else may have made it in the meantime.
      if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) throw error
    }
  }
}

/**
 * Writes `report.html` and `report.json` of a run: each whole, and neither before both have been written.
 * @returns their paths
 * @throws what the file system says
 */
export function writeReport(folder: string, report: Report): string[] {
  makeFolder(folder)
  const files = filesOf(folder, runPage(report), report)
  writeWhole(files)
  return [...files.keys()]
}

/**
 * Writes `report.html` and `report.json` of a comparison, and each plot as a file of its own, `plots/load-p99.svg`: all of them
 * whole, or none.
 * @returns the paths of the first two
 * @throws what the file system says
 */
export function writeComparison(folder: string, report: ComparisonReport): string[] {
  const plots = join(folder, PLOTS)
  makeFolder(plots)
  const files = filesOf(folder, comparisonPage(report), report)
  const all = new Map(files)
  for (const dimension of report.dimensions) {
    for (const measure of MEASURES_PLOTTED) {
      const svg = standaloneSvg(linePlot(comparedPlot(report, dimension, measure)))
      all.set(join(plots, plotName(dimension.name, measure)), svg)
    }
  }
  writeWhole(all)
  return [...files.keys()]
}

function plotName(dimension: string, measure: (typeof MEASURES_PLOTTED)[number]): string {
  return `${dimension}-${measure}.svg`
}

/** What both say, by path. */
function filesOf(folder: string, html: string, report: Report | ComparisonReport): Map<string, string> {
  const contents = { 'report.html': html, 'report.json': `${JSON.stringify(report, rounded)}\n` }
  return new Map(REPORT.map((name) => [join(folder, name), contents[name]]))
}

/** Digits beyond a microsecond, or a thousandth of a slot, tell nobody anything. */
function rounded(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Math.round(value * 1000) / 1000 : value
}
