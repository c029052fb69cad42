import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

const main = join(import.meta.dirname, '../../dist/cli/main.js')
/** Inherited by everything that a command starts, however far it moves away: process groups of its own do not help. */
const MARK = 'MARK_OF_TEST'

/** A command of the compiled program, of which every process can be found that it has started. None outlives the test. */
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
    const [program, ...rest] = this.words([process.execPath, main, ...args])
    this.process = spawn(program, rest, {
      stdio: [this.stdin, 'pipe', 'pipe'],
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
    // A test that has run out of time comes to its own end too late, or never: a run of hours would take the time of all others.
    onTestFinished(() => this.kill())
  }

  protected get stdin(): 'ignore' | 'pipe' {
    return 'ignore'
  }

  /** What is started for a command. */
  protected words(command: [string, ...string[]]): [string, ...string[]] {
    return command
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

/** The same in front of a terminal, on which it is said what is said on stdout and stderr. */
export class TerminalCommand extends MarkedCommand {
  /** @param keys such as `\x03`, Ctrl-C: for everybody in front of the terminal */
  type(keys: string): void {
    this.process.stdin?.write(keys)
  }

  protected override get stdin(): 'pipe' {
    return 'pipe'
  }

  protected override words(command: [string, ...string[]]): [string, ...string[]] {
    const quoted = command.map((word) => `'${word}'`).join(' ')
    return ['script', '--quiet', '--return', '--flush', '--command', `exec ${quoted}`, '/dev/null']
  }
}
