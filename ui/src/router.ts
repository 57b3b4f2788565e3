// Pages are paths below /console/, so that they can be linked, reloaded and left with the back button.
import { computed, signal } from '@preact/signals'

const base = '/console/'
const pathname = signal(location.pathname)

export type PageName = 'overview' | 'work' | 'services' | 'models' | 'data' | 'cost' | 'why'
export const pageNames: PageName[] = ['overview', 'work', 'services', 'models', 'data', 'cost', 'why']

export const route = computed(() => {
  const parts = pathname.value.slice(base.length).split('/').filter(Boolean).map(safeDecode)
  const page = pageNames.find((name) => name === parts[0]) ?? 'overview'
  return { page, rest: parts.slice(1) }
})
function safeDecode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

export function href(page: PageName, ...rest: string[]): string {
  return base + (page === 'overview' ? '' : [page, ...rest.map(encodeURIComponent)].join('/'))
}
export function navigate(to: string) {
  if (to === location.pathname) return
  history.pushState(null, '', to)
  pathname.value = location.pathname
  window.scrollTo(0, 0)
}
window.addEventListener('popstate', () => (pathname.value = location.pathname))

// Plain left clicks on our own links stay in the page; all others are the browser's.
document.addEventListener('click', (event) => {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey)
    return
  const anchor = (event.target as Element | null)?.closest?.('a')
  if (!anchor || anchor.target || anchor.hasAttribute('download')) return
  const url = new URL(anchor.href, location.href)
  if (url.origin !== location.origin || !url.pathname.startsWith(base) || url.hash) return
  event.preventDefault()
  navigate(url.pathname)
})
