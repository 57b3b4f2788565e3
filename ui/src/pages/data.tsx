import { useState } from 'preact/hooks'
import { audit, datasets, datasetVersions } from '../api/feeds'
import type { AuditEntry, Dataset, DatasetPart, DatasetVersion } from '../api/types'
import { bytes, clock, number, percent, quantity } from '../format'
import { t, word } from '../i18n'
import { Chip, Digest, Empty, Level, Nothing, Panel, Table, Tile } from '../parts/basics'
import { VirtualTable } from '../parts/virtual'
import { inProject } from '../projects'

const versionsShownMax = 12
const filters = ['all', 'crossing', 'refusal'] as const
type Filter = (typeof filters)[number]

export function Data() {
  const log = audit.value.value
  const entries = log?.entries ?? []
  const crossings = entries.filter((entry) => entry.type === 'crossing')
  const refusals = entries.filter((entry) => entry.type === 'refusal')
  return (
    <>
      <div class="tiles">
        <Tile fact="tile-crossings" label={t('data.crossings')} value={number(crossings.length)} />
        <Tile fact="tile-refusals" label={t('data.refusals')} value={number(refusals.length)} />
        <Tile fact="tile-crossed-bytes" label={t('data.crossedbytes')} value={bytes(crossings.reduce((sum, entry) => sum + (entry.bytes ?? 0), 0))} />
      </div>
      <BorderLog entries={entries} isVerified={log?.log_verified} />
      <Versions />
      <Panel title={t('data.datasets')} id="datasets">
        <Datasets />
      </Panel>
    </>
  )
}

function BorderLog({ entries, isVerified }: { entries: AuditEntry[]; isVerified: boolean | undefined }) {
  const [filter, setFilter] = useState<Filter>('all')
  const shown = entries
    .filter((entry) => filter === 'all' || entry.type === filter)
    .map((entry, index) => ({ entry, index }))
    .sort((a, b) => b.entry.time.localeCompare(a.entry.time) || b.index - a.index)
  return (
    <Panel
      title={t('data.audit')}
      id="audit"
      aside={
        <>
          {isVerified !== undefined && (
            <Chip tone={isVerified ? 'good' : 'bad'} title={isVerified ? undefined : t('data.log.badhelp')}>
              {isVerified ? `✓ ${t('data.log.ok')}` : t('data.log.bad')}
            </Chip>
          )}
          <div class="segments" role="group" aria-label={t('data.type')}>
            {filters.map((name) => (
              <button key={name} type="button" aria-pressed={filter === name} onClick={() => setFilter(name)}>
                {t(`data.filter.${name}`)}
              </button>
            ))}
          </div>
        </>
      }
    >
      {isVerified === false && <p class="bad-text">{t('data.log.badhelp')}</p>}
      {shown.length === 0 ? (
        <Nothing feed={audit}>{t('data.noaudit')}</Nothing>
      ) : (
        <VirtualTable
          label={t('data.audit')}
          tracks="7.5rem 5.5rem minmax(11rem, 1.2fr) 3.2rem 5.5rem 6rem minmax(12rem, 2.4fr)"
          heads={[t('common.time'), t('data.type'), t('data.path'), t('common.level'), <span key="b" class="number">{t('data.bytes')}</span>, t('data.purpose'), t('data.reason')]}
          rows={shown}
          rowHeight={46}
          heightMax={440}
          keyOf={(row) => String(row.index)}
          facts={(row) => ({ 'data-fact': 'audit', 'data-type': row.entry.type, 'data-to': row.entry.to })}
          cells={({ entry }) => [
            <span key="t" class="small">{clock(entry.time)}</span>,
            <Chip key="w" tone={entry.type === 'refusal' ? 'bad' : entry.type === 'crossing' ? 'busy' : 'quiet'}>{word('audit', entry.type)}</Chip>,
            <span key="p" class="two-lines">
              <span>{[entry.from, entry.to].filter(Boolean).join(' → ') || '–'}</span>
              <span class="muted small">{entry.owner || entry.node || ''}</span>
            </span>,
            <Level key="l" value={entry.level} />,
            <span key="b" class="number">{entry.bytes === undefined ? '–' : bytes(entry.bytes)}</span>,
            <span key="u" class="small">{entry.purpose || '–'}</span>,
            <span key="r" class="two-lines" title={[entry.reason, entry.rule].filter(Boolean).join(' · ')}>
              <span>{entry.reason || '–'}</span>
              <span class="muted small">{entry.rule || ''}</span>
            </span>,
          ]}
        />
      )}
    </Panel>
  )
}

