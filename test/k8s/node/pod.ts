import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { root } from '../render.ts'
import { type ConfigData, ConfigVolume } from './config-volume.ts'
import { environmentOf } from './environment.ts'
import type { PodTemplate, Probe } from './pod-spec.ts'

export interface PodOptions {
  readonly namespace: string
  readonly name: string
  readonly node: string
  readonly address: string
  readonly template: PodTemplate
  /** Data of the namespace's ConfigMaps, by name. */
  readonly configMaps: ReadonlyMap<string, ConfigData>
  /** A directory of this pod's own. */
  readonly directory: string
  /** The image's, from the Dockerfile. */
  readonly entrypoint: readonly string[]
  /** The pod has become ready, or no longer is. */
  readonly onReadiness: () => void
}

/** How a pod ended. */
export interface PodEnd {
  readonly pod: string
  /** From SIGTERM to the end, ms. */
  readonly tookMs: number
  /** Still there after its grace period. */
  readonly killed: boolean
  readonly exitCode: number | null
}

/** The kubelet begins at once, and waits ever longer. */
const RESTART_AFTER_SECONDS = 1

let cards = 0

/** One pod: its container is a process of this machine, in network, mount and host name namespaces of its own. */
export class Pod {
  readonly options: PodOptions
  readonly volumes = new Map<string, ConfigVolume>()
  ready = false
  #readySince = 0
  terminating = false
  /** Times the container was started again: it ended by itself, or its liveness probe failed. */
  restarts = 0
  readonly #container: PodTemplate['spec']['containers'][0]
  #process: ChildProcess | undefined
  #gone: Promise<unknown> = Promise.resolve()

