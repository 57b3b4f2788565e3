// One place that talks HTTP: errors become values with words, and a lost session is noticed.
import { signal } from '@preact/signals'

export class ApiError extends Error {
  constructor(
    readonly status: number, // 0: no reply
    readonly reason: string,
    message: string,
    readonly signIn = '', // path of the provider's own way in, where the server has one
  ) {
    super(message)
  }
}

// Raised by any request that the server no longer takes as ours.
export const isSignedOut = signal(false)
let csrf = ''
export function setCsrf(token: string) {
  csrf = token
}

async function errorOf(response: Response): Promise<ApiError> {
  let message = ''
  let reason = ''
  let signIn = ''
  try {
    const body = JSON.parse((await response.text()).slice(0, 65536))
    message = String(body.message ?? body.error ?? '')
    reason = String(body.reason ?? '')
    signIn = String(body.signIn ?? '')
  } catch {
    // Not JSON: the status alone has to do.
  }
  if (response.status === 401) isSignedOut.value = true
  return new ApiError(response.status, reason, message, signIn)
}

export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  const headers: Record<string, string> = { Accept: 'application/json' }
  if (init.method && init.method !== 'GET') headers['X-Neap-CSRF'] = csrf
  let response: Response
  try {
    response = await fetch(path, { credentials: 'same-origin', cache: 'no-store', ...init, headers })
  } catch (error) {
    if (init.signal?.aborted) throw error
    throw new ApiError(0, 'network', '')
  }
  if (!response.ok) throw await errorOf(response)
  return response
}

export async function getJson<T>(path: string, signal?: AbortSignal): Promise<T> {
  const response = await request(path, signal ? { signal } : {})
  try {
    return (await response.json()) as T
  } catch (error) {
    if (signal?.aborted) throw error
    throw new ApiError(0, 'network', '')
  }
}

// JSON whose integers named *micros become BigInt: bills stay exact beyond 2^53 millionths.
export function parseMoneyJson(text: string): unknown {
  type WithSource = (this: unknown, key: string, value: unknown, context?: { source?: string }) => unknown
  const reviver: WithSource = (key, value, context) =>
    typeof value === 'number' && /micros$/.test(key) ? BigInt(context?.source ?? Math.round(value)) : value
  return JSON.parse(text, reviver as (key: string, value: unknown) => unknown)
}

export function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    const timer = setTimeout(done, milliseconds)
    function done() {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    signal.addEventListener('abort', done)
  })
}
