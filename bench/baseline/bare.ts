/**
 * The load-balancing pattern on bare zeromq.js: two ROUTERs and an array. No heartbeats, no deadlines, no retries, no
 * counters, nothing bounded: what is left is what zeromq.js costs, by the fastest way to use it that was found. Frames are
 * passed on as they came. Speaks what `load-balancer.c` speaks.
 */

import { context, Router } from 'zeromq'
import { drain } from '../load/drain.ts'
import { say } from '../load/orders.ts'

// An EAGAIN costs a stack trace otherwise, and there is one at the end of each burst.
Error.stackTraceLimit = 0
// With two busy sockets the second I/O thread is worth a quarter more.
context.ioThreads = 2

const options = {
  linger: 0,
  sendTimeout: 0,
  sendHighWaterMark: 0,
  receiveHighWaterMark: 0,
  backlog: 1024,
}
const localfe = new Router(options)
const localbe = new Router(options)
await localfe.bind('tcp://127.0.0.1:*')
await localbe.bind('tcp://127.0.0.1:*')

/** A queue that is an array and an index: an array alone moves all its elements for each that leaves. */
class Line<T> {
  #items: T[] = []
  #head = 0

  push(item: T): void {
    this.#items.push(item)
  }

  shift(): T | undefined {
    if (this.#head === this.#items.length) return undefined
    const item = this.#items[this.#head++]
    if (this.#head === 4096) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return item
  }

  get empty(): boolean {
    return this.#head === this.#items.length
  }
}

interface Worker {
  readonly id: Buffer
  readonly isReq: boolean
}

/** What a burst of messages gave rise to leaves when the burst is over: half as fast again as sending between receives. */
const tasks: Buffer[][] = []
const answers: Buffer[][] = []
const idle = new Line<Worker>()
const waiting = new Line<Buffer[]>()
const EMPTY = Buffer.alloc(0)

function give(worker: Worker, task: Buffer[]): void {
  if (worker.isReq) task.unshift(worker.id, EMPTY)
  else task.unshift(worker.id)
  tasks.push(task)
}

function fromClient(frames: Buffer[]): void {
  const worker = idle.shift()
  if (worker === undefined) waiting.push(frames)
  else give(worker, frames)
}

function fromWorker(frames: Buffer[]): void {
  const [id, second] = frames
  if (id === undefined || second === undefined) return
  const isReq = second.length === 0
  if (isReq ? frames.length === 5 : frames.length === 4) {
    frames.splice(0, isReq ? 2 : 1)
    answers.push(frames)
  } else if (!isReq && second[0] !== 1) return
  const task = waiting.shift()
  if (task === undefined) idle.push({ id, isReq })
  else give({ id, isReq }, task)
}

function burstOver(): void {
  for (const task of tasks) void localbe.send(task)
  tasks.length = 0
  for (const answer of answers) void localfe.send(answer)
  answers.length = 0
}

void drain(localfe, fromClient, burstOver)
void drain(localbe, fromWorker, burstOver)
say({ type: 'ready', localfe: localfe.lastEndpoint, localbe: localbe.lastEndpoint })
process.stdin.resume().on('end', () => process.exit(0))
