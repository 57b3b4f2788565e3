// Nodes by CPU, memory and accelerators: what allocations hold of what they have.
import { sites } from '../api/feeds'
import { number, bytes, percent } from '../format'
import { t, word } from '../i18n'
import { isInterrupting, isReady, nodeUses, shareOf, type NodeUse } from '../usage'
import { TierMark } from './basics'
import { VirtualTable } from './virtual'

export function Heat() {
  const tiers = new Map(sites.items.value.map((site) => [site.metadata.name, site.spec.tier]))
  return (
    <>
      <VirtualTable<NodeUse>
        label={t('overview.heat')}
        tracks="minmax(9rem, 1.6fr) repeat(3, minmax(3.6rem, 1fr)) minmax(4.5rem, 0.9fr)"
        heads={[t('common.node'), t('overview.cpu'), t('overview.memory'), t('overview.accelerator'), t('work.capacity')]}
        rows={nodeUses.value}
        rowHeight={45}
        heightMax={455}
        keyOf={(use) => use.node.metadata.name}
        facts={(use) => ({
          'data-fact': 'node',
          'data-name': use.node.metadata.name,
          'data-ready': String(isReady(use.node)),
        })}
        cells={(use) => [
          <span class="node-name" key="name">
            <TierMark tier={tiers.get(use.node.spec.site)} />
            <span class="two-lines">
              <span class="strong">{use.node.metadata.name}</span>
              <span class="muted small">{nodeState(use)}</span>
            </span>
          </span>,
          <Cell key="cpu" held={use.held.cores} has={use.has.cores} text={(n) => number(n, 1)} />,
          <Cell key="memory" held={use.held.memory} has={use.has.memory} text={bytes} />,
          <Cell key="accelerator" held={use.held.accelerators} has={use.has.accelerators} text={(n) => number(n, 2)} />,
          <span key="capacity" class="small muted">
            {word('capacity', use.node.spec.capacityType ?? 'owned')}
          </span>,
        ]}
      />
      <div class="heat-scale small muted">
        {t('overview.heat.less')}
        <span class="heat-ramp" />
        {t('overview.heat.more')}
      </div>
    </>
  )
}

function nodeState(use: NodeUse) {
  const { node } = use
  if (isInterrupting(node)) return <span class="warn-text">{t('node.interrupting')}</span>
  if (!isReady(node)) return <span class="bad-text">{t('node.notready')}</span>
  if (node.spec.unschedulable) return t('node.cordoned')
  return node.spec.site
}

function Cell(props: { held: number; has: number; text: (n: number) => string }) {
  if (props.has <= 0) return <span class="heat-cell absent">–</span>
  const share = shareOf(props.held, props.has)
  return (
    <span
      class={`heat-cell${share > 0.55 ? ' dark' : ''}`}
      style={{ '--share': String(Math.min(1, share)) }}
      title={t('common.of', { a: props.text(props.held), b: props.text(props.has) })}
    >
      {percent(share)}
    </span>
  )
}
