import { type Logger, pino } from 'pino'
import pretty from 'pino-pretty'

/**
 * Logs to stderr: for people on a terminal, as lines of JSON otherwise. In this thread, since pino's transports bring
 * threads of their own, in which a handler's sockets would end up.
 */
export function stderrLog(level: string, fields: object): Logger {
  const options = { level, base: fields }
  if (process.stderr.isTTY !== true) return pino(options, pino.destination({ dest: 2, sync: true }))
  const colorize = process.env.NO_COLOR === undefined || process.env.NO_COLOR === ''
  return pino(
    options,
    pretty({ destination: 2, sync: true, colorize, singleLine: true, ignore: 'pid,hostname' }),
  )
}
