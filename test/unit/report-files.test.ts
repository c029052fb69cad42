import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Collector } from '../../report/collector.ts'
import type { Report } from '../../report/report.ts'
import { prepareFolder, writeReport } from '../../report/write.ts'

const REPORT: Report = {
  format: 1,
  title: 'A run',
  command: 'spillway sim run --seed 3',
  seed: 3,
  version: '0.1.0',
  time: 'virtual',
  clusters: ['east'],
  durationMs: 10_000,
  breach: null,
  summary: [],
  promises: [],
  faults: [],
  series: new Collector().series(10_000),
}

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'spillway-report-files-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const textOf = (name: string): string => readFileSync(join(folder, name), 'utf8')

describe('a report', () => {
  test('takes the place of an earlier one, and leaves nothing else', () => {
    writeFileSync(join(folder, 'report.html'), 'older, and a good deal longer than what comes'.repeat(10_000))
    prepareFolder(folder)
    expect(writeReport(folder, REPORT)).toEqual(
      ['report.html', 'report.json'].map((name) => join(folder, name)),
    )
    expect(readdirSync(folder).sort()).toEqual(['report.html', 'report.json'])
    expect(textOf('report.html')).toMatch(/^<!doctype html>[\s\S]*<\/html>\s*$/i)
    expect(JSON.parse(textOf('report.json'))).toMatchObject({ format: 1, seed: 3 })
  })

  test.each([
    ['report.html', 'report.json'],
    ['report.json', 'report.html'],
  ])('of which %s cannot be written is none: the earlier %s stays as it was', (full, other) => {
    symlinkSync('/dev/full', join(folder, full))
    writeFileSync(join(folder, other), 'older')
    expect(() => writeReport(folder, REPORT)).toThrow('ENOSPC')
    expect(readdirSync(folder).sort()).toEqual(['report.html', 'report.json'])
    expect(textOf(other)).toBe('older')
  })

  test('of which one file is a folder is none', () => {
    mkdirSync(join(folder, 'report.json'))
    expect(() => writeReport(folder, REPORT)).toThrow('EISDIR')
    expect(readdirSync(folder)).toEqual(['report.json'])
  })

  test('goes where a link leads', () => {
    mkdirSync(join(folder, 'elsewhere'))
    writeFileSync(join(folder, 'elsewhere', 'page.html'), 'older')
    symlinkSync(join(folder, 'elsewhere', 'page.html'), join(folder, 'report.html'))
    writeReport(folder, REPORT)
    expect(lstatSync(join(folder, 'report.html')).isSymbolicLink()).toBe(true)
    expect(textOf('elsewhere/page.html')).toContain('spillway sim run --seed 3')
    expect(readdirSync(join(folder, 'elsewhere'))).toEqual(['page.html'])
  })

  test('leaves nothing where it has only been tried whether there is a place for it', () => {
    prepareFolder(folder)
    expect(readdirSync(folder)).toEqual([])
  })
})
