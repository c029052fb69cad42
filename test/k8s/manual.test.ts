import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ConfigMap, Service } from 'kubernetes-models/v1'
import { afterAll, expect, test } from 'vitest'
import { all, type KubeObject, render, root } from './render.ts'
import { validateStrictly } from './strict-validation.ts'

const directory = mkdtempSync(join(tmpdir(), 'spillway-manual-'))
cpSync(join(root, 'k8s'), join(directory, 'k8s'), { recursive: true })
afterAll(() => rmSync(directory, { recursive: true }))

/** The manual's commands, in its order. */
const commands = [
  ...readFileSync(join(root, 'docs/kubernetes.md'), 'utf8').matchAll(/```sh\n(.*?)```/gs),
].flatMap(([, block = '']) => block.trimEnd().split('\n'))

/** By the context that they are applied to: what each cluster of the manual would be sent. */
const applied: { context: string; objects: KubeObject[] }[] = []

test('every command of the manual that needs no cluster runs as it is written, and what it applies renders', () => {
  for (const command of commands) {
    const [, context = '', overlay] = /^kubectl (?:--context (\w+) )?apply -k (\S+)$/.exec(command) ?? []
    if (overlay !== undefined) {
      const objects = render(join(directory, overlay))
      for (const object of objects) validateStrictly(object)
      applied.push({ context, objects })
    } else if (!/^(kubectl|kind|docker) /.test(command)) {
      const { status, stderr } = spawnSync('sh', ['-euc', command], { cwd: directory, encoding: 'utf8' })
      expect(status, `${command}: ${stderr}`).toBe(0)
    }
  }
  expect(applied.map(({ context }) => context)).toEqual(['', 'west', 'east', 'north', 'west', 'east'])
})

test('the clusters that come of it have their own names, and peers that another one of them advertises', () => {
  const clusters = applied.filter(({ context }) => context !== '')
  // Documentation's own addresses have been replaced, or nobody would get in.
  expect(JSON.stringify(clusters)).not.toContain('192.0.2.')
  const federations = [clusters.slice(0, 3), clusters.slice(3)]
  for (const federation of federations) {
    const addresses = federation.map(({ context, objects }) => {
      const map = all(objects, ConfigMap.is).find(({ metadata }) => metadata.name === 'broker')
      expect(map?.data?.name).toBe(context)
      const file = map?.data?.['broker.yaml'] ?? ''
      const exported = all(objects, Service.is).find(({ metadata }) => metadata.labels?.['spillway-exported'])
      const [, written] = /^cloudfeAdvertised: (.*)$/m.exec(file) ?? []
      return {
        own: written ?? `tcp://${exported?.metadata.name}.spillway.svc.clusterset.local:5557`,
        peers: [...file.matchAll(/^ {2}- (tcp:.*)$/gm)].map(([, peer]) => peer),
      }
    })
    for (const { own, peers } of addresses) {
      expect(own).toMatch(/west|east|north/)
      const others = addresses.map((other) => other.own).filter((address) => address !== own)
      expect(others).toHaveLength(federation.length - 1)
      expect(peers).toHaveLength(1)
      expect(others).toEqual(expect.arrayContaining(peers))
    }
  }
})
