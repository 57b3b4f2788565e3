import { jobs, strategies } from '../api/feeds'
import type { StageStatus, Strategy } from '../api/types'
import { between, number } from '../format'
import { t, word } from '../i18n'
import { Nothing, Panel, Phase } from '../parts/basics'
import { Timeline } from '../parts/timeline'
import { inProject } from '../projects'
import { href, route } from '../router'
import { JobPage } from './job'

const strategiesShownMax = 24
const stageNames = ['collect', 'train', 'compress', 'register', 'distribute', 'serve']

export function Work() {
  const [namespace, name] = route.value.rest
  if (namespace && name) return <JobPage namespace={namespace} name={name} />
  const strategyList = inProject(strategies.items.value)
  const jobList = inProject(jobs.items.value)
  return (
    <>
      <Panel title={t('work.strategies')} id="strategies">
        {strategyList.length === 0 && <Nothing feed={strategies}>{t('work.nostrategies')}</Nothing>}
        <div class="stack">
          {strategyList.slice(0, strategiesShownMax).map((strategy) => (
            <StrategyRow key={strategy.metadata.uid} strategy={strategy} />
          ))}
        </div>
        {strategyList.length > strategiesShownMax && (
          <p class="muted more">{t('common.more', { n: number(strategyList.length - strategiesShownMax) })}</p>
        )}
      </Panel>
      <Panel title={t('work.timeline')} id="timeline">
        {jobList.length === 0 ? <Nothing feed={jobs}>{t('work.nojobs')}</Nothing> : <Timeline jobs={jobList} />}
      </Panel>
    </>
  )
}

function StrategyRow({ strategy }: { strategy: Strategy }) {
  const status = strategy.status ?? {}
  const stages = status.stages?.length ? status.stages : stageNames.map((name): StageStatus => ({ name, phase: 'Waiting' }))
  return (
    <article class="strategy" data-fact="strategy" data-name={strategy.metadata.name} data-phase={status.phase ?? 'Pending'}>
      <header>
        <h3>{strategy.metadata.name}</h3>
        <Phase value={status.phase} />
        <span class="muted small">
          {[strategy.metadata.namespace, strategy.spec.team, strategy.spec.model].filter(Boolean).join(' · ')}
        </span>
      </header>
      {status.message && <p class="small muted">{status.message}</p>}
      <ol class="stages">
        {stages.slice(0, 12).map((stage) => (
          <Stage key={stage.name} stage={stage} namespace={strategy.metadata.namespace ?? ''} />
        ))}
      </ol>
    </article>
  )
}

function Stage({ stage, namespace }: { stage: StageStatus; namespace: string }) {
  const phase = stage.phase ?? 'Waiting'
  const target = objectHref(stage.object, namespace)
  const label = word('stage', stage.name)
  return (
    <li class={`stage ${phase}`} data-fact="stage" data-name={stage.name} data-phase={phase} title={stage.message}>
      <span class="stage-mark" aria-hidden="true">
        {phase === 'Done' ? '✓' : phase === 'Failed' ? '!' : ''}
      </span>
      <span class="stage-name">{target ? <a href={target}>{label}</a> : label}</span>
      <span class="stage-phase small">
        {word('phase', phase)}
        {stage.startedAt && ` · ${between(stage.startedAt, stage.finishedAt)}`}
      </span>
      {stage.message && <span class="stage-message small muted">{stage.message}</span>}
    </li>
  )
}

function objectHref(object: string | undefined, namespace: string): string {
  const [kind, name] = (object ?? '').split('/')
  if (!kind || !name) return ''
  switch (kind.toLowerCase().replace(/s$/, '')) {
    case 'trainingjob':
      return href('work', namespace, name)
    case 'inferenceservice':
      return href('services')
    case 'modelversion':
    case 'model':
      return href('models', namespace, name)
    case 'datasetversion':
    case 'dataset':
      return href('data')
    default:
      return ''
  }
}
