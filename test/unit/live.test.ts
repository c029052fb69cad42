import { appendFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { BrokerStatus } from '../../broker/status.ts'
import { disagreements, leftovers } from '../../cli/live/agreement.ts'
import { Board } from '../../cli/live/board.ts'
import { Cluster } from '../../cli/live/cluster.ts'
import { Hearsay } from '../../cli/live/hearsay.ts'
import { Judge, PROMISES } from '../../cli/live/judge.ts'
import { type Entry, LedgerFile, LedgerReader } from '../../cli/live/ledger.ts'
import { picture } from '../../cli/live/live-view.ts'
import { Occupancy } from '../../cli/live/occupancy.ts'
import { LIVE_FAULTS, type LiveParameters, liveParameters, readDuration } from '../../cli/live/parameters.ts'
import { drawPlan } from '../../cli/live/plan.ts'
import {
  answerTo,
  COMMON,
  clusterOf,
  hostName,
  hostOf,
  pieceOf,
  RARE,
  readWork,
  servicesOf,
  taskName,
  writeWork,
} from '../../cli/live/work.ts'
import { COLUMNS_MIN, ROWS_MIN } from '../../cli/terminal-view.ts'
import { MessageEncoder } from '../../protocol/encode.ts'
import { EMPTY_BODY, Kind, type State, type Record as WireRecord } from '../../protocol/record.ts'
import { ConfigurationError } from '../../settings/configuration-error.ts'
import { parseSettings } from '../../settings/settings.ts'

const TASK = 'c0h1.1/2.3'
const CLIENT = 'c0h1.1/2'
const AFTERMATH_MS = 100
const TERMS = { aftermathMs: AFTERMATH_MS, queueBound: 100, slots: 4 }

type Changes<W extends Entry['what']> = Partial<Omit<Extract<Entry, { what: W }>, 'what'>>

function sent(changes: Changes<'sent'> = {}): Entry {
  return { what: 'sent', at: 1000, task: TASK, once: false, pieces: 0, expected: 'right', ...changes }
}
function started(changes: Changes<'started'> = {}): Entry {
  const worker = 'c0w0.1/0'
  return { what: 'started', at: 1010, task: TASK, worker, slots: 1, once: false, service: COMMON, ...changes }
}
/** Of a stream that answers `right`. */
function piece(index: number, changes: Changes<'piece'> = {}): Entry {
  const text = pieceOf('right', index)
  return { what: 'piece', at: 1015, task: TASK, client: CLIENT, attempt: 1, index, piece: text, ...changes }
}
function ended(changes: Changes<'ended'> = {}): Entry {
  return { what: 'ended', at: 1020, task: TASK, worker: 'c0w0.1/0', ...changes }
}
function settled(changes: Changes<'settled'> = {}): Entry {
  return {
    what: 'settled',
    at: 1030,
    task: TASK,
    client: CLIENT,
    code: '',
    ranIn: 'c0',
    answer: 'right',
    ...changes,
  }
}

/** What a judge finds wrong with these entries, when nothing more comes. */
function found(entries: readonly Entry[], meanwhile: (judge: Judge) => void = () => {}): string[] {
  const judge = new Judge(TERMS)
  meanwhile(judge)
  for (const entry of entries) judge.entry(entry)
  judge.finish(5000)
  expect(judge.brokenCount()).toBe(judge.breaches.length)
  return judge.breaches.map(({ promise }) => promise)
}

describe('the judge', () => {
  test('finds nothing wrong with a task that was sent, started, ended and answered', () => {
    expect(found([sent(), started(), ended(), settled()])).toEqual([])
    expect(found([sent({ once: true }), started({ once: true }), ended(), settled()])).toEqual([])
  })

  test('finds nothing wrong when a worker was read before the client', () => {
    expect(found([started(), ended(), sent(), settled()])).toEqual([])
  })

  test('finds nothing wrong with a task that was started again after its worker had died', () => {
    const again = started({ at: 1100, worker: 'c1w0.1/0' })
    expect(found([sent(), started(), again, ended({ worker: 'c1w0.1/0' }), settled()])).toEqual([])
  })

  test('sees a task that was settled twice', () => {
    expect(found([sent(), started(), ended(), settled(), settled({ at: 1040 })])).toEqual([
      'every request settles exactly once',
    ])
  })

  test('sees an answer at a client that did not ask', () => {
    expect(found([sent(), started(), ended(), settled({ client: 'c0h1.1/21' })])).toEqual([
      'no answer to the wrong client',
    ])
  })

  test('sees by the answer that it was meant for another client', () => {
    const told = (task: string) => {
      const answer = `${task}:0123456789ab`
      return found([sent(), started(), ended(), settled({ answer })])
    }
    expect(told('c1h0.1/0.5')).toEqual(['no answer to the wrong client', 'no answer of the wrong task'])
    // Another task of the same client.
    expect(told(`${CLIENT}.9`)).toEqual(['no answer of the wrong task'])
  })

  test('sees the answer of another task', () => {
    expect(found([sent(), started(), ended(), settled({ answer: 'left' })])).toEqual([
      'no answer of the wrong task',
    ])
  })

  test('sees an answer to a task that was never started', () => {
    expect(found([sent(), settled()])).toEqual(['no answer out of thin air'])
  })

  test('sees a task that was started and never sent', () => {
    expect(found([started(), ended()])).toEqual(['no answer out of thin air'])
  })

  test('sees a task that may not start twice and did', () => {
    const twice = [started({ once: true }), ended(), started({ at: 1100, worker: 'c1w0.1/0', once: true })]
    expect(found([sent({ once: true }), ...twice, settled()])).toEqual([
      'a task that is not idempotent never starts twice',
    ])
    // However late, and whatever its client was told.
    expect(
      found([sent({ once: true }), started({ once: true }), settled(), started({ at: 4000, once: true })]),
    ).toContain('a task that is not idempotent never starts twice')
  })

  test('sees a slot that holds two tasks', () => {
    const other = 'c0h1.1/2.4'
    const both = [sent(), sent({ task: other }), started(), started({ task: other, at: 1015 })]
    const ends = [ended(), ended({ task: other }), settled(), settled({ task: other })]
    expect(found([...both, ...ends])).toEqual(['no slot holds two tasks'])
    // Two slots may hold two.
    const roomy = both.map((entry) => (entry.what === 'started' ? { ...entry, slots: 2 } : entry))
    expect(found([...roomy, ...ends])).toEqual([])
  })

  describe('of a stream', () => {
    const stream = (pieces: readonly Entry[], end: Changes<'settled'> = {}) =>
      found([sent({ pieces: 3 }), started(), ...pieces, ended(), settled(end)])
    const BROKEN = 'a stream is whole'

    test('finds nothing wrong when every piece came once and in order', () => {
      expect(stream([piece(0), piece(1), piece(2)])).toEqual([])
    })

    test('finds nothing wrong when it was begun anew, and only the last attempt is whole', () => {
      const again = [0, 1, 2].map((index) => piece(index, { attempt: 2 }))
      expect(stream([piece(0), piece(1), ...again])).toEqual([])
      expect(stream(again)).toEqual([])
    })

    test('sees a piece that is missing, or comes twice, or too early', () => {
      expect(stream([piece(0), piece(1)])).toEqual([BROKEN])
      expect(stream([])).toEqual([BROKEN])
      expect(stream([piece(0), piece(2)])).toContain(BROKEN)
      expect(stream([piece(0), piece(0), piece(1), piece(2)])).toEqual([BROKEN])
      expect(stream([piece(1), piece(0), piece(2)])).toContain(BROKEN)
    })

    test('sees that pieces of two attempts were mixed', () => {
      expect(stream([piece(0), piece(1), piece(2, { attempt: 2 })])).toContain(BROKEN)
      const mixed = [piece(0, { attempt: 2 }), piece(1, { attempt: 1 }), piece(2, { attempt: 2 })]
      expect(stream(mixed)).toContain(BROKEN)
    })

    test('sees a piece of another task, one that nobody asked for, one after the end, and one at the wrong client', () => {
      const wrong = piece(1, { piece: pieceOf('left', 1) })
      expect(stream([piece(0), wrong, piece(2)])).toEqual(['no answer of the wrong task'])
      expect(found([sent(), started(), piece(0), ended(), settled()])).toEqual([BROKEN])
      const late = [sent({ pieces: 1 }), started(), piece(0), ended(), settled(), piece(1)]
      expect(found(late)).toContain('every request settles exactly once')
      const astray = piece(1, { client: 'c0h1.1/21' })
      expect(stream([piece(0), astray, piece(1), piece(2)])).toEqual(['no answer to the wrong client'])
    })

    test('takes STREAM_BROKEN for right only of a stream, and when something has failed on its way', () => {
      const entries = (pieces: number) => [
        sent({ pieces }),
        started({ worker: 'c1w0.1/0' }),
        settled({ code: 'STREAM_BROKEN', answer: '' }),
      ]
      const failed = (judge: Judge) => {
        judge.troubleBegins({ clusters: [1], what: 'clients', from: 1000 }).until = 1010
      }
      const wrong = ['an error only when it is true']
      expect(found(entries(3), failed)).toEqual([])
      expect(found(entries(3))).toEqual(wrong)
      expect(found(entries(0), failed)).toEqual(wrong)
    })
  })

  test('sees a task that was started where its service is not offered', () => {
    const run = (worker: string, service: string) =>
      found([sent(), started({ worker, service }), ended({ worker }), settled()])
    expect(run('c1w0.1/0', RARE)).toEqual([])
    expect(run('c1w0.1/0', COMMON)).toEqual([])
    expect(run('c0w0.1/0', RARE)).toEqual(['a task runs only where its service is offered'])
  })

  test('sees a task that a borrower has sent on', () => {
    const run = [
      sent(),
      started({ worker: 'c1w0.1/0' }),
      ended({ worker: 'c1w0.1/0' }),
      settled({ ranIn: 'c1' }),
    ]
    expect(found(run, (judge) => judge.relayed(TASK, 0, 1, 1005))).toEqual([])
    expect(found(run, (judge) => judge.relayed(TASK, 1, 2, 1006))).toEqual([
      'no task is sent on by a borrower',
    ])
  })

  test('sees a task that was lost while its client lived', () => {
    expect(found([sent(), started(), ended()])).toEqual([
      'no task is lost while its client lives and any worker lives',
    ])
  })

  test('excuses what a dead client has left open, and nothing else', () => {
    const mine = sent()
    const other = sent({ task: 'c0h0.1/2.3' })
    // The next life of the same process.
    const later = sent({ task: 'c0h1.2/2.3' })
    const gone = (judge: Judge) => judge.killed(hostOf(TASK), 1050)
    expect(found([mine], gone)).toEqual([])
    expect(found([other], gone)).toHaveLength(1)
    expect(found([later], gone)).toHaveLength(1)
  })

  test('takes EXPIRED, TIMEOUT or POISON for a loss', () => {
    for (const code of ['EXPIRED', 'TIMEOUT', 'POISON', 'BUSY', 'UNAVAILABLE', 'TASK_FAILED', 'NO_SERVICE']) {
      expect(found([sent(), settled({ code, answer: '' })])).toEqual(['an error only when it is true'])
    }
  })

  describe('takes UNKNOWN', () => {
    const run = (once: boolean) => [
      sent({ once }),
      started({ once, worker: 'c1w0.1/0' }),
      settled({ code: 'UNKNOWN', answer: '' }),
    ]
    const wrong = ['an error only when it is true']
    const trouble =
      (clusters: number[], from: number, until: number, link = false) =>
      (judge: Judge) => {
        const what = link ? 'link' : 'broker or workers'
        judge.troubleBegins({ clusters, what, from }).until = until
      }

    test('for wrong when nothing has failed, or when the task may run twice', () => {
      expect(found(run(true))).toEqual(wrong)
      expect(found(run(false), trouble([0], 1000, 1010))).toEqual(wrong)
    })

    test('for right when something failed where it came from or where it was sent, and only while it was under way', () => {
      expect(found(run(true), trouble([0], 1000, 1010))).toEqual([])
      expect(found(run(true), trouble([1], 1000, 1010))).toEqual([])
      expect(found(run(true), trouble([2], 1000, 1010))).toEqual(wrong)
      expect(found(run(true), trouble([1], 1031, 1040))).toEqual(wrong)
      expect(found(run(true), trouble([1], 800, 999 - AFTERMATH_MS))).toEqual(wrong)
      expect(found(run(true), trouble([1], 800, 1001 - AFTERMATH_MS))).toEqual([])
    })

    test('for right when something failed anywhere and nobody saw whom it was sent to', () => {
      const unseen = [sent({ once: true }), settled({ code: 'UNKNOWN', answer: '' })]
      expect(found(unseen, trouble([2], 1000, 1010))).toEqual([])
      expect(found(unseen, trouble([0, 2], 1000, 1010, true))).toEqual([])
      expect(found(unseen, trouble([1, 2], 1000, 1010, true))).toEqual(wrong)
      expect(found(unseen)).toEqual(wrong)
    })

    test('for right when somebody on its way stood still by the fault of the machine', () => {
      const stood = (host: string, since: number): Entry => ({
        what: 'stood still',
        at: since + 500,
        since,
        host,
      })
      expect(found([...run(true), stood('c0h1.1', 1000)])).toEqual([])
      expect(found([...run(true), stood('c1w0.1', 1000)])).toEqual([])
      expect(found([...run(true), stood('c2w0.1', 1000)])).toEqual(wrong)
      expect(found([...run(true), stood('c0h1.1', 1031)])).toEqual(wrong)
      expect(found(run(true), (judge) => judge.stoodStill(1, true, 1000, 1500))).toEqual([])
    })

    test('for right when the link failed that it went over, and no other', () => {
      expect(found(run(true), trouble([0, 1], 1000, 1010, true))).toEqual([])
      expect(found(run(true), trouble([1, 2], 1000, 1010, true))).toEqual(wrong)
      expect(found(run(true), trouble([0, 2], 1000, 1010, true))).toEqual(wrong)
    })
  })

  test('sees a queue over its bound, a process that ended by itself, and what is not so at the end', () => {
    const cases: [string, (judge: Judge) => void][] = [
      [
        'every queue stays within its bound',
        (judge) => judge.heard(status(0, { queued: 99, deferred: 2 }), 0, 1),
      ],
      ['no process ends by itself', (judge) => judge.endedByItself('a broker', 'SIGSEGV', 1)],
      [
        'after faults end, all work drains and everybody agrees who is there',
        (judge) => judge.drained(['something'], 1),
      ],
      ['all tables are empty when all work is done', (judge) => judge.tablesEmpty(['something'], 1)],
      ['when nothing is wrong, a task is done', (judge) => judge.lastTasksDone(['something'], 1)],
    ]
    for (const [promise, breach] of cases) expect(found([], breach)).toEqual([promise])
    const well = (judge: Judge) => {
      judge.heard(status(0, { queued: 98, deferred: 2 }), 0, 1)
      judge.processStarted()
      judge.drained([], 1)
      judge.tablesEmpty([], 1)
      judge.lastTasksDone([], 1)
    }
    expect(found([], well)).toEqual([])
  })

  describe('of what a broker says it has free', () => {
    const TOO_MUCH = 'capacity advertised never exceeds what is free'
    /** Two tasks from 1010 to 1020, one of them on to 1030. */
    const work = [
      sent(),
      sent({ task: `${TASK}4` }),
      started(),
      started({ task: `${TASK}4`, worker: 'c0w0.1/1' }),
      ended(),
      ended({ at: 1030, task: `${TASK}4`, worker: 'c0w0.1/1' }),
      settled(),
      settled({ task: `${TASK}4` }),
    ]
    const says = (free: number, queued = 0, service = COMMON) =>
      status(0, { services: [{ service, free, queued, slots: 4, workers: 4 }] })
    const heard = (free: number, askedAt: number, at: number, meanwhile = (_: Judge) => {}) => {
      const judge = new Judge(TERMS)
      meanwhile(judge)
      judge.heard(says(free), askedAt, at)
      for (const entry of work) judge.entry(entry)
      judge.compare(2000)
      judge.finish(5000)
      expect(judge.checked.get(TOO_MUCH) ?? 0).toBeLessThanOrEqual(1)
      return judge.breaches.map(({ promise }) => promise)
    }

    test('sees that it is more than can have been free at any moment at which it can have counted', () => {
      expect(heard(3, 1011, 1019)).toEqual([TOO_MUCH])
      expect(heard(2, 1011, 1019)).toEqual([])
      // One of them may have ended before it counted; or none had begun.
      expect(heard(3, 1011, 1021)).toEqual([])
      expect(heard(4, 1011, 1021)).toEqual([TOO_MUCH])
      expect(heard(4, 1009, 1021)).toEqual([])
      expect(heard(4, 1011, 1031)).toEqual([])
      expect(heard(5, 1009, 1021)).toEqual([TOO_MUCH])
    })

    test('sees the same in what it tells others', () => {
      const tells = (free: number, since: number, at: number) => {
        const judge = new Judge(TERMS)
        judge.advertised(0, stateOf(0, free), since, at)
        for (const entry of work) judge.entry(entry)
        judge.compare(2000)
        return judge.breaches.map(({ promise }) => promise)
      }
      expect(tells(3, 1011, 1019)).toEqual([TOO_MUCH])
      expect(tells(2, 1011, 1019)).toEqual([])
    })

    test('sees that it offers what its workers do not do', () => {
      const judge = new Judge(TERMS)
      judge.heard(says(1, 0, RARE), 1000, 1001)
      judge.compare(2000)
      expect(judge.breaches.map(({ promise }) => promise)).toEqual([TOO_MUCH])
    })

    test('says nothing while it may not have noticed what has happened to its workers, and only then', () => {
      const trouble =
        (what: 'broker or workers' | 'clients', cluster: number, until: number) => (judge: Judge) => {
          judge.troubleBegins({ clusters: [cluster], what, from: 500 }).until = until
        }
      expect(heard(3, 1011, 1019, trouble('broker or workers', 0, 1000))).toEqual([])
      expect(heard(3, 1011, 1019, trouble('broker or workers', 0, 1010 - AFTERMATH_MS))).toEqual([TOO_MUCH])
      expect(heard(3, 1011, 1019, trouble('broker or workers', 1, 1000))).toEqual([TOO_MUCH])
      expect(heard(3, 1011, 1019, trouble('clients', 0, 1000))).toEqual([TOO_MUCH])
    })

    test('waits until everything has been read that was written by then', () => {
      const judge = new Judge(TERMS)
      judge.heard(says(3), 1011, 1019)
      judge.compare(1018)
      for (const entry of work) judge.entry(entry)
      expect(judge.breaches).toEqual([])
      judge.compare(1019)
      expect(judge.breaches).toHaveLength(1)
    })

    test('counts what a worker had as free when it is dead', () => {
      const judge = new Judge(TERMS)
      judge.entry(sent())
      judge.entry(started())
      judge.killed('c0w0.1', 1100)
      judge.excuse('c0w0.1')
      judge.heard(says(4), 1090, 1099)
      judge.heard(says(4), 1101, 1110)
      judge.compare(2000)
      expect(judge.breaches.map(({ at }) => at)).toEqual([1099])
    })

    describe('and of tasks that wait', () => {
      const WAITS = 'no task waits while a local worker is free'
      /** At 1020 its only task has ended. */
      const waiting = (at: number, free = 0, meanwhile = (_: Judge) => {}) => {
        const judge = new Judge(TERMS)
        meanwhile(judge)
        for (const entry of [sent(), started(), ended()]) judge.entry(entry)
        judge.heard(says(free, 7), at - 1, at)
        judge.compare(5000)
        return judge.breaches.map(({ promise }) => promise)
      }

      test('sees that it has room for them by its own word', () => {
        expect(waiting(1015, 1)).toEqual([WAITS])
        expect(waiting(1015, 0)).toEqual([])
      })

      test('sees a worker that has been idle for longer than anything is on its way', () => {
        expect(waiting(1020 + AFTERMATH_MS)).toEqual([])
        expect(waiting(1022 + AFTERMATH_MS)).toEqual([WAITS])
        const busyAgain = (judge: Judge) => {
          judge.entry(sent({ task: `${TASK}4` }))
          judge.entry(started({ at: 1001, task: `${TASK}4`, slots: 1 }))
        }
        expect(waiting(1022 + AFTERMATH_MS, 0, busyAgain)).not.toContain(WAITS)
        const killed = (judge: Judge) => {
          judge.troubleBegins({ clusters: [0], what: 'broker or workers', from: 1021 }).until = 1022
        }
        expect(waiting(1022 + AFTERMATH_MS, 0, killed)).toEqual([])
      })
    })
  })

  test('tells whoever draws figures of answers, errors, and of tasks that were started again', () => {
    const told: unknown[] = []
    const judge = new Judge(TERMS, {
      answered: (...what) => told.push(['answered', ...what]),
      failed: (at) => told.push(['failed', at]),
      retaken: (...what) => told.push(['retaken', ...what]),
    })
    judge.entry(sent())
    judge.entry(started())
    judge.killed('c0w0.1', 1015)
    judge.entry(started({ at: 1025, worker: 'c1w0.1/0' }))
    judge.entry(settled({ ranIn: 'c1' }))
    judge.entry(sent({ task: 'c0h1.1/2.4', once: true }))
    judge.entry(settled({ task: 'c0h1.1/2.4', at: 1050, code: 'UNKNOWN' }))
    expect(told).toEqual([
      ['retaken', 10],
      ['answered', 1030, 30, 0, 1],
      ['failed', 1050],
    ])
    expect(judge).toMatchObject({ sent: 2, settled: 2, open: 0, starts: 2, startedAgain: 1 })
  })

  test('counts how often it has looked at each promise', () => {
    const judge = new Judge(TERMS)
    expect([...judge.checked.keys()]).toEqual([...PROMISES])
    for (const entry of [sent(), started(), ended(), settled()]) judge.entry(entry)
    judge.finish(5000)
    expect(judge.checked.get('every request settles exactly once')).toBe(1)
    expect(judge.checked.get('no answer out of thin air')).toBe(1)
    expect(judge.checked.get('a task that is not idempotent never starts twice')).toBe(0)
  })
})

describe('how many tasks ran in a cluster', () => {
  test('is known for any time, whatever the order in which it is told, until it is forgotten', () => {
    const occupancy = new Occupancy()
    for (const [at, by] of [
      [10, 1],
      [30, -1],
      [20, 1],
      [40, -1],
    ] as const)
      occupancy.change(at, by)
    const fewest = (from: number, until: number) => occupancy.fewest(from, until)
    expect([fewest(0, 5), fewest(10, 15), fewest(20, 25), fewest(30, 35), fewest(40, 99)]).toEqual([
      0, 1, 2, 1, 0,
    ])
    expect([fewest(5, 15), fewest(15, 25), fewest(25, 35), fewest(15, 45)]).toEqual([0, 1, 1, 0])
    occupancy.forget(25)
    expect(fewest(20, 26)).toBeNull()
    expect([fewest(25, 29), fewest(25, 35), fewest(40, 99)]).toEqual([2, 1, 0])
    // Told late.
    occupancy.change(22, 1)
    expect(fewest(25, 29)).toBe(3)
  })
})

describe('what is overheard between brokers', () => {
  const frames = (epoch: number, ...records: WireRecord[]) => {
    const encoder = new MessageEncoder()
    encoder.begin(epoch, 1)
    for (const record of records) encoder.add(record)
    return encoder.finish()
  }
  const request = (
    token: number,
    body: Uint8Array = Buffer.from('c0h1.1/2.3 5.000 1 0\n and more'),
  ): WireRecord => ({
    kind: Kind.Request,
    token,
    id: 'x',
    attempt: 1,
    timeLeftMs: 1000,
    priority: 4,
    flags: 0,
    creditUpTo: 0,
    service: '',
    traceparent: '',
    body,
  })
  const reply = (token: number): WireRecord => ({
    kind: Kind.Reply,
    token,
    code: '',
    retryable: false,
    retryAfterMs: 0,
    attempts: 1,
    queuedUs: 0,
    runUs: 0,
    partials: 0,
    cluster: 'c1',
    worker: '',
    message: '',
    body: EMPTY_BODY,
  })

  function scene() {
    const told: unknown[] = []
    const clock = { at: 0 }
    const hearsay = new Hearsay(
      {
        relayed: (...what) => told.push(what),
        advertised: (cluster, { seq }, since) => told.push([`c${cluster}`, seq, since]),
      },
      () => clock.at,
    )
    return { hearsay, told, clock }
  }

  test('is a task on its way', () => {
    const { hearsay, told } = scene()
    hearsay.toCloudfe(0, 2).outward?.(frames(1, request(1), request(2, EMPTY_BODY)))
    expect(told).toEqual([['c0h1.1/2.3', 0, 2]])
  })

  test('is a state, no older than the task that was answered before it on the same connection', () => {
    const { hearsay, told, clock } = scene()
    const link = hearsay.toCloudfe(0, 1)
    told.length = 0
    for (const [token, at] of [
      [1, 10],
      [2, 20],
      [3, 30],
    ] as const) {
      clock.at = at
      link.outward?.(frames(1, request(token)))
    }
    told.length = 0
    clock.at = 40
    link.inward?.(frames(7, stateOf(1, 1, { epoch: 7, seq: 1 })))
    link.inward?.(frames(7, reply(2), stateOf(1, 1, { epoch: 7, seq: 2 })))
    link.inward?.(frames(7, reply(1), stateOf(1, 1, { epoch: 7, seq: 3 })))
    // Another connection knows nothing of this one.
    const other = hearsay.toCloudfe(0, 1)
    other.inward?.(frames(7, reply(3), stateOf(1, 1, { epoch: 7, seq: 4 })))
    expect(told).toEqual([
      ['c1', 2, 20],
      ['c1', 3, 20],
    ])
  })

  test('is a state that is published after one of which that is known, in the same life', () => {
    const { hearsay, told, clock } = scene()
    clock.at = 10
    const link = hearsay.toCloudfe(0, 1)
    link.outward?.(frames(1, request(1)))
    link.inward?.(frames(7, reply(1), stateOf(1, 1, { epoch: 7, seq: 5 })))
    told.length = 0
    const published = (epoch: number, seq: number, cluster = 1) =>
      hearsay.toStatebe(cluster).inward?.(frames(epoch, stateOf(cluster, 1, { epoch, seq })))
    published(7, 4)
    published(8, 6)
    published(7, 6, 2)
    expect(told).toEqual([])
    published(7, 6)
    expect(told).toEqual([['c1', 6, 10]])
  })
})

describe('the ledger', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'spillway-ledger-'))
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  const entries: Entry[] = [
    sent({ once: true }),
    sent({ pieces: 7 }),
    started({ service: RARE }),
    piece(3, { attempt: 2 }),
    ended(),
    settled(),
    settled({ code: 'UNKNOWN', ranIn: '', answer: '' }),
    { what: 'stood still', at: 1500, since: 1000, host: 'c0h1.1' },
  ]

  test('is read as it was written, by several processes, each entry once, as soon as its line is whole', () => {
    const reader = new LedgerReader(folder)
    const read: Entry[] = []
    const look = () => reader.read((entry) => read.push(entry))
    const [one, other] = [new LedgerFile(folder, 'c0h1.1'), new LedgerFile(folder, 'c0w0.1')]
    look()
    for (const entry of entries) one.write(entry)
    look()
    expect(read).toEqual(entries)
    other.write(started({ at: 2000.125 }))
    appendFileSync(join(folder, 'c0h1.1.ledger'), 'ended 30')
    look()
    expect(read.splice(entries.length)).toEqual([started({ at: 2000.125 })])
    appendFileSync(join(folder, 'c0h1.1.ledger'), '00.5 x y\n')
    look()
    expect(read.splice(entries.length)).toEqual([{ what: 'ended', at: 3000.5, task: 'x', worker: 'y' }])
    reader.close()
  })

  test('of a dead process is read to its end, and what it did not finish to write is left out', () => {
    const reader = new LedgerReader(folder)
    const read: Entry[] = []
    new LedgerFile(folder, 'c0h1.1').write(sent())
    reader.read((entry) => read.push(entry))
    reader.writerIsGone('c0h1.1')
    appendFileSync(join(folder, 'c0h1.1.ledger'), 'ended 3000.5 x y\nsent 40')
    reader.read((entry) => read.push(entry))
    reader.read((entry) => read.push(entry))
    expect(read.map(({ what }) => what)).toEqual(['sent', 'ended'])
    reader.close()
  })

  test('tells all that was written about a task in the order of time', () => {
    const [one, other] = [new LedgerFile(folder, 'c0h1.1'), new LedgerFile(folder, 'c0w0.1')]
    one.write(sent())
    one.write(sent({ task: `${TASK}4` }))
    one.write(settled())
    other.write(started())
    const reader = new LedgerReader(folder)
    expect(reader.linesAbout(TASK).map((line) => line.split(' ')[0])).toEqual(['sent', 'started', 'settled'])
    reader.close()
  })
})

