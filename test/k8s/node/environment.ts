import type { ConfigData } from './config-volume.ts'
import type { PodTemplate } from './pod-spec.ts'

type Variables = PodTemplate['spec']['containers'][0]['env']

/** A container's environment as the kubelet makes it: `$(NAME)` stands for a variable named before. */
export function environmentOf(
  variables: Variables,
  namespace: string,
  configMaps: ReadonlyMap<string, ConfigData>,
): Record<string, string> {
  const environment: Record<string, string> = {}
  for (const variable of variables) {
    if ('value' in variable) {
      environment[variable.name] = variable.value.replace(
        /\$\((\w+)\)/g,
        (reference, name: string) => environment[name] ?? reference,
      )
    } else if ('fieldRef' in variable.valueFrom) {
      environment[variable.name] = namespace
    } else {
      const { name, key } = variable.valueFrom.configMapKeyRef
      const value = configMaps.get(name)?.[key]
      if (value === undefined) throw new Error(`${variable.name} needs ${key} of ConfigMap ${name}`)
      environment[variable.name] = value
    }
  }
  return environment
}
