import { ErrorCode } from '../protocol/error-code.ts'
import type { Failure } from './core/assignment.ts'

/**
 * Codes by which brokers and clients decide what may be done with a task: a handler's error under one of them would make
 * a client believe, for instance, that the task had not been started (BUSY).
 */
const RESERVED: ReadonlySet<string> = new Set(
  Object.values(ErrorCode).filter((code) => code !== ErrorCode.TaskFailed && code !== ErrorCode.TooLarge),
)
/** Longer ones would be cut on the wire, octets. */
const CODE_MAX = 255
const NO_TEXT = 'the handler threw something that has no text'

/** What a handler has thrown, as its client is told. */
export function failureOf(thrown: unknown): Failure {
  try {
    return described(thrown)
  } catch {
    return { code: ErrorCode.TaskFailed, message: NO_TEXT, retryable: false }
  }
}

/** @throws whatever what was thrown throws when it is looked at */
function described(thrown: unknown): Failure {
  if (typeof thrown !== 'object' || thrown === null) {
    return { code: ErrorCode.TaskFailed, message: text(thrown), retryable: false }
  }
  const code = 'code' in thrown ? thrown.code : undefined
  const message = 'message' in thrown ? thrown.message : undefined
  const usable = typeof code === 'string' && code !== '' && code.length <= CODE_MAX && !RESERVED.has(code)
  return {
    code: usable ? code : ErrorCode.TaskFailed,
    message: typeof message === 'string' && message !== '' ? message : text(thrown),
    retryable: 'retryable' in thrown && thrown.retryable === true,
  }
}

/** Even what cannot be made a string must not throw once more. */
function text(thrown: unknown): string {
  try {
    return `the handler threw ${String(thrown)}`
  } catch {
    return NO_TEXT
  }
}