describe('a task of a live run', () => {
  test('says in its body what its worker has to know', () => {
    const work = { task: TASK, serviceMs: 12.345, once: true, pieces: 4 }
    const body = writeWork(work, Buffer.from('\n any octets'))
    expect(readWork(body)).toEqual(work)
    expect(readWork(Buffer.from('anything else\n'))).toBeNull()
    expect(readWork(Buffer.alloc(0))).toBeNull()
  })

  test('has an answer, and pieces, that no other task, no other body and no other service has', () => {
    const [one, other] = [Buffer.from('one'), Buffer.from('other')]
    const answers = [
      answerTo('a', COMMON, one),
      answerTo('a', COMMON, other),
      answerTo('b', COMMON, one),
      answerTo('a', RARE, one),
    ]
    const pieces = answers.flatMap((answer) => [pieceOf(answer, 0), pieceOf(answer, 1)])
    expect(new Set([...answers, ...pieces]).size).toBe(12)
  })

  test('may need a service that some clusters have to ask others for, however few there are', () => {
    for (const clusters of [2, 3, 20]) {
      const offering = Array.from({ length: clusters }, (_, index) => servicesOf(index))
      expect(offering.every((services) => services.includes(COMMON))).toBe(true)
      expect(offering.filter((services) => services.includes(RARE)).length).toBeGreaterThan(0)
      expect(offering.filter((services) => !services.includes(RARE)).length).toBeGreaterThan(0)
    }
  })

  test('has a name that tells its process and its cluster', () => {
    const host = hostName(12, 'client', 3, 4)
    expect(hostOf(taskName(host, 5, 6))).toBe(host)
    expect(clusterOf(taskName(host, 5, 6))).toBe(12)
    expect(clusterOf(hostName(7, 'worker', 0, 1))).toBe(7)
    expect(clusterOf('nonsense')).toBe(-1)
  })
})

