/** The stock programs in Python, as processes of their own: started, listened to, killed after the test. */

import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished } from 'vitest'
import { eventually } from '../reactor-rig.ts'

/** Debian's, which has python3-zmq; another python3 in the path may not. */
const PYTHON = '/usr/bin/python3'

type Line = { readonly [key: string]: unknown }

export class Program {
  /** What it has said, a line of JSON each. */
  readonly lines: Line[] = []
  readonly ended: Promise<number | null>
  readonly #child: ChildProcess
  #stderr = ''

  constructor(script: string, args: readonly (string | number)[]) {
    const path = fileURLToPath(new URL(script, import.meta.url))
    const child = spawn(PYTHON, [path, ...args.map(String)], { stdio: ['pipe', 'pipe', 'pipe'] })
    this.#child = child
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text
    })
    createInterface({ input: child.stdout }).on('line', (line) => {
      const said: unknown = JSON.parse(line)
      if (typeof said === 'object' && said !== null) this.lines.push({ ...said })
    })
    this.ended = new Promise((resolve, reject) => {
      child.on('error', reject)
      child.on('close', (code) => resolve(code))
    })
    onTestFinished(async () => {
      this.kill()
      await this.ended
      expect(this.#stderr).toBe('')
    })
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  /** Everything said under a key, in order. */
  said(key: string): unknown[] {
    return this.lines.filter((line) => key in line).map((line) => line[key])
  }

  /** Waits until it has said something under a key so many times. */
  async says(key: string, times = 1, timeout = 10_000): Promise<unknown[]> {
    return await eventually(() => {
      expect(this.said(key).length, this.#stderr).toBeGreaterThanOrEqual(times)
      return this.said(key)
    }, timeout)
  }
}

export interface Totals {
  readonly right: number
  readonly wrong: number
  readonly resent: number
  readonly abandoned: number
}

/** Lazy Pirate clients at work. */
export class LazyPirates extends Program {
  constructor(
    connect: string,
    options: {
      readonly clients?: number
      readonly requests?: number
      readonly timeoutMs?: number
      readonly retries?: number
      readonly correlate?: boolean
      readonly name?: string
    } = {},
  ) {
    const {
      clients = 1,
      requests = 100,
      timeoutMs = 2500,
      retries = 3,
      correlate = false,
      name = 'lazy',
    } = options
    super('lazy_pirate_client.py', [
      '--connect',
      connect,
      ...['--clients', clients, '--requests', requests, '--name', name],
      ...['--timeout', timeoutMs, '--retries', retries],
      ...(correlate ? ['--correlate'] : []),
    ])
  }

  /** Answered so far, as of the last round number. */
  get progress(): number {
    return Math.max(0, ...this.said('progress').map(Number))
  }

  /** Waits for the end. */
  async totals(): Promise<Totals> {
    await this.ended
    const [done] = this.said('done')
    const of = (key: string): number =>
      typeof done === 'object' && done !== null ? Number(Reflect.get(done, key)) : Number.NaN
    return { right: of('right'), wrong: of('wrong'), resent: of('resent'), abandoned: of('abandoned') }
  }
}

export function reqWorkers(
  connect: string,
  options: {
    readonly workers?: number
    readonly ready?: 'READY' | 'octet'
    readonly workS?: number
    readonly prefix?: string
  } = {},
): Program {
  const { workers = 1, ready = 'READY', workS = 0, prefix = '' } = options
  return new Program('req_worker.py', [
    '--connect',
    connect,
    ...['--workers', workers, '--ready', ready, '--work', workS, '--prefix', prefix],
  ])
}

/** Paranoid Pirate workers; times in seconds. They beat as often as brokers under test expect it. */
export function paranoidPirates(
  connect: string,
  options: {
    readonly workers?: number
    readonly intervalS?: number
    /** Intervals without a word from the broker until it counts as gone. */
    readonly liveness?: number
    readonly backoffS?: number
    readonly workS?: number
    readonly prefix?: string
    readonly talk?: boolean
  } = {},
): Program {
  const {
    workers = 1,
    intervalS = 0.2,
    liveness = 3,
    backoffS = 1,
    workS = 0,
    prefix = '',
    talk = false,
  } = options
  return new Program('paranoid_pirate_worker.py', [
    '--connect',
    connect,
    ...['--workers', workers, '--interval', intervalS, '--liveness', liveness, '--backoff', backoffS],
    ...['--work', workS],
    ...['--prefix', prefix, ...(talk ? ['--talk'] : [])],
  ])
}
