import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { type BrokerSettings, brokerSchema, coreConfig, parseBrokerConfig } from '../../broker/config.ts'
import { flagOf, resolveConfiguration, variableOf } from '../../cli/configuration.ts'
import { resolveRequestConfig } from '../../cli/request-config.ts'
import { resolveWorkerConfig } from '../../cli/worker-config.ts'
import { ConfigurationError } from '../../settings/configuration-error.ts'
import { endpointProblem, parseHttpAddress } from '../../settings/endpoint.ts'
import { nearest, settingsOf } from '../../settings/settings.ts'

const folder = mkdtempSync(join(tmpdir(), 'spillway-configuration-'))
afterAll(() => rmSync(folder, { recursive: true }))

function file(name: string, content: string): string {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}

function problemsOf(values: unknown) {
  return problemsIn(() => parseBrokerConfig(values))
}

function problemsIn(act: () => unknown) {
  try {
    act()
  } catch (error) {
    if (error instanceof ConfigurationError) return error.problems
    throw error
  }
  throw new Error('it was taken for good')
}

function resolve(given: { flags?: Record<string, unknown>; env?: Record<string, string>; file?: string }) {
  return resolveConfiguration({ schema: brokerSchema, flags: {}, env: {}, ...given })
}

describe('the settings of a broker', () => {
  test('need nothing but a name', () => {
    const config = parseBrokerConfig({ name: 'west' })
    expect(config).toMatchObject({
      queueMax: 10_000,
      bodyMax: 1_048_576,
      stateIntervalMs: 500,
      stateTtlMs: 1500,
      policy: 'soonest',
      guestWaitMs: 100,
      http: 'off',
      peers: [],
    })
  })

  test('give the core exactly its own fields', () => {
    expect(Object.keys(coreConfig(parseBrokerConfig({ name: 'west' }))).sort()).toEqual([
      'attemptsMax',
      'bodyMax',
      'busyRetryAfterMs',
      'cloudfeAdvertised',
      'guestWaitMs',
      'name',
      'peerForgetMs',
      'peersMax',
      'policy',
      'queueMax',
      'repliesBytesMax',
      'repliesMax',
      'replyAgeMaxMs',
      'retryBudgetBurst',
      'retryBudgetPerSecond',
      'retryBudgetRatio',
      'servicesMax',
      'silentAttemptMs',
      'stateCoalesceMs',
      'stateIntervalMs',
      'stateTtlMs',
      'statebeAdvertised',
      'stockTaskTimeMs',
      'taskTimeMaxMs',
      'workerHeartbeatIntervalMs',
      'workerLiveness',
      'workersMax',
    ])
  })

  test('are checked again without harm, as the library does with what the command has resolved', () => {
    const config = parseBrokerConfig({ name: 'west', peers: ['tcp://east:5557'], stateIntervalMs: 200 })
    expect(parseBrokerConfig(config)).toEqual(config)
  })

  test('a state lives for three intervals unless it is said otherwise', () => {
    expect(parseBrokerConfig({ name: 'west', stateIntervalMs: 100 }).stateTtlMs).toBe(300)
    expect(parseBrokerConfig({ name: 'west', stateIntervalMs: 100, stateTtlMs: 200 }).stateTtlMs).toBe(200)
  })

  test('every problem is told at once, with field, value and what was expected', () => {
    const problems = problemsOf({ name: 'a b', queueMax: -1, policy: 'best', localfe: 'tcp://here' })
    expect(problems.map(({ field }) => field).sort()).toEqual(['localfe', 'name', 'policy', 'queueMax'])
    expect(problems.find(({ field }) => field === 'queueMax')).toMatchObject({
      value: -1,
      expected: 'an integer from 0 to 10000000',
    })
    expect(problems.find(({ field }) => field === 'policy')?.expected).toBe(
      'one of most-capacity, weighted, two-choices, random, soonest',
    )
  })

  test('a name that is missing is told what it is', () => {
    expect(problemsOf({})).toEqual([
      {
        field: 'name',
        value: undefined,
        expected: "the cluster's name, unique in the federation",
        source: '',
      },
    ])
  })

  test('a setting that does not exist is refused, with the one that was probably meant', () => {
    const [problem] = problemsOf({ name: 'west', stateIntervallMs: 5 })
    expect(problem?.expected).toBe('stateIntervalMs; there is no setting stateIntervallMs')
  })

  test.each<[string, Partial<BrokerSettings>]>([
    ['stateTtlMs', { stateIntervalMs: 500, stateTtlMs: 999 }],
    ['stateCoalesceMs', { stateIntervalMs: 100, stateCoalesceMs: 101 }],
    ['stockTaskTimeMs', { stockTaskTimeMs: 3000 }],
    ['silentAttemptMs', { silentAttemptMs: 30_001 }],
    ['peerForgetMs', { peerForgetMs: 1500 }],
    ['replyAgeMaxMs', { replyAgeMaxMs: 7499 }],
    ['repliesBytesMax', { bodyMax: 1000, repliesBytesMax: 999 }],
    ['localbe', { localfe: 'tcp://127.0.0.1:7000', localbe: 'tcp://127.0.0.1:7000' }],
    ['peers[1]', { peers: ['tcp://east:5557', 'tcp://east:5557'] }],
  ])('the rule of %s is kept', (field, settings) => {
    expect(problemsOf({ name: 'west', ...settings }).map((problem) => problem.field)).toEqual([field])
  })

  test('the values just within the rules are good', () => {
    parseBrokerConfig({
      name: 'west',
      stateIntervalMs: 500,
      stateTtlMs: 1000,
      stateCoalesceMs: 500,
      stockTaskTimeMs: 3001,
      silentAttemptMs: 3001,
      peerForgetMs: 1001,
      replyAgeMaxMs: 7500,
      bodyMax: 1000,
      repliesBytesMax: 1000,
      localfe: 'tcp://127.0.0.1:*',
      localbe: 'tcp://127.0.0.1:*',
    })
  })

  test.each(['', 'a b', 'ä', 'a/b', 'x'.repeat(64), 'a\n'])('%j is no name', (name) => {
    expect(problemsOf({ name })[0]?.field).toBe('name')
  })

  test('every setting says in a line what it is', () => {
    for (const { field, description } of settingsOf(brokerSchema)) expect(description, field).not.toBe('')
  })
})

