import { prepareFolder } from '../report/write.ts'
import { Exit } from './exit-status.ts'

/** Before a run of minutes rather than after it. Ends the process with 78 when there can be no report. */
export function prepareReport(folder: string): void {
  try {
    prepareFolder(folder)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    process.stderr.write(`--report: ${why}; name a folder that can be made and written to\n`)
    process.exit(Exit.Config)
  }
}
