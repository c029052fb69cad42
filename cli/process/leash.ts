/**
 * Preloaded into every process that is started on a leash: ends it when whoever started it is gone, however that
 * ended. Nobody else would, since each process leads a process group of its own and hears nothing of the terminal.
 */

if (process.send !== undefined) {
  process.once('disconnect', () => process.exit(1))
  // The parent may have died before this line.
  if (!process.connected) process.exit(1)
  // Listening must not be what keeps a process alive that has nothing else to do.
  process.channel?.unref()
}
