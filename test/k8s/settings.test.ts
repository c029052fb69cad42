import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Deployment, StatefulSet } from 'kubernetes-models/apps/v1'
import { ConfigMap, Service } from 'kubernetes-models/v1'
import type { IContainer } from 'kubernetes-models/v1/Container'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type BrokerConfig, brokerSchema } from '../../broker/config.ts'
import { resolveConfiguration, variableOf } from '../../cli/configuration.ts'
import { resolveWorkerConfig } from '../../cli/worker-config.ts'
import { workerCommandSchema } from '../../worker/config.ts'
import { environmentOf } from './node/environment.ts'
import { podTemplate } from './node/pod-spec.ts'
import { all, type KubeObject, render, root } from './render.ts'

const overlays = ['loadbalancer', 'multi-cluster-services', 'local'].map((name) => ({
  name,
  objects: render(`k8s/overlays/${name}`),
}))

function environmentIn(objects: readonly KubeObject[], namespace: string, template: unknown) {
  const maps = all(objects, ConfigMap.is).filter(({ metadata }) => metadata.namespace === namespace)
  const [container] = podTemplate.parse(template).spec.containers
  return environmentOf(
    container.env,
    namespace,
    new Map(maps.map(({ metadata, data }) => [metadata.name, data ?? {}])),
  )
}

/** What each broker of an overlay would run with: its ConfigMap's file under its pod's environment. */
function brokersOf(objects: readonly KubeObject[]): { namespace: string; config: BrokerConfig }[] {
  return all(objects, StatefulSet.is).map(({ metadata: { namespace = '' }, spec }) => {
    const directory = mkdtempSync(join(tmpdir(), 'spillway-settings-'))
    onTestFinished(() => rmSync(directory, { recursive: true }))
    const map = all(objects, ConfigMap.is).find(
      ({ metadata }) => metadata.namespace === namespace && metadata.name === 'broker',
    )
    const file = join(directory, 'broker.yaml')
    writeFileSync(file, map?.data?.['broker.yaml'] ?? '')
    const env = environmentIn(objects, namespace, spec?.template)
    return { namespace, config: resolveConfiguration({ schema: brokerSchema, flags: {}, env, file }).values }
  })
}

describe.each(overlays)('settings of $name', ({ objects }) => {
  test('every broker accepts its settings, and binds the ports that its pod has', () => {
    for (const { config } of brokersOf(objects)) {
      expect(config).toMatchObject({
        localfe: 'tcp://0.0.0.0:5555',
        localbe: 'tcp://0.0.0.0:5556',
        cloudfe: 'tcp://0.0.0.0:5557',
        statebe: 'tcp://0.0.0.0:5558',
        http: '0.0.0.0:9464',
      })
    }
  })

  test('every broker goes by the name of its cluster and tells peers an address of it', () => {
    for (const { namespace, config } of brokersOf(objects)) {
      const services = all(objects, Service.is)
        .filter(({ metadata }) => metadata.namespace === namespace)
        .flatMap(({ metadata: { name, annotations } }) => [
          `${name}.${namespace}.svc.cluster.local`,
          `${name}.${namespace}.svc.clusterset.local`,
          annotations?.['external-dns.alpha.kubernetes.io/hostname'],
        ])
      const [, host, port] = /^tcp:\/\/(.*):(\d+)$/.exec(config.cloudfeAdvertised) ?? []
      expect(services).toContain(host)
      expect(port).toBe('5557')
      expect(config.statebeAdvertised).toBe(`tcp://${host}:5558`)
    }
    const names = brokersOf(objects).map(({ config }) => config.name)
    expect(names).toEqual([...new Set(names)])
  })

  test('a full queue fits into the memory that the broker may have', () => {
    const { limits } = all(objects, StatefulSet.is)[0]?.spec?.template.spec?.containers[0]?.resources ?? {}
    const [, gibibytes] = /^(\d+)Gi$/.exec(String(limits?.memory)) ?? []
    // What the process has without tasks, and what is under way: as much as 200 slots hold.
    const rest = 160 * 2 ** 20
    for (const { config } of brokersOf(objects)) {
      const held = (config.queueMax + 200) * config.bodyMax + config.repliesBytesMax + rest
      expect(held).toBeLessThan(Number(gibibytes) * 2 ** 30)
    }
    expect(new Set(brokersOf(objects).map(({ config }) => config.bodyMax)).size).toBe(1)
  })

  test('every setting in the environment is one that the broker, or the worker, has', () => {
    const brokerVariables = Object.keys(brokersOf(objects)[0]?.config ?? {}).map((field) => variableOf(field))
    const workerVariables = Object.keys(workerCommandSchema.shape).map((field) => variableOf(field))
    const variables = (container: IContainer | undefined) =>
      (container?.env ?? []).map(({ name }) => name).filter((name) => name.startsWith('SPILLWAY_'))
    for (const { spec } of all(objects, StatefulSet.is)) {
      expect(brokerVariables).toEqual(expect.arrayContaining(variables(spec?.template.spec?.containers[0])))
    }
    for (const { spec } of all(objects, Deployment.is)) {
      expect(workerVariables).toEqual(expect.arrayContaining(variables(spec?.template.spec?.containers[0])))
    }
  })

  test('every worker accepts its settings', () => {
    for (const { metadata, spec } of all(objects, Deployment.is)) {
      const env = environmentIn(objects, metadata.namespace ?? '', spec?.template)
      const [verb, flag, handler] = spec?.template.spec?.containers[0]?.args ?? []
      expect([verb, flag]).toEqual(['worker', '--handler'])
      expect(resolveWorkerConfig({ handler }, env, undefined)).toMatchObject({
        connect: ['tcp://broker:5556'],
        slots: 4,
        drainDeadlineMs: 60_000,
      })
    }
  })
})

describe('image', () => {
  const dockerfile = readFileSync(join(root, 'Dockerfile'), 'utf8')
  const lastStage = dockerfile.slice(dockerfile.lastIndexOf('\nFROM '))

  test('runs as a user that is a number, and the one that the pods ask for', () => {
    const [, user] = /^USER (\d+):\1$/m.exec(lastStage) ?? []
    for (const { spec } of all(overlays[0]?.objects ?? [], StatefulSet.is)) {
      expect(spec?.template.spec?.securityContext?.runAsUser).toBe(Number(user))
    }
  })

  test('gets every directory that is compiled, and only those', () => {
    const { include } = JSON.parse(readFileSync(join(root, 'tsconfig.build.json'), 'utf8'))
    const copied = [...dockerfile.matchAll(/^COPY (\w+) \.\/\1$/gm)].map(([, directory]) => directory)
    expect(copied.sort()).toEqual([...include, 'scripts'].sort())
    const ignored = readFileSync(join(root, '.dockerignore'), 'utf8')
    for (const directory of copied) expect(ignored).toContain(`\n!${directory}\n`)
  })

  test('keeps a binary of zeromq that there is for both architectures', () => {
    const [, kept = ''] = /-not -path "\*\/linux\/\$arch\/(.*)\/\*"/.exec(dockerfile) ?? []
    for (const architecture of ['x64', 'arm64']) {
      const binary = join('node_modules/zeromq/build/linux', architecture, kept, 'addon.node')
      // An ELF file's first octets.
      expect(readFileSync(join(root, binary)).subarray(0, 4).toString('latin1')).toBe('\x7fELF')
    }
  })

  test('starts the binary of the package', () => {
    const { bin } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    expect(lastStage).toContain(`ENTRYPOINT ["/nodejs/bin/node", "/app/${bin.spillway}"]`)
  })
})
