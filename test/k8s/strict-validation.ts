/**
 * Validates Kubernetes objects by the published schemas, and refuses keys that these do not know, as
 * `kubectl apply --validate=strict` does on a server.
 */

import { ScaledObject } from '@kubernetes-models/keda/keda.sh/v1alpha1'
import { PodMonitor, PrometheusRule } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1'
import { Deployment, StatefulSet } from 'kubernetes-models/apps/v1'
import { NetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1'
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1'
import { ConfigMap, Namespace, Service, ServiceAccount } from 'kubernetes-models/v1'
import { z } from 'zod'

interface Model {
  readonly apiVersion: string
  readonly kind: string
  readonly prototype: { validate(): void }
}

const models: readonly Model[] = [
  Namespace,
  ServiceAccount,
  ConfigMap,
  Service,
  StatefulSet,
  Deployment,
  PodDisruptionBudget,
  NetworkPolicy,
  PodMonitor,
  PrometheusRule,
  ScaledObject,
]

/** The multi-cluster services API publishes no package: an export is a name and nothing else. */
const serviceExport = z.strictObject({
  apiVersion: z.literal('multicluster.x-k8s.io/v1alpha1'),
  kind: z.literal('ServiceExport'),
  metadata: z.strictObject({
    name: z.string(),
    namespace: z.string(),
    labels: z.record(z.string(), z.string()).optional(),
    annotations: z.record(z.string(), z.string()).optional(),
  }),
})

/** @throws an error that names what is wrong, or the keys that are unknown, by their paths */
export function validateStrictly(object: { readonly apiVersion: string; readonly kind: string }): void {
  if (object.kind === serviceExport.shape.kind.value) {
    serviceExport.parse(object)
    return
  }
  const model = models.find(
    ({ apiVersion, kind }) => apiVersion === object.apiVersion && kind === object.kind,
  )
  if (model === undefined) throw new Error(`no schema for ${object.apiVersion} ${object.kind}`)
  const reads = new Reads()
  model.prototype.validate.call(reads.record(object))
  const unknown = reads.unread(object, '')
  if (unknown.length > 0) throw new Error(`unknown keys: ${unknown.join(', ')}`)
}

/**
 * The published validators are compiled code without an option to refuse what they do not know. But they look at every
 * property that the schema has, and list the keys of every map: what they have not asked for, the schema does not have.
 */
class Reads {
  readonly #keys = new Map<object, Set<string>>()
  readonly #recorders = new Map<object, object>()

  record<T extends object>(target: T): T
  record(target: object): object {
    const known = this.#recorders.get(target)
    if (known !== undefined) return known
    const keys = new Set<string>()
    this.#keys.set(target, keys)
    const recorder = new Proxy(target, {
      get: (_, key) => {
        keys.add(String(key))
        const value: unknown = Reflect.get(target, key)
        return typeof value === 'object' && value !== null ? this.record(value) : value
      },
      ownKeys: () => {
        const all = Reflect.ownKeys(target)
        for (const key of all) keys.add(String(key))
        return all
      },
    })
    this.#recorders.set(target, recorder)
    return recorder
  }

  unread(value: unknown, path: string): string[] {
    if (typeof value !== 'object' || value === null) return []
    return Object.entries(value).flatMap(([key, child]) => {
      const at = Array.isArray(value) ? `${path}[${key}]` : `${path}.${key}`
      return this.#keys.get(value)?.has(key) ? this.unread(child, at) : [at]
    })
  }
}
