/** What the dashboard and the rules ask Prometheus. */

import { PrometheusRule } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1'
import { ConfigMap } from 'kubernetes-models/v1'
import { z } from 'zod'
import { all, renderWithComponents } from '../render.ts'

const dashboard = z.object({
  panels: z.array(
    z.object({ title: z.string(), targets: z.array(z.object({ expr: z.string() })).default([]) }),
  ),
})

export interface Query {
  readonly where: string
  readonly expression: string
}

const objects = renderWithComponents()

/** As Prometheus itself takes them: `groups:` and so on. */
export const rules = all(objects, PrometheusRule.is)[0]?.spec

/** With Grafana's variables filled in: every cluster, and a range of seconds. */
export function dashboardQueries(): Query[] {
  const map = all(objects, ConfigMap.is).find(({ metadata }) => metadata.name === 'spillway-dashboard')
  return dashboard
    .parse(JSON.parse(map?.data?.['spillway.json'] ?? ''))
    .panels.flatMap(({ title, targets }) =>
      targets.map(({ expr }) => ({
        where: `panel ${title}`,
        expression: expr.replaceAll('$cluster', '.*').replaceAll('$__rate_interval', '8s'),
      })),
    )
}

/**
 * What alerts look at: each side of their `and`, `or` and `unless`, without the thresholds that keep quiet as long as all is
 * well. `absent` gives nothing where something is there, so that what it asks for has to be asked.
 */
export function ruleQueries(): Query[] {
  return (rules?.groups ?? []).flatMap(({ rules }) =>
    (rules ?? []).flatMap(({ alert, expr }) =>
      String(expr)
        .split(/\s(?:and|or|unless)(?: on \(\w+\))?\s/)
        .map((side) => ({
          where: `alert ${alert}`,
          expression: side
            .replace(/^absent\((.*)\)$/, '$1')
            .replace(/ (==|>|<) [\d.]+$/, '')
            .replaceAll(/\[\w+\]/g, '[8s]'),
        })),
    ),
  )
}
