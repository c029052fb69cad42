// What `npm test` runs once everything is installed: format and lint, types, then all tests. Ends with the status of the
// first that fails.
import { spawnSync } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const bin = (name) => join(root, 'node_modules', name)
const given = process.argv.slice(2)

function step(title, script, args) {
  console.log(`\n▶ ${title}`)
  const { status, signal } = spawnSync(process.execPath, [script, ...args], { cwd: root, stdio: 'inherit' })
  if (status === 0) return
  console.log(`\n✖ ${title}: failed${signal === null ? ` with status ${status}` : ` by ${signal}`}`)
  if (leftOut !== '') console.log(leftOut)
  process.exit(status ?? 1)
}

// The other half of these tests is written in Python, against a ZeroMQ binding that is not ours.
const stock = spawnSync('/usr/bin/python3', ['-c', 'import zmq'], { stdio: 'ignore' }).status === 0
const leftOut = stock
  ? ''
  : 'Left out: test/stock, the programs in Python. They need python3-zmq: apt-get install python3-zmq'
if (leftOut !== '') console.log(leftOut)

step('format and lint', bin('@biomejs/biome/bin/biome'), ['check', '--error-on-warnings'])
step('types', bin('typescript/bin/tsc'), ['--noEmit'])
step('build, where sources are newer', join(root, 'scripts/setup.mjs'), [])
step('tests', bin('vitest/vitest.mjs'), ['run', ...(stock ? [] : ['--exclude', 'test/stock/**']), ...given])

console.log(leftOut === '' ? '\n✔ all checks and tests passed' : `\n✔ the rest passed. ${leftOut}`)
