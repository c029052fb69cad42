import { defineConfig } from 'vitest/config'

// Forks, not threads: a thread that ends with a pending receive() aborts the whole process.
export default defineConfig({
  test: {
    pool: 'forks',
    include: ['test/**/*.test.ts'],
    testTimeout: 30_000,
    hookTimeout: 30_000,
    retry: 0,
  },
})
