/**
 * Runs the rendered `local` overlay under load through everything that happens to a deployment, and prints what came of it
 * as JSON. Has to be started in namespaces of its own, by `rollout.test.ts`; all of its processes end with it.
 *
 *   rollout.ts DIRECTORY
 */

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ConfigMap } from 'kubernetes-models/v1'
import { z } from 'zod'
import { type KubeObject, render, root } from '../render.ts'
import { Cluster, until } from './cluster.ts'
import { type LoadReport, loadReport } from './load-report.ts'
import type { Pod } from './pod.ts'
import { type PodTemplate, podTemplate } from './pod-spec.ts'
import type { Phase, RolloutReport } from './rollout-report.ts'

const started = performance.now()
/** For the pods' files; whoever starts this clears them away. */
const directory = process.argv[2] ?? ''
const say = (what: string) =>
  process.stderr.write(`${((performance.now() - started) / 1000).toFixed(1)} s ${what}\n`)

// The node is every pod's router, as in most clusters.
execFileSync('sh', [
  '-euc',
  'ip link set lo up; ip address add 10.244.0.1/32 dev lo; echo 1 > /proc/sys/net/ipv4/ip_forward',
])

/** Takes long enough that there is always something under way, and no processor time. */
const handler = `
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
export default async (task, { signal }) => {
  await sleep(300, undefined, { signal })
  return createHash('sha256').update(task.body).digest('hex')
}
`

function withHandler(objects: readonly KubeObject[]): KubeObject[] {
  return objects.map((object) =>
    ConfigMap.is(object) && object.metadata?.name === 'worker'
      ? { ...object, data: { 'handler.mjs': handler } }
      : object,
  )
}

const entrypoint = z
  .array(z.string())
  .parse(JSON.parse(/^ENTRYPOINT (.*)$/m.exec(readFileSync(join(root, 'Dockerfile'), 'utf8'))?.[1] ?? ''))
const cluster = new Cluster({ directory, entrypoint, onChange: say })

const phases: Phase[] = []
let load: Pod | undefined

function readLoad(): LoadReport {
  const lines = load?.log.trimEnd().split('\n') ?? []
  const whole = lines.findLast((line) => line.startsWith('{') && line.endsWith('}'))
  if (whole === undefined) {
    return { sent: 0, answered: 0, wrong: 0, again: 0, longestMs: 0, failed: {}, ranIn: {}, done: false }
  }
  return loadReport.parse(JSON.parse(whole))
}

/** Does something to the deployment while tasks come and go, and waits until answers come again. */
async function phase(name: string, act: () => Promise<void>): Promise<void> {
  say(`— ${name}`)
  const before = readLoad()
  const since = performance.now()
  const ends = cluster.ends.length
  await act()
  const acted = readLoad()
  await until('tasks are answered again', () => readLoad().answered > acted.answered + 50)
  const after = readLoad()
  phases.push({
    name,
    tookMs: Math.round(performance.now() - since),
    answered: after.answered - before.answered,
    again: after.again - before.again,
    ends: cluster.ends.slice(ends),
  })
}

const status = z.object({
  name: z.string(),
  peers: z.array(z.looseObject({ name: z.string(), phase: z.string() })),
})

async function peersUpAt(namespace: string): Promise<string[]> {
  const [broker] = cluster.podsOf(namespace, 'broker')
  if (broker === undefined) return []
  try {
    const answer = await broker.get('/status', 'http', 1000)
    return status
      .parse(await answer.json())
      .peers.flatMap(({ name, phase }) => (phase === 'up' ? [name] : []))
      .sort()
  } catch (error) {
    // It may be between two lives.
    if (error instanceof z.ZodError) throw error
    return []
  }
}

async function allKnowEachOther(names: readonly string[]): Promise<void> {
  for (const name of names) {
    const others = names.filter((other) => other !== name).sort()
    await until(
      `${name} is connected to ${others.join(', ')}`,
      async () => String(await peersUpAt(`spillway-${name}`)) === String(others),
    )
  }
}

type Spec = Readonly<Record<string, unknown>>

/** What the operator wants by now: each step changes it, as edits of the overlay would. */
let wanted = withHandler(render('k8s/overlays/local'))

/** `kubectl apply` of the overlay with other workloads. */
async function applyWorkloads(change: (object: KubeObject, spec: Spec) => Spec): Promise<void> {
  wanted = wanted.map((object) => {
    if (object.kind !== 'Deployment' && object.kind !== 'StatefulSet') return object
    const { spec } = z.object({ spec: z.record(z.string(), z.unknown()) }).parse(object)
    return { ...object, spec: { ...spec, ...change(object, spec) } }
  })
  await cluster.apply(wanted)
}