function stateOf(index: number, free: number, changes: Partial<State> = {}): State {
  return {
    kind: Kind.State,
    name: `c${index}`,
    epoch: 1,
    seq: 1,
    draining: false,
    inFlight: 0,
    queueDepth: 0,
    cloudfe: '',
    services: [{ service: COMMON, free, total: 4, queued: 0 }],
    received: [],
    ...changes,
  }
}

function status(index: number, changes: Partial<BrokerStatus> = {}): BrokerStatus {
  const peers = [0, 1, 2]
    .filter((other) => other !== index)
    .map((other) => ({
      name: `c${other}`,
      address: `to c${other}`,
      phase: 'up',
      configured: true,
      draining: false,
      epoch: 100 + other,
      stateAgeMs: 1,
      roundTripMs: 1,
      services: [],
      slots: { free: 8, total: 8 },
      queueDepth: 0,
      inFlight: 0,
      lent: 0,
      borrowed: 0,
      lentTotal: 0,
      borrowedTotal: 0,
    }))
  return {
    name: `c${index}`,
    version: '',
    epoch: 100 + index,
    uptimeMs: 1,
    ready: true,
    draining: false,
    endpoints: { localfe: '', localbe: '', cloudfe: '', statebe: '' },
    slots: 8,
    busy: 0,
    free: 8,
    queued: 0,
    deferred: 0,
    inFlight: { local: 0, peer: 0, guest: 0 },
    lent: 0,
    borrowed: 0,
    clients: 0,
    peersUp: 2,
    workers: { total: 8, byDialect: { native: 8, req: 0, ppp: 0 }, list: [] },
    peers,
    services: [],
    ledger: { underWay: 0, answered: 0 },
    counters: {
      received: { client: 0, stock: 0, peer: 0 },
      completed: { local: 0, byPeers: 0, forPeers: 0 },
      settled: {},
      redispatched: {},
      rejects: { sent: 0, received: 0 },
      expired: { queued: 0, running: 0 },
      busy: 0,
      cancelled: 0,
      attached: 0,
      answeredAgain: 0,
      lateReplies: 0,
      dropped: {},
    },
    ...changes,
  }
}

