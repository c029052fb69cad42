import { readFileSync } from 'node:fs'
import { z } from 'zod'

const packageSchema = z.object({ name: z.string(), version: z.string() })

/** Spillway's version, from its package.json: above the compiled files as above the sources. */
export const VERSION = readVersion()

function readVersion(): string {
  for (
    let folder = new URL('../', import.meta.url);
    folder.pathname !== '/';
    folder = new URL('../', folder)
  ) {
    try {
      const { name, version } = packageSchema.parse(
        JSON.parse(readFileSync(new URL('package.json', folder), 'utf8')),
      )
      if (name === 'spillway') return version
    } catch {
      // None here: further up.
    }
  }
  return 'unknown'
}
