/** What the node reads of a pod's template, and refuses what it would not obey. */

import { z } from 'zod'

const probe = z
  .strictObject({
    httpGet: z.strictObject({ path: z.string(), port: z.string() }),
    periodSeconds: z.number().default(10),
    timeoutSeconds: z.number().default(1),
    failureThreshold: z.number().default(3),
  })
  .optional()

export type Probe = NonNullable<z.output<typeof probe>>

const container = z.strictObject({
  name: z.string(),
  image: z.string(),
  args: z.array(z.string()).default([]),
  env: z
    .array(
      z.union([
        z.strictObject({ name: z.string(), value: z.string() }),
        z.strictObject({
          name: z.string(),
          valueFrom: z.strictObject({
            configMapKeyRef: z.strictObject({ name: z.string(), key: z.string() }),
          }),
        }),
        z.strictObject({
          name: z.string(),
          valueFrom: z.strictObject({
            fieldRef: z.strictObject({ fieldPath: z.literal('metadata.namespace') }),
          }),
        }),
      ]),
    )
    .default([]),
  ports: z.array(z.strictObject({ name: z.string(), containerPort: z.number() })).default([]),
  startupProbe: probe,
  livenessProbe: probe,
  readinessProbe: probe,
  volumeMounts: z
    .array(z.strictObject({ name: z.string(), mountPath: z.string(), readOnly: z.boolean().optional() }))
    .default([]),
  securityContext: z.looseObject({ readOnlyRootFilesystem: z.boolean() }),
  // Limits are the kernel's to enforce, not this node's.
  resources: z.unknown().optional(),
})

/** A key that is not in here is one that the manifests have begun to use and that nothing here obeys yet: an error. */
export const podTemplate = z.strictObject({
  metadata: z.strictObject({
    labels: z.record(z.string(), z.string()),
    annotations: z.record(z.string(), z.string()).default({}),
  }),
  spec: z.strictObject({
    containers: z.tuple([container]),
    terminationGracePeriodSeconds: z.number().default(30),
    securityContext: z.looseObject({ runAsUser: z.number() }),
    volumes: z
      .array(
        z.union([
          z.strictObject({ name: z.string(), configMap: z.strictObject({ name: z.string() }) }),
          z.strictObject({ name: z.string(), emptyDir: z.looseObject({}) }),
        ]),
      )
      .default([]),
    serviceAccountName: z.string().optional(),
    automountServiceAccountToken: z.literal(false),
    enableServiceLinks: z.literal(false),
    topologySpreadConstraints: z.unknown().optional(),
  }),
})

export type PodTemplate = z.output<typeof podTemplate>
