// Compiles the sources to dist/ from nothing, so that a renamed file leaves no ghost behind.
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const dist = join(root, 'dist')
const startedAt = new Date()

rmSync(dist, { recursive: true, force: true })
mkdirSync(dist)
const tsc = spawnSync(
  process.execPath,
  [join(root, 'node_modules/typescript/bin/tsc'), '-p', join(root, 'tsconfig.build.json')],
  { stdio: 'inherit' },
)
if (tsc.status !== 0) process.exit(tsc.status ?? 1)
chmodSync(join(dist, 'cli/main.js'), 0o755)
writeFileSync(join(dist, '.built'), `${startedAt.toISOString()}\n`)
