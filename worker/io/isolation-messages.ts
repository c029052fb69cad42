import type { Request } from '../../protocol/record.ts'
import type { Failure } from '../core/assignment.ts'

/** To the process that a handler runs in. */
export type ToChild =
  | { readonly type: 'task'; readonly request: Request }
  /** The piece has been taken: the next, please. */
  | { readonly type: 'more' }
  | { readonly type: 'cancel'; readonly code: string; readonly message: string }

/** From it. */
export type FromChild =
  | { readonly type: 'ready' }
  /** The module cannot be used. */
  | { readonly type: 'unusable'; readonly message: string }
  /** The task has come, and is given to the handler. */
  | { readonly type: 'begun' }
  | { readonly type: 'piece'; readonly body: Uint8Array }
  | { readonly type: 'done'; readonly body: Uint8Array }
  | { readonly type: 'failed'; readonly failure: Failure }
  | {
      readonly type: 'log'
      readonly level: 'debug' | 'info' | 'warn' | 'error'
      readonly fields: object
      readonly message: string
    }

/** As it travels: the channel is the handler's as well, and what it sends by itself is meant for somebody else. */
export interface Enveloped {
  readonly spillway: FromChild
}

export function isEnveloped(message: unknown): message is Enveloped {
  return typeof message === 'object' && message !== null && 'spillway' in message
}
