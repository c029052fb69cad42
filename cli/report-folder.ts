import { prepareFolder } from '../report/write.ts'
import { errorMessage } from '../settings/error-message.ts'
import { Exit } from './exit-status.ts'

/** Before a run of minutes rather than after it. Ends the process with 78 when there can be no report. */
export function prepareReport(folder: string, prepare: (folder: string) => void = prepareFolder): void {
  try {
    prepare(folder)
  } catch (error) {
    process.stderr.write(`--report: ${errorMessage(error)}; name a folder that can be made and written to\n`)
    process.exit(Exit.Config)
  }
}

/**
 * Writes a report when all else is said. A disk may be full by now; that is told, and says nothing about a promise.
 * @returns the paths written, or null when there were none to be
 */
export function writtenReport(write: () => string[]): string[] | null {
  try {
    return write()
  } catch (error) {
    process.stderr.write(
      `--report: ${errorMessage(error)}; make room there or name another folder, and run the same again for its report\n`,
    )
    return null
  }
}
