// Training runs over time: a row a job, a bar an epoch, coloured by the capacity it ran on.
import { useEffect, useState } from 'preact/hooks'
import type { CapacityType, RunRecord, TrainingJob } from '../api/types'
import { between, clock, instant } from '../format'
import { t, word } from '../i18n'
import { href } from '../router'
import { VirtualTable } from './virtual'

const capacities: CapacityType[] = ['owned', 'reserved', 'on-demand', 'spot']

export function Timeline({ jobs }: { jobs: readonly TrainingJob[] }) {
  const now = useNow(jobs.some((job) => job.status?.runs?.some((run) => !run.endedAt)))
  const rows = [...jobs].sort((a, b) => startOf(b) - startOf(a))
  const runs = rows.flatMap((job) => job.status?.runs ?? [])
  const starts = runs.map((run) => instant(run.startedAt))
  const from = starts.length ? starts.reduce((a, b) => Math.min(a, b)) : now - 60_000
  const to = Math.max(from + 10_000, ...[runs.reduce((end, run) => Math.max(end, run.endedAt ? instant(run.endedAt) : now), from)])
  const place = (time: number) => ((time - from) / (to - from)) * 100
  return (
    <>
      <VirtualTable<TrainingJob>
        label={t('work.timeline')}
        tracks="minmax(8.5rem, 15rem) minmax(12rem, 1fr)"
        heads={[
          t('work.job'),
          <span class="time-axis" key="axis">
            {[0, 0.5, 1].map((at) => (
              <span key={at}>{clock(from + (to - from) * at)}</span>
            ))}
          </span>,
        ]}
        rows={rows}
        rowHeight={52}
        heightMax={470}
        keyOf={(job) => `${job.metadata.namespace}/${job.metadata.name}`}
        facts={(job) => ({ 'data-fact': 'job-row', 'data-name': job.metadata.name })}
        cells={(job) => [
          <a key="name" class="two-lines" href={href('work', job.metadata.namespace ?? '', job.metadata.name)}>
            <span class="strong">{job.metadata.name}</span>
            <span class="muted small">{summary(job)}</span>
          </a>,
          <span key="bars" class="bars">
            {(job.status?.runs ?? []).slice(-64).map((run) => {
              const left = place(instant(run.startedAt))
              const right = place(run.endedAt ? instant(run.endedAt) : now)
              return <Bar key={run.epoch} run={run} left={left} width={Math.max(0.4, right - left)} />
            })}
          </span>,
        ]}
      />
      <div class="legend small">
        {capacities.map((capacity) => (
          <span key={capacity}>
            <i class={`swatch bar ${capacity}`} /> {word('capacity', capacity)}
          </span>
        ))}
        <span>
          <i class="swatch cut" /> {word('phase', 'Interrupted')}
        </span>
      </div>
    </>
  )
}

function Bar({ run, left, width }: { run: RunRecord; left: number; width: number }) {
  const steps = (run.lastStep ?? -1) >= 0 ? `${run.firstStep ?? 0}–${run.lastStep}` : ''
  const text = [
    `${t('work.epoch')} ${run.epoch}`, run.site, word('capacity', run.capacityType), steps && `${t('work.steps')} ${steps}`,
    `${clock(run.startedAt)} – ${run.endedAt ? clock(run.endedAt) : t('work.now')} (${between(run.startedAt, run.endedAt)})`,
    run.reason ? word('phase', run.reason) : t('work.running'),
  ].filter(Boolean).join(' · ')
  const state = run.reason === 'Interrupted' ? ' cut' : run.reason === 'Failed' ? ' broken' : run.endedAt ? '' : ' open'
  return (
    <span
      class={`bar ${run.capacityType ?? 'owned'}${state}`}
      style={{ left: `${left}%`, width: `${width}%` }}
      title={text}
      role="img"
      aria-label={text}
      data-fact="run"
      data-site={run.site}
      data-epoch={String(run.epoch)}
    >
      {width > 9 && <span>{run.site}</span>}
    </span>
  )
}

function startOf(job: TrainingJob): number {
  return instant(job.status?.runs?.[0]?.startedAt ?? job.status?.startedAt ?? job.metadata.creationTimestamp)
}
function summary(job: TrainingJob): string {
  const steps = stepsWanted(job)
  const step = job.status?.step ?? -1
  const progress = step < 0 ? '' : steps ? t('work.stepof', { a: step, b: steps }) : t('work.step', { n: step })
  return [word('phase', job.status?.phase ?? 'Pending'), progress].filter(Boolean).join(' · ')
}
// Programs name it differently; absent when none of the usual parameters is a count.
export function stepsWanted(job: TrainingJob): number {
  const parameters = job.spec.parameters ?? {}
  for (const name of ['steps', 'maxSteps', 'max_steps', 'totalSteps', 'total_steps']) {
    const value = Number(parameters[name])
    if (Number.isInteger(value) && value > 0) return value
  }
  return 0
}
export function useNow(isTicking: boolean): number {
  const [now, setNow] = useState(Date.now())
  useEffect(() => {
    if (!isTicking) return
    const timer = setInterval(() => setNow(Date.now()), 1000)
    return () => clearInterval(timer)
  }, [isTicking])
  return now
}
