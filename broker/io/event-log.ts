import type { BrokerEvent } from '../core/event.ts'
import type { Logger } from './log.ts'
import type { SocketName } from './traffic.ts'

type Level = 'debug' | 'info' | 'warn' | 'error'

/** A line of the log for each change of state. */
export function logEvent(log: Logger, event: BrokerEvent): void {
  const [level, message] = lineOf(event)
  const { type, ...fields } = event
  log[level]({ event: type, ...fields }, message)
}

export function logMalformed(log: Logger, socket: SocketName, reason: string, total: number): void {
  log.warn(
    { event: 'malformed', socket, reason, total },
    `${socket} was sent what is no message of ours: ${reason}, ${total} so far`,
  )
}

/** @returns how serious it is, and the sentence */
export function lineOf(event: BrokerEvent): [Level, string] {
  switch (event.type) {
    case 'worker-ready':
      if (event.slots === 0) return ['info', `worker ${event.worker} takes no more tasks`]
      return [
        'info',
        `worker ${event.worker} ready: ${counted(event.slots, 'slot')}${serving(event.services)}${event.dialect === 'native' ? '' : `, ${event.dialect}`}`,
      ]
    case 'worker-lost':
      return ['warn', `worker ${event.worker} lost: ${event.reason}, ${takenBack(event.tasksTakenBack)}`]
    case 'worker-left':
      return ['info', `worker ${event.worker} left: ${event.reason}`]
    case 'peer-joining':
      return ['info', `joining peer at ${event.address} (${HOW_MET[event.how]})`]
    case 'peer-up':
      return ['info', `peer ${event.peer} up at ${event.address}`]
    case 'peer-unreached':
      return [
        'warn',
        `nothing answers at ${event.address}: check that a broker runs there, that this is its cloudfe, and that nothing blocks the way; if a peer told of it, that broker's cloudfeAdvertised is what to mend`,
      ]
    case 'peer-stateless':
      return [
        'warn',
        `peer ${event.peer} is up, but its state does not come from ${event.address}, and without it gets no task: check that nothing blocks the way there, and that broker's statebeAdvertised`,
      ]
    case 'peer-lost': {
      const unknown = event.tasksUnknown === 0 ? '' : `, ${event.tasksUnknown} told UNKNOWN`
      return [
        'warn',
        `peer ${event.peer} lost: ${event.reason}, ${takenBack(event.tasksTakenBack)}${unknown}`,
      ]
    }
    case 'peer-restarted':
      return ['warn', `peer ${event.peer} has restarted: ${takenBack(event.tasksTakenBack)}`]
    case 'peer-left':
      return ['info', `peer ${event.peer} left: ${event.reason}`]
    case 'peer-forgotten':
      return ['info', `peer ${event.peer} forgotten: silent for ${Math.round(event.silentForMs)} ms`]
    case 'peer-removed':
      return ['info', `peer ${event.peer} removed`]
    case 'peer-refused':
      return ['error', `peer ${event.peer} refused: ${event.message}`]
    case 'peer-mismatch':
      return [
        'warn',
        `peer ${event.peer} has ${event.field} ${event.theirs}, we have ${event.ours}; give both the same`,
      ]
    case 'refused-by':
      return ['error', `refused by ${event.who}: ${event.message}`]
    case 'client-refused':
      return ['warn', `client ${event.key} refused: ${event.message}`]
    case 'worker-refused':
      return ['warn', `worker ${event.key} refused: ${event.message}`]
    case 'inventory':
      return ['warn', `${counted(event.tasksLost, 'task')} lost on the way to ${event.executor}: run again`]
    case 'poison':
      return [
        'error',
        `task ${event.task} given up: the workers that ran it died (${event.workers.join(', ')}); it probably kills them`,
      ]
    case 'draining':
      return [
        'info',
        `draining: ${event.queued} queued, ${event.inFlight} in flight, at most ${event.deadlineMs} ms left`,
      ]
    case 'drained':
      return event.leftUndone === 0
        ? ['info', 'drained: everything is done']
        : ['warn', `drained: the time was up, ${counted(event.leftUndone, 'task')} left undone`]
  }
}

const HOW_MET = {
  configured: 'configured',
  admin: 'added by the operator',
  gossip: 'told of by a peer',
  hello: 'it said hello',
} as const

function takenBack(tasks: number): string {
  return `${counted(tasks, 'task')} taken back`
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

function serving(services: readonly string[]): string {
  const named = services.filter((name) => name !== '')
  return named.length === 0 ? '' : ` for ${named.join(', ')}`
}
