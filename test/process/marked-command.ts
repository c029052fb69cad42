import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const main = join(import.meta.dirname, '../../dist/cli/main.js')
/** Inherited by everything that a command starts, however far it moves away: process groups of its own do not help. */
const MARK = 'MARK_OF_TEST'

/** A command of the compiled program, of which every process can be found that it has started. */
export class MarkedCommand {
  readonly mark = randomUUID()
  /** Where it makes its temporary files: some commands keep theirs, and who gets SIGKILL always does. */
  readonly folder = mkdtempSync(join(tmpdir(), 'spillway-command-'))
  readonly process: ChildProcess
  readonly ended: Promise<number | NodeJS.Signals | null>
  /** On stdout and stderr. */
  said = ''
  /** On stdout. */
  printed = ''

  constructor(...args: string[]) {
    this.process = spawn(process.execPath, [main, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, [MARK]: this.mark, NO_COLOR: '1', TMPDIR: this.folder },
    })
    this.process.stdout?.on('data', (chunk: Buffer) => {
      this.said += chunk.toString()
      this.printed += chunk.toString()
    })
    this.process.stderr?.on('data', (chunk: Buffer) => {
      this.said += chunk.toString()
    })
    this.ended = new Promise((resolve) =>
      this.process.once('close', (code, signal) => resolve(code ?? signal)),
    )
  }

  /** Process ids of all that carry its mark. */
  get processes(): number[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .filter((pid) => {
        try {
          return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`${MARK}=${this.mark}`)
        } catch {
          return false
        }
      })
      .map(Number)
  }

  kill(): void {
    for (const pid of this.processes) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // It was faster.
      }
    }
    rmSync(this.folder, { recursive: true, force: true })
  }
}
