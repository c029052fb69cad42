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

const works = (command, args) => spawnSync(command, args, { cwd: root, stdio: 'ignore' }).status === 0

/** Tests that need more than npm can install, whether it is there, and how to get it. */
const outside = [
  {
    // The other half of these tests is written in Python, against a ZeroMQ binding that is not ours.
    tests: 'test/stock/**',
    what: 'the programs in Python',
    needs: 'python3-zmq: apt-get install python3-zmq',
    there: () => works('/usr/bin/python3', ['-c', 'import zmq']),
  },
  {
    // Debian 12's kubernetes-client is older than that.
    tests: 'test/k8s/**',
    what: 'the Kubernetes manifests',
    needs:
      'kubectl 1.25 or later, which knows labels in templates: https://kubernetes.io/docs/tasks/tools/, or, on Linux for x64, what .ci/kubectl gets from npm: PATH="$(.ci/kubectl):$PATH"',
    // Without it nobody would have looked at the manifests at all.
    inCi: true,
    there: () => {
      const { stdout } = spawnSync('kubectl', ['version', '--client', '-o', 'json'], { encoding: 'utf8' })
      const [, minor] = /"minor": "(\d+)/.exec(stdout ?? '') ?? []
      return Number(minor) >= 25
    },
  },
  {
    tests: 'test/k8s/prometheus/**',
    what: 'dashboard and alert rules against a real Prometheus',
    needs: 'prometheus and promtool: apt-get install prometheus',
    there: () => works('prometheus', ['--version']) && works('promtool', ['--version']),
  },
  {
    tests: 'test/k8s/rollout.test.ts',
    what: 'the run of the Kubernetes manifests as processes',
    needs: 'Linux namespaces (root, or user namespaces for everybody) and iproute2: apt-get install iproute2',
    there: () => {
      const user = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user']
      const namespaces = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc', '--uts']
      return works('unshare', [
        ...user,
        ...namespaces,
        ...'ip link add card0 type veth peer name card1'.split(' '),
      ])
    },
  },
  {
    tests: 'test/browser/**',
    what: 'the pages of reports in a browser',
    needs: 'Chromium and its driver: apt-get install chromium chromium-driver fonts-dejavu-core',
    there: () => works('chromium', ['--version']) && works('chromedriver', ['--version']),
  },
].filter(({ there }) => !there())
const leftOut = outside
  .map(({ tests, what, needs }) => `Left out: ${tests}, ${what}. Needed: ${needs}`)
  .join('\n')
if (leftOut !== '') console.log(leftOut)
const missing = outside.filter(({ inCi }) => inCi)
if (missing.length > 0 && !['', '0', 'false'].includes(process.env.CI ?? '')) {
  console.log(`\n✖ CI has to run ${missing.map(({ tests }) => tests).join(' and ')}: install what is needed`)
  process.exit(1)
}

step('format and lint', bin('@biomejs/biome/bin/biome'), ['check', '--error-on-warnings'])
step('types', bin('typescript/bin/tsc'), ['--noEmit'])
step('build, where sources are newer', join(root, 'scripts/setup.mjs'), [])
const vitest = bin('vitest/vitest.mjs')
const leaveOut = (tests) => tests.flatMap((glob) => ['--exclude', glob])
const without = leaveOut(outside.map(({ tests }) => tests))
if (given.length > 0) step('tests', vitest, ['run', ...without, ...given])
else {
  // Work for the processors alone: all of them. The rest has deadlines to keep, and leaves one to the processes that it starts.
  const pure = ['test/core/', 'test/sim/', 'test/unit/']
  step('tests of pure code', vitest, ['run', '--maxWorkers=100%', ...pure])
  step('tests with sockets and processes', vitest, [
    'run',
    ...without,
    ...leaveOut(pure.map((folder) => `${folder}**`)),
  ])
}

console.log(leftOut === '' ? '\n✔ all checks and tests passed' : `\n✔ the rest passed.\n${leftOut}`)
