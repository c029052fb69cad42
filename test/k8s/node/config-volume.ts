/** A ConfigMap as the kubelet mounts one: a change is a new directory, and a link that moves to it in one step. */

import { mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export type ConfigData = Readonly<Record<string, string>>

export class ConfigVolume {
  readonly path: string
  #version = 0
  #data = ''

  /** @param path of a directory that is made, and that the container sees as its mount */
  constructor(path: string, data: ConfigData) {
    this.path = path
    mkdirSync(path, { recursive: true })
    this.update(data)
  }

  update(data: ConfigData): void {
    if (JSON.stringify(data) === this.#data) return
    this.#data = JSON.stringify(data)
    const version = `..${++this.#version}`
    mkdirSync(join(this.path, version))
    for (const [key, value] of Object.entries(data)) writeFileSync(join(this.path, version, key), value)
    symlinkSync(version, join(this.path, '..data_tmp'))
    renameSync(join(this.path, '..data_tmp'), join(this.path, '..data'))
    const there = new Set(readdirSync(this.path))
    for (const key of Object.keys(data)) {
      if (!there.has(key)) symlinkSync(join('..data', key), join(this.path, key))
    }
    for (const name of there) {
      const gone = name.startsWith('..') ? name !== version && name !== '..data' : !(name in data)
      if (gone) rmSync(join(this.path, name), { recursive: true })
    }
  }
}
