import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { z } from 'zod'
import { rules } from './queries.ts'

const scenarios = fileURLToPath(new URL('rules.yaml', import.meta.url))

function promtool(...args: string[]): { status: number | null; output: string } {
  const directory = mkdtempSync(join(tmpdir(), 'spillway-rules-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  writeFileSync(join(directory, 'spillway.yaml'), stringify(rules))
  copyFileSync(scenarios, join(directory, 'scenarios.yaml'))
  const { status, stdout, stderr, error } = spawnSync('promtool', args, { cwd: directory, encoding: 'utf8' })
  return { status, output: error === undefined ? stdout + stderr : String(error) }
}

test('promtool accepts the rules', () => {
  const { status, output } = promtool('check', 'rules', '--lint-fatal', 'spillway.yaml')
  expect(status, output).toBe(0)
})

test('alerts fire when they should, and not before', () => {
  const { status, output } = promtool('test', 'rules', 'scenarios.yaml')
  expect(status, output).toBe(0)
})

test('every alert has a scenario in which it fires', () => {
  const fired = z
    .object({
      tests: z.array(
        z.object({
          alert_rule_test: z.array(
            z.object({ alertname: z.string(), exp_alerts: z.array(z.unknown()).default([]) }),
          ),
        }),
      ),
    })
    .parse(parse(readFileSync(scenarios, 'utf8')))
    .tests.flatMap(({ alert_rule_test }) => alert_rule_test)
    .filter(({ exp_alerts }) => exp_alerts.length > 0)
    .map(({ alertname }) => alertname)
  const alerts = rules?.groups?.flatMap(({ rules }) => (rules ?? []).map(({ alert }) => alert))
  expect(new Set(fired)).toEqual(new Set(alerts))
})
