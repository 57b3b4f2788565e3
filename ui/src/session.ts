// Who is signed in. The cookie itself is out of reach of scripts.
import { signal } from '@preact/signals'
import { ApiError, getJson, isSignedOut, request, setCsrf } from './api/http'

export interface Session {
  user: string
  csrf: string
  expiresAt: string
}
export const session = signal<Session | null>(null)
export const signInPath = signal('')
export const sessionState = signal<'asking' | 'signed-in' | 'signed-out' | 'unreachable'>('asking')

export async function askSession(): Promise<void> {
  try {
    const found = await getJson<Session>('/console/session')
    setCsrf(found.csrf)
    session.value = found
    isSignedOut.value = false
    sessionState.value = 'signed-in'
  } catch (error) {
    if (error instanceof ApiError) signInPath.value = error.signIn
    const isRefusal = error instanceof ApiError && error.status !== 0 && error.status < 500
    sessionState.value = isRefusal ? 'signed-out' : 'unreachable'
    if (!isRefusal) setTimeout(askSession, 3000)
  }
}
export async function signOut(): Promise<void> {
  try {
    await request('/console/logout', { method: 'POST' })
  } finally {
    session.value = null
    sessionState.value = 'signed-out'
  }
}
