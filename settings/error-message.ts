/** What something thrown says, in a sentence of ours: anything may be thrown, and what is no error says it by itself. */
export function errorMessage(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}