describe('an address', () => {
  test.each([
    'tcp://127.0.0.1:5555',
    'tcp://east.example.net:1',
    'tcp://broker-peering.spillway-west.svc.cluster.local:65535',
    'tcp://my_host:5555',
    'tcp://[::1]:5555',
    'tcp://[fe80::1%eth0]:5555',
    'ipc:///run/spillway/west.sock',
    'ipc://@abstract',
  ])('%s can be connected to, and bound', (address) => {
    expect(endpointProblem(address, 'connect')).toBeNull()
    expect(endpointProblem(address, 'bind')).toBeNull()
  })

  test.each(['tcp://*:5555', 'tcp://127.0.0.1:*', 'tcp://127.0.0.1:0', 'tcp://0.0.0.0:*'])(
    '%s can be bound only',
    (address) => {
      expect(endpointProblem(address, 'bind')).toBeNull()
      if (address !== 'tcp://0.0.0.0:*') expect(endpointProblem(address, 'connect')).not.toBeNull()
    },
  )

  test.each([
    '',
    'tcp://',
    'tcp://:5555',
    'tcp://127.0.0.1',
    'tcp://127.0.0.1:65536',
    'tcp://127.0.0.1:05555',
    'tcp://256.0.0.1:5555',
    'tcp://1.2.3:5555',
    'tcp://a..b:5555',
    'tcp://-a:5555',
    'tcp://a b:5555',
    'tcp://a\0b:5555',
    'tcp://::1:5555',
    'tcp://[::1]',
    'tcp://[::1:5555',
    'tcp://[1.2.3.4]:5555',
    'tcp://[east]:5555',
    'tcp://x:1;tcp://y:2',
    'udp://127.0.0.1:5555',
    'inproc://west',
    'http://127.0.0.1:5555',
    'ipc://',
    'ipc://*',
    'ipc:///a b',
    `ipc:///${'x'.repeat(107)}`,
    `tcp://${'x'.repeat(300)}:5555`,
    `tcp://${'x.'.repeat(300)}y:5555`,
  ])('%j is none, for either use', (address) => {
    expect(endpointProblem(address, 'connect')).not.toBeNull()
    expect(endpointProblem(address, 'bind')).not.toBeNull()
  })

  test('of HTTP is on loopback when only a port is given', () => {
    expect(parseHttpAddress('9464')).toEqual({ host: '127.0.0.1', port: 9464 })
    expect(parseHttpAddress('0.0.0.0:0')).toEqual({ host: '0.0.0.0', port: 0 })
    expect(parseHttpAddress('[::1]:80')).toEqual({ host: '::1', port: 80 })
    for (const bad of ['', 'a', 'a:b', '1.2.3.4:70000', '999.1.1.1:80', 'http://a:1'])
      expect(parseHttpAddress(bad), bad).toBeNull()
  })
})

