import { Component, type ComponentChildren } from 'preact'
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks'
import * as feeds from './api/feeds'
import type { FeedLike } from './api/feed'
import { isSignedOut } from './api/http'
import { locale, t } from './i18n'
import { errorText, feedWord } from './parts/basics'
import { language, project, theme, type Theme } from './preferences'
import { knownProjects } from './projects'
import { href, pageNames, route, type PageName } from './router'
import { askSession, session, sessionState, signInPath, signOut } from './session'
import { CostPage } from './pages/cost'
import { Data } from './pages/data'
import { Models } from './pages/models'
import { Overview } from './pages/overview'
import { Services } from './pages/services'
import { Why } from './pages/why'
import { Work } from './pages/work'

// What each page reads, most urgent first: the first ones are watched, the others polled.
const pages: Record<PageName, { draw: () => preact.JSX.Element; feeds: FeedLike[] }> = {
  overview: { draw: Overview, feeds: [feeds.nodes, feeds.allocations, feeds.sites, feeds.links, feeds.cost] },
  work: { draw: Work, feeds: [feeds.jobs, feeds.strategies] },
  services: { draw: Services, feeds: [feeds.services, feeds.allocations] },
  models: { draw: Models, feeds: [feeds.modelVersions, feeds.models, feeds.services] },
  data: { draw: Data, feeds: [feeds.datasetVersions, feeds.datasets, feeds.audit] },
  cost: { draw: CostPage, feeds: [feeds.cost] },
  why: { draw: Why, feeds: [feeds.jobs, feeds.services] },
}

export function App() {
  useEffect(() => void askSession(), [])
  const isIn = sessionState.value === 'signed-in' && !isSignedOut.value
  const page = route.value.page
  useLayoutEffect(() => {
    document.title = isIn ? `${t(`page.${page}`)} · Neap` : 'Neap'
  }, [isIn, page, language.value])
  useEffect(() => feeds.wantFeeds(isIn ? pages[page].feeds : []), [isIn, page])
  if (sessionState.value === 'asking') return <main class="center muted">{t('common.loading')}</main>
  if (!isIn) return <SignIn />
  return (
    <div class="shell">
      <a class="skip" href="#content" onClick={focusContent}>
        {t('app.skip')}
      </a>
      <Sidebar page={page} />
      <div class="main-column">
        <TopBar page={page} />
        <main id="content" tabIndex={-1}>
          <Troubles />
          <Guard key={page}>
            <Page page={page} />
          </Guard>
        </main>
      </div>
    </div>
  )
}

function focusContent(event: Event) {
  event.preventDefault()
  document.getElementById('content')?.focus()
}

function Page({ page }: { page: PageName }) {
  const Draw = pages[page].draw
  return <Draw />
}

// One page's fault must not take the others away.
class Guard extends Component<{ children: ComponentChildren }, { failed: boolean }> {
  override state = { failed: false }
  static override getDerivedStateFromError() {
    return { failed: true }
  }
  override componentDidCatch(error: unknown) {
    console.error(error)
  }
  override render() {
    return this.state.failed ? <p class="trouble">{t('error.page')}</p> : this.props.children
  }
}

function Sidebar({ page }: { page: PageName }) {
  const nav = useRef<HTMLElement>(null)
  useEffect(() => {
    // On a phone the pages are a strip that scrolls sideways.
    const strip = nav.current
    const current = strip?.querySelector<HTMLElement>('[aria-current]')
    if (strip && current) strip.scrollLeft = current.offsetLeft - strip.clientWidth / 2 + current.clientWidth / 2
  }, [page, language.value])
  return (
    <aside class="sidebar">
      <a class="brand" href={href('overview')} aria-label="Neap">
        <svg width="28" height="28" viewBox="0 0 32 32" aria-hidden="true">
          <rect width="32" height="32" rx="8" class="brand-ground" />
          <path d="M5 18c3.7-5.3 7.3-5.3 11 0s7.3 5.3 11 0" class="brand-wave" />
          <path d="M9 11.5h14" class="brand-line" />
        </svg>
        <span>Neap</span>
      </a>
      <nav aria-label={t('app.nav')} ref={nav}>
        {pageNames.map((name) => (
          <a key={name} href={href(name)} aria-current={name === page ? 'page' : undefined} data-page={name}>
            <Icon name={name} />
            {t(`page.${name}`)}
          </a>
        ))}
      </nav>
    </aside>
  )
}

