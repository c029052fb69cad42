/** Changes of state worth a line in the log: never one a task. */
export type WorkerEvent =
  | { readonly type: 'connecting'; readonly endpoint: string }
  | {
      readonly type: 'signed-in'
      readonly endpoint: string
      readonly broker: string
      readonly epoch: number
      /** Tasks that ran on from before. */
      readonly tasksKept: number
    }
  /** The broker at the other end is another, or another life of the same: what it ran is nobody's any more. */
  | {
      readonly type: 'broker-changed'
      readonly endpoint: string
      readonly epoch: number
      readonly tasksCancelled: number
    }
  | {
      readonly type: 'broker-silent'
      readonly endpoint: string
      readonly silentMs: number
      readonly retryMs: number
      readonly tasksRunning: number
    }
  /** The broker leaves, or has taken us for dead. */
  | { readonly type: 'disconnected'; readonly endpoint: string; readonly reason: string }
  | {
      readonly type: 'refused'
      readonly endpoint: string
      readonly reason: string
      readonly message: string
      /** 0: it is not tried again. */
      readonly retryMs: number
    }
  | { readonly type: 'answers-dropped'; readonly octets: number; readonly keptMax: number }
  | { readonly type: 'draining'; readonly deadlineMs: number; readonly tasksRunning: number }
  | { readonly type: 'stopped'; readonly reason: string; readonly tasksHandedBack: number }
