// Feed: one kind of resource, kept current by list and watch.
//
// 1. `items` is what the server has, at one resourceVersion, as far as `state` says "live" or "polled".
// 2. A watch that ends goes on from the last version seen; 410 lists again; other failures back off and
//    say "reconnecting" until the server answers, with the last known items still shown.
// 3. At most `objectsMax` objects are held; `leftOut` says that there are more.
// 4. Changes are handed to the page in batches, so that a burst of events is one render.
import { signal } from '@preact/signals'
import type { Resource } from './types'
import { ApiError, getJson, request, sleep } from './http'

export type FeedState = 'idle' | 'loading' | 'live' | 'polled' | 'reconnecting' | 'refused'

interface List<T> {
  metadata: { resourceVersion: string; continue?: string }
  items: T[]
}
interface WatchEvent<T> {
  type: string
  object: T & { code?: number; message?: string }
}

const objectsMax = 20_000
const pageSize = 1000
const batchMilliseconds = 80
const pollMilliseconds = 5000
const backoffMinMilliseconds = 500
const backoffMaxMilliseconds = 15_000
// The server sends bookmarks every minute: longer silence is a dead connection.
const silenceMaxMilliseconds = 150_000
const lineMax = 16 << 20

export interface FeedLike {
  readonly name: string
  readonly state: { readonly value: FeedState }
  readonly error: { readonly value: ApiError | null }
  readonly leftOut: { readonly value: boolean }
  run(isLive: boolean): void
  stop(): void
}

export class Feed<T extends Resource> implements FeedLike {
  readonly items = signal<readonly T[]>([])
  readonly state = signal<FeedState>('idle')
  readonly error = signal<ApiError | null>(null)
  readonly leftOut = signal(false)

  private held = new Map<string, T>()
  private version = ''
  private running: { abort: AbortController; isLive: boolean } | null = null
  private batch: ReturnType<typeof setTimeout> | undefined

  constructor(readonly name: string) {}

  run(isLive: boolean) {
    if (this.running?.isLive === isLive) return
    this.running?.abort.abort()
    const abort = new AbortController()
    this.running = { abort, isLive }
    void this.loop(isLive, abort.signal)
  }
  stop() {
    this.running?.abort.abort()
    this.running = null
    this.state.value = 'idle'
  }

  private async loop(isLive: boolean, stopped: AbortSignal) {
    let wait = backoffMinMilliseconds
    if (this.state.value === 'idle') this.state.value = this.held.size ? 'reconnecting' : 'loading'
    while (!stopped.aborted) {
      try {
        if (!this.version || !isLive) await this.list(stopped)
        this.error.value = null
        if (isLive) {
          const started = Date.now()
          await this.watch(stopped, () => (wait = backoffMinMilliseconds))
          // A server that ends every watch at once must not be asked in a tight loop.
          if (Date.now() - started < 1000) await sleep(backoffMinMilliseconds, stopped)
        } else {
          this.state.value = 'polled'
          wait = backoffMinMilliseconds
          await sleep(pollMilliseconds, stopped)
        }
      } catch (thrown) {
        if (stopped.aborted) return
        const error = thrown instanceof ApiError ? thrown : new ApiError(0, 'network', String(thrown))
        if (error.status === 410) {
          this.version = ''
          continue
        }
        this.error.value = error
        const isRefused = error.status === 403 || error.status === 404
        this.state.value = isRefused ? 'refused' : 'reconnecting'
        await sleep(isRefused ? backoffMaxMilliseconds : wait * (0.75 + Math.random() / 2), stopped)
        wait = Math.min(wait * 2, backoffMaxMilliseconds)
      }
    }
  }

  private async list(stopped: AbortSignal) {
    const next = new Map<string, T>()
    let token = ''
    let version = ''
    do {
      const query = new URLSearchParams({ limit: String(pageSize) })
      if (token) query.set('continue', token)
      const page = await getJson<List<T>>(`/apis/neap.dev/v1/${this.name}?${query}`, stopped)
      for (const item of page.items) next.set(keyOf(item), item)
      version = page.metadata.resourceVersion
      token = page.metadata.continue ?? ''
    } while (token && next.size < objectsMax)
    this.leftOut.value = token !== ''
    this.held = next
    this.version = version
    this.publish()
  }

  private async watch(stopped: AbortSignal, onAlive: () => void) {
    const silence = new AbortController()
    const both = AbortSignal.any([stopped, silence.signal])
    let watchdog = setTimeout(() => silence.abort(), silenceMaxMilliseconds)
    try {
      const query = new URLSearchParams({
        watch: 'true',
        resourceVersion: this.version,
        allowWatchBookmarks: 'true',
        timeoutSeconds: '300',
      })
      const response = await request(`/apis/neap.dev/v1/${this.name}?${query}`, { signal: both })
      this.state.value = 'live'
      const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
      let rest = ''
      for (;;) {
        const { value, done } = await reader.read()
        if (done) return
        onAlive()
        clearTimeout(watchdog)
        watchdog = setTimeout(() => silence.abort(), silenceMaxMilliseconds)
        rest += value
        let end: number
        while ((end = rest.indexOf('\n')) >= 0) {
          const line = rest.slice(0, end)
          rest = rest.slice(end + 1)
          if (line.trim()) this.apply(JSON.parse(line) as WatchEvent<T>)
        }
        if (rest.length > lineMax) throw new ApiError(0, 'network', 'an event of the watch is too large')
      }
    } catch (thrown) {
      if (thrown instanceof ApiError) throw thrown
      throw new ApiError(0, 'network', '')
    } finally {
      clearTimeout(watchdog)
    }
  }

  private apply(event: WatchEvent<T>) {
    if (event.type === 'ERROR') throw new ApiError(event.object.code ?? 500, 'watch', event.object.message ?? '')
    this.version = event.object.metadata.resourceVersion
    if (event.type === 'BOOKMARK') return
    const key = keyOf(event.object)
    if (event.type === 'DELETED') this.held.delete(key)
    else if (this.held.has(key) || this.held.size < objectsMax) this.held.set(key, event.object)
    else this.leftOut.value = true
    this.batch ??= setTimeout(() => this.publish(), batchMilliseconds)
  }

  private publish() {
    clearTimeout(this.batch)
    this.batch = undefined
    this.items.value = [...this.held.values()].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))
  }
}

function keyOf(item: Resource): string {
  return `${item.metadata.namespace ?? ''}/${item.metadata.name}`
}
