import { allocations, services } from '../api/feeds'
import type { Service, ShadowStatus } from '../api/types'
import { clock, number, percent } from '../format'
import { t, word } from '../i18n'
import { Chip, Digest, Facts, Level, Meter, Nothing, Panel, Phase, Table } from '../parts/basics'
import { inProject } from '../projects'
import { href } from '../router'

const servicesShownMax = 40
const rollout = ['Staging', 'Canary', 'Checking', 'Expanding', 'Complete']
const rollback = ['RollingBack', 'RolledBack']

export function Services() {
  const list = inProject(services.items.value)
  if (list.length === 0)
    return (
      <Panel>
        <Nothing feed={services}>{t('services.none')}</Nothing>
      </Panel>
    )
  return (
    <>
      {list.slice(0, servicesShownMax).map((service) => (
        <ServicePanel key={service.metadata.uid} service={service} />
      ))}
      {list.length > servicesShownMax && <p class="muted more">{t('common.more', { n: number(list.length - servicesShownMax) })}</p>}
    </>
  )
}

function ServicePanel({ service }: { service: Service }) {
  const status = service.status ?? {}
  const replicas = status.replicas ?? []
  const wanted = (service.spec.places ?? []).reduce((sum, place) => sum + (place.replicas ?? 1), 0)
  const namespace = service.metadata.namespace ?? ''
  const byName = new Map(allocations.items.value.filter((a) => a.metadata.namespace === namespace).map((a) => [a.metadata.name, a]))
  return (
    <section class="panel" data-fact="service" data-name={service.metadata.name} data-phase={status.phase}>
      <header class="panel-head">
        <h2>{service.metadata.name}</h2>
        <Phase value={status.phase} />
        <Chip tone={(status.readyReplicas ?? 0) >= wanted && wanted > 0 ? 'good' : 'warn'}>
          {t('services.ready', { a: number(status.readyReplicas ?? 0), b: number(wanted) })}
        </Chip>
        <div class="panel-aside">
          <a href={href('why', 'InferenceService', namespace, service.metadata.name)}>{t('common.why')}</a>
        </div>
      </header>
      <RolloutSteps phase={status.phase} since={status.phaseSince} />
      {status.message && <p class="small object-message">{status.message}</p>}
      <div class="columns wide-left">
        <div>
          <Facts
            rows={[
              [t('common.model'), <a key="m" href={href('models', namespace, status.activeVersion ?? '')}>{service.spec.model}</a>],
              [t('services.active'), <code key="a">{status.activeVersion || '–'}</code>],
              ...(service.spec.modelVersion && service.spec.modelVersion !== status.activeVersion
                ? ([[t('services.wanted'), <code key="w">{service.spec.modelVersion}</code>]] as [string, preact.ComponentChildren][])
                : []),
              ...(status.previousVersion ? ([[t('services.previous'), <code key="p">{status.previousVersion}</code>]] as [string, preact.ComponentChildren][]) : []),
              ...(status.rolledBackVersion
                ? ([[t('services.rolledback'), <code key="r" class="bad-text">{status.rolledBackVersion}</code>]] as [string, preact.ComponentChildren][])
                : []),
              [t('services.target'), service.spec.latencyTarget || '–'],
              [t('common.level'), <Level key="l" value={service.spec.defaultLevel} />],
            ]}
          />
        </div>
        <Canary service={service} />
      </div>
      <h3>{t('services.replicas')}</h3>
      <Table
        label={t('services.replicas')}
        rows={replicas}
        keyOf={(replica) => replica.allocation}
        rowProps={(replica) => ({ 'data-fact': 'replica', 'data-name': replica.allocation })}
        columns={[
          { head: t('common.site'), cell: (replica) => replica.site ?? '–' },
          { head: t('common.node'), cell: (replica) => replica.node ?? '–' },
          { head: t('services.role'), cell: (replica) => word('role', replica.role) },
          { head: t('common.phase'), cell: (replica) => <Phase value={replica.phase} /> },
          { head: t('services.active'), cell: (replica) => <code>{replica.servingVersion || '–'}</code> },
          { head: t('services.verified'), cell: (replica) => <Digest value={byName.get(replica.allocation)?.status?.digestVerified} /> },
          { head: t('services.endpoint'), cell: (replica) => <code>{replica.endpoint || '–'}</code> },
        ]}
      />
    </section>
  )
}

function RolloutSteps({ phase, since }: { phase: string | undefined; since: string | undefined }) {
  const isBack = rollback.includes(phase ?? '')
  const steps = isBack ? ['Staging', 'Canary', 'Checking', ...rollback] : rollout
  const at = steps.indexOf(phase ?? '')
  return (
    <ol class={`rollout${isBack ? ' back' : ''}`}>
      {steps.map((step, i) => (
        <li key={step} class={i < at || phase === 'Complete' ? 'past' : i === at ? 'now' : ''} aria-current={i === at ? 'step' : undefined}>
          <span class="rollout-dot" />
          <span class="small">{word('phase', step)}</span>
        </li>
      ))}
      {since && <li class="rollout-since small muted">{clock(since)}</li>}
    </ol>
  )
}

function Canary({ service }: { service: Service }) {
  const canary: ShadowStatus = service.status?.canary ?? {}
  const spec = service.spec.canary ?? {}
  const requests = canary.requests ?? 0
  const labelled = canary.labelled ?? 0
  const wantedRequests = spec.minRequests ?? 50
  const least = spec.minAgreement ?? 0.95
  const agreed = requests > 0 ? (canary.agreed ?? 0) / requests : 0
  const right = labelled > 0 ? (canary.correct ?? 0) / labelled : 0
  return (
    <div class="canary" data-fact="canary" data-requests={requests} data-agreed={canary.agreed ?? 0} data-errors={canary.errors ?? 0}>
      <h3>{t('services.canary')}</h3>
      {requests === 0 && labelled === 0 ? (
        <p class="muted small">{t('services.canary.none')}</p>
      ) : (
        <div class="meters">
          <MeterRow
            label={t('services.canary.requests')}
            share={wantedRequests > 0 ? requests / wantedRequests : 1}
            value={t('common.of', { a: number(requests), b: number(wantedRequests) })}
          />
          <MeterRow
            label={t('services.canary.agreed')}
            share={agreed}
            mark={least}
            tone={agreed >= least ? 'good' : 'bad'}
            value={`${percent(agreed, 1)} · ${t('services.canary.least', { n: percent(least, 1) })}`}
          />
          {labelled > 0 && (
            <MeterRow
              label={t('services.canary.accuracy')}
              share={right}
              mark={spec.minAccuracy}
              tone={right >= (spec.minAccuracy ?? 0) ? 'good' : 'bad'}
              value={`${percent(right, 1)} · ${t('common.of', { a: number(canary.correct ?? 0), b: number(labelled) })}`}
            />
          )}
          <p class={`small ${(canary.errors ?? 0) > 0 ? 'bad-text' : 'muted'}`}>
            {t('services.canary.errors')}: {number(canary.errors ?? 0)}
          </p>
        </div>
      )}
    </div>
  )
}

function MeterRow(props: { label: string; share: number; value: string; tone?: string; mark?: number | undefined }) {
  return (
    <div class="meter-row">
      <span class="small">{props.label}</span>
      <span class="small number">{props.value}</span>
      <Meter share={props.share} label={props.label} {...(props.tone ? { tone: props.tone } : {})} {...(props.mark ? { mark: props.mark } : {})} />
    </div>
  )
}
