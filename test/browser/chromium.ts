import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { z } from 'zod'

/** Nothing of a browser's own comings and goings, and no way out: whatever is not the page itself cannot be had. */
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-dev-shm-usage',
  '--proxy-server=127.0.0.1:9',
  '--proxy-bypass-list=<-loopback>',
]

const answer = z.object({ value: z.unknown() })
const logEntries = z.array(z.object({ level: z.string(), message: z.string() }))
const opened = z.object({ sessionId: z.string() })

/** A headless browser, driven by the W3C's WebDriver protocol. */
export class Chromium {
  readonly #driver: ChildProcess
  readonly #profile: string
  readonly #base: string
  #session = ''

  private constructor(driver: ChildProcess, profile: string, port: string) {
    this.#driver = driver
    this.#profile = profile
    this.#base = `http://127.0.0.1:${port}/session`
  }

  static async open(): Promise<Chromium> {
    const profile = mkdtempSync(join(tmpdir(), 'spillway-browser-'))
    const driver = spawn('chromedriver', ['--port=0'], { stdio: ['ignore', 'pipe', 'inherit'] })
    const chromium = new Chromium(driver, profile, await portOf(driver))
    const { sessionId } = opened.parse(
      await chromium.#call('', {
        capabilities: {
          alwaysMatch: {
            'goog:chromeOptions': { args: [...FLAGS, `--user-data-dir=${profile}`] },
            'goog:loggingPrefs': { browser: 'ALL' },
          },
        },
      }),
    )
    chromium.#session = `/${sessionId}`
    await chromium.devtools('Network.emulateNetworkConditions', {
      offline: true,
      latency: 0,
      downloadThroughput: 0,
      uploadThroughput: 0,
    })
    return chromium
  }

  async goTo(url: string): Promise<void> {
    await this.#call('/url', { url })
  }

  /** @param width of the window in CSS pixels */
  async look(width: number, scheme: 'light' | 'dark'): Promise<void> {
    const metrics = { width, height: 900, deviceScaleFactor: 1, mobile: false }
    await this.devtools('Emulation.setDeviceMetricsOverride', metrics)
    const features = [{ name: 'prefers-color-scheme', value: scheme }]
    await this.devtools('Emulation.setEmulatedMedia', { media: '', features })
  }

  async devtools(cmd: string, params: { [name: string]: unknown }): Promise<unknown> {
    return await this.#call('/goog/cdp/execute', { cmd, params })
  }

  /** @param script the body of a function; @returns what it returns, of the shape that is expected */
  async run<T>(shape: z.ZodType<T>, script: string): Promise<T> {
    return shape.parse(await this.#call('/execute/sync', { script, args: [] }))
  }

  /** What the console has said since it was asked last. */
  async console(): Promise<string[]> {
    const entries = logEntries.parse(await this.#call('/se/log', { type: 'browser' }))
    return entries.map(({ level, message }) => `${level} ${message}`)
  }

  async close(): Promise<void> {
    if (this.#session !== '') await fetch(`${this.#base}${this.#session}`, { method: 'DELETE' })
    const gone = new Promise((resolve) => this.#driver.once('exit', resolve))
    this.#driver.kill()
    await gone
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5 })
  }

  async #call(path: string, body: object): Promise<unknown> {
    const response = await fetch(`${this.#base}${this.#session}${path}`, {
      method: 'POST',
      body: JSON.stringify(body),
    })
    const { value } = answer.parse(await response.json())
    if (!response.ok) throw new Error(`the browser refused ${path}: ${JSON.stringify(value)}`)
    return value
  }
}

async function portOf(driver: ChildProcess): Promise<string> {
  if (driver.stdout === null) throw new Error('chromedriver has no output')
  driver.once('error', (error) => driver.stdout?.destroy(error))
  for await (const line of createInterface({ input: driver.stdout })) {
    const [, port] = /started successfully on port (\d+)/.exec(line) ?? []
    if (port !== undefined) return port
  }
  throw new Error('chromedriver ended before it said its port')
}
