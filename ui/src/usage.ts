// What allocations hold of each node: the numbers behind the heat map and the tiles.
import { computed } from '@preact/signals'
import { allocations, nodes } from './api/feeds'
import type { Allocation, Node, Resources } from './api/types'
import { quantity } from './format'

export interface Amount {
  cores: number
  memory: number
  accelerators: number
}
export interface NodeUse {
  node: Node
  has: Amount
  held: Amount
  allocations: number
}
const holding = new Set(['Reserved', 'Prepared', 'Running', 'Draining'])
export function isHolding(allocation: Allocation): boolean {
  return holding.has(allocation.status?.phase ?? 'Reserved')
}

function amount(resources: Resources | undefined): Amount {
  let accelerators = 0
  for (const count of Object.values(resources?.accelerators ?? {})) accelerators += quantity(count)
  return { cores: quantity(resources?.cpu), memory: quantity(resources?.memory), accelerators }
}
function add(to: Amount, from: Amount) {
  to.cores += from.cores
  to.memory += from.memory
  to.accelerators += from.accelerators
}

export const nodeUses = computed<NodeUse[]>(() => {
  const byNode = new Map<string, NodeUse>()
  for (const node of nodes.items.value) {
    const has = amount(node.status?.allocatable ?? node.status?.capacity)
    byNode.set(node.metadata.name, { node, has, held: { cores: 0, memory: 0, accelerators: 0 }, allocations: 0 })
  }
  for (const allocation of allocations.items.value) {
    if (!isHolding(allocation)) continue
    const use = byNode.get(allocation.spec.node)
    if (!use) continue
    add(use.held, amount(allocation.spec.resources))
    use.allocations++
  }
  return [...byNode.values()].sort(
    (a, b) => a.node.spec.site.localeCompare(b.node.spec.site) || a.node.metadata.name.localeCompare(b.node.metadata.name),
  )
})

export interface Sum {
  has: Amount
  held: Amount
  nodes: number
  ready: number
}
export function emptySum(): Sum {
  return { has: { cores: 0, memory: 0, accelerators: 0 }, held: { cores: 0, memory: 0, accelerators: 0 }, nodes: 0, ready: 0 }
}
export const siteSums = computed(() => {
  const sums = new Map<string, Sum>()
  for (const use of nodeUses.value) {
    const sum = sums.get(use.node.spec.site) ?? emptySum()
    sum.nodes++
    if (isReady(use.node)) sum.ready++
    add(sum.has, use.has)
    add(sum.held, use.held)
    sums.set(use.node.spec.site, sum)
  }
  return sums
})
export const total = computed(() => {
  const sum = emptySum()
  for (const site of siteSums.value.values()) {
    sum.nodes += site.nodes
    sum.ready += site.ready
    add(sum.has, site.has)
    add(sum.held, site.held)
  }
  return sum
})

function condition(node: Node, type: string): boolean {
  return node.status?.conditions?.some((c) => c.type === type && c.status === 'True') ?? false
}
export function isReady(node: Node): boolean {
  return condition(node, 'Ready')
}
export function isInterrupting(node: Node): boolean {
  return condition(node, 'Interrupting')
}
export function shareOf(held: number, has: number): number {
  return has > 0 ? held / has : 0
}
