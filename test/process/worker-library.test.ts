import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, onTestFinished, test } from 'vitest'
import { Client } from '../../client/main.ts'
import { eventually, openBroker } from '../reactor-rig.ts'

test('a program that uses the worker library finishes its task when it gets SIGTERM, then ends by it', async () => {
  const broker = await openBroker()
  const { localfe, localbe } = broker.reactor.endpoints
  const library = new URL('../../worker/main.ts', import.meta.url).href
  const program = `
    import { Worker } from '${library}'
    const { promise, resolve } = Promise.withResolvers?.() ?? (() => { let resolve; const promise = new Promise((r) => (resolve = r)); return { promise, resolve } })()
    process.stdin.once('data', resolve)
    new Worker({ connect: '${localbe}', handler: async () => { console.log('started'); await promise; return 'done' } })
    process.stdin.unref()`
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const exit = once(child, 'exit')
  const client = new Client({ connect: localfe })
  onTestFinished(() => client.close())
  const reply = client.request('task', { timeoutMs: 20_000, retries: 1 })
  await once(child.stdout, 'data')
  child.kill('SIGTERM')
  // It has said that it takes no more, and holds the one it has.
  await eventually(() => expect(broker.reactor.core.scheduler.services.byName.get('')?.slots).toBe(0))
  child.stdin.write('go on\n')
  expect((await reply).text()).toBe('done')
  expect(await exit).toEqual([null, 'SIGTERM'])
})
