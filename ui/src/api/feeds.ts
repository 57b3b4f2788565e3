// The feeds of the console, and which of them run: those of the page that is looked at, and none while
// nobody looks. Browsers open six connections to an HTTP/1.1 server, all tabs together, so only the
// first few feeds of a page hold a watch; the others are asked every few seconds.
import { computed, signal } from '@preact/signals'
import { parseMoneyJson } from './http'
import { Feed, type FeedLike } from './feed'
import { Poll } from './poll'
import type {
  Allocation, Audit, Cost, Dataset, DatasetVersion, Link, Model, ModelVersion, Node, Service, Site, Strategy,
  TrainingJob,
} from './types'

export const sites = new Feed<Site>('sites')
export const links = new Feed<Link>('links')
export const nodes = new Feed<Node>('nodes')
export const allocations = new Feed<Allocation>('allocations')
export const jobs = new Feed<TrainingJob>('trainingjobs')
export const strategies = new Feed<Strategy>('deploymentstrategies')
export const services = new Feed<Service>('inferenceservices')
export const models = new Feed<Model>('models')
export const modelVersions = new Feed<ModelVersion>('modelversions')
export const datasets = new Feed<Dataset>('datasets')
export const datasetVersions = new Feed<DatasetVersion>('datasetversions')
export const cost = new Poll<Cost>('cost', '/neap/v1/cost', (text) => {
  const value = parseMoneyJson(text) as Cost
  return { ...value, lines: value.lines ?? [] }
})
export const audit = new Poll<Audit>('audit', '/neap/v1/audit', (text) => {
  const value = JSON.parse(text) as Audit
  return { ...value, entries: value.entries ?? [] }
})

const all: FeedLike[] = [
  sites, links, nodes, allocations, jobs, strategies, services, models, modelVersions, datasets, datasetVersions,
  cost, audit,
]
const watchesMax = 3
const hiddenGraceMilliseconds = 20_000

const wanted = signal<FeedLike[]>([])
export const isPaused = signal(false)

function applyWanted() {
  const names = isPaused.value ? [] : wanted.value
  for (const feed of all) if (!names.includes(feed)) feed.stop()
  names.forEach((feed, index) => feed.run(index < watchesMax))
}
// In order of how much a delay of a few seconds would matter.
export function wantFeeds(list: FeedLike[]) {
  wanted.value = list
  applyWanted()
}
let hiddenTimer: ReturnType<typeof setTimeout> | undefined
document.addEventListener('visibilitychange', () => {
  clearTimeout(hiddenTimer)
  const settle = () => {
    isPaused.value = document.hidden
    applyWanted()
  }
  if (document.hidden) hiddenTimer = setTimeout(settle, hiddenGraceMilliseconds)
  else settle()
})

export type Connection = 'loading' | 'live' | 'reconnecting' | 'paused'
export const connection = computed<Connection>(() => {
  if (isPaused.value) return 'paused'
  const states = wanted.value.map((feed) => feed.state.value)
  if (states.includes('reconnecting')) return 'reconnecting'
  return states.includes('loading') ? 'loading' : 'live'
})
export const troubled = computed(() => wanted.value.filter((feed) => feed.error.value !== null))
export const cutShort = computed(() => wanted.value.filter((feed) => feed.leftOut.value))
