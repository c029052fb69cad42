/** Changes of state worth a line in the log: never one a task. */
export type BrokerEvent =
  | {
      type: 'worker-ready'
      worker: string
      key: string
      dialect: string
      slots: number
      services: readonly string[]
    }
  | { type: 'worker-lost'; worker: string; key: string; reason: string; tasksTakenBack: number }
  | { type: 'worker-left'; worker: string; key: string; reason: string }
  | { type: 'peer-joining'; address: string; how: 'configured' | 'admin' | 'gossip' | 'hello' }
  | { type: 'peer-up'; peer: string; epoch: number; address: string }
  | { type: 'peer-unreached'; address: string }
  | { type: 'peer-stateless'; peer: string; address: string }
  | { type: 'peer-lost'; peer: string; reason: string; tasksTakenBack: number; tasksUnknown: number }
  | { type: 'peer-restarted'; peer: string; epoch: number; tasksTakenBack: number }
  | { type: 'peer-left'; peer: string; reason: string }
  | { type: 'peer-forgotten'; peer: string; silentForMs: number }
  | { type: 'peer-removed'; peer: string }
  | { type: 'peer-refused'; peer: string; address: string; reason: string; message: string }
  | { type: 'peer-mismatch'; peer: string; field: string; ours: number; theirs: number }
  | { type: 'refused-by'; who: string; reason: string; message: string }
  | { type: 'client-refused'; key: string; reason: string; message: string }
  | { type: 'worker-refused'; key: string; reason: string; message: string }
  | { type: 'inventory'; executor: string; tasksLost: number }
  | { type: 'poison'; task: string; service: string; workers: readonly string[] }
  | { type: 'draining'; deadlineMs: number; queued: number; inFlight: number }
  | { type: 'drained'; leftUndone: number }
