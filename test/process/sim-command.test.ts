import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'

const main = join(import.meta.dirname, '../../dist/cli/main.js')

function sim(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, 'sim', ...args], { encoding: 'utf8' })
  return { status, stdout, stderr }
}

describe('spillway sim run --report', () => {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-sim-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  const small = '--clusters 2 --workers 3 --clients 5 --duration-ms 2000 --fault-every-ms 500'.split(' ')

  test('makes the folder, and names the command that gets the same run again', () => {
    const at = join(folder, 'a', 'b')
    const first = sim('run', '--seed', '9', '--report', at, ...small)
    expect(first).toMatchObject({ status: 0, stderr: '' })
    const { command, seed } = JSON.parse(readFileSync(join(at, 'report.json'), 'utf8'))
    expect({ command, seed }).toEqual({ command: `spillway sim run --seed 9 ${small.join(' ')}`, seed: 9 })
    const hash = /hash (\w+)/
    const again = sim(...command.split(' ').slice(2))
    expect(hash.exec(again.stdout)?.[1]).toBe(hash.exec(first.stdout)?.[1])
  })

  test('with --json leaves stdout to the outcome', () => {
    const { stdout, stderr } = sim('run', '--seed', '9', '--json', '--report', folder, ...small)
    expect(JSON.parse(stdout).seed).toBe(9)
    expect(stderr).toContain(`Report: ${join(folder, 'report.html')}`)
  })

  test('says before it runs that there is no place for a report', () => {
    const file = join(folder, 'file')
    writeFileSync(file, '')
    const { status, stdout, stderr } = sim('run', '--report', join(file, 'sub'))
    expect({ status, stdout }).toEqual({ status: 78, stdout: '' })
    expect(stderr).toContain('--report: ')
    expect(stderr).toContain('name a folder that can be made and written to')
  })
})

describe('spillway sim compare --report', () => {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-compare-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  const tiny =
    '--quick --dimensions skew --policies soonest --clusters 2 --workers 5 --clients 10 --duration-ms 400 --warm-up-ms 0'

  test('writes the page and the figures, and the command that gets them again', () => {
    const at = join(folder, 'a', 'b')
    const { status, stdout, stderr } = sim('compare', '--report', at, ...tiny.split(' '))
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toContain(`Report: ${join(at, 'report.html')}`)
    const { format, command, dimensions } = JSON.parse(readFileSync(join(at, 'report.json'), 'utf8'))
    expect(format).toBe(1)
    expect(dimensions).toMatchObject([{ name: 'skew', values: [{ value: 1 }, { value: 2 }, { value: 8 }] }])
    expect(command).toBe(
      'spillway sim compare --quick --dimensions skew --policies soonest --seed 1 --seeds 1 --clusters 2 --workers 5 --clients 10 --duration-ms 400 --warm-up-ms 0',
    )
    expect(readFileSync(join(at, 'report.html'), 'utf8')).toContain(command)
    expect(readFileSync(join(at, 'plots', 'skew-p99.svg'), 'utf8')).toContain('soonest')
  })

  test('says before it runs that there is no place for a report', () => {
    const file = join(folder, 'file')
    writeFileSync(file, '')
    const { status, stdout, stderr } = sim('compare', '--report', join(file, 'sub'))
    expect({ status, stdout }).toEqual({ status: 78, stdout: '' })
    expect(stderr).toContain('name a folder that can be made and written to')
  })
})