const icons: Record<PageName, string> = {
  overview: 'M4 5h6v6H4zM14 5h6v6h-6zM4 15h6v4H4zM14 15h6v4h-6z',
  work: 'M4 7h9M7 12h10M11 17h9',
  services: 'M12 3v4M12 17v4M5 7h14v10H5zM9 12h.01M13 12h3',
  models: 'M12 3l8 4.5v9L12 21l-8-4.5v-9zM12 12l8-4.5M12 12v9M12 12L4 7.5',
  data: 'M5 6c0-4 14-4 14 0s-14 4-14 0v12c0 4 14 4 14 0V6M5 12c0 4 14 4 14 0',
  cost: 'M5 20V10M12 20V4M19 20v-7',
  why: 'M9 9a3 3 0 1 1 4.5 2.6c-1 .6-1.5 1.2-1.5 2.4M12 18h.01',
}
function Icon({ name }: { name: PageName }) {
  return (
    <svg class="icon" width="18" height="18" viewBox="0 0 24 24" aria-hidden="true">
      <path d={icons[name]} />
    </svg>
  )
}

function TopBar({ page }: { page: PageName }) {
  const heading = useRef<HTMLHeadingElement>(null)
  const isFirst = useRef(true)
  useLayoutEffect(() => {
    // A new page is announced to those who cannot see it, before anything else can be done on it; the first one is
    // announced by its title.
    if (!isFirst.current) heading.current?.focus({ preventScroll: true })
    isFirst.current = false
  }, [page])
  return (
    <header class="topbar">
      <h1 ref={heading} tabIndex={-1}>
        {t(`page.${page}`)}
      </h1>
      <Connection />
      <div class="topbar-tools">
        <label>
          <span class="sr-only">{t('app.project')}</span>
          <select value={project.value} onChange={(event) => (project.value = event.currentTarget.value)} data-control="project">
            <option value="">{t('app.project.all')}</option>
            {knownProjects.value.slice(0, 500).map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <label>
          <span class="sr-only">{t('app.theme')}</span>
          <select value={theme.value} onChange={(event) => (theme.value = event.currentTarget.value as Theme)} data-control="theme">
            {(['auto', 'light', 'dark'] as const).map((name) => (
              <option key={name} value={name}>
                {t(`app.theme.${name}`)}
              </option>
            ))}
          </select>
        </label>
        <button type="button" class="plain-button" lang={language.value === 'en' ? 'zh-CN' : 'en'} onClick={() => (language.value = language.value === 'en' ? 'zh' : 'en')} data-control="language">
          {language.value === 'en' ? '中文' : 'English'}
        </button>
        <button type="button" class="plain-button" title={t('app.signedin', { user: session.value?.user ?? '' })} onClick={() => void signOut()} data-control="signout">
          {t('app.signout')}
        </button>
      </div>
    </header>
  )
}

function Connection() {
  const state = feeds.connection.value
  return (
    <span class={`connection ${state}`} role="status" data-connection={state}>
      <i /> {t(`connection.${state}`)}
    </span>
  )
}

// What fails, in words, once for each cause.
function Troubles() {
  const troubled = feeds.troubled.value
  const isDown = troubled.some((feed) => feed.error.value?.status === 0)
  const texts = new Set<string>()
  if (isDown) texts.add(t('error.network'))
  for (const feed of troubled) if (feed.error.value && feed.error.value.status !== 0) texts.add(errorText(feed.error.value, feedWord(feed)))
  for (const feed of feeds.cutShort.value) texts.add(t('error.cut', { what: feedWord(feed) }))
  return (
    <>
      {[...texts].map((text) => (
        <p key={text} class="trouble" role="alert">
          {text}
        </p>
      ))}
    </>
  )
}

function SignIn() {
  const isRefused = new URLSearchParams(location.search).get('login') === 'refused'
  const isEnded = isSignedOut.value && session.value !== null
  const isUnreachable = sessionState.value === 'unreachable'
  return (
    <main class="center">
      <div class="signin panel">
        <h1>{t('signin.title')}</h1>
        {isRefused && <p class="trouble">{t('signin.refused')}</p>}
        {isEnded && <p class="trouble">{t('signin.ended')}</p>}
        {isUnreachable ? (
          <p role="status">{t('signin.unreachable')}</p>
        ) : (
          <>
            {signInPath.value && (
              <p>
                <a class="primary" href={signInPath.value} data-sign-in="provider">
                  {t('signin.provider')}
                </a>
              </p>
            )}
            <p>{t('signin.how')}</p>
            <pre>
              <code>neap console</code>
            </pre>
            <button type="button" class="primary" onClick={() => void askSession()}>
              {t('signin.retry')}
            </button>
          </>
        )}
        <p>
          <button type="button" class="plain-button" lang={locale() === 'en-GB' ? 'zh-CN' : 'en'} onClick={() => (language.value = language.value === 'en' ? 'zh' : 'en')}>
            {language.value === 'en' ? '中文' : 'English'}
          </button>
        </p>
      </div>
    </main>
  )
}
