import { createHash } from 'node:crypto'
import { drawParameters } from '../../sim/draw.ts'
import { run } from '../../sim/run.ts'

// Prints the SHA-256 of everything that a run tells, and its own hash: in a process of its own.
const seed = Number(process.argv[2])
const hash = createHash('sha256')
const { summary, breach } = run(seed, drawParameters(seed), {
  tracer: (at, who, what, task) => hash.update(`${at} ${who} ${task} ${what}\n`),
})
process.stdout.write(`${hash.digest('hex')} ${summary?.hash ?? breach?.message} ${summary?.events}\n`)
