import { models, modelVersions, services } from '../api/feeds'
import type { ArtifactRef, ModelVersion } from '../api/types'
import { bytes, clock, metric, number, quantity } from '../format'
import { t } from '../i18n'
import { Chip, Digest, Empty, Facts, Level, Nothing, Panel, Table } from '../parts/basics'
import { VirtualTable } from '../parts/virtual'
import { inProject } from '../projects'
import { href, route } from '../router'

export function Models() {
  const versions = [...inProject(modelVersions.items.value)].sort((a, b) =>
    (b.metadata.creationTimestamp ?? '').localeCompare(a.metadata.creationTimestamp ?? ''),
  )
  const [namespace, name] = route.value.rest
  const chosen =
    versions.find((v) => v.metadata.name === name && (v.metadata.namespace ?? '') === namespace) ?? versions[0]
  const latest = new Set(models.items.value.map((model) => `${model.metadata.namespace}/${model.status?.latestVersion}`))
  if (versions.length === 0 || !chosen)
    return (
      <Panel>
        <Nothing feed={modelVersions}>{t('models.none')}</Nothing>
      </Panel>
    )
  return (
    <div class="columns list-detail">
      <Panel title={t('models.versions')} id="versions" flush>
        <VirtualTable<ModelVersion>
          label={t('models.versions')}
          tracks="minmax(0, 1fr) 3.5rem"
          heads={[t('models.version'), t('common.level')]}
          rows={versions}
          rowHeight={54}
          heightMax={620}
          keyOf={(version) => version.metadata.uid}
          facts={(version) => ({
            'data-fact': 'model-version',
            'data-name': version.metadata.name,
            'data-chosen': version === chosen ? 'true' : undefined,
          })}
          cells={(version) => [
            <a key="name" class="two-lines" href={href('models', version.metadata.namespace ?? '', version.metadata.name)} aria-current={version === chosen ? 'true' : undefined}>
              <span class="strong">
                {version.metadata.name}
                {latest.has(`${version.metadata.namespace}/${version.metadata.name}`) && <Chip tone="good" class="inline">{t('models.latest')}</Chip>}
              </span>
              <span class="muted small">
                {version.spec.model} · {clock(version.metadata.creationTimestamp)}
              </span>
            </a>,
            <Level key="level" value={version.spec.level} />,
          ]}
        />
      </Panel>
      <VersionPanel version={chosen} />
    </div>
  )
}

function VersionPanel({ version }: { version: ModelVersion }) {
  const spec = version.spec
  const namespace = version.metadata.namespace ?? ''
  const serving = services.items.value.filter(
    (service) => service.metadata.namespace === namespace && service.status?.activeVersion === version.metadata.name,
  )
  const metrics = Object.entries(spec.metrics ?? {}).slice(0, 80)
  return (
    <div class="stack">
      <Panel title={version.metadata.name} id="version">
        <Facts
          rows={[
            [t('common.model'), spec.model],
            [t('models.manifest'), <Digest key="d" value={spec.manifestDigest} />],
            [t('models.signature'), spec.signatureKeyId ? <code key="k" class="wrap">{spec.signatureKeyId}</code> : <span key="k" class="bad-text">{t('models.unsigned')}</span>],
            [t('common.level'), <Level key="l" value={spec.level} />],
            [t('models.repository'), <code key="r" class="wrap">{spec.repository || '–'}</code>],
            [
              t('models.served'),
              serving.length === 0 ? '–' : serving.slice(0, 8).map((service) => <a key={service.metadata.uid} href={href('services')}>{service.metadata.name} </a>),
            ],
          ]}
        />
      </Panel>
      <Panel title={t('models.lineage')} id="lineage">
        <Lineage version={version} />
      </Panel>
      <div class="columns">
        <Panel title={t('models.metrics')} id="metrics">
          {metrics.length === 0 ? <Empty>{t('common.none')}</Empty> : <Facts rows={metrics.map(([key, value]) => [key, metric(value)])} />}
        </Panel>
        <Panel title={t('models.files')} id="files">
          <Table<ArtifactRef>
            label={t('models.files')}
            rows={spec.files ?? []}
            keyOf={(file) => file.name}
            columns={[
              {
                head: t('common.name'),
                cell: (file) => (
                  <>
                    {file.name} {file.name === spec.file && <Chip tone="good">{t('services.active')}</Chip>}
                  </>
                ),
              },
              { head: t('common.digest'), cell: (file) => <Digest value={file.digest} /> },
              { head: t('common.size'), isNumber: true, cell: (file) => bytes(quantity(file.size)) },
            ]}
          />
        </Panel>
      </div>
    </div>
  )
}

function Lineage({ version }: { version: ModelVersion }) {
  const lineage = version.spec.lineage ?? {}
  const data = lineage.datasetDigests ?? []
  return (
    <ol class="lineage">
      <li>
        <span class="small muted">{t('models.lineage.data')}</span>
        {data.slice(0, 4).map((digest) => <Digest key={digest} value={digest} />)}
        {data.length > 4 && <span class="small muted">{t('common.more', { n: number(data.length - 4) })}</span>}
        {data.length === 0 && '–'}
      </li>
      <li>
        <span class="small muted">{t('models.lineage.code')}</span>
        <Digest value={lineage.codeDigest} />
      </li>
      <li>
        <span class="small muted">{t('models.lineage.job')}</span>
        {lineage.job ? <a href={href('work', version.metadata.namespace ?? '', lineage.job)}>{lineage.job}</a> : '–'}
      </li>
      {lineage.teacherDigest && (
        <li>
          <span class="small muted">{t('models.lineage.teacher')}</span>
          <Digest value={lineage.teacherDigest} />
        </li>
      )}
      <li class="result">
        <span class="small muted">{t('models.lineage.version')}</span>
        <Digest value={version.spec.manifestDigest} />
      </li>
    </ol>
  )
}