describe('brokers', () => {
  const ways = [0, 1, 2].map((index) => status(index).peers.map(({ address }) => address))
  const three = () => [status(0), status(1), status(2)]
  const peersOf0 = (change: (peer: BrokerStatus['peers'][number]) => object) =>
    status(0, { peers: status(0).peers.map((peer) => ({ ...peer, ...change(peer) })) })

  test('agree when each knows each other as it is', () => {
    expect(disagreements(three(), 8, ways)).toEqual([])
  })

  test.each<[string, (BrokerStatus | null)[]]>([
    ["c0's broker does not answer", [null, status(1), status(2)]],
    ['c0 is not ready', [status(0, { ready: false }), status(1), status(2)]],
    ['c0 knows of 7 slots of its own, 8 are there', [status(0, { slots: 7 }), status(1), status(2)]],
    ['c0 does not know c1', [status(0, { peers: status(0).peers.slice(1) }), status(1), status(2)]],
    [
      'for c0, c1 is lost',
      [peersOf0(({ name }) => (name === 'c1' ? { phase: 'lost' } : {})), status(1), status(2)],
    ],
    [
      'c0 looks for somebody at elsewhere, past the proxies',
      [peersOf0(({ name }) => (name === 'c1' ? { address: 'elsewhere' } : {})), status(1), status(2)],
    ],
    [
      'c0 knows a former life of c1',
      [peersOf0(({ name }) => (name === 'c1' ? { epoch: 7 } : {})), status(1), status(2)],
    ],
    [
      'c0 believes that c1 has 4 slots, not 8',
      [peersOf0(({ name }) => (name === 'c1' ? { slots: { free: 4, total: 4 } } : {})), status(1), status(2)],
    ],
  ])('disagree when %s', (words, statuses) => {
    expect(disagreements(statuses, 8, ways)).toContain(words)
  })

  test('hold nothing when all work is done, and otherwise say what', () => {
    expect(leftovers(three())).toEqual([])
    expect(
      leftovers([status(0, { clients: 2 }), status(1, { ledger: { underWay: 1, answered: 9 } }), null]),
    ).toEqual(['c0 has 2 clients with tasks', 'c1 has 1 tasks under way', "c2's broker does not answer"])
    const each: Partial<BrokerStatus>[] = [
      { queued: 1 },
      { deferred: 1 },
      { busy: 1 },
      { inFlight: { local: 1, peer: 0, guest: 0 } },
      { inFlight: { local: 0, peer: 1, guest: 0 } },
      { inFlight: { local: 0, peer: 0, guest: 1 } },
    ]
    for (const changes of each) expect(leftovers([status(0, changes)])).toHaveLength(1)
  })
})

