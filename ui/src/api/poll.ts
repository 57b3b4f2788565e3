// Poll: a document of the API that has no watch, asked again every few seconds.
import { signal } from '@preact/signals'
import { ApiError, request, sleep } from './http'
import type { FeedLike, FeedState } from './feed'

const intervalMilliseconds = 5000
const backoffMaxMilliseconds = 15_000

export class Poll<T> implements FeedLike {
  readonly value = signal<T | null>(null)
  readonly state = signal<FeedState>('idle')
  readonly error = signal<ApiError | null>(null)
  readonly leftOut = signal(false)
  private abort: AbortController | null = null

  constructor(
    readonly name: string,
    private readonly path: string,
    private readonly parse: (text: string) => T,
  ) {}

  run() {
    if (this.abort) return
    this.abort = new AbortController()
    void this.loop(this.abort.signal)
  }
  stop() {
    this.abort?.abort()
    this.abort = null
    this.state.value = 'idle'
  }

  private async loop(stopped: AbortSignal) {
    let wait = 500
    let lastText = ''
    this.state.value = this.value.value ? 'reconnecting' : 'loading'
    while (!stopped.aborted) {
      try {
        const text = await (await request(this.path, { signal: stopped })).text()
        if (text !== lastText) this.value.value = this.parse(text)
        lastText = text
        this.state.value = 'polled'
        this.error.value = null
        wait = 500
        await sleep(intervalMilliseconds, stopped)
      } catch (thrown) {
        if (stopped.aborted) return
        const error = thrown instanceof ApiError ? thrown : new ApiError(0, 'network', '')
        this.error.value = error
        this.state.value = error.status === 403 || error.status === 404 ? 'refused' : 'reconnecting'
        await sleep(wait, stopped)
        wait = Math.min(wait * 2, backoffMaxMilliseconds)
      }
    }
  }
}
