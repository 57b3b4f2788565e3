import { useState } from 'preact/hooks'
import { cost } from '../api/feeds'
import type { Cost, CostLine } from '../api/types'
import { money, percent } from '../format'
import { t, word } from '../i18n'
import { Nothing, Panel } from '../parts/basics'
import { VirtualTable } from '../parts/virtual'
import { project } from '../preferences'

const dimensions = ['project', 'team', 'model', 'kind'] as const
type Dimension = (typeof dimensions)[number]
const groupsShownMax = 40

export function CostPage() {
  const bill = cost.value.value
  if (!bill || (bill.lines.length === 0 && bill.total_micros === 0n))
    return (
      <Panel>
        <Nothing feed={cost}>{t('cost.none')}</Nothing>
      </Panel>
    )
  return <Bill bill={bill} />
}

function Bill({ bill }: { bill: Cost }) {
  const sum = bill.lines.reduce((total, line) => total + line.micros, 0n)
  const lines = project.value ? bill.lines.filter((line) => line.project === project.value) : bill.lines
  return (
    <>
      <div class="columns wide-right">
        <Panel id="total">
          <div class="big-number" data-fact="cost-total" data-micros={String(bill.total_micros)}>
            <div class="tile-label">{t('cost.total')}</div>
            <div class="big-number-value">{money(bill.total_micros, bill.currency, true)}</div>
            <Saving bill={bill} />
          </div>
          <p class="small muted">{t('cost.exact')}</p>
          {sum !== bill.total_micros && (
            <p class="bad-text" role="alert">
              {t('cost.mismatch', { sum: money(sum, bill.currency), total: money(bill.total_micros, bill.currency) })}
            </p>
          )}
        </Panel>
        <Panel title={t('cost.compare')} id="compare">
          <Comparison bill={bill} />
        </Panel>
      </div>
      <Breakdown lines={lines} currency={bill.currency} />
      <Panel title={t('cost.lines')} id="lines">
        <VirtualTable
          label={t('cost.lines')}
          tracks="repeat(4, minmax(5.5rem, 1fr)) minmax(7rem, 1fr)"
          heads={[t('common.project'), t('common.team'), t('common.model'), t('common.kind'), <span key="a" class="number">{t('cost.amount')}</span>]}
          rows={lines.map((line, index) => ({ line, index }))}
          rowHeight={36}
          heightMax={400}
          keyOf={(row) => String(row.index)}
          facts={({ line }) => ({ 'data-fact': 'cost-line', 'data-micros': String(line.micros) })}
          cells={({ line }) => [
            line.project || '–', line.team || '–', line.model || '–', word('kind', line.kind),
            <span key="a" class="number">{money(line.micros, bill.currency)}</span>,
          ]}
        />
      </Panel>
    </>
  )
}

function share(part: bigint, whole: bigint): number {
  return whole > 0n ? Number((part * 1_000_000n) / whole) / 1_000_000 : 0
}

function Saving({ bill }: { bill: Cost }) {
  const other = bill.all_public_micros
  if (other === undefined || other <= 0n) return null
  const saved = other - bill.total_micros
  const text = percent(Math.abs(share(saved < 0n ? -saved : saved, other)), 1)
  if (saved === 0n) return <div class="muted">{t('cost.same')}</div>
  return saved > 0n ? <div class="good-text">{t('cost.less', { n: text })}</div> : <div class="warn-text">{t('cost.moreexpensive', { n: text })}</div>
}

function Comparison({ bill }: { bill: Cost }) {
  const rows: [string, string, bigint | undefined][] = [
    ['actual', t('cost.actual'), bill.total_micros],
    ['public', t('cost.allpublic'), bill.all_public_micros],
    ['private', t('cost.allprivate'), bill.all_private_micros],
  ]
  const most = rows.reduce((max, [, , micros]) => (micros !== undefined && micros > max ? micros : max), 0n)
  return (
    <div class="compare">
      {rows.map(([name, label, micros]) =>
        micros === undefined ? null : (
          <div key={name} class={`compare-row ${name}`} data-fact={`cost-${name}`} data-micros={String(micros)}>
            <span>{label}</span>
            <span class="compare-track">
              <span class="compare-fill" style={{ width: `${share(micros, most) * 100}%` }} />
            </span>
            <span class="number">{money(micros, bill.currency)}</span>
          </div>
        ),
      )}
    </div>
  )
}

function Breakdown({ lines, currency }: { lines: CostLine[]; currency: string }) {
  const [by, setBy] = useState<Dimension>('project')
  const groups = new Map<string, bigint>()
  let whole = 0n
  for (const line of lines) {
    const key = line[by] || ''
    groups.set(key, (groups.get(key) ?? 0n) + line.micros)
    whole += line.micros
  }
  const sorted = [...groups].sort((a, b) => (b[1] > a[1] ? 1 : b[1] < a[1] ? -1 : 0))
  const most = sorted[0]?.[1] ?? 0n
  return (
    <Panel
      title={t('cost.by', { what: t(`common.${by}`).toLowerCase() })}
      id="breakdown"
      aside={
        <div class="segments" role="group" aria-label={t('cost.by', { what: '' })}>
          {dimensions.map((dimension) => (
            <button key={dimension} type="button" aria-pressed={by === dimension} onClick={() => setBy(dimension)}>
              {t(`common.${dimension}`)}
            </button>
          ))}
        </div>
      }
    >
      <div class="compare">
        {sorted.slice(0, groupsShownMax).map(([key, micros]) => (
          <div key={key} class="compare-row group" data-fact="cost-group" data-name={key} data-micros={String(micros)}>
            <span>{by === 'kind' ? word('kind', key) : key || t('cost.unassigned')}</span>
            <span class="compare-track">
              <span class="compare-fill" style={{ width: `${share(micros, most) * 100}%` }} />
            </span>
            <span class="number">
              {money(micros, currency)} <span class="muted small">{percent(share(micros, whole), 1)}</span>
            </span>
          </div>
        ))}
      </div>
    </Panel>
  )
}
