import { jobs, services } from '../api/feeds'
import type { Decision } from '../api/types'
import { t, word } from '../i18n'
import { Chip, Empty, Nothing, Panel } from '../parts/basics'
import { chosenSites, decisionsOf, Explanation } from '../parts/explanation'
import { VirtualTable } from '../parts/virtual'
import { inProject } from '../projects'
import { href, route } from '../router'

interface Subject {
  kind: string
  namespace: string
  name: string
  created: string
  phase: string
  decisions: Decision[]
}

export function Why() {
  const subjects: Subject[] = [
    ...inProject(jobs.items.value).map((job) => subject('TrainingJob', job)),
    ...inProject(services.items.value).map((service) => subject('InferenceService', service)),
  ].sort((a, b) => b.created.localeCompare(a.created))
  const [kind, namespace, name] = route.value.rest
  const asked = subjects.find((s) => s.kind === kind && s.namespace === namespace && s.name === name)
  const chosen = asked ?? subjects.find((s) => s.decisions.length > 0) ?? subjects[0]
  if (!chosen)
    return (
      <Panel>
        <Nothing feed={jobs}>{t('why.none')}</Nothing>
      </Panel>
    )
  return (
    <div class="columns list-detail">
      <Panel title={t('why.decisions')} id="decisions" flush>
        <VirtualTable<Subject>
          label={t('why.decisions')}
          tracks="minmax(0, 1fr) auto"
          heads={[t('common.name'), '']}
          rows={subjects}
          rowHeight={54}
          heightMax={620}
          keyOf={(s) => `${s.kind}/${s.namespace}/${s.name}`}
          facts={(s) => ({ 'data-fact': 'subject', 'data-name': s.name, 'data-chosen': s === chosen ? 'true' : undefined })}
          cells={(s) => [
            <a key="n" class="two-lines" href={href('why', s.kind, s.namespace, s.name)} aria-current={s === chosen ? 'true' : undefined}>
              <span class="strong">{s.name}</span>
              <span class="muted small">
                {word('object', s.kind)} · {s.namespace}
              </span>
            </a>,
            <Outcome key="o" decisions={s.decisions} />,
          ]}
        />
      </Panel>
      <Panel title={chosen.name} id="explanation" aside={<span class="muted">{word('object', chosen.kind)} · {word('phase', chosen.phase)}</span>}>
        {chosen.decisions.length === 0 ? <Empty>{t('why.absent')}</Empty> : chosen.decisions.slice(0, 20).map((decision, i) => <Explanation key={i} decision={decision} />)}
      </Panel>
    </div>
  )
}

function subject(
  kind: string,
  item: { metadata: { name: string; namespace?: string; creationTimestamp?: string }; status?: { phase?: string; explanation?: unknown } },
): Subject {
  return {
    kind,
    namespace: item.metadata.namespace ?? '',
    name: item.metadata.name,
    created: item.metadata.creationTimestamp ?? '',
    phase: item.status?.phase ?? 'Pending',
    decisions: decisionsOf(item.status?.explanation),
  }
}

function Outcome({ decisions }: { decisions: Decision[] }) {
  if (decisions.length === 0) return <span class="muted">–</span>
  const waiting = decisions.some((decision) => !decision.placed)
  const where = [...new Set(decisions.map(chosenSites).filter(Boolean))].join(', ')
  return waiting ? <Chip tone="warn">{t('why.waits')}</Chip> : <Chip tone="good">{where}</Chip>
}
