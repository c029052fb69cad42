import type { Logger } from 'pino'

export type { Logger } from 'pino'

export interface LogSettings {
  readonly logLevel: string
  readonly logFormat: 'auto' | 'json' | 'pretty'
}

/**
 * A logger that writes to stderr, at once: the last line of a process that dies is the one that is wanted. Without pino's
 * transports, which are threads, and a thread beside libzmq's can take the process down when it ends.
 */
export async function makeLogger({ logLevel, logFormat }: LogSettings, name: string): Promise<Logger> {
  const { pino } = await import('pino')
  const options = { level: logLevel, base: { name } }
  const forPeople = logFormat === 'pretty' || (logFormat === 'auto' && process.stderr.isTTY === true)
  if (!forPeople) return pino(options, pino.destination({ dest: 2, sync: true }))
  const { default: pretty } = await import('pino-pretty')
  const colorize = process.stderr.isTTY === true && (process.env.NO_COLOR ?? '') === ''
  return pino(
    options,
    pretty({
      destination: 2,
      sync: true,
      colorize,
      singleLine: true,
      // The first line carries the whole configuration, and in words what people need of it; `--check-config` prints the rest.
      ignore: 'pid,hostname,event,config,epoch,localfe,localbe,cloudfe,statebe,http',
      translateTime: 'SYS:HH:MM:ss.l',
    }),
  )
}
