/** Says by the rules of NetworkPolicies who may speak to whom: policies add up, and both ends must agree. */

import { BlockList } from 'node:net'
import type { INetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1'
import type { INetworkPolicyPeer } from 'kubernetes-models/networking.k8s.io/v1/NetworkPolicyPeer'
import type { INetworkPolicyPort } from 'kubernetes-models/networking.k8s.io/v1/NetworkPolicyPort'

export type Labels = Readonly<Record<string, string>>

/** Somebody who may send or be sent something. Without a namespace: an address outside the cluster. */
export interface Party {
  readonly name: string
  readonly address: string
  readonly namespace?: string
  readonly namespaceLabels?: Labels
  readonly labels?: Labels
  /** Ports by name, for policies that name them. */
  readonly ports?: Readonly<Record<string, number>>
}

export interface Port {
  readonly protocol: 'TCP' | 'UDP'
  readonly port: number
}

interface Selector {
  readonly matchLabels?: Labels
  readonly matchExpressions?: readonly unknown[]
}

export function selects(selector: Selector | undefined, labels: Labels | undefined): boolean {
  if (selector?.matchExpressions !== undefined) throw new Error('matchExpressions are not understood here')
  return Object.entries(selector?.matchLabels ?? {}).every(([key, value]) => labels?.[key] === value)
}

export function isAllowed(policies: readonly INetworkPolicy[], from: Party, to: Party, port: Port): boolean {
  return leaves(policies, from, to, port) && enters(policies, from, to, port)
}

function leaves(policies: readonly INetworkPolicy[], from: Party, to: Party, port: Port): boolean {
  const about = policiesAbout(policies, from, 'Egress')
  return (
    about.length === 0 ||
    about.some(({ spec }) =>
      (spec?.egress ?? []).some(
        (rule) => peerMatches(rule.to, from, to) && portMatches(rule.ports, to, port),
      ),
    )
  )
}

function enters(policies: readonly INetworkPolicy[], from: Party, to: Party, port: Port): boolean {
  const about = policiesAbout(policies, to, 'Ingress')
  return (
    about.length === 0 ||
    about.some(({ spec }) =>
      (spec?.ingress ?? []).some(
        (rule) => peerMatches(rule.from, to, from) && portMatches(rule.ports, to, port),
      ),
    )
  )
}

function policiesAbout(
  policies: readonly INetworkPolicy[],
  party: Party,
  type: 'Ingress' | 'Egress',
): INetworkPolicy[] {
  return policies.filter(
    ({ metadata, spec }) =>
      party.namespace !== undefined &&
      metadata?.namespace === party.namespace &&
      spec?.policyTypes?.includes(type) &&
      selects(spec.podSelector, party.labels),
  )
}

function peerMatches(
  peers: readonly INetworkPolicyPeer[] | undefined,
  subject: Party,
  other: Party,
): boolean {
  if (peers === undefined || peers.length === 0) return true
  return peers.some(({ ipBlock, namespaceSelector, podSelector }) => {
    if (ipBlock !== undefined) {
      const within = (range: string) => contains(range, other.address)
      return within(ipBlock.cidr) && !(ipBlock.except ?? []).some(within)
    }
    if (other.namespace === undefined) return false
    const namespaceFits =
      namespaceSelector === undefined
        ? other.namespace === subject.namespace
        : selects(namespaceSelector, other.namespaceLabels)
    return namespaceFits && selects(podSelector, other.labels)
  })
}

/** @param range as in `10.0.0.0/8` */
function contains(range: string, address: string): boolean {
  const [network = '', bits] = range.split('/')
  const block = new BlockList()
  block.addSubnet(network, Number(bits))
  return block.check(address)
}

function portMatches(ports: readonly INetworkPolicyPort[] | undefined, to: Party, port: Port): boolean {
  if (ports === undefined || ports.length === 0) return true
  return ports.some((allowed) => {
    const number = typeof allowed.port === 'string' ? to.ports?.[allowed.port] : allowed.port
    return (allowed.protocol ?? 'TCP') === port.protocol && number === port.port
  })
}
