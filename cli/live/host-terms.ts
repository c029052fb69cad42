import { z } from 'zod'

/** What a process of clients is started with. */
export const clientHostSchema = z.object({
  /** Of this life of it; begins the names of its tasks. */
  host: z.string(),
  connect: z.string(),
  clients: z.number(),
  tasksPerSecond: z.number(),
  notIdempotent: z.number(),
  streams: z.number(),
  rare: z.number(),
  taskMinMs: z.number(),
  taskMaxMs: z.number(),
  seed: z.number(),
  folder: z.string(),
})
export type ClientHostTerms = z.output<typeof clientHostSchema>

/** What it is told afterwards. */
export const clientOrderSchema = z.object({
  /** `send`: tasks, from now on. `hold`: no more. `each`: one more of each client, at once. */
  type: z.enum(['send', 'hold', 'each']),
})
export type ClientOrder = z.output<typeof clientOrderSchema>

/** What a process of workers is started with. */
export const workerHostSchema = z.object({
  host: z.string(),
  connect: z.string(),
  workers: z.number(),
  slots: z.number(),
  services: z.array(z.string()),
  folder: z.string(),
})
export type WorkerHostTerms = z.output<typeof workerHostSchema>
