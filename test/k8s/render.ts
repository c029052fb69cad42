/** Overlays as the API server would be sent them. */

import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseAllDocuments } from 'yaml'
import { z } from 'zod'

const kubeObject = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({
    name: z.string(),
    namespace: z.string().optional(),
    labels: z.record(z.string(), z.string()).optional(),
    annotations: z.record(z.string(), z.string()).optional(),
  }),
})

/** What every object has; the rest is its kind's own. */
export interface KubeObject {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: {
    readonly name: string
    readonly namespace?: string | undefined
    readonly labels?: { readonly [label: string]: string } | undefined
    readonly annotations?: { readonly [annotation: string]: string } | undefined
  }
}

export const root = fileURLToPath(new URL('../..', import.meta.url))

/** @throws an error with what kubectl says when the directory does not render */
export function render(directory: string): KubeObject[] {
  const kubectl = spawnSync('kubectl', ['kustomize', directory], { cwd: root, encoding: 'utf8' })
  if (kubectl.status !== 0)
    throw new Error(`kubectl kustomize ${directory}: ${kubectl.stderr || kubectl.error}`)
  return parseObjects(kubectl.stdout)
}

/**
 * As an operator does it: takes the comment signs before the components away.
 *
 * @param overlay of `k8s/overlays`
 * @param file of it that has the comment
 */
export function renderWithComponents(
  overlay = 'loadbalancer',
  file = `${overlay}/kustomization.yaml`,
): KubeObject[] {
  const directory = mkdtempSync(join(tmpdir(), 'spillway-overlay-'))
  try {
    cpSync(join(root, 'k8s'), directory, { recursive: true })
    const overlays = join(directory, 'overlays')
    const kustomization = readFileSync(join(overlays, file), 'utf8')
    writeFileSync(join(overlays, file), kustomization.replaceAll(/^# (components:| {2}- \.\.)/gm, '$1'))
    return render(join(overlays, overlay))
  } finally {
    rmSync(directory, { recursive: true })
  }
}

export function parseObjects(yaml: string): KubeObject[] {
  return parseAllDocuments(yaml).map((document) => {
    const [problem] = document.errors
    if (problem !== undefined) throw problem
    return kubeObject.parse(document.toJS())
  })
}

export function called(object: KubeObject): string {
  return `${object.metadata.namespace ?? '-'}/${object.kind}/${object.metadata.name}`
}

/** Those of one kind, by the guard of its published class: `all(objects, Service.is)`. */
export function all<T>(
  objects: readonly KubeObject[],
  is: (object: unknown) => object is T,
): (KubeObject & T)[] {
  return objects.flatMap((object) => (is(object) ? [object] : []))
}
