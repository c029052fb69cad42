import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
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

test('an isolated handler that does not come up again keeps no process waiting for its next try', async () => {
  const { localbe } = (await openBroker()).reactor.endpoints
  const folder = mkdtempSync(join(tmpdir(), 'spillway-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const handler = join(folder, 'handler.mjs')
  writeFileSync(
    handler,
    `import { existsSync, writeFileSync } from 'node:fs'
    if (existsSync('${folder}/once')) throw new Error('no licence any more')
    writeFileSync('${folder}/once', '')
    setTimeout(() => process.exit(3))
    export default () => 'done'`,
  )
  const library = new URL('../../worker/main.ts', import.meta.url).href
  const program = join(folder, 'program.mjs')
  writeFileSync(
    program,
    `
    import { Worker } from '${library}'
    const log = { debug() {}, info() {}, warn() {}, error: (fields) => fields.retryMs >= 200 && setImmediate(end) }
    const worker = new Worker({ connect: '${localbe}', handler: '${handler}', isolate: true, log, drainOnSigterm: false })
    async function end() {
      await worker.stop()
      console.log(process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length)
    }`,
  )
  const child = spawn(process.execPath, ['--import', 'tsx', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  let said = ''
  child.stdout.on('data', (chunk) => {
    said += chunk
  })
  await once(child, 'close')
  expect(said).toBe('0\n')
})

test('a program that ignores SIGTERM is killed in time, also when its worker is told to end twice', async () => {
  const broker = await openBroker()
  const { localfe, localbe } = broker.reactor.endpoints
  const folder = mkdtempSync(join(tmpdir(), 'spillway-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const library = new URL('../../worker/main.ts', import.meta.url).href
  const program = `
    import { Worker } from '${library}'
    new Worker({
      connect: '${localbe}',
      program: ['sh', '-c', 'trap "" TERM; echo $$; while :; do sleep 0.1; done'],
      drainDeadlineMs: 1,
      killGraceMs: 500,
      onEvent: ({ type }) => type === 'stopped' && console.log(type),
    })`
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const exit = once(child, 'exit')
  const client = new Client({ connect: localfe })
  onTestFinished(() => client.close())
  const stream = client.stream('x', { retries: 1, timeoutMs: 20_000 })
  const { value: piece } = await stream.next()
  const pid = Number(piece?.text())
  onTestFinished(() => {
    if (isAlive(pid)) process.kill(-pid, 'SIGKILL')
  })
  child.kill('SIGTERM')
  await once(child.stdout, 'data')
  child.kill('SIGTERM')
  expect(await exit).toEqual([null, 'SIGTERM'])
  expect(isAlive(pid)).toBe(false)
})

function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}
