import { expect, test } from 'vitest'
import { errorMessage } from '../../settings/error-message.ts'

test.each([
  [new TypeError('no such folder'), 'no such folder'],
  ['a text', 'a text'],
  [7, '7'],
  [undefined, 'undefined'],
])('of %s that was thrown, says %j', (thrown, said) => {
  expect(errorMessage(thrown)).toBe(said)
})
