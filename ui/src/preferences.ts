// What a person chose, remembered in this browser only.
import { effect, signal, type Signal } from '@preact/signals'

function remembered<T extends string>(key: string, allowed: readonly T[] | null, otherwise: T): Signal<T> {
  let initial = otherwise
  try {
    const found = localStorage.getItem(key) as T | null
    if (found !== null && (!allowed || allowed.includes(found))) initial = found
  } catch {
    // Storage may be forbidden: choices then last as long as the page.
  }
  const chosen = signal(initial)
  effect(() => {
    try {
      localStorage.setItem(key, chosen.value)
    } catch {
      return
    }
  })
  return chosen
}

export type Language = 'en' | 'zh'
export type Theme = 'auto' | 'light' | 'dark'
const browserLanguage: Language = navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en'
export const language = remembered<Language>('neap.language', ['en', 'zh'], browserLanguage)
export const theme = remembered<Theme>('neap.theme', ['auto', 'light', 'dark'], 'auto')
// Empty: all projects.
export const project = remembered<string>('neap.project', null, '')

const prefersDark = matchMedia('(prefers-color-scheme: dark)')
const systemIsDark = signal(prefersDark.matches)
prefersDark.addEventListener('change', (event) => (systemIsDark.value = event.matches))
export function isDark(): boolean {
  return theme.value === 'dark' || (theme.value === 'auto' && systemIsDark.value)
}
effect(() => {
  document.documentElement.dataset.theme = isDark() ? 'dark' : 'light'
})
