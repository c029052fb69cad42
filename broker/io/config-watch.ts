import { type FSWatcher, readFileSync, watch } from 'node:fs'
import { dirname } from 'node:path'

/** A file is written in steps, and a ConfigMap is swapped in several: look when it has been quiet for so long, ms. */
const QUIET_MS = 100
/** File systems without notifications (NFS, some container mounts) are looked at this often, ms. */
const POLL_MS = 5000

/**
 * Calls back when the content of a file has changed. Watches the directory, since the file itself may be replaced; in a
 * Kubernetes ConfigMap the name that changes is that of a symlink beside it.
 */
export class ConfigWatch {
  readonly #file: string
  readonly #onChange: () => void
  readonly #poll: NodeJS.Timeout
  #watcher: FSWatcher | undefined
  #quiet: NodeJS.Timeout | undefined
  #content: string | null

  constructor(file: string, onChange: () => void) {
    this.#file = file
    this.#onChange = onChange
    this.#content = this.#read()
    this.#poll = setInterval(() => this.#look(), POLL_MS).unref()
    try {
      // What changed is not always said, or said under the name of a symlink: look whatever it was.
      this.#watcher = watch(dirname(file) || '.', { persistent: false }, () => this.#soon())
      this.#watcher.on('error', () => this.#watcher?.close())
    } catch {
      // No notifications to be had (the system's limit, or a directory that is gone): polling remains.
    }
  }

  close(): void {
    clearInterval(this.#poll)
    clearTimeout(this.#quiet)
    this.#watcher?.close()
  }

  #soon(): void {
    clearTimeout(this.#quiet)
    this.#quiet = setTimeout(() => this.#look(), QUIET_MS).unref()
  }

  #look(): void {
    const content = this.#read()
    // Gone for a moment while it is replaced, or for good: what was read last goes on.
    if (content === null || content === this.#content) return
    this.#content = content
    this.#onChange()
  }

  #read(): string | null {
    try {
      return readFileSync(this.#file, 'utf8')
    } catch {
      return null
    }
  }
}
