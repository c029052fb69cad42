import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Service } from '../../broker/core/service.ts'
import type { Task } from '../../broker/core/task.ts'
import { TaskPool } from '../../broker/core/task-pool.ts'
import { EMPTY_BODY, RejectReason, type Token } from '../../protocol/record.ts'
import { Rig, text } from './broker-rig.ts'

const service = new Service('')

function fieldsOf(id: string) {
  return { id, priority: 4, flags: 0, traceparent: '', body: EMPTY_BODY, creditUpTo: 0, token: 0 }
}

test('a task that is over is no other task before the turn has ended, and only one after', () => {
  const step = fc.constantFrom('take', 'give back', 'end turn')
  fc.assert(
    fc.property(fc.array(fc.tuple(step, fc.nat()), { maxLength: 200 }), (steps) => {
      const pool = new TaskPool()
      const alive: Task[] = []
      const over: Task[] = []
      for (const [i, [what, which]] of steps.entries()) {
        if (what === 'take') {
          const task = pool.take(service, fieldsOf(`task-${i}`), null, null, 0, 0)
          expect(alive).not.toContain(task)
          expect(over).not.toContain(task)
          expect(task).toMatchObject({ id: `task-${i}`, settled: false, starts: 0 })
          alive.push(task)
        } else if (what === 'end turn') {
          pool.endTurn()
          over.length = 0
        } else {
          const [task] = alive.splice(which % (alive.length + 1), 1)
          if (task === undefined) continue
          pool.giveBack(task)
          over.push(task)
        }
        for (const task of over) expect(task.settled).toBe(true)
      }
    }),
  )
})

/** A turn: tasks come, some are answered or sent back, some are cancelled; and what was said before is said once more. */
const turn = fc.record({
  come: fc.nat({ max: 3 }),
  ends: fc.array(fc.record({ which: fc.nat(), how: fc.constantFrom('reply', 'reject', 'cancel') }), {
    maxLength: 4,
  }),
  late: fc.array(fc.record({ which: fc.nat(), how: fc.constantFrom('reply', 'reject', 'cancel') }), {
    maxLength: 4,
  }),
  waitMs: fc.nat({ max: 30 }),
})

test('whatever comes late for a task that is over does nothing to those that are what it was', () => {
  fc.assert(
    fc.property(fc.array(turn, { maxLength: 60 }), (turns) => {
      const rig = new Rig({ queueMax: 1000, repliesMax: 3, attemptsMax: 1000, retryBudgetBurst: 10_000 })
      const worker = rig.worker('w', { slots: 4 }).ready()
      const client = rig.client('c')
      const idOf = new Map<Token, string>()
      const cancelled = new Set<Token>()
      /** What the worker was ever given, by the token. */
      const given = new Map<Token, string>()
      let made = 0
      const answer = (token: Token, id: string, how: string): void => {
        if (how === 'reply') worker.reply({ token, body: Buffer.from(`done ${id}`) })
        else worker.reject(RejectReason.HandedBack, { token })
      }
      for (const { come, ends, late, waitMs } of turns) {
        for (let n = 0; n < come; n++) {
          const id = `task-${made++}`
          idOf.set(client.request({ id }), id)
        }
        for (const { which, how } of ends) {
          if (how === 'cancel') {
            const token = [...idOf.keys()][which % (idOf.size + 1)]
            if (token === undefined || client.replies.some((reply) => reply.token === token)) continue
            cancelled.add(token)
            client.cancel(token)
          } else {
            const held = [...worker.holds][which % (worker.holds.size + 1)]
            if (held !== undefined) answer(held[0], held[1].id, how)
          }
        }
        for (const [token, { id }] of worker.holds) given.set(token, id)
        for (const { which, how } of late) {
          if (how === 'cancel') {
            const { token } = client.replies[which % (client.replies.length + 1)] ?? {}
            if (token !== undefined) client.cancel(token)
            continue
          }
          const old = [...given][which % (given.size + 1)]
          if (old === undefined || worker.holds.has(old[0])) continue
          answer(old[0], old[1], how)
        }
        rig.advance(waitMs)
      }
      // One that rejected gets no more until it has been heard from again.
      while (worker.heartbeat().holds.size > 0) {
        for (const [token, { id }] of [...worker.holds]) answer(token, id, 'reply')
      }
      // Each that was not cancelled has one answer, its own; the cancelled have none.
      const answers = new Map<Token, string[]>()
      for (const { token, body } of client.replies)
        answers.set(token, [...(answers.get(token) ?? []), text(body)])
      for (const [token, id] of idOf)
        expect(answers.get(token) ?? []).toEqual(cancelled.has(token) ? [] : [`done ${id}`])
      expect(rig.broker.scheduler).toMatchObject({ unsettled: 0, assignments: { size: 0 } })
    }),
    { numRuns: 300 },
  )
})
