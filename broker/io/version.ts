import { readFileSync } from 'node:fs'

/** Spillway's version, from its package.json: above the compiled files as above the sources. */
export const VERSION = readVersion()

function readVersion(): string {
  for (
    let folder = new URL('../', import.meta.url);
    folder.pathname.length > 1;
    folder = new URL('../', folder)
  ) {
    try {
      const found: unknown = JSON.parse(readFileSync(new URL('package.json', folder), 'utf8'))
      if (typeof found !== 'object' || found === null) continue
      if (Reflect.get(found, 'name') === 'spillway') return String(Reflect.get(found, 'version'))
    } catch {
      // None here: further up.
    }
  }
  return 'unknown'
}
