/**
 * Sets options of a socket that has connections already, and connects it once more. zeromq.js warns that such options do not
 * take effect before the next connect, which is just what is wanted here, and does so through `process.emitWarning`, in the
 * middle of the call: for that long nobody listens.
 */
export function forNextConnect(setAndConnect: () => void): void {
  const { emitWarning } = process
  process.emitWarning = () => {}
  try {
    setAndConnect()
  } finally {
    process.emitWarning = emitWarning
  }
}
