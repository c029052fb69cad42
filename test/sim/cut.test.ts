import { expect, test, vi } from 'vitest'
import { Kind, type Record } from '../../protocol/record.ts'
import { drawParameters } from '../../sim/draw.ts'
import { Simulation } from '../../sim/simulation.ts'

// Work for the processor, not waiting: a loaded machine takes longer.
vi.setConfig({ testTimeout: 180_000 })

/**
 * Each record in a message of its own: a turn that says much is cut into several messages, and a connection may break between any two.
 * But a DEALER keeps together what comes after a HELLO, and a question and the CANCELs before it.
 */
function cut(records: readonly Record[], byDealer: boolean): Record[][] {
  const messages: Record[][] = []
  let last: Record[] = []
  for (const record of records) {
    const before = last.at(-1)
    const goesOn =
      byDealer &&
      (before?.kind === Kind.Cancel || (last[0]?.kind === Kind.Hello && record.kind !== Kind.Hello))
    if (goesOn) last.push(record)
    else {
      last = [record]
      messages.push(last)
    }
  }
  return messages
}

/** Runs a seed with all that is said cut up. @throws Breach */
function runCut(seed: number): void {
  const simulation = new Simulation(seed, drawParameters(seed))
  const { network } = simulation
  const sendOut = network.sendOut.bind(network)
  const sendBack = network.sendBack.bind(network)
  // Of what a full pipe takes only the beginning of, the rest is lost.
  network.sendOut = (pipe, from, to, records, at) => {
    const byDealer = pipe.socket === 'localfe' || pipe.socket === 'localbe'
    return cut(records, byDealer).filter((some) => sendOut(pipe, from, to, some, at)).length > 0
  }
  network.sendBack = (pipe, from, to, records, at) =>
    cut(records, false).filter((some) => sendBack(pipe, from, to, some, at)).length > 0
  simulation.run()
}

test('25 seeds keep every promise though nothing that one turn says need arrive with the rest of it', () => {
  for (let seed = 1; seed <= 25; seed++) expect(() => runCut(seed), `seed ${seed}`).not.toThrow()
})
