// Why here and why not there: one decision with all its candidates.
import type { Decision, Score, SiteReason } from '../api/types'
import { decimalMoney, number, seconds } from '../format'
import { t, word } from '../i18n'
import { Chip, Empty, TierMark } from './basics'

const parts = ['cost', 'latency', 'gravity', 'fragmentation', 'utilisation', 'spread'] as const

// Explanations come as one decision, or as a list of them (one a replica).
export function decisionsOf(explanation: unknown): Decision[] {
  if (Array.isArray(explanation)) return explanation.flatMap(decisionsOf)
  if (typeof explanation !== 'object' || explanation === null) return []
  const value = explanation as Record<string, unknown>
  if (Array.isArray(value.decisions)) return decisionsOf(value.decisions)
  if (Array.isArray(value.sites) || 'placed' in value || 'pending' in value) return [value as Decision]
  if (typeof value.explanation === 'object') return decisionsOf(value.explanation)
  return Object.values(value).flatMap(decisionsOf)
}
export function chosenSites(decision: Decision): string {
  const chosen = (decision.sites ?? []).filter((site) => site.chosen).map((site) => site.site)
  if (chosen.length) return chosen.join(', ')
  return [...new Set((decision.placements ?? []).map((placement) => placement.site))].join(', ')
}

export function Explanation({ decision }: { decision: Decision }) {
  const currency = decision.currency ?? 'USD'
  const sites = [...(decision.sites ?? [])].sort(order)
  const best = Math.max(1, ...sites.map((site) => Math.abs(site.score?.total ?? 0)))
  return (
    <div class="explanation" data-fact="decision" data-placed={String(decision.placed ?? false)}>
      <div class={`verdict ${decision.placed ? 'placed' : 'waiting'}`}>
        <strong>{decision.placed ? t('why.placed', { site: chosenSites(decision) }) : t('why.waiting')}</strong>
        {decision.pending && (
          <span>
            {word('code', decision.pending.code)}. {decision.pending.message}
          </span>
        )}
        {decision.placed && (
          <span class="verdict-numbers">
            {decision.score !== undefined && `${t('why.score')} ${number(decision.score, 1)}`}
            {decision.costPerHour !== undefined && ` · ${decimalMoney(decision.costPerHour, currency)} ${t('why.costhour').toLowerCase()}`}
            {decision.egressCost !== undefined && ` · ${t('why.egress')} ${decimalMoney(decision.egressCost, currency)}`}
          </span>
        )}
      </div>
      {sites.length === 0 && <Empty>{t('why.nosites')}</Empty>}
      <ol class="candidates">
        {sites.map((site) => (
          <Candidate key={site.site} site={site} best={best} currency={currency} />
        ))}
      </ol>
      {(decision.wouldFit?.length ?? 0) > 0 && (
        <div class="would-fit">
          <h3>{t('why.wouldfit')}</h3>
          <ul>
            {decision.wouldFit!.map((change, i) => (
              <li key={i}>{change.message}</li>
            ))}
          </ul>
        </div>
      )}
      {(decision.placements?.length ?? 0) > 0 && (
        <p class="muted small placements">
          {t('why.placements')}:{' '}
          {decision.placements!
            .slice(0, 16)
            .map((p) => `${t('why.replica')} ${p.replica} → ${p.node} (${word('capacity', p.capacityType)})`)
            .join('; ')}
          {decision.placements!.length > 16 && `; ${t('common.more', { n: decision.placements!.length - 16 })}`}
        </p>
      )}
    </div>
  )
}

// The winner, then the possible ones by score, then the refused ones.
function order(a: SiteReason, b: SiteReason): number {
  const rank = (site: SiteReason) => (site.chosen ? 0 : site.refusal ? 2 : 1)
  return rank(a) - rank(b) || (b.score?.total ?? 0) - (a.score?.total ?? 0) || a.site.localeCompare(b.site)
}

function Candidate({ site, best, currency }: { site: SiteReason; best: number; currency: string }) {
  const state = site.chosen ? 'chosen' : site.refusal ? 'refused' : 'possible'
  const refusedNodes = Object.entries(site.nodesRefused ?? {})
  return (
    <li class={`candidate ${state}`} data-fact="candidate" data-name={site.site} data-state={state} data-code={site.refusal?.code}>
      <div class="candidate-head">
        <TierMark tier={site.tier} />
        <span class="strong">{site.site}</span>
        <Chip tone={state === 'chosen' ? 'good' : state === 'refused' ? 'bad' : 'quiet'}>{t(`why.${state}`)}</Chip>
        {site.refusal && (
          <span class="refusal-code" title={site.refusal.code}>
            {word('code', site.refusal.code)}
          </span>
        )}
        {site.score && (
          <span class="candidate-score">
            <span class="score-track">
              <span class="score-fill" style={{ width: `${(Math.max(0, site.score.total) / best) * 100}%` }} />
            </span>
            <span class="score-number">{number(site.score.total, 1)}</span>
          </span>
        )}
      </div>
      {site.refusal?.message && <p class="candidate-reason">{site.refusal.message}</p>}
      {site.score && <ScoreNumbers score={site.score} currency={currency} />}
      {(refusedNodes.length > 0 || (site.nodesAdmitted ?? 0) > 0) && (
        <p class="small muted candidate-nodes">
          {[
            (site.nodesAdmitted ?? 0) > 0 &&
              (site.nodesAdmitted === 1 ? t('why.nodes.1') : t('why.nodes', { a: number(site.nodesAdmitted ?? 0) })),
            refusedNodes.length > 0 &&
              `${t('why.rejectednodes')}: ${refusedNodes.map(([code, n]) => t('why.nodes.refused', { n, code: word('code', code) })).join(', ')}`,
          ]
            .filter(Boolean)
            .join(' · ')}
        </p>
      )}
    </li>
  )
}

function ScoreNumbers({ score, currency }: { score: Score; currency: string }) {
  const facts: [string, string][] = []
  if (score.costPerHour !== undefined) facts.push([t('why.costhour'), decimalMoney(score.costPerHour, currency)])
  if (score.egressCost !== undefined) facts.push([t('why.egress'), decimalMoney(score.egressCost, currency)])
  if (score.transferSeconds) facts.push([t('why.transfer'), seconds(score.transferSeconds)])
  if (score.rttMs !== undefined) facts.push([t('why.rtt'), `${number(score.rttMs, 1)} ms`])
  return (
    <div class="score-numbers">
      {facts.length > 0 && (
        <dl class="score-facts">
          {facts.map(([label, value]) => (
            <div key={label}>
              <dt>{label}</dt>
              <dd>{value}</dd>
            </div>
          ))}
        </dl>
      )}
      <div class="score-parts">
        {parts.map((part) => {
          const value = score[part]
          if (value === undefined) return null
          return (
            <span key={part} class="score-part" title={`${t(`part.${part}`)}: ${number(value, 1)} / 100`}>
              <span class="score-part-label">{t(`part.${part}`)}</span>
              <span class="score-track">
                <span class="score-fill" style={{ width: `${Math.max(0, Math.min(100, value))}%` }} />
              </span>
              <span class="score-part-number">{number(value)}</span>
            </span>
          )
        })}
        {(score.preference ?? 0) !== 0 && (
          <span class="score-part">
            <span class="score-part-label">{t('part.preference')}</span>
            <span class="score-part-number">{`${score.preference! > 0 ? '+' : ''}${number(score.preference!)}`}</span>
          </span>
        )}
      </div>
    </div>
  )
}
