import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const program = fileURLToPath(new URL('../../scripts/test.mjs', import.meta.url))

test('without kubectl CI fails before anything else, and says what to install', () => {
  const { status, stdout } = spawnSync(process.execPath, [program], {
    env: { PATH: '/nowhere', CI: 'true' },
    encoding: 'utf8',
    timeout: 20_000,
  })
  expect(stdout).toMatch(/Left out: test\/k8s\/\*\*, .*Needed: kubectl 1\.\d+ or later/)
  expect(stdout).toContain('CI has to run test/k8s/**: install what is needed')
  expect(stdout).not.toContain('▶')
  expect(status).toBe(1)
})
