import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { LeashedProcess } from './leashed-process.ts'

/** Processes of this package are started as what this one is: compiled, or through a loader. */
const EXTENSION = extname(fileURLToPath(import.meta.url))

/** A module of this package as a process of its own. @param script as {@link moduleNear} gives it */
export function packageProcess(
  label: string,
  script: string,
  args: readonly string[],
  more: {
    readonly env?: Readonly<Record<string, string>>
    readonly onLine?: (line: string) => void
    readonly onMessage?: (message: unknown) => void
  } = {},
): LeashedProcess {
  return new LeashedProcess({
    label,
    script,
    args,
    leash: new URL(`./leash${EXTENSION}`, import.meta.url).href,
    execArgv: process.execArgv,
    ...more,
  })
}

/** The file of a module of this package. @param from a module's URL @param module its path from there, without its extension */
export function moduleNear(from: string, module: string): string {
  return fileURLToPath(new URL(`${module}${EXTENSION}`, from))
}
