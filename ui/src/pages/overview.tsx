import { allocations, cost, links, nodes, sites } from '../api/feeds'
import type { Link, Site } from '../api/types'
import { bandwidth, money, number, percent } from '../format'
import { t, word } from '../i18n'
import { Empty, Nothing, Panel, Table, Tile } from '../parts/basics'
import { Heat } from '../parts/heat'
import { History } from '../parts/history'
import { Topology } from '../parts/topology'
import { isHolding, shareOf, total } from '../usage'

export function Overview() {
  const sum = total.value
  const running = allocations.items.value.filter((a) => isHolding(a) && a.status?.phase === 'Running').length
  const bill = cost.value.value
  const siteList = sites.items.value
  return (
    <>
      <div class="tiles">
        <Tile fact="tile-sites" label={t('overview.sites')} value={number(siteList.length)} note={tierCounts(siteList)} />
        <Tile fact="tile-nodes" label={t('overview.nodes')} value={t('common.of', { a: number(sum.ready), b: number(sum.nodes) })} />
        <Tile fact="tile-running" label={t('overview.running')} value={number(running)} />
        <Tile
          fact="tile-cores"
          label={t('overview.cores')}
          value={percent(shareOf(sum.held.cores, sum.has.cores))}
          note={t('common.of', { a: number(sum.held.cores, 1), b: number(sum.has.cores, 1) })}
        />
        {sum.has.accelerators > 0 && (
          <Tile
            fact="tile-accelerators"
            label={t('overview.accelerators')}
            value={percent(shareOf(sum.held.accelerators, sum.has.accelerators))}
            note={t('common.of', { a: number(sum.held.accelerators, 1), b: number(sum.has.accelerators, 1) })}
          />
        )}
        <Tile fact="tile-cost" label={t('overview.cost')} value={bill ? money(bill.total_micros, bill.currency, true) : '–'} />
      </div>

      <Panel title={t('overview.topology')} id="topology" aside={<span class="muted">{t('overview.topology.hint')}</span>}>
        {siteList.length === 0 ? (
          <Nothing feed={sites}>{t('overview.nosites')}</Nothing>
        ) : (
          <>
            <Topology sites={siteList} links={links.items.value} />
            <details class="fold">
              <summary>
                {t('overview.links')} <span class="muted">{number(links.items.value.length)}</span>
              </summary>
              <LinkTable />
            </details>
          </>
        )}
      </Panel>

      <div class="columns wide-left">
        <Panel title={t('overview.heat')} id="heat">
          {nodes.items.value.length === 0 ? <Nothing feed={nodes}>{t('overview.nonodes')}</Nothing> : <Heat />}
        </Panel>
        <Panel title={t('overview.history')} id="history">
          <History />
        </Panel>
      </div>
    </>
  )
}

function tierCounts(list: readonly Site[]): string {
  return (['public', 'private', 'edge'] as const)
    .map((tier) => [tier, list.filter((site) => site.spec.tier === tier).length] as const)
    .filter(([, count]) => count > 0)
    .map(([tier, count]) => `${count} ${word('tier', tier)}`)
    .join(' · ')
}

function LinkTable() {
  const rows = links.items.value
  if (rows.length === 0) return <Empty>{t('common.none')}</Empty>
  const currency = sites.items.value[0]?.spec.currency ?? 'USD'
  return (
    <Table<Link>
      label={t('overview.links')}
      rows={rows}
      keyOf={(link) => link.metadata.name}
      rowProps={(link) => ({ 'data-fact': 'link', 'data-name': link.metadata.name })}
      columns={[
        { head: t('overview.link'), cell: (link) => `${link.spec.from} → ${link.spec.to}` },
        {
          head: `${t('overview.bandwidth')} (${t('overview.declared')})`,
          isNumber: true,
          cell: (link) => bandwidth(link.spec.bandwidthMbps),
        },
        {
          head: t('overview.measured'),
          isNumber: true,
          cell: (link) => (link.status?.measuredMbps ? bandwidth(link.status.measuredMbps) : '–'),
        },
        {
          head: t('overview.rtt'),
          isNumber: true,
          cell: (link) => `${number(link.status?.measuredRttMs || link.spec.rttMs || 0, 1)} ms`,
        },
        { head: t('overview.loss'), isNumber: true, cell: (link) => percent((link.spec.lossPercent ?? 0) / 100, 2) },
        {
          head: t('overview.egress'),
          isNumber: true,
          cell: (link) => (link.spec.egressPerGB ? money(link.spec.egressPerGB, currency, true) : t('overview.free')),
        },
      ]}
    />
  )
}
