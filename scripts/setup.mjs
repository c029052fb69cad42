// Makes a fresh clone ready to run: installs the locked dependencies when they are missing or older than the lock
// file, and compiles when a source is newer than the last build. Says nothing when there is nothing to do.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const modified = (path) => (existsSync(path) ? statSync(path).mtimeMs : 0)

function run(command, args) {
  const done = spawnSync(command, args, {
    cwd: root,
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32',
  })
  if (done.status === 0) return
  console.error(
    `spillway: "${command} ${args.join(' ')}" failed; mend what it says above, then run this again`,
  )
  process.exit(done.status ?? 1)
}

function newest(path) {
  if (!existsSync(path)) return 0
  const stat = statSync(path)
  if (!stat.isDirectory()) return stat.mtimeMs
  return Math.max(0, ...readdirSync(path).map((name) => newest(join(path, name))))
}

if (modified(join(root, 'node_modules/.package-lock.json')) < modified(join(root, 'package-lock.json'))) {
  console.error('spillway: installing the locked dependencies (npm ci)…')
  run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'])
}

const sources = [
  'protocol',
  'settings',
  'wire',
  'broker',
  'client',
  'worker',
  'cli',
  'sim',
  'report',
  'tsconfig.json',
  'tsconfig.build.json',
]
if (modified(join(root, 'dist/.built')) < Math.max(...sources.map((name) => newest(join(root, name))))) {
  console.error('spillway: compiling…')
  run(process.execPath, [join(root, 'scripts/build.mjs')])
}