describe('the parameters', () => {
  const parse = (given: Record<string, unknown>): LiveParameters => parseSettings(liveParameters, given)

  test('read times with their units', () => {
    expect(['500ms', '2s', '5m', '1h', '1.5s', '0'].map(readDuration)).toEqual([
      500, 2000, 300_000, 3_600_000, 1500, 0,
    ])
    expect(['', '5', 's', '-1s', '1d', '2 s', 'never'].map(readDuration)).toEqual(Array(7).fill(null))
    expect(parse({ killEvery: '750ms', duration: '5m' })).toMatchObject({ killEvery: 750, duration: 300_000 })
  })

  test('read faults by name, or all, or none', () => {
    expect(parse({}).faults).toEqual(LIVE_FAULTS)
    expect(parse({ faults: 'none' }).faults).toEqual([])
    expect(parse({ faults: 'slow,cluster' }).faults).toEqual(['cluster', 'slow'])
  })

  test.each<[Record<string, unknown>, RegExp]>([
    [
      { killEvery: '2' },
      /killEvery = "2": expected a time from 0ms to 1h, as in 500ms, 2s or 5m, or 0 for never/,
    ],
    [{ duration: '0' }, /duration = "0": expected a time from 1s to 24h/],
    [{ faults: 'cluster,fire' }, /faults = "cluster,fire": expected all, none, or some of cluster,broker/],
    [{ clusters: 1 }, /clusters = 1: expected an integer from 2 to 20/],
    [{ workers: 2, workerHosts: 3 }, /workerHosts = 3: expected at most workers, which is 2/],
    [{ taskMin: '2s', taskMax: '1s' }, /taskMin = "2s": expected at most taskMax/],
  ])('refuse %o and say what was expected', (given, words) => {
    expect(() => parse(given)).toThrow(ConfigurationError)
    expect(() => parse(given)).toThrow(words)
  })
})

