// The project filter, over whatever the page shows.
import { computed } from '@preact/signals'
import { datasets, jobs, models, services, strategies } from './api/feeds'
import type { Resource } from './api/types'
import { project } from './preferences'

export const knownProjects = computed(() => {
  const names = new Set<string>()
  for (const feed of [strategies, jobs, services, models, datasets])
    for (const item of feed.items.value as readonly Resource[]) if (item.metadata.namespace) names.add(item.metadata.namespace)
  if (project.value) names.add(project.value)
  return [...names].sort()
})
export function inProject<T extends Resource>(items: readonly T[]): readonly T[] {
  return project.value ? items.filter((item) => item.metadata.namespace === project.value) : items
}