  constructor(options: PodOptions) {
    this.options = options
    const { template, directory, configMaps, namespace } = options
    ;[this.#container] = template.spec.containers
    for (const part of ['root', 'etc', 'volumes']) mkdirSync(join(directory, part), { recursive: true })
    for (const { mountPath } of this.#container.volumeMounts) {
      if (mountPath.startsWith('/etc/')) mkdirSync(join(directory, mountPath), { recursive: true })
    }
    writeFileSync(join(directory, 'etc/nsswitch.conf'), 'hosts: files\n')
    for (const volume of template.spec.volumes) {
      if (!('configMap' in volume)) continue
      const data = configMaps.get(volume.configMap.name)
      if (data === undefined) throw new Error(`${namespace} has no ConfigMap ${volume.configMap.name}`)
      this.volumes.set(volume.configMap.name, new ConfigVolume(join(directory, 'volumes', volume.name), data))
    }
  }

  /** Negative while it is not. */
  get readyForMs(): number {
    return this.ready ? performance.now() - this.#readySince : -1
  }

  get name(): string {
    return `${this.options.namespace}/${this.options.name}`
  }

  get log(): string {
    return readFileSync(join(this.options.directory, 'log'), 'utf8')
  }

  /** The file is replaced whole: a look-up never finds half of it. */
  setHosts(hosts: string): void {
    const path = join(this.options.directory, 'etc/hosts')
    writeFileSync(`${path}.new`, hosts)
    renameSync(`${path}.new`, path)
  }

  /** Starts the container, and starts it again whenever it ends, until the pod is terminated. */
  start(): void {
    const { address, directory, template } = this.options
    const { runAsUser } = template.spec.securityContext
    const enter = [
      fileURLToPath(new URL('enter-pod.sh', import.meta.url)),
      this.options.name,
      join(directory, 'root'),
      address,
      join(directory, 'etc'),
      root,
      dirname(process.execPath),
      // In a user namespace that this user made for itself there is only one user.
      String(process.env.SANDBOX_USERS === 'one' ? 0 : runAsUser),
      String(this.#container.securityContext.readOnlyRootFilesystem),
      ...this.#mounts(),
      '--',
      ...this.#environment(),
      ...this.options.entrypoint,
      ...this.#container.args,
    ]
    const log = openSync(join(directory, 'log'), 'a')
    const child = spawn('unshare', ['--net', '--mount', '--uts', 'sh', ...enter], {
      stdio: ['pipe', log, log],
    })
    this.#process = child
    const gone = once(child, 'exit')
    this.#gone = gone
    const card = `pod${++cards}`
    const netns = String(child.pid)
    // The child is there, but perhaps not yet in its own namespace.
    waitForNamespace(netns)
    execFileSync('ip', ['link', 'add', card, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', netns])
    execFileSync('ip', ['link', 'set', card, 'up'])
    execFileSync('ip', ['route', 'replace', address, 'dev', card])
    child.stdin?.end('\n')
    void this.#watch(child)
    void gone.then(async () => {
      this.#setReady(false)
      await seconds(RESTART_AFTER_SECONDS)
      if (this.terminating) return
      this.restarts++
      this.start()
    })
  }

  /** Asks the container to end, and ends it when its grace period is over. */
  async terminate(): Promise<PodEnd> {
    const since = performance.now()
    this.terminating = true
    this.#setReady(false)
    this.options.onReadiness()
    const child = this.#process
    let killed = false
    const grace = setTimeout(() => {
      killed = true
      child?.kill('SIGKILL')
    }, this.options.template.spec.terminationGracePeriodSeconds * 1000)
    child?.kill('SIGTERM')
    await this.#gone
    clearTimeout(grace)
    // What is still sent there vanishes without a word: whoever waits for a refusal waits long.
    execFileSync('ip', ['route', 'replace', 'blackhole', this.options.address])
    return { pod: this.name, tookMs: performance.now() - since, killed, exitCode: child?.exitCode ?? null }
  }

  /** `kubectl exec`: a command beside the container's, in its namespaces, root and environment. @returns what it prints */
  async exec(...command: string[]): Promise<string> {
    const pid = String(this.#process?.pid)
    const enter = [
      '--target',
      pid,
      '--net',
      '--mount',
      '--uts',
      '--root',
      '--wd=/',
      '--',
      '/usr/bin/env',
      '-i',
      ...this.#environment(),
      ...command,
    ]
    const { stdout } = await promisify(execFile)('nsenter', enter)
    return stdout
  }

  /** Stops the container's process where it is, as a bug that hangs would. */
  freeze(): void {
    this.#process?.kill('SIGSTOP')
  }

  async get(path: string, port: string, timeoutMs: number): Promise<Response> {
    const number = this.#container.ports.find(({ name }) => name === port)?.containerPort
    return await fetch(`http://${this.options.address}:${number}${path}`, {
      signal: AbortSignal.timeout(timeoutMs),
    })
  }

  #setReady(ready: boolean): void {
    if (this.ready === ready) return
    this.ready = ready
    this.#readySince = performance.now()
    this.options.onReadiness()
  }

  async #watch(child: ChildProcess): Promise<void> {
    const { startupProbe, livenessProbe, readinessProbe } = this.#container
    const runs = () => this.#process === child && child.exitCode === null && child.signalCode === null
    if (startupProbe !== undefined && !(await this.#passes(startupProbe, runs))) {
      child.kill('SIGKILL')
      return
    }
    if (livenessProbe !== undefined) {
      void this.#fails(livenessProbe, runs).then((failed) => {
        if (failed) child.kill('SIGKILL')
      })
    }
    if (readinessProbe === undefined) {
      if (runs()) this.#setReady(true)
      return
    }
    let failures = 0
    while (runs() && !this.terminating) {
      const next = seconds(readinessProbe.periodSeconds)
      failures = (await this.#ask(readinessProbe)) ? 0 : failures + 1
      if (failures === 0) this.#setReady(!this.terminating && runs())
      else if (failures >= readinessProbe.failureThreshold) this.#setReady(false)
      await next
    }
  }

  /** @returns whether the probe passed before it had failed too often */
  async #passes(probe: Probe, runs: () => boolean): Promise<boolean> {
    for (let failures = 0; failures < probe.failureThreshold && runs(); failures++) {
      const next = seconds(probe.periodSeconds)
      if (await this.#ask(probe)) return true
      await next
    }
    return false
  }

  /** @returns true once the probe has failed too often in a row, false when the container is gone */
  async #fails(probe: Probe, runs: () => boolean): Promise<boolean> {
    let failures = 0
    while (runs() && !this.terminating) {
      const next = seconds(probe.periodSeconds)
      failures = (await this.#ask(probe)) ? 0 : failures + 1
      if (failures >= probe.failureThreshold) return runs()
      await next
    }
    return false
  }

  async #ask(probe: Probe): Promise<boolean> {
    try {
      const answer = await this.get(probe.httpGet.path, probe.httpGet.port, probe.timeoutSeconds * 1000)
      await answer.arrayBuffer()
      return answer.ok
    } catch {
      // Refused, reset, or not in time: the probe has failed, which is an answer too.
      return false
    }
  }

  #environment(): string[] {
    const { name, namespace, configMaps } = this.options
    const own = environmentOf(this.#container.env, namespace, configMaps)
    return Object.entries({ NODE_ENV: 'production', HOSTNAME: name, ...own }).map(
      ([name, value]) => `${name}=${value}`,
    )
  }

  #mounts(): string[] {
    const { template, directory } = this.options
    return this.#container.volumeMounts.flatMap(({ name, mountPath }) => {
      const source = join(directory, 'volumes', name)
      const volume = template.spec.volumes.find((volume) => volume.name === name)
      if (volume === undefined) throw new Error(`${this.name} mounts ${name}, which is no volume of its`)
      if ('emptyDir' in volume) mkdirSync(source, { recursive: true, mode: 0o777 })
      return [source, mountPath]
    })
  }
}

function waitForNamespace(pid: string): void {
  const ours = netnsOf('self')
  const until = performance.now() + 5000
  while (netnsOf(pid) === ours) {
    if (performance.now() > until) throw new Error('a pod did not get a network namespace of its own')
    execFileSync('true')
  }
}

function netnsOf(pid: string): string {
  return execFileSync('readlink', [`/proc/${pid}/ns/net`], { encoding: 'utf8' })
}

async function seconds(count: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, count * 1000).unref())
}
