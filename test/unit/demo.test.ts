import { stripVTControlCharacters } from 'node:util'
import { describe, expect, test } from 'vitest'
import { picture } from '../../cli/demo/live-view.ts'
import type { Report } from '../../cli/demo/load-report.ts'
import { type Condition, Scene } from '../../cli/demo/scene.ts'
import { isRight, sha256, default as work } from '../../cli/demo/task.ts'
import { judge, verdictTables } from '../../cli/demo/verdict.ts'
import { COLUMNS_MIN, ROWS_MIN } from '../../cli/terminal-view.ts'

function report(changes: Partial<Report> = {}): Report {
  return {
    type: 'finished',
    files: 5000,
    pieces: 12_345,
    sent: 123_456,
    answered: 123_456,
    wrong: 0,
    failed: 0,
    late: 0,
    ranIn: { north: 100_000, south: 23_456 },
    startedAgain: 12_345,
    sentAgain: 0,
    latencies: [{ act: 'spill', answers: 10, p50Ms: 100, p99Ms: 12_345 }],
    errors: [],
    ...changes,
  }
}

function crowdedScene(condition: Condition): Scene {
  const scene = new Scene(['north', 'south', 'west'], 8, 0)
  scene.report = report()
  scene.sentence = 'A sentence with many words in it. '.repeat(8).trim()
  for (const cluster of scene.clusters) {
    cluster.condition = condition
    cluster.own = 5
    cluster.borrowed = 9
    cluster.queue = 10_000
  }
  for (let n = 0; n < 300; n++) {
    scene.tick()
    scene.happen(
      `something with a long name has happened ${'again and '.repeat(n % 20)}again`,
      n * 1000,
      n % 2 === 0,
    )
  }
  return scene
}

describe('the picture', () => {
  test.each(['starting', 'up', 'killed', 'stopped'] as const)(
    'of clusters that are %s fits in every terminal it is shown on',
    (condition) => {
      const scene = crowdedScene(condition)
      for (const columns of [COLUMNS_MIN, 99, 120, 200]) {
        for (const rows of [ROWS_MIN, 24, 40]) {
          const lines = stripVTControlCharacters(picture(scene, 123_456, columns, rows)).split('\n')
          expect(lines.length).toBeLessThan(rows)
          for (const line of lines) expect(line.length, line).toBeLessThan(columns)
        }
      }
    },
  )
})

describe('the work', () => {
  const body = Buffer.from('a piece of a file '.repeat(100))

  test('is right only with the right hash and the right content', async () => {
    const answer = await work({ body })
    expect(await isRight(answer, body, sha256(body))).toBe(true)
    for (const index of [0, 31, 60, answer.length - 1]) {
      const damaged = Buffer.from(answer)
      damaged[index] = (damaged[index] ?? 0) ^ 1
      expect(await isRight(damaged, body, sha256(body)), `octet ${index}`).toBe(false)
    }
    expect(await isRight(new Uint8Array(0), body, sha256(body))).toBe(false)
    expect(await isRight(await work({ body: body.subarray(1) }), body, sha256(body))).toBe(false)
  })
})

describe('the verdict', () => {
  const all = (changes: Partial<Report>) =>
    judge({
      reports: new Map([
        ['north', report()],
        ['south', report(changes)],
        ['west', report()],
      ]),
      heldAtKill: 4,
      shortcomings: [],
    })

  test('is good when every task of every client has its right answer', () => {
    const verdict = all({})
    expect(verdict.good).toBe(true)
    expect(verdict.total).toMatchObject({ sent: 370_368, answered: 370_368, lost: 0, wrong: 0 })
    expect(verdictTables(verdict)).toContain('All 370,368 tasks got their right answer')
  })

  test.each([
    ['a wrong answer', { wrong: 1 }],
    ['a task without an answer', { answered: 123_455 }],
    ['no answer at all', { sent: 0, answered: 0, errors: ['no broker'] }],
  ])('is bad with %s', (_, changes) => {
    const verdict = all(changes)
    expect(verdict.good).toBe(false)
    expect(verdictTables(verdict)).not.toContain('got their right answer, each')
  })

  test('is bad when a client did not report, or something did not happen', () => {
    const reports = new Map([['north', report()]])
    expect(judge({ reports, heldAtKill: 4, shortcomings: [] }).good).toBe(false)
    const complete = new Map(['north', 'south', 'west'].map((name) => [name, report()]))
    expect(judge({ reports: complete, heldAtKill: 4, shortcomings: ['it was never used again'] }).good).toBe(
      false,
    )
  })
})
