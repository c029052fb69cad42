import { pino } from 'pino'
import { expect, test } from 'vitest'
import type { BrokerEvent } from '../../broker/core/event.ts'
import { lineOf, logEvent, logMalformed } from '../../broker/io/event-log.ts'

test.each<[BrokerEvent, string, string]>([
  [
    { type: 'peer-lost', peer: 'east', reason: 'silent for 1500 ms', tasksTakenBack: 42, tasksUnknown: 0 },
    'warn',
    'peer east lost: silent for 1500 ms, 42 tasks taken back',
  ],
  [
    { type: 'peer-lost', peer: 'east', reason: 'its connection broke', tasksTakenBack: 1, tasksUnknown: 2 },
    'warn',
    'peer east lost: its connection broke, 1 task taken back, 2 told UNKNOWN',
  ],
  [
    { type: 'worker-ready', worker: 'w1', key: 'k', dialect: 'native', slots: 4, services: ['', 'resize'] },
    'info',
    'worker w1 ready: 4 slots for resize',
  ],
  [
    { type: 'worker-ready', worker: 'w2', key: 'k', dialect: 'req', slots: 1, services: [''] },
    'info',
    'worker w2 ready: 1 slot, req',
  ],
  [
    { type: 'peer-mismatch', peer: 'east', field: 'bodyMax', ours: 1, theirs: 2 },
    'warn',
    'peer east has bodyMax 2, we have 1; give both the same',
  ],
  [
    { type: 'peer-unreached', address: 'tcp://north:5557' },
    'warn',
    "nothing answers at tcp://north:5557: check that a broker runs there, that this is its cloudfe, and that nothing blocks the way; if a peer told of it, that broker's cloudfeAdvertised is what to mend",
  ],
  [
    { type: 'peer-stateless', peer: 'east', address: 'tcp://east:5558' },
    'warn',
    "peer east is up, but its state does not come from tcp://east:5558, and without it gets no task: check that nothing blocks the way there, and that broker's statebeAdvertised",
  ],
  [{ type: 'drained', leftUndone: 0 }, 'info', 'drained: everything is done'],
  [{ type: 'drained', leftUndone: 1 }, 'warn', 'drained: the time was up, 1 task left undone'],
])('%j reads well', (event, level, message) => {
  expect(lineOf(event)).toEqual([level, message])
})

test('a line has the fields of its event beside the sentence', () => {
  const lines: unknown[] = []
  const log = pino({ base: null }, { write: (line: string) => lines.push(JSON.parse(line)) })
  logEvent(log, { type: 'peer-up', peer: 'east', epoch: 7, address: 'tcp://east:5557' })
  logMalformed(log, 'cloudfe', 'truncated', 4)
  expect(lines).toMatchObject([
    { level: 30, event: 'peer-up', peer: 'east', epoch: 7, msg: 'peer east up at tcp://east:5557' },
    { level: 40, event: 'malformed', socket: 'cloudfe', reason: 'truncated', total: 4 },
  ])
})
