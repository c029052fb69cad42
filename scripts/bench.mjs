// Compiles the benchmark, so that nothing that is measured runs through a loader, and runs it.
import { spawn, spawnSync } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const tsc = spawnSync(
  process.execPath,
  [join(root, 'node_modules/typescript/bin/tsc'), '-p', join(root, 'bench/tsconfig.json')],
  { stdio: 'inherit' },
)
if (tsc.status !== 0) process.exit(tsc.status ?? 1)
const bench = spawn(process.execPath, [join(root, 'bench/.build/bench/main.js'), ...process.argv.slice(2)], {
  stdio: 'inherit',
})
// It cleans up itself: a terminal's Ctrl-C reaches both.
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => {})
bench.once('exit', (status, signal) => process.exit(status ?? (signal === null ? 1 : 130)))