/** What `kubectl rollout restart` changes; a new image would change the template too. */
function restarted(template: unknown): PodTemplate {
  const { metadata, spec } = podTemplate.parse(template)
  return { metadata: { ...metadata, annotations: { 'kubectl.kubernetes.io/restartedAt': 'now' } }, spec }
}

function brokerOf(namespace: string): Pod {
  const [broker] = cluster.podsOf(namespace, 'broker')
  if (broker === undefined) throw new Error(`${namespace} has no broker`)
  return broker
}

const loadPod = podTemplate.parse({
  metadata: { labels: { 'spillway-client': 'true' } },
  spec: {
    containers: [
      {
        name: 'load',
        image: 'spillway',
        args: ['tcp://broker:5555', '40'],
        securityContext: { readOnlyRootFilesystem: false },
      },
    ],
    terminationGracePeriodSeconds: 90,
    securityContext: { runAsUser: 65532 },
    automountServiceAccountToken: false,
    enableServiceLinks: false,
  },
})

// Why it was ended, if it is, is in the logs of its pods.
process.on('uncaughtException', (error) => {
  for (const pod of cluster.pods)
    say(`${pod.name}, its last words:\n${pod.log.split('\n').slice(-8).join('\n')}`)
  say(String(error.stack))
  process.exit(1)
})

const clusters = ['west', 'east', 'north']

await cluster.apply(wanted)
await allKnowEachOther(clusters)
const startedInMs = Math.round(performance.now() - started)
// The commands of the manual that run in a pod, as they are written there.
const manual = readFileSync(join(root, 'docs/kubernetes.md'), 'utf8')
const said: RolloutReport['said'] = []
for (const [, namespace = '', command = ''] of manual.matchAll(
  /^kubectl -n (\S+) exec statefulset\/broker -- (.*)$/gm,
)) {
  said.push({ command, output: await brokerOf(namespace).exec(...command.split(' ')) })
}

load = cluster.run('spillway-west', 'load', loadPod, [
  ...['/usr/bin/env', '-C', '/app', '/nodejs/bin/node', '--import', 'tsx'],
  '/app/test/k8s/node/load.ts',
])

await phase('spill', async () => {
  await until('all three have run tasks', () => Object.keys(readLoad().ranIn).length === 3)
})

await phase('rolling update', async () => {
  await applyWorkloads((_, { template }) => ({ template: restarted(template) }))
  await allKnowEachOther(clusters)
})

await phase('node drain', async () => {
  const { node } = brokerOf('spillway-west').options
  await cluster.drain(node)
  await allKnowEachOther(clusters)
  cluster.uncordon(node)
})

await phase('scale-down', async () => {
  const replicas: Record<string, number> = { 'spillway-west': 1, 'spillway-north': 0 }
  await applyWorkloads(({ kind, metadata }) => {
    const wish = replicas[metadata.namespace ?? '']
    return kind === 'Deployment' && wish !== undefined ? { replicas: wish } : {}
  })
})

const brokers = clusters.map((name) => brokerOf(`spillway-${name}`))
await phase('fourth cluster', async () => {
  // South knows nobody: it is west that is told of it.
  await cluster.apply(withHandler(render('test/k8s/south')))
  wanted = wanted.map((object) =>
    ConfigMap.is(object) && object.metadata.name === 'broker' && object.data?.name === 'west'
      ? {
          ...object,
          data: {
            ...object.data,
            'broker.yaml': `${object.data['broker.yaml']}`.replace(
              'peers: []',
              'peers: [tcp://broker-peering.spillway-south.svc:5557]',
            ),
          },
        }
      : object,
  )
  await cluster.apply(wanted)
  await until('south has run tasks', () => (readLoad().ranIn.south ?? 0) > 0)
  await allKnowEachOther([...clusters, 'south'])
})
const joinedWithoutRestart = clusters.every(
  (name, at) => brokerOf(`spillway-${name}`) === brokers[at] && brokers[at].restarts === 0,
)

await phase('broker that hangs', async () => {
  const east = brokerOf('spillway-east')
  east.freeze()
  await until('its liveness probe has had it started again', () => east.restarts === 1 && east.ready)
  await allKnowEachOther([...clusters, 'south'])
})

await cluster.stop(load)
const loaded = readLoad()
const ends = cluster.ends.length
await cluster.deleteAll()
const report: RolloutReport = {
  startedInMs,
  said,
  tookMs: Math.round(performance.now() - started),
  phases,
  load: loaded,
  joinedWithoutRestart,
  ends: cluster.ends,
  endsOfAll: cluster.ends.slice(ends),
}
process.stdout.write(`${JSON.stringify(report)}\n`)
process.exit(0)
