import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ScaledObject } from '@kubernetes-models/keda/keda.sh/v1alpha1'
import { PodMonitor, PrometheusRule } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1'
import { Deployment, type IStatefulSet, StatefulSet } from 'kubernetes-models/apps/v1'
import { type INetworkPolicy, NetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1'
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1'
import { ConfigMap, Namespace, Service, ServiceAccount } from 'kubernetes-models/v1'
import type { IContainer } from 'kubernetes-models/v1/Container'
import type { IPodTemplateSpec } from 'kubernetes-models/v1/PodTemplateSpec'
import { describe, expect, test } from 'vitest'
import { isAllowed, type Labels, type Party, selects } from './network-flows.ts'
import { all, called, type KubeObject, parseObjects, render, renderWithComponents, root } from './render.ts'
import { validateStrictly } from './strict-validation.ts'

const overlays = [
  'k8s/overlays/loadbalancer',
  'k8s/overlays/multi-cluster-services',
  'k8s/overlays/local',
].map((directory) => ({ directory, objects: render(directory) }))
const withComponents = [
  { directory: 'k8s/overlays/loadbalancer, with both components', objects: renderWithComponents() },
  {
    directory: 'k8s/overlays/multi-cluster-services, with both components',
    objects: renderWithComponents('multi-cluster-services'),
  },
  {
    directory: 'k8s/overlays/local, with both components',
    objects: renderWithComponents('local', 'local/cluster/kustomization.yaml'),
  },
]
overlays.push(...withComponents)

const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

interface Workload {
  readonly name: string
  readonly namespace: string | undefined
  readonly labels: Labels
  readonly template: IPodTemplateSpec
  readonly container: IContainer
}

/** Broker and workers, each with the one container they have. */
function workloadsOf(objects: readonly KubeObject[]): Workload[] {
  return [...all(objects, StatefulSet.is), ...all(objects, Deployment.is)].map((workload) => {
    const template = workload.spec?.template
    const [container, ...others] = template?.spec?.containers ?? []
    if (template === undefined || container === undefined || others.length > 0) {
      throw new Error(`${called(workload)} should have one container`)
    }
    const { name, namespace } = workload.metadata
    return { name, namespace, labels: template.metadata?.labels ?? {}, template, container }
  })
}

function brokerOf(objects: readonly KubeObject[]): KubeObject & IStatefulSet {
  const [broker] = all(objects, StatefulSet.is)
  if (broker === undefined) throw new Error('there is no StatefulSet')
  return broker
}

/** @param quantity as Kubernetes has them: `500m`, `2`, `128Mi` */
function amountOf(quantity: unknown): number {
  const [, number, unit = ''] = /^([\d.]+)(m|[KMG]i)?$/.exec(String(quantity)) ?? []
  const factor = new Map([
    ['', 1],
    ['m', 1e-3],
    ['Ki', 2 ** 10],
    ['Mi', 2 ** 20],
    ['Gi', 2 ** 30],
  ]).get(unit)
  return Number(number) * (factor ?? Number.NaN)
}

function settingOf(container: IContainer, variable: string): string | undefined {
  return container.env?.find(({ name }) => name === variable)?.value
}

describe.each(overlays)('$directory', ({ objects }) => {
  const workloads = workloadsOf(objects)
  const inNamespace = (namespace: string | undefined) =>
    objects.filter(({ metadata }) => metadata.namespace === namespace)

  test.each(objects.map((object) => [called(object), object] as const))(
    '%s is what the schema allows, and nothing besides',
    (_, object) => {
      expect(() => validateStrictly(object)).not.toThrow()
    },
  )

  test('no two objects have the same name', () => {
    const names = objects.map(called)
    expect(names).toEqual([...new Set(names)])
  })

  test('every object and every pod carries the recommended labels, all of one instance a namespace', () => {
    for (const { kind, metadata } of objects) {
      expect.soft(metadata.labels, `${kind} ${metadata.name}`).toMatchObject({
        'app.kubernetes.io/name': 'spillway',
        'app.kubernetes.io/part-of': 'spillway',
        'app.kubernetes.io/managed-by': 'kustomize',
        'app.kubernetes.io/instance': expect.any(String),
        'app.kubernetes.io/version': version,
      })
    }
    for (const { namespace, labels, container } of workloads) {
      expect(container.image).toBe(`spillway:${version}`)
      const [config] = inNamespace(namespace).filter(
        ({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === 'broker',
      )
      expect(labels['app.kubernetes.io/component']).toMatch(/^(broker|worker)$/)
      expect(labels['app.kubernetes.io/version']).toBe(version)
      expect(labels['app.kubernetes.io/instance']).toBe(ConfigMap.is(config) ? config.data?.name : undefined)
    }
  })

  test('no pod may be more than the restricted pod security standard allows', () => {
    for (const { template, container } of workloads) {
      expect(template.spec?.securityContext).toMatchObject({
        runAsNonRoot: true,
        runAsUser: expect.any(Number),
        seccompProfile: { type: 'RuntimeDefault' },
      })
      expect(template.spec?.securityContext?.runAsUser).toBeGreaterThan(0)
      expect(container.securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      })
      expect(template.spec).not.toHaveProperty('hostNetwork')
      expect(template.spec).not.toHaveProperty('hostPID')
      for (const volume of template.spec?.volumes ?? []) {
        expect(Object.keys(volume).sort()).toEqual(
          ['name', volume.configMap ? 'configMap' : 'emptyDir'].sort(),
        )
      }
    }
    for (const { metadata } of objects.filter(({ kind }) => kind === 'Namespace')) {
      expect(metadata.labels?.['pod-security.kubernetes.io/enforce']).toBe('restricted')
    }
  })

  test('no pod has rights in the cluster', () => {
    expect(objects.filter(({ apiVersion }) => apiVersion.startsWith('rbac.'))).toEqual([])
    for (const { name, namespace, template } of workloads) {
      const account = all(inNamespace(namespace), ServiceAccount.is).find(
        ({ metadata }) => metadata.name === template.spec?.serviceAccountName,
      )
      expect(account, `the account of ${name}`).toMatchObject({ automountServiceAccountToken: false })
      expect(template.spec?.automountServiceAccountToken).toBe(false)
      expect(template.spec?.enableServiceLinks).toBe(false)
    }
  })

  test('every container asks for processor and memory, and has a limit on both that is no less', () => {
    for (const { container } of workloads) {
      const both = { cpu: expect.anything(), memory: expect.anything() }
      expect(container.resources).toEqual({ requests: both, limits: both })
      const { requests, limits } = container.resources ?? {}
      for (const resource of ['cpu', 'memory']) {
        expect(amountOf(requests?.[resource])).toBeLessThanOrEqual(amountOf(limits?.[resource]))
      }
    }
  })

  test('probes ask ports that the container has, and readiness asks for neither workers nor peers', () => {
    for (const { name, container } of workloads) {
      const { startupProbe, livenessProbe, readinessProbe } = container
      for (const probe of [startupProbe, livenessProbe, readinessProbe]) {
        if (probe === undefined) continue
        expect(container.ports?.map((port) => port.name)).toContain(probe.httpGet?.port)
      }
      if (name !== 'broker') continue
      expect([startupProbe, livenessProbe, readinessProbe].map((probe) => probe?.httpGet?.path)).toEqual([
        '/healthz',
        '/healthz',
        '/readyz',
      ])
      // A machine that is busy takes its time to start a process: nobody is ended for that.
      const { periodSeconds = 10, failureThreshold = 3 } = startupProbe ?? {}
      expect(periodSeconds * failureThreshold).toBeGreaterThanOrEqual(30)
    }
  })

  test('workers are spread over nodes and zones, and run none the less where there is one', () => {
    for (const { spec } of all(objects, Deployment.is)) {
      expect(
        spec?.template?.spec?.topologySpreadConstraints?.map(({ topologyKey, whenUnsatisfiable }) => [
          topologyKey,
          whenUnsatisfiable,
        ]),
      ).toEqual([
        ['kubernetes.io/hostname', 'ScheduleAnyway'],
        ['topology.kubernetes.io/zone', 'ScheduleAnyway'],
      ])
    }
  })

  test('selectors match the labels of what they are meant for, and of nothing else', () => {
    for (const workload of [...all(objects, StatefulSet.is), ...all(objects, Deployment.is)]) {
      const { selector } = workload.spec ?? {}
      const here = workloads.filter(({ namespace }) => namespace === workload.metadata.namespace)
      expect(here.filter(({ labels }) => selects(selector, labels)).map(({ name }) => name)).toEqual([
        workload.metadata.name,
      ])
      for (const { labelSelector } of workload.spec?.template?.spec?.topologySpreadConstraints ?? []) {
        expect(labelSelector).toEqual(selector)
      }
    }
    for (const service of all(objects, Service.is)) {
      const here = workloads.filter(({ namespace }) => namespace === service.metadata.namespace)
      const [target, ...others] = here.filter(({ labels }) =>
        selects({ matchLabels: service.spec?.selector ?? {} }, labels),
      )
      expect(target?.name, called(service)).toBe('broker')
      expect(others).toEqual([])
      for (const { port, targetPort } of service.spec?.ports ?? []) {
        const found = target?.container.ports?.find(({ name }) => name === targetPort)
        expect(found?.containerPort, `${called(service)} ${port}`).toBe(port)
      }
    }
  })

  test('the broker is one, behind a headless Service that has its address before it is ready', () => {
    for (const { namespace } of workloads) {
      const here = inNamespace(namespace)
      const broker = brokerOf(here)
      expect(broker.spec?.replicas).toBe(1)
      const governing = here.find(
        ({ kind, metadata }) => kind === 'Service' && metadata.name === broker.spec?.serviceName,
      )
      expect(Service.is(governing) && governing.spec).toMatchObject({
        clusterIP: 'None',
        publishNotReadyAddresses: true,
      })
    }
  })

  test('peers reach what is for peers, and clients and workers what is for them', () => {
    for (const service of all(objects, Service.is)) {
      const ports = service.spec?.ports?.map(({ name }) => name)
      expect([['localfe', 'localbe'], ['cloudfe', 'statebe'], ['http']]).toContainEqual(ports)
      if (service.spec?.type === 'LoadBalancer') expect(ports).toEqual(['cloudfe', 'statebe'])
      // Peers have something to hear from a broker that drains; nobody else is sent to one.
      expect(service.spec?.publishNotReadyAddresses ?? false, called(service)).toBe(
        ports?.includes('cloudfe') ?? false,
      )
    }
  })

  test('what a pod mounts or reads exists, and mounted files can change under it', () => {
    for (const { namespace, template, container } of workloads) {
      const maps = all(inNamespace(namespace), ConfigMap.is)
      const find = (name: string | undefined) => maps.find(({ metadata }) => metadata.name === name)
      for (const { name, mountPath, subPath } of container.volumeMounts ?? []) {
        expect(subPath).toBeUndefined()
        const volume = template.spec?.volumes?.find((volume) => volume.name === name)
        expect(volume, mountPath).toBeDefined()
        if (volume?.configMap === undefined) continue
        const map = find(volume.configMap.name)
        expect(map, volume.configMap.name).toBeDefined()
        for (const argument of container.args ?? []) {
          if (!argument.startsWith(`${mountPath}/`)) continue
          expect(map?.data).toHaveProperty([argument.slice(mountPath.length + 1)])
        }
      }
      for (const { valueFrom } of container.env ?? []) {
        const reference = valueFrom?.configMapKeyRef
        if (reference !== undefined) expect(find(reference.name)?.data).toHaveProperty(reference.key)
      }
    }
  })

  test('a variable that refers to another comes after it', () => {
    for (const { container } of workloads) {
      const before: string[] = []
      for (const { name, value } of container.env ?? []) {
        for (const [, other] of value?.matchAll(/\$\((\w+)\)/g) ?? []) expect(before, name).toContain(other)
        before.push(name)
      }
    }
  })

  test('no budget covers the single broker, and every worker has one that lets nodes drain', () => {
    const budgets = all(objects, PodDisruptionBudget.is)
    for (const { name, namespace, labels } of workloads) {
      const over = budgets.filter(
        ({ metadata, spec }) => metadata.namespace === namespace && selects(spec?.selector, labels),
      )
      expect(over.map(({ spec }) => spec?.maxUnavailable)).toEqual(name === 'broker' ? [] : [1])
    }
  })

  test('a rollout goes on only when what is new has stayed up for a while', () => {
    for (const { spec } of [...all(objects, StatefulSet.is), ...all(objects, Deployment.is)]) {
      expect(spec?.minReadySeconds).toBe(10)
    }
    for (const { container } of workloads) {
      // One late answer is not a reason to take clients and workers away.
      if (container.readinessProbe !== undefined) {
        expect(container.readinessProbe.failureThreshold).toBeGreaterThanOrEqual(3)
      }
    }
  })

  test('a pod is killed only after the time that its drain may take', () => {
    for (const { name, template, container } of workloads) {
      const grace = template.spec?.terminationGracePeriodSeconds ?? 0
      expect(grace, name).toBe(Number(settingOf(container, 'SPILLWAY_DRAIN_DEADLINE_MS')) / 1000 + 10)
    }
  })

  test('six flows are let through, and no other', () => {
    const policies = all(objects, NetworkPolicy.is)
    for (const ownNamespace of all(objects, Namespace.is)) {
      const here = workloads.filter(({ namespace }) => namespace === ownNamespace.metadata.name)
      expect(flowsOf(policies, here, ownNamespace, peersOf(objects, ownNamespace.metadata.name))).toEqual([
        'anybody → dns TCP 53',
        'anybody → dns UDP 53',
        'anybody → node’s dns TCP 53',
        'anybody → node’s dns UDP 53',
        'broker → peer TCP 5557',
        'broker → peer TCP 5558',
        'client elsewhere → broker TCP 5555',
        'client → broker TCP 5555',
        'monitoring → broker TCP 9464',
        'peer → broker TCP 5557',
        'peer → broker TCP 5558',
        'worker → broker TCP 5556',
      ])
    }
  })
})

/** Who the policies of a namespace have to do with peers: pods in the same cluster, or addresses in others. */
function peersOf(objects: readonly KubeObject[], namespace: string): Party {
  const other = workloadsOf(objects).find(
    (workload) => workload.name === 'broker' && workload.namespace !== namespace,
  )
  if (other?.namespace === undefined) return { name: 'peer', address: '192.0.2.10' }
  const { metadata } =
    objects.find(({ kind, metadata }) => kind === 'Namespace' && metadata.name === other.namespace) ?? {}
  return {
    name: 'peer',
    // As if nothing were known of it but its labels.
    address: '203.0.113.7',
    namespace: other.namespace,
    namespaceLabels: metadata?.labels ?? {},
    labels: other.labels,
    ports: portsOf(other.container),
  }
}

function portsOf(container: IContainer): Record<string, number> {
  return Object.fromEntries(
    (container.ports ?? []).map(({ name, containerPort }) => [name ?? '', containerPort]),
  )
}

/** Every pair of parties on every port that anybody uses, and a few that nobody should. */
function flowsOf(
  policies: readonly INetworkPolicy[],
  workloads: readonly Workload[],
  ownNamespace: KubeObject,
  peer: Party,
): string[] {
  const client = { 'spillway-client': 'true' }
  const here = {
    namespace: ownNamespace.metadata.name,
    namespaceLabels: ownNamespace.metadata.labels ?? {},
  }
  const own: Party[] = [
    ...workloads.map(({ name, labels, container }, at) => ({
      name,
      address: `198.51.100.${at}`,
      ...here,
      labels,
      ports: portsOf(container),
    })),
    { name: 'client', address: '198.51.100.10', ...here, labels: client },
    { name: 'stranger', address: '198.51.100.11', ...here, labels: {} },
  ]
  const others: Party[] = [
    peer,
    { name: 'client elsewhere', address: '198.51.100.20', namespace: 'shop', labels: client },
    { name: 'stranger elsewhere', address: '198.51.100.21', namespace: 'shop', labels: {} },
    // Pods of this cluster, as most networks number them.
    ...['10.7.0.1', '10.244.3.9', '172.17.0.5', '192.168.1.9'].map((address) => ({
      name: `stranger at ${address}`,
      address,
      namespace: 'shop',
      labels: {},
    })),
    { name: 'node’s dns', address: '169.254.20.10' },
    {
      name: 'monitoring',
      address: '198.51.100.22',
      namespace: 'monitoring',
      namespaceLabels: { 'kubernetes.io/metadata.name': 'monitoring' },
    },
    {
      name: 'dns',
      address: '198.51.100.23',
      namespace: 'kube-system',
      namespaceLabels: { 'kubernetes.io/metadata.name': 'kube-system' },
      labels: { 'k8s-app': 'kube-dns' },
    },
    {
      name: 'kube-system',
      address: '198.51.100.24',
      namespace: 'kube-system',
      namespaceLabels: { 'kubernetes.io/metadata.name': 'kube-system' },
    },
    { name: 'internet', address: '203.0.113.1' },
  ]
  const flows = new Set<string>()
  for (const from of [...own, ...others]) {
    for (const to of [...own, ...others]) {
      // What others do among themselves is not these policies' business.
      if (from === to || (others.includes(from) && others.includes(to))) continue
      for (const port of [22, 53, 80, 443, 5555, 5556, 5557, 5558, 9464, 10250]) {
        for (const protocol of ['TCP', 'UDP'] as const) {
          if (!isAllowed(policies, from, to, { protocol, port })) continue
          flows.add(`${to.name.endsWith('dns') ? 'anybody' : from.name} → ${to.name} ${protocol} ${port}`)
        }
      }
    }
  }
  return [...flows].sort()
}

test('what a range leaves out is not let through', () => {
  const about = (cidr: string, except?: string[]): INetworkPolicy => ({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'peers', namespace: 'spillway' },
    spec: {
      podSelector: {},
      policyTypes: ['Ingress'],
      ingress: [{ from: [{ ipBlock: except === undefined ? { cidr } : { cidr, except } }] }],
    },
  })
  const to = { name: 'broker', address: '10.244.0.2', namespace: 'spillway' }
  const port = { protocol: 'TCP', port: 5557 } as const
  const allowed = (address: string, policy: INetworkPolicy) =>
    isAllowed([policy], { name: 'from', address }, to, port)
  expect(allowed('10.244.3.9', about('10.0.0.0/8'))).toBe(true)
  expect(allowed('10.244.3.9', about('10.0.0.0/8', ['10.96.0.0/12', '10.244.0.0/16']))).toBe(false)
  expect(allowed('10.7.0.1', about('10.0.0.0/8', ['10.96.0.0/12', '10.244.0.0/16']))).toBe(true)
  expect(allowed('192.168.0.1', about('10.0.0.0/8', ['10.244.0.0/16']))).toBe(false)
})

describe.each(withComponents)('$directory', ({ objects }) => {
  const namesByNamespace = all(objects, ConfigMap.is).flatMap(({ metadata, data }) =>
    metadata.name === 'broker' ? [{ namespace: metadata.namespace, name: data?.name }] : [],
  )

  test('each autoscaler asks for the work of its own cluster, and the number of workers is its alone', () => {
    expect(all(objects, ScaledObject.is)).toHaveLength(namesByNamespace.length)
    for (const { namespace, name } of namesByNamespace) {
      const scaled = all(objects, ScaledObject.is).find(({ metadata }) => metadata.namespace === namespace)
      expect(scaled?.spec?.triggers[0]?.metadata.query).toBe(
        `sum(spillway_queue_depth{cluster="${name}"}) + sum(spillway_tasks_in_flight{cluster="${name}"})`,
      )
      const target = all(objects, Deployment.is).find(
        ({ metadata }) =>
          metadata.namespace === namespace && metadata.name === scaled?.spec?.scaleTargetRef.name,
      )
      expect(target).toBeDefined()
      expect(target?.spec).not.toHaveProperty('replicas')
    }
  })

  test('an autoscaler that cannot know how much there is to do keeps some workers', () => {
    for (const { spec } of all(objects, ScaledObject.is)) {
      expect(spec?.triggers[0]).toMatchObject({
        metricType: 'AverageValue',
        metadata: { ignoreNullValues: 'false' },
      })
      expect(spec?.fallback?.replicas).toBeGreaterThan(0)
      // It is not to be asked for more often than it is measured.
      const [monitor] = all(objects, PodMonitor.is)
      expect(monitor?.spec?.podMetricsEndpoints?.[0]?.interval).toBe(`${spec?.pollingInterval}s`)
    }
  })

  test('an autoscaler counts the tasks that a worker has slots for, and goes down to none', () => {
    for (const { metadata, spec } of all(objects, ScaledObject.is)) {
      const trigger = spec?.triggers[0]
      // KEDA takes any words here, and those that it does not know for nothing.
      expect(Object.keys(trigger?.metadata ?? {}).sort()).toEqual([
        'activationThreshold',
        'ignoreNullValues',
        'query',
        'serverAddress',
        'threshold',
      ])
      expect(trigger?.metadata.activationThreshold).toBe('0')
      const worker = workloadsOf(objects).find(
        ({ name, namespace }) => name === 'worker' && namespace === metadata.namespace,
      )
      const slots = Number(worker && settingOf(worker.container, 'SPILLWAY_SLOTS'))
      expect(Number(trigger?.metadata.threshold)).toBeGreaterThan(0)
      expect(Number(trigger?.metadata.threshold)).toBeLessThanOrEqual(slots)
      expect(spec?.minReplicaCount).toBe(0)
      expect(spec?.maxReplicaCount).toBeGreaterThan(spec?.fallback?.replicas ?? Number.NaN)
    }
  })

  test('the cluster that series of a broker name is its pod’s instance, which is its name', () => {
    for (const { namespace, name } of namesByNamespace) {
      const here = objects.filter(({ metadata }) => metadata.namespace === namespace)
      const [endpoint, ...others] = all(here, PodMonitor.is)[0]?.spec?.podMetricsEndpoints ?? []
      expect(others).toEqual([])
      expect(endpoint?.path).toBe('/metrics')
      const relabeling = endpoint?.relabelings?.find(({ targetLabel }) => targetLabel === 'cluster')
      // Prometheus knows labels of pods with all that is no letter or digit made an underscore.
      const labels = Object.entries(brokerOf(here).spec?.template?.metadata?.labels ?? {}).map(
        ([label, value]) => [`__meta_kubernetes_pod_label_${label.replaceAll(/\W/g, '_')}`, value],
      )
      const [source = ''] = relabeling?.sourceLabels ?? []
      expect(Object.fromEntries(labels)[source]).toBe(name)
    }
  })

  test('what is told of within the time that a drain may take is scraped and evaluated in time', () => {
    for (const { namespace } of namesByNamespace) {
      const here = objects.filter(({ metadata }) => metadata.namespace === namespace)
      const [group] = all(here, PrometheusRule.is)[0]?.spec?.groups ?? []
      const alert = group?.rules?.find(({ alert }) => alert === 'SpillwayBrokerNotDraining')
      const scraped = all(here, PodMonitor.is)[0]?.spec?.podMetricsEndpoints?.[0]?.interval
      const latest = [scraped, group?.interval, alert?.for].reduce(
        (sum, time) => sum + Number(/^(\d+)s$/.exec(String(time))?.[1]),
        0,
      )
      const broker = workloadsOf(here).find(({ name }) => name === 'broker')
      const deadline = Number(broker && settingOf(broker.container, 'SPILLWAY_DRAIN_DEADLINE_MS')) / 1000
      expect(latest).toBeLessThanOrEqual(deadline - 10)
    }
  })

  test('the rules go by the job that series of the broker have', () => {
    for (const { namespace } of namesByNamespace) {
      const here = objects.filter(({ metadata }) => metadata.namespace === namespace)
      const [monitor] = all(here, PodMonitor.is)
      const job = brokerOf(here).spec?.template?.metadata?.labels?.[monitor?.spec?.jobLabel ?? '']
      const asked = all(here, PrometheusRule.is).flatMap(({ spec }) =>
        [...JSON.stringify(spec).matchAll(/job=~?\\"(.*?)\\"/g)].map(([, asked]) => asked),
      )
      expect(new Set(asked)).toEqual(new Set([job]))
    }
  })
})

test('where no cloud asks for more the load balancer has a name and nothing else, and each cloud’s hint is an annotation', () => {
  const file = readFileSync(join(root, 'k8s/overlays/loadbalancer/peering-load-balancer.yaml'), 'utf8')
  const [plain] = parseObjects(file)
  expect(Object.keys(plain?.metadata.annotations ?? {})).toEqual([
    'external-dns.alpha.kubernetes.io/hostname',
  ])
  const [hinted] = parseObjects(file.replaceAll(/# (\S+\/\S+: )/g, '$1'))
  expect(() => validateStrictly(hinted ?? { apiVersion: '', kind: '' })).not.toThrow()
  expect(hinted?.metadata.annotations).toMatchObject({
    'service.beta.kubernetes.io/aws-load-balancer-scheme': 'internal',
    'networking.gke.io/load-balancer-type': 'Internal',
    'service.beta.kubernetes.io/azure-load-balancer-internal': 'true',
  })
})

test('what is scraped is the port of the broker that has the metrics', () => {
  const objects = renderWithComponents()
  const [monitor] = all(objects, PodMonitor.is)
  const broker = workloadsOf(objects).filter(({ labels }) => selects(monitor?.spec?.selector, labels))
  expect(broker.map(({ name }) => name)).toEqual(['broker'])
  const port = monitor?.spec?.podMetricsEndpoints?.[0]?.port
  expect(broker[0]?.container.ports?.find(({ name }) => name === port)?.containerPort).toBe(9464)
})

describe('what would be refused', () => {
  const broker = brokerOf(render('k8s/overlays/local'))
  const [container] = broker.spec?.template?.spec?.containers ?? []

  test('a misspelt key deep inside an object', () => {
    const misspelt = structuredClone(broker)
    Object.assign(misspelt.spec?.template?.spec?.containers?.[0] ?? {}, {
      readinesProbe: container?.readinessProbe,
    })
    expect(() => validateStrictly(misspelt)).toThrow(
      'unknown keys: .spec.template.spec.containers[0].readinesProbe',
    )
  })

  test('a key beside spec', () => {
    expect(() => validateStrictly(Object.assign(structuredClone(broker), { replicas: 1 }))).toThrow(
      'unknown keys: .replicas',
    )
  })

  test('a value of the wrong type', () => {
    const wrong = Object.assign(structuredClone(broker), { spec: { ...broker.spec, replicas: 'one' } })
    expect(() => validateStrictly(wrong)).toThrow(/spec\/replicas must be integer/)
  })

  test('a kind that nobody has a schema of', () => {
    expect(() => validateStrictly({ apiVersion: 'v1', kind: 'Brocker' })).toThrow('no schema for v1 Brocker')
  })
})