describe('the plan', () => {
  const parameters = (given: Record<string, unknown> = {}): LiveParameters =>
    parseSettings(liveParameters, { duration: '10m', ...given })

  test('is the same for the same seed, and another for another', () => {
    expect(drawPlan(parameters({ seed: 7 }))).toEqual(drawPlan(parameters({ seed: 7 })))
    expect(drawPlan(parameters({ seed: 8 }))).not.toEqual(drawPlan(parameters({ seed: 7 })))
  })

  test('has every kind of fault in the order of time, about as often as wanted', () => {
    const plan = drawPlan(parameters({ killEvery: '2s', freezeEvery: '4s', linkEvery: '8s' }))
    expect(new Set(plan.map(({ fault }) => fault))).toEqual(new Set(LIVE_FAULTS))
    expect(plan.map(({ at }) => at)).toEqual(plan.map(({ at }) => at).sort((one, other) => one - other))
    expect(plan.length).toBeGreaterThan(300 + 150 + 75 - 60)
    expect(plan.length).toBeLessThan(300 + 150 + 75 + 60)
    for (const { cluster, other, at } of plan) {
      expect(other).not.toBe(cluster)
      expect(at).toBeLessThan(600_000)
    }
  })

  test('has no fault that is not wanted', () => {
    const plan = drawPlan(parameters({ faults: 'broker,slow', linkEvery: '0' }))
    expect(new Set(plan.map(({ fault }) => fault))).toEqual(new Set(['broker']))
    expect(drawPlan(parameters({ faults: 'none' }))).toEqual([])
  })
})

