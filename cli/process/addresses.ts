import { freePorts } from './free-port.ts'

/** Where a broker on this machine is reached. */
export interface Addresses {
  readonly localfe: string
  readonly localbe: string
  readonly cloudfe: string
  readonly statebe: string
  readonly http: string
}

/** Addresses on this machine that were free a moment ago, for so many clusters. */
export async function freeAddresses(clusters: number): Promise<Addresses[]> {
  const ports = await freePorts(clusters * 5)
  const next = () => `127.0.0.1:${ports.pop() ?? 0}`
  return Array.from({ length: clusters }, () => ({
    localfe: `tcp://${next()}`,
    localbe: `tcp://${next()}`,
    cloudfe: `tcp://${next()}`,
    statebe: `tcp://${next()}`,
    http: next(),
  }))
}
