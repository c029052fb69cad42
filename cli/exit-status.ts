/** How the command ends, for scripts: sysexits.h where it has a word for it. A signal's is 128 and its number. */
export const Exit = {
  Ok: 0,
  Failed: 1,
  Usage: 2,
  Unreachable: 69,
  CannotRun: 71,
  NotWritten: 74,
  TimedOut: 75,
  Config: 78,
} as const
