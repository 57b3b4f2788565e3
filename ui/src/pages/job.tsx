import { jobs } from '../api/feeds'
import type { Gate, RunRecord } from '../api/types'
import { between, bytes, clock, metric, number, quantity } from '../format'
import { t, word } from '../i18n'
import { Chip, Digest, Empty, Facts, Meter, Nothing, Panel, Phase, Table, Tile } from '../parts/basics'
import { decisionsOf, Explanation } from '../parts/explanation'
import { stepsWanted, useNow } from '../parts/timeline'
import { href } from '../router'

export function JobPage({ namespace, name }: { namespace: string; name: string }) {
  const job = jobs.items.value.find((item) => item.metadata.name === name && item.metadata.namespace === namespace)
  useNow(job?.status?.phase === 'Running')
  if (!job) return <Nothing feed={jobs}>{t('work.absent')}</Nothing>
  const status = job.status ?? {}
  const step = status.step ?? -1
  const wanted = stepsWanted(job)
  const checkpoint = status.checkpoint
  const decisions = decisionsOf(status.explanation)
  const metrics = Object.entries(status.metrics ?? {}).slice(0, 60)
  return (
    <div data-fact="job" data-name={name} data-phase={status.phase}>
      <p class="crumb">
        <a href={href('work')}>← {t('work.back')}</a>
      </p>
      <div class="object-head">
        <h2>{name}</h2>
        <Phase value={status.phase} />
        <span class="muted">{[namespace, job.metadata.labels?.team, status.site, status.capacityType && word('capacity', status.capacityType)].filter(Boolean).join(' · ')}</span>
      </div>
      {status.message && <p class="object-message">{status.message}</p>}
      <div class="tiles">
        <Tile
          fact="job-step"
          label={t('work.steps')}
          value={step < 0 ? '–' : wanted ? t('common.of', { a: number(step), b: number(wanted) }) : number(step)}
          note={wanted > 0 && <Meter share={Math.max(0, step) / wanted} label={t('work.steps')} />}
        />
        <Tile fact="job-interruptions" label={t('work.interruptions')} value={number(status.interruptions ?? 0)} />
        <Tile fact="job-repeated" label={t('work.repeated')} value={number(status.stepsRepeated ?? 0)} />
        <Tile label={t('work.failures')} value={number(status.failures ?? 0)} />
        <Tile
          label={t('work.checkpoint')}
          value={(checkpoint?.step ?? -1) >= 0 ? t('work.step', { n: number(checkpoint!.step!) }) : '–'}
          note={checkpoint?.digest && [word('phase', checkpoint.phase), bytes(quantity(checkpoint.size))].join(' · ')}
        />
        <Tile label={t('work.took')} value={status.startedAt ? between(status.startedAt, status.finishedAt) : '–'} />
      </div>

      <Panel title={t('page.why')} id="job-why">
        {decisions.length === 0 ? <Empty>{t('why.absent')}</Empty> : decisions.map((d, i) => <Explanation key={i} decision={d} />)}
      </Panel>

      <Panel title={t('work.runs')} id="runs">
        <Table<RunRecord>
          label={t('work.runs')}
          rows={[...(status.runs ?? [])].reverse()}
          keyOf={(run) => String(run.epoch)}
          rowProps={(run) => ({ 'data-fact': 'run-row', 'data-epoch': String(run.epoch), 'data-site': run.site ?? '' })}
          columns={[
            { head: t('work.epoch'), isNumber: true, cell: (run) => run.epoch },
            { head: t('common.site'), cell: (run) => run.site ?? '–' },
            { head: t('work.capacity'), cell: (run) => word('capacity', run.capacityType) },
            { head: t('work.nodes'), cell: (run) => nodesText(run.nodes ?? []) },
            { head: t('work.steps'), isNumber: true, cell: (run) => ((run.lastStep ?? -1) >= 0 ? `${run.firstStep ?? 0}–${run.lastStep}` : '–') },
            { head: t('work.started'), isNumber: true, cell: (run) => clock(run.startedAt) },
            { head: t('work.took'), isNumber: true, cell: (run) => between(run.startedAt, run.endedAt) },
            { head: t('work.end'), cell: (run) => (run.reason ? <Phase value={run.reason} /> : <Chip tone="busy">{t('work.running')}</Chip>) },
          ]}
        />
      </Panel>

      <div class="columns">
        <Panel title={t('work.metrics')}>
          {metrics.length === 0 ? <Empty>{t('common.none')}</Empty> : <Facts rows={metrics.map(([key, value]) => [key, metric(value)])} />}
          {(job.spec.gates?.length ?? 0) > 0 && (
            <>
              <h3>{t('work.gates')}</h3>
              <ul class="plain">
                {job.spec.gates!.map((gate, i) => (
                  <li key={i}>
                    <GateLine gate={gate} metrics={status.metrics ?? {}} />
                  </li>
                ))}
              </ul>
            </>
          )}
        </Panel>
        <Panel title={t('work.outputs')}>
          {(status.outputs?.length ?? 0) === 0 ? (
            <Empty>{t('common.none')}</Empty>
          ) : (
            <Table
              label={t('work.outputs')}
              rows={status.outputs!}
              keyOf={(output) => output.name}
              columns={[
                { head: t('common.name'), cell: (output) => output.name },
                { head: t('common.digest'), cell: (output) => <Digest value={output.digest} /> },
                { head: t('common.size'), isNumber: true, cell: (output) => bytes(quantity(output.size)) },
              ]}
            />
          )}
        </Panel>
      </div>
    </div>
  )
}

function nodesText(nodes: string[]): string {
  return nodes.length <= 4 ? nodes.join(', ') || '–' : `${nodes.slice(0, 3).join(', ')}, ${t('common.more', { n: nodes.length - 3 })}`
}

function GateLine({ gate, metrics }: { gate: Gate; metrics: Record<string, unknown> }) {
  const value = metrics[gate.metric]
  const baseline = gate.baseline ? metrics[gate.baseline] : undefined
  let holds: boolean | null = null
  if (typeof value === 'number') {
    holds = value >= (gate.minimum ?? 0)
    if (typeof baseline === 'number') holds &&= (baseline - value) * 100 <= (gate.maxDropPoints ?? 1)
  }
  return (
    <>
      <Chip tone={holds === null ? 'quiet' : holds ? 'good' : 'bad'}>{holds === null ? '·' : holds ? '✓' : '✗'}</Chip>{' '}
      {gate.baseline
        ? t('work.gate', { metric: gate.metric, points: number(gate.maxDropPoints ?? 1, 2), baseline: gate.baseline })
        : t('work.gatemin', { metric: gate.metric, minimum: number(gate.minimum ?? 0, 3) })}
      {typeof value === 'number' && <span class="muted small"> {number(value, 4)}{typeof baseline === 'number' && ` / ${number(baseline, 4)}`}</span>}
    </>
  )
}
