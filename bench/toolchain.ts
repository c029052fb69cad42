/** What this machine has besides Node: a C compiler and libzmq for the C programs, nats-server. */

import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'

export interface Toolchain {
  /** Path of the compiled load generator; null without a compiler. */
  readonly zmtpLoad: string | null
  /** Path of the compiled load balancer; null without a compiler or libzmq. */
  readonly loadBalancer: string | null
  readonly natsServer: string | null
  /** What is missing, and what that means. */
  readonly notes: readonly string[]
  dispose(): void
}

/** @param root the benchmark's sources, where `baseline/*.c` are */
export function findToolchain(root: string): Toolchain {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-bench-'))
  const notes: string[] = []
  const compiler = ['cc', 'gcc', 'clang'].find((name) => onPath(name) !== null)
  const compile = (source: string, libraries: readonly string[], without: string): string | null => {
    if (compiler === undefined) return null
    const program = join(folder, source)
    const done = spawnSync(
      compiler,
      ['-O2', '-o', program, join(root, 'baseline', `${source}.c`), ...libraries],
      { encoding: 'utf8' },
    )
    if (done.status === 0) return program
    notes.push(`${source}.c does not compile (${(done.stderr ?? '').split('\n', 1)[0]}): ${without}`)
    return null
  }
  if (compiler === undefined) {
    notes.push('no C compiler: stock load comes from Node and may be the bottleneck; no C load balancer')
  }
  const isLinux = process.platform === 'linux'
  const zmtpLoad = isLinux
    ? compile('zmtp-load', [], 'stock load comes from Node and may be the bottleneck')
    : null
  const loadBalancer = compile('load-balancer', ['-lzmq'], 'no C load balancer (install libzmq3-dev)')
  const natsServer = onPath('nats-server')
  if (natsServer === null) notes.push('no nats-server: nothing to compare with (apt-get install nats-server)')
  return {
    zmtpLoad,
    loadBalancer,
    natsServer,
    notes,
    dispose: () => rmSync(folder, { recursive: true, force: true }),
  }
}

function onPath(program: string): string | null {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin']
  for (const folder of folders) {
    const path = join(folder, program)
    if (folder !== '' && existsSync(path)) return path
  }
  return null
}
