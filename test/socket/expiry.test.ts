import { expect, onTestFinished, test } from 'vitest'
import { Client } from '../../client/main.ts'
import { openBroker } from '../reactor-rig.ts'

test('a task whose time is over in the queue ends as EXPIRED, which says that it never started', async () => {
  const broker = await openBroker()
  const client = new Client({ connect: broker.localfe })
  onTestFinished(() => client.close())
  // Known to the broker first: connecting is not to eat up the time.
  await expect(client.request('x', { failFast: true })).rejects.toMatchObject({ code: 'NO_SERVICE' })
  await expect(client.request('x', { deadlineMs: 500 })).rejects.toMatchObject({
    code: 'EXPIRED',
    attempts: 0,
    retryable: true,
  })
})
