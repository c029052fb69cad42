import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { expect, onTestFinished, test } from 'vitest'
import { endGroup, signalGroup } from '../../worker/io/process-group.ts'

const CHILDREN = 50

function isAlive(pid: string): boolean {
  try {
    // A zombie, which nobody has asked after, is as dead as any.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

test('a process group that had to be killed is gone when that is said, to the last of it', async () => {
  // What a shell ignores, its children do.
  const script = `trap '' TERM; for i in $(seq ${CHILDREN}); do sleep 1000 & echo $!; done; echo all; wait`
  const leader = spawn('sh', ['-c', script], { detached: true, stdio: ['ignore', 'pipe', 'inherit'] })
  const { pid } = leader
  if (pid === undefined) throw new Error('no shell')
  onTestFinished(() => void signalGroup(pid, 'SIGKILL'))
  const children: string[] = []
  for await (const line of createInterface({ input: leader.stdout })) {
    if (line === 'all') break
    children.push(line)
  }
  expect(children.filter(isAlive)).toHaveLength(CHILDREN)
  const gone = once(leader, 'exit')
  await endGroup(pid, 0)
  expect(children.filter(isAlive)).toEqual([])
  await gone
})
