import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { stringify } from 'yaml'
import { z } from 'zod'

const result = z.object({
  status: z.literal('success'),
  data: z.object({ result: z.array(z.unknown()) }),
})

/** A real Prometheus of this machine, that scrapes every second. */
export class PrometheusServer {
  readonly #address: string

  private constructor(address: string) {
    this.#address = address
  }

  /** @param targets what to scrape, by the cluster that the operator's relabelling would name */
  static async start(targets: Readonly<Record<string, string>>): Promise<PrometheusServer> {
    const directory = mkdtempSync(join(tmpdir(), 'spillway-prometheus-'))
    const address = `127.0.0.1:${await freePort()}`
    writeFileSync(
      join(directory, 'prometheus.yml'),
      stringify({
        global: { scrape_interval: '1s', scrape_timeout: '1s' },
        scrape_configs: [
          {
            job_name: 'spillway',
            static_configs: Object.entries(targets).map(([cluster, target]) => ({
              targets: [target],
              labels: { cluster },
            })),
          },
        ],
      }),
    )
    const child = spawn(
      'prometheus',
      [
        `--config.file=${join(directory, 'prometheus.yml')}`,
        `--storage.tsdb.path=${join(directory, 'data')}`,
        `--web.listen-address=${address}`,
        '--log.level=error',
      ],
      { stdio: ['ignore', 'ignore', 'inherit'] },
    )
    const gone = once(child, 'exit')
    onTestFinished(async () => {
      child.kill('SIGTERM')
      await gone
      rmSync(directory, { recursive: true })
    })
    return new PrometheusServer(address)
  }

  /** @returns the series that the query gives; undefined while the server is not up yet */
  async query(expression: string): Promise<readonly unknown[] | undefined> {
    let answer: Response
    try {
      answer = await fetch(`http://${this.#address}/api/v1/query`, {
        method: 'POST',
        body: new URLSearchParams({ query: expression }),
      })
    } catch (error) {
      if (error instanceof TypeError) return undefined
      throw error
    }
    if (answer.status === 503) return undefined
    const body = await answer.text()
    if (!answer.ok) throw new Error(`${expression}: ${body}`)
    return result.parse(JSON.parse(body)).data.result
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address !== null ? address.port : 0
}