describe('of several sources', () => {
  const yaml = () => file('west.yaml', 'name: file\nqueueMax: 1\nattemptsMax: 1\nworkersMax: 1\n')

  test('a flag wins over the environment, the environment over the file, the file over the default', () => {
    const { values, sources } = resolve({
      flags: { queueMax: '3', localfe: undefined },
      env: { SPILLWAY_QUEUE_MAX: '2', SPILLWAY_ATTEMPTS_MAX: '2' },
      file: yaml(),
    })
    expect(values).toMatchObject({ name: 'file', queueMax: 3, attemptsMax: 2, workersMax: 1, peersMax: 2000 })
    expect(sources.get('queueMax')).toBe('--queue-max')
    expect(sources.get('attemptsMax')).toBe('SPILLWAY_ATTEMPTS_MAX')
    expect(sources.get('workersMax')).toContain('west.yaml')
    expect(sources.has('peersMax')).toBe(false)
  })

  test('a problem names the source of its value', () => {
    const [problem] = problemsIn(() => resolve({ env: { SPILLWAY_QUEUE_MAX: 'many' }, file: yaml() }))
    expect(problem).toEqual({
      field: 'queueMax',
      value: 'many',
      expected: 'an integer from 0 to 10000000',
      source: 'SPILLWAY_QUEUE_MAX',
    })
  })

  test('a file holds the value of a variable that ends in _FILE, without its last newline', () => {
    const { values } = resolve({ env: { SPILLWAY_NAME_FILE: file('name', 'east\n') } })
    expect(values.name).toBe('east')
  })

  test('a variable and its file together are refused, as is a file that is not there', () => {
    const [both] = problemsIn(() =>
      resolve({ env: { SPILLWAY_NAME: 'a', SPILLWAY_NAME_FILE: file('name', 'b') } }),
    )
    expect(both?.expected).toBe('either SPILLWAY_NAME or SPILLWAY_NAME_FILE, not both')
    const [gone] = problemsIn(() => resolve({ env: { SPILLWAY_NAME_FILE: join(folder, 'none') } }))
    expect(gone?.expected).toContain('ENOENT')
  })

  test('an empty variable counts as not set', () => {
    expect(resolve({ env: { SPILLWAY_NAME: 'a', SPILLWAY_QUEUE_MAX: '' } }).values.queueMax).toBe(10_000)
  })

  test('a list may be a text with commas', () => {
    const { values } = resolve({ env: { SPILLWAY_NAME: 'a', SPILLWAY_PEERS: 'tcp://b:1, tcp://c:2' } })
    expect(values.peers).toEqual(['tcp://b:1', 'tcp://c:2'])
  })

  test.each([
    ['a: b: c', 'YAML'],
    ['- name', 'settings by name'],
    ['west', 'settings by name'],
    ['name: a\nhttp: *:9464', 'in quotes'],
    ['name: &a a\npolicy: *a', 'in quotes'],
  ])('a file with %j is refused', (content, expected) => {
    const [problem] = problemsIn(() => resolve({ file: file('bad.yaml', content) }))
    expect(problem?.expected).toContain(expected)
    expect(problem?.source).toContain('bad.yaml')
  })

  test('an empty file is a file without settings', () => {
    expect(resolve({ flags: { name: 'a' }, file: file('empty.yaml', '# nothing\n') }).values.name).toBe('a')
  })

  test('a setting in the file without a value is told as such, and not as its default', () => {
    const [peers, ttl] = problemsIn(() =>
      resolve({ file: file('null.yaml', 'name: a\npeers:\n  # - tcp://b:1\nstateTtlMs: ~\n') }),
    )
    expect(peers).toMatchObject({ field: 'peers', value: null })
    expect(ttl).toMatchObject({ field: 'stateTtlMs', value: null })
  })

  test('a setting in the file that does not exist is refused, with the one that was meant', () => {
    const [problem] = problemsIn(() => resolve({ file: file('typo.yaml', 'name: a\nqueue-max: 5\n') }))
    expect(problem).toMatchObject({ field: 'queue-max', value: 5 })
    expect(problem?.expected).toMatch(/^queueMax;/)
  })
})

