// Small parts that every page uses.
import type { ComponentChildren, JSX } from 'preact'
import { useState } from 'preact/hooks'
import { ApiError } from '../api/http'
import type { FeedLike } from '../api/feed'
import { number, shortDigest } from '../format'
import { t, word, type Key } from '../i18n'

export function Panel(props: {
  title?: string
  aside?: ComponentChildren
  children: ComponentChildren
  id?: string
  flush?: boolean
}) {
  return (
    <section class={`panel${props.flush ? ' flush' : ''}`} aria-label={props.title} data-panel={props.id}>
      {(props.title || props.aside) && (
        <header class="panel-head">
          {props.title && <h2>{props.title}</h2>}
          {props.aside && <div class="panel-aside">{props.aside}</div>}
        </header>
      )}
      {props.children}
    </section>
  )
}

export function Tile(props: { label: string; value: ComponentChildren; note?: ComponentChildren; fact?: string }) {
  return (
    <div class="tile" data-fact={props.fact}>
      <div class="tile-label">{props.label}</div>
      <div class="tile-value">{props.value}</div>
      {props.note && <div class="tile-note">{props.note}</div>}
    </div>
  )
}

type Tone = 'good' | 'busy' | 'warn' | 'bad' | 'quiet'
const tones: Record<string, Tone> = {
  Running: 'busy', Draining: 'warn', Succeeded: 'good', Done: 'good', Complete: 'good', Completed: 'good',
  Failed: 'bad', RolledBack: 'bad', RollingBack: 'warn', Interrupted: 'warn', Reserved: 'busy', Prepared: 'busy',
  Planned: 'busy', Staging: 'busy', Canary: 'busy', Checking: 'busy', Expanding: 'busy', Durable: 'good',
}
export function Phase({ value }: { value: string | undefined }) {
  return <Chip tone={tones[value ?? ''] ?? 'quiet'}>{word('phase', value ?? 'Pending')}</Chip>
}
export function Chip(props: { tone?: Tone; children: ComponentChildren; title?: string; class?: string }) {
  return (
    <span class={`chip ${props.tone ?? 'quiet'} ${props.class ?? ''}`} title={props.title}>
      {props.children}
    </span>
  )
}
export function Level({ value }: { value: string | undefined }) {
  return value ? <span class={`level ${value}`}>{value}</span> : <>–</>
}
export function TierMark({ tier }: { tier: string | undefined }) {
  return <span class={`tier-mark ${tier ?? ''}`} title={word('tier', tier)} />
}

// A digest that can be copied whole.
export function Digest({ value }: { value: string | undefined }) {
  const [isCopied, setCopied] = useState(false)
  if (!value) return <span class="muted">–</span>
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(value)
      setCopied(true)
      setTimeout(() => setCopied(false), 1500)
    } catch {
      setCopied(false)
    }
  }
  return (
    <button type="button" class="digest" title={`${value} · ${t('common.copy')}`} onClick={copy} data-digest={value}>
      <code>{shortDigest(value)}</code>
      {isCopied && <span class="digest-copied">{t('common.copied')}</span>}
    </button>
  )
}

export function Meter(props: { share: number; label: string; tone?: string; mark?: number }) {
  const share = Math.min(1, Math.max(0, props.share))
  return (
    <div class="meter" role="meter" aria-label={props.label} aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(share * 100)}>
      <div class={`meter-fill ${props.tone ?? ''}`} style={{ width: `${share * 100}%` }} />
      {props.mark !== undefined && <div class="meter-mark" style={{ left: `${props.mark * 100}%` }} />}
    </div>
  )
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>
}
// What a list shows while it has nothing: that it is loading, or that there is nothing.
export function Nothing({ feed, children }: { feed: FeedLike; children: ComponentChildren }) {
  const state = feed.state.value
  if (state === 'loading' || state === 'idle') return <Empty>{t('common.loading')}</Empty>
  return <Empty>{children}</Empty>
}

const feedWords: Record<string, Key> = {
  sites: 'overview.sites', links: 'overview.links', nodes: 'work.nodes', allocations: 'overview.work',
  trainingjobs: 'work.jobs', deploymentstrategies: 'work.strategies', inferenceservices: 'page.services',
  models: 'page.models', modelversions: 'models.versions', datasets: 'data.datasets',
  datasetversions: 'data.versions', cost: 'page.cost', audit: 'data.audit',
}
export function feedWord(feed: FeedLike): string {
  const key = feedWords[feed.name]
  return key ? `“${t(key)}”` : feed.name
}
export function errorText(error: ApiError, what: string): string {
  const message = error.message || error.reason || String(error.status)
  if (error.status === 0) return error.message || t('error.network')
  if (error.status === 401) return t('error.401')
  if (error.status === 403) return t('error.403', { what })
  if (error.status === 404) return t('error.404', { what })
  if (error.status === 429) return t('error.429')
  return t(error.status >= 500 ? 'error.5xx' : 'error.other', { what, message })
}

export function Facts({ rows }: { rows: [string, ComponentChildren][] }) {
  return (
    <dl class="facts">
      {rows.map(([label, value]) => (
        <div key={label}>
          <dt>{label}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  )
}

export interface Column<T> {
  head: string
  cell: (row: T) => ComponentChildren
  isNumber?: boolean
}
const rowsMax = 200
// For short lists: what could be long uses VirtualTable.
export function Table<T>(props: {
  columns: Column<T>[]
  rows: readonly T[]
  label: string
  keyOf: (row: T) => string
  rowProps?: (row: T) => JSX.HTMLAttributes<HTMLTableRowElement> & { [key: `data-${string}`]: string | undefined }
}) {
  const shown = props.rows.slice(0, rowsMax)
  return (
    <div class="table-scroll" tabIndex={0} role="region" aria-label={props.label}>
      <table aria-label={props.label}>
        <thead>
          <tr>
            {props.columns.map((column) => (
              <th key={column.head} scope="col" class={column.isNumber ? 'number' : ''}>
                {column.head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {shown.map((row) => (
            <tr key={props.keyOf(row)} {...props.rowProps?.(row)}>
              {props.columns.map((column) => (
                <td key={column.head} class={column.isNumber ? 'number' : ''}>
                  {column.cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {props.rows.length > rowsMax && (
        <p class="muted more">{t('common.more', { n: number(props.rows.length - rowsMax) })}</p>
      )}
    </div>
  )
}
