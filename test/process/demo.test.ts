import { beforeAll, describe, expect, test } from 'vitest'
import { compile, until } from './cluster-rig.ts'
import { MarkedCommand } from './marked-command.ts'

const PROCESSES = 1 + 3 * 3 + 3

const demonstration = (...args: string[]) => new MarkedCommand('demo', ...args)

beforeAll(compile, 120_000)

/** A table's rows by their first cell; figures as numbers. */
function rows(said: string): Map<string, (number | undefined)[]> {
  const found = new Map<string, (number | undefined)[]>()
  for (const line of said.split('\n')) {
    const [, title, ...cells] = line.split('│').map((cell) => cell.trim())
    if (title === undefined || title === '') continue
    const figures = cells.slice(0, -1).map((cell) => Number.parseInt(cell.replaceAll(',', ''), 10))
    found.set(title, figures)
  }
  return found
}

function sum(figures: readonly (number | undefined)[]): number {
  return figures.reduce<number>((total, figure) => total + (figure ?? 0), 0)
}

test('the demonstration ends with a right answer for every task, and with figures that agree', {
  timeout: 90_000,
}, async () => {
  const shown = demonstration('--quick')
  const status = await shown.ended
  expect(shown.said).toMatch(/kill -9 of all 3 processes of south, which ran [1-8] tasks for north/)
  expect(shown.said).toMatch(/south is back and runs tasks of north again/)
  expect(status, shown.said).toBe(0)
  expect(shown.processes).toEqual([])

  const table = rows(shown.said)
  const figures = (title: string) => table.get(title) ?? []
  const sent = figures('sent')
  expect(sent).toHaveLength(4)
  expect(sent[0]).toBeGreaterThan(300)
  expect(sum(sent.slice(0, 3))).toBe(sent[3])
  expect(figures('answered')).toEqual(sent)
  expect(figures('lost')).toEqual([0, 0, 0, 0])
  expect(figures('wrong')).toEqual([0, 0, 0, 0])
  const ranIn = ['north', 'south', 'west'].map((name) => figures(`run in ${name}`))
  for (const column of [0, 1, 2, 3]) expect(sum(ranIn.map((cluster) => cluster[column]))).toBe(sent[column])
  for (const cluster of ranIn) expect(cluster[0]).toBeGreaterThan(20)
  // What the killed cluster ran for the loaded one was run again.
  expect(figures('run again')[0]).toBeGreaterThan(0)
  expect(sum(figures('answers'))).toBe(sent[0])
})

describe('no process is left behind', () => {
  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    // It cannot do anything about this one: those that it started notice by themselves.
    ['SIGKILL', 'SIGKILL'],
  ] as const)(
    'by a demonstration that gets %s in the middle',
    { timeout: 60_000 },
    async (signal, status) => {
      const shown = demonstration('--quick')
      await until('the load spills over', () => shown.said.includes('[3/6]'), 40_000)
      expect(shown.processes).toHaveLength(PROCESSES)
      shown.process.kill(signal)
      expect(await shown.ended).toBe(status)
      await until('all processes have ended', () => shown.processes.length === 0)
    },
  )
})

test('a folder that is not there is refused with status 2 and what to do', async () => {
  const shown = demonstration('/nonexistent')
  expect(await shown.ended).toBe(2)
  expect(shown.said).toContain('/nonexistent is not a folder: name one')
})