test('a setting has one name in each place', () => {
  expect(variableOf('stateIntervalMs')).toBe('SPILLWAY_STATE_INTERVAL_MS')
  expect(flagOf({ field: 'stateIntervalMs', type: 'number' })).toBe('state-interval-ms')
  expect(flagOf({ field: 'peers', type: 'list' })).toBe('peer')
})

test('nothing is suggested for a name that is close to none', () => {
  expect(nearest('colour', ['name', 'queueMax'])).toBeNull()
  expect(nearest('queuemax', ['name', 'queueMax'])).toBe('queueMax')
})

describe('of a worker or a request', () => {
  const connect = ['tcp://a:1']

  test('an empty name in the environment is the anonymous service, and wins over the file', () => {
    const worker = file('services.yaml', 'connect: tcp://a:1\nprogram: [cat]\nservices: [x]\n')
    expect(resolveWorkerConfig({}, { SPILLWAY_SERVICES: '' }, worker).services).toEqual([''])
    expect(resolveWorkerConfig({}, { SPILLWAY_SERVICES: 'a b,' }, worker).services).toEqual(['a b', ''])
    expect(resolveWorkerConfig({}, {}, worker).services).toEqual(['x'])
    const request = file('service.yaml', 'connect: tcp://a:1\nservice: x\n')
    expect(resolveRequestConfig({}, { SPILLWAY_SERVICE: '' }, request).service).toBe('')
  })

  test('a handler or a program from a later source takes the place of the other', () => {
    const program = file('program.yaml', 'connect: tcp://a:1\nprogram: [cat]\n')
    const handler = { SPILLWAY_HANDLER: './h.mjs' }
    const byVariable = resolveWorkerConfig({}, handler, program)
    expect(byVariable.handler).toBe('./h.mjs')
    expect(byVariable.program).toBeUndefined()
    const byFlag = resolveWorkerConfig({ program: ['tac'] }, handler, program)
    expect(byFlag.program).toEqual(['tac'])
    expect(byFlag.handler).toBeUndefined()
  })

  test('a handler and a program in one file are refused', () => {
    const both = file('both.yaml', 'connect: tcp://a:1\nprogram: [cat]\nhandler: ./h.mjs\n')
    expect(() => resolveWorkerConfig({}, {}, both)).toThrow(/both\.yaml.*do not go together/)
  })

  test('a program is not taken from the environment', () => {
    expect(() => resolveWorkerConfig({ connect }, { SPILLWAY_PROGRAM: 'cat' }, undefined)).toThrow(
      /nothing is said of how tasks are done/,
    )
  })

  test('a name that looks like a number stays a text, a number is made one', () => {
    expect(
      resolveWorkerConfig({ connect, program: ['cat'], slots: '3', name: '7' }, {}, undefined),
    ).toMatchObject({ slots: 3, name: '7' })
  })
})