function Versions() {
  const list = [...inProject(datasetVersions.items.value)].sort((a, b) =>
    (b.metadata.creationTimestamp ?? '').localeCompare(a.metadata.creationTimestamp ?? ''),
  )
  return (
    <Panel title={t('data.versions')} id="dataset-versions">
      {list.length === 0 && <Nothing feed={datasetVersions}>{t('data.noversions')}</Nothing>}
      <div class="stack">
        {list.slice(0, versionsShownMax).map((version) => (
          <VersionBlock key={version.metadata.uid} version={version} />
        ))}
      </div>
      {list.length > versionsShownMax && <p class="muted more">{t('common.more', { n: number(list.length - versionsShownMax) })}</p>}
    </Panel>
  )
}

function VersionBlock({ version }: { version: DatasetVersion }) {
  const spec = version.spec
  const parts = spec.parts ?? []
  return (
    <article class="dataset-version" data-fact="dataset-version" data-name={version.metadata.name}>
      <header>
        <h3>{version.metadata.name}</h3>
        <Level value={spec.level} />
        <Digest value={spec.digest} />
        <span class="muted small">
          {[spec.declassification && `${t('data.rule')}: ${spec.declassification}`, spec.storedAt?.length && `${t('data.stored')} ${spec.storedAt.join(', ')}`]
            .filter(Boolean)
            .join(' · ')}
        </span>
      </header>
      <Table<DatasetPart>
        label={version.metadata.name}
        rows={parts}
        keyOf={(part) => part.site}
        rowProps={(part) => ({ 'data-fact': 'part', 'data-name': part.site })}
        columns={[
          { head: t('common.site'), cell: (part) => part.site },
          { head: t('data.records'), isNumber: true, cell: (part) => number(part.records ?? 0) },
          { head: t('data.masked'), isNumber: true, cell: (part) => number(part.recordsMasked ?? 0) },
          { head: t('data.kept'), isNumber: true, cell: (part) => number(part.recordsKeptHome ?? 0) },
          { head: t('data.identifiers'), isNumber: true, cell: (part) => number(part.identifiersMasked ?? 0) },
          { head: t('data.raw'), isNumber: true, cell: (part) => bytes(quantity(part.bytesRaw)) },
          {
            head: t('data.sent'),
            isNumber: true,
            cell: (part) => {
              const raw = quantity(part.bytesRaw)
              const sent = quantity(part.bytesSent)
              return (
                <>
                  {bytes(sent)}
                  {raw > sent && <span class="muted small"> ({t('data.saved', { n: percent(1 - sent / raw) })})</span>}
                </>
              )
            },
          },
        ]}
      />
    </article>
  )
}

function Datasets() {
  const list = inProject(datasets.items.value)
  if (list.length === 0) return <Nothing feed={datasets}>{t('data.nodatasets')}</Nothing>
  return (
    <Table<Dataset>
      label={t('data.datasets')}
      rows={list}
      keyOf={(dataset) => dataset.metadata.uid}
      rowProps={(dataset) => ({ 'data-fact': 'dataset', 'data-name': dataset.metadata.name })}
      columns={[
        { head: t('common.name'), cell: (dataset) => <span class="strong">{dataset.metadata.name}</span> },
        { head: t('common.level'), cell: (dataset) => <Level value={dataset.spec.level} /> },
        { head: t('data.jurisdiction'), cell: (dataset) => dataset.spec.jurisdiction ?? '–' },
        { head: t('data.home'), cell: (dataset) => <>{dataset.spec.home || '–'} {dataset.spec.sovereignty === 'Strict' && <Chip tone="warn">{t('data.strict')}</Chip>}</> },
        { head: t('overview.sites'), cell: (dataset) => dataset.spec.sources?.slice(0, 6).map((source) => source.site).join(', ') || '–' },
        { head: t('data.latest'), cell: (dataset) => dataset.status?.latestVersion ? <code>{dataset.status.latestVersion}</code> : <Empty>–</Empty> },
      ]}
    />
  )
}