test('the picture of a live run fits in every terminal it is shown on', () => {
  const p = parseSettings(liveParameters, { clusters: 6, workerHosts: 5, clientHosts: 4 })
  const addresses = { localfe: '', localbe: '', cloudfe: '', statebe: '', http: '127.0.0.1:1' }
  const board = new Board(0)
  board.judge = new Judge(TERMS)
  board.clusters = Array.from(
    { length: p.clusters },
    (_, n) => new Cluster(n, addresses, [], p, '', () => {}),
  )
  for (const [index, cluster] of board.clusters.entries()) {
    if (index % 2 === 0) cluster.broker.condition = 'up'
    cluster.status = status(index, { slots: 1000, busy: 1000, borrowed: 1000, queued: 10_000 })
  }
  board.sentence = 'A sentence with many words in it. '.repeat(8).trim()
  board.judge.sent = board.judge.settled = 10_000_000
  for (let n = 0; n < 20; n++) board.links.set(`c${n}–c${n + 1}`, `cut from c${n} to c${n + 1}`)
  for (let n = 0; n < 300; n++) {
    board.tick()
    board.happen(`something with a long name ${'again and '.repeat(n % 20)}again`, n * 1000, n % 2 === 0)
  }
  for (const columns of [COLUMNS_MIN, 99, 120, 200]) {
    for (const rows of [ROWS_MIN, 24, 40]) {
      const lines = stripVTControlCharacters(picture(board, 123_456, columns, rows)).split('\n')
      expect(lines.length).toBeLessThan(rows)
      for (const line of lines) expect(line.length, line).toBeLessThan(columns)
    }
  }
})
