import { pino } from 'pino'
import { expect, test } from 'vitest'
import { brokerSchema } from '../../broker/config.ts'
import { strayVariables, warnOfStrayVariables } from '../../cli/stray-variables.ts'
import { workerCommandSchema } from '../../worker/config.ts'

test('a misspelt variable is named, with the setting of this verb that was probably meant', () => {
  const env = { SPILLWAY_QUEUEMAX: '5', SPILLWAY_DRAIN_DEADLINE: '5', SPILLWAY_XYZZY: '5', PATH: '/bin' }
  expect(strayVariables(env, brokerSchema)).toEqual([
    { name: 'SPILLWAY_DRAIN_DEADLINE', nearest: 'SPILLWAY_DRAIN_DEADLINE_MS' },
    { name: 'SPILLWAY_QUEUEMAX', nearest: 'SPILLWAY_QUEUE_MAX' },
    { name: 'SPILLWAY_XYZZY', nearest: null },
  ])
  expect(strayVariables({ SPILLWAY_SLOT: '5' }, workerCommandSchema)).toEqual([
    { name: 'SPILLWAY_SLOT', nearest: 'SPILLWAY_SLOTS' },
  ])
})

test('settings of other verbs, files in the place of values, and what tasks are told are no strays', () => {
  const env = {
    SPILLWAY_NAME: 'west',
    SPILLWAY_CONNECT: 'tcp://broker:5556',
    SPILLWAY_PEERS_FILE: '/run/peers',
    SPILLWAY_CONFIG: 'west.yaml',
    SPILLWAY_TASK_ID: '7',
    SPILLWAY_OUTSTANDING: '10',
  }
  expect(strayVariables(env, brokerSchema)).toEqual([])
})

test('what Kubernetes says of a Service named spillway-broker, or spillway, is no stray', () => {
  const env = {
    SPILLWAY_BROKER_SERVICE_HOST: '10.0.0.7',
    SPILLWAY_BROKER_SERVICE_PORT: '7000',
    SPILLWAY_BROKER_SERVICE_PORT_LOCALFE: '7000',
    SPILLWAY_BROKER_PORT: 'tcp://10.0.0.7:7000',
    SPILLWAY_BROKER_PORT_7000_TCP: 'tcp://10.0.0.7:7000',
    SPILLWAY_BROKER_PORT_7000_TCP_ADDR: '10.0.0.7',
    SPILLWAY_BROKER_PORT_7000_TCP_PORT: '7000',
    SPILLWAY_BROKER_PORT_7000_TCP_PROTO: 'tcp',
    SPILLWAY_SERVICE_HOST: '10.0.0.8',
    SPILLWAY_PORT: 'tcp://10.0.0.8:7000',
  }
  expect(strayVariables(env, brokerSchema)).toEqual([])
  expect(strayVariables({ SPILLWAY_HTTP_PORT: '9464' }, brokerSchema)).toHaveLength(1)
})

test('each is a warning in words', () => {
  const lines: unknown[] = []
  const log = pino({ base: null }, { write: (line: string) => lines.push(JSON.parse(line)) })
  warnOfStrayVariables(log, { SPILLWAY_QUEUEMAX: '5' }, brokerSchema)
  expect(lines).toMatchObject([
    {
      level: 40,
      variable: 'SPILLWAY_QUEUEMAX',
      msg: 'SPILLWAY_QUEUEMAX is in the environment, and there is no such setting; did you mean SPILLWAY_QUEUE_MAX?',
    },
  ])
})
