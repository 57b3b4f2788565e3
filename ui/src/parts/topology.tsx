// The sites on three shores, public above, private between, edge below, and the links between them.
import { useLayoutEffect, useRef, useState } from 'preact/hooks'
import { sites as siteFeed } from '../api/feeds'
import type { Link, Site, Tier } from '../api/types'
import { bandwidth, money, number, percent } from '../format'
import { t, word } from '../i18n'
import { emptySum, shareOf, siteSums } from '../usage'

const tiers: Tier[] = ['public', 'private', 'edge']
const cardHeight = 64
const bandGap = 80
const rowGap = 18
const top = 34
const sitesDrawnMax = 12 // of each tier
const labelsWithoutChoiceMax = 7

interface Box {
  site: Site
  x: number
  y: number
  width: number
}
// Both directions between two sites.
interface Pair {
  key: string
  a: Box
  b: Box
  there?: Link
  back?: Link
}

export function Topology(props: { sites: readonly Site[]; links: readonly Link[] }) {
  const frame = useRef<HTMLDivElement>(null)
  const [width, setWidth] = useState(900)
  const [chosen, setChosen] = useState('')
  useLayoutEffect(() => {
    const element = frame.current
    if (!element) return
    const observer = new ResizeObserver(() => setWidth(Math.max(300, Math.floor(element.clientWidth))))
    observer.observe(element)
    return () => observer.disconnect()
  }, [])

  const { boxes, bands, height } = layOut(props.sites, width)
  const pairs = pairUp(boxes, props.links)
  const touches = (pair: Pair) => chosen === '' || pair.a.site.metadata.name === chosen || pair.b.site.metadata.name === chosen
  const labelled = pairs.filter((pair) => (chosen ? touches(pair) : pairs.length <= labelsWithoutChoiceMax && width > 640))
  const labels = placeLabels(labelled, boxes, width)
  return (
    <div class="topology" ref={frame}>
      <svg width={width} height={height} role="group" aria-label={t('overview.topology')}>
        {bands.map((band) => (
          <g key={band.tier} class={`band ${band.tier}`}>
            <rect x={0} y={band.y} width={width} height={band.height} rx={12} />
            <text x={14} y={band.y + 20}>
              {word('tierlong', band.tier)}
              {band.leftOut > 0 && ` · ${t('common.more', { n: band.leftOut })}`}
            </text>
          </g>
        ))}
        {pairs.map((pair) => (
          <LinkLine key={pair.key} pair={pair} isDim={!touches(pair)} />
        ))}
        {boxes.map((box) => (
          <SiteCard
            key={box.site.metadata.name}
            box={box}
            isChosen={chosen === box.site.metadata.name}
            onChoose={() => setChosen(chosen === box.site.metadata.name ? '' : box.site.metadata.name)}
          />
        ))}
        {labels.map((label) => (
          <g key={label.key} class="link-label" transform={`translate(${label.x} ${label.y})`}>
            <rect x={-label.width / 2} y={-10} width={label.width} height={20} rx={10} />
            <text y={4}>{label.text}</text>
          </g>
        ))}
      </svg>
    </div>
  )
}

function layOut(sites: readonly Site[], width: number) {
  const boxes: Box[] = []
  const bands: { tier: Tier; y: number; height: number; leftOut: number }[] = []
  let y = 0
  for (const tier of tiers) {
    const all = sites.filter((site) => site.spec.tier === tier)
    if (all.length === 0) continue
    const shown = all.slice(0, sitesDrawnMax)
    const perRow = Math.max(1, Math.min(shown.length, Math.floor((width - 12) / 150)))
    const rows = Math.ceil(shown.length / perRow)
    const cardWidth = Math.min(210, (width - 24 - (perRow - 1) * 16) / perRow)
    shown.forEach((site, i) => {
      const row = Math.floor(i / perRow)
      const inRow = Math.min(perRow, shown.length - row * perRow)
      const slot = width / inRow
      boxes.push({
        site,
        x: slot * (i % perRow) + (slot - cardWidth) / 2,
        y: y + top + row * (cardHeight + rowGap),
        width: cardWidth,
      })
    })
    const height = top + rows * cardHeight + (rows - 1) * rowGap + 16
    bands.push({ tier, y, height, leftOut: all.length - shown.length })
    y += height + bandGap
  }
  return { boxes, bands, height: Math.max(60, y - bandGap + 4) }
}

function pairUp(boxes: Box[], links: readonly Link[]): Pair[] {
  const byName = new Map(boxes.map((box) => [box.site.metadata.name, box]))
  for (const box of boxes) for (const alias of box.site.spec.aliases ?? []) if (!byName.has(alias)) byName.set(alias, box)
  const pairs = new Map<string, Pair>()
  for (const link of links) {
    const from = byName.get(link.spec.from)
    const to = byName.get(link.spec.to)
    if (!from || !to || from === to) continue
    const isForward = from.site.metadata.name < to.site.metadata.name
    const [a, b] = isForward ? [from, to] : [to, from]
    const key = `${a.site.metadata.name} ${b.site.metadata.name}`
    const pair = pairs.get(key) ?? { key, a, b }
    if (isForward) pair.there = link
    else pair.back = link
    pairs.set(key, pair)
  }
  return [...pairs.values()]
}

function ends(pair: Pair) {
  const [upper, lower] = pair.a.y <= pair.b.y ? [pair.a, pair.b] : [pair.b, pair.a]
  const middle = (box: Box) => box.x + box.width / 2
  // Towards the other end, so that several links of one card do not share a point.
  const lean = Math.max(-1, Math.min(1, (middle(lower) - middle(upper)) / 400))
  return {
    upper, lower,
    x1: middle(upper) + lean * upper.width * 0.32,
    x2: middle(lower) - lean * lower.width * 0.32,
    isLevel: upper.y === lower.y,
  }
}
function LinkLine({ pair, isDim }: { pair: Pair; isDim: boolean }) {
  const { upper, lower, x1, x2, isLevel } = ends(pair)
  const mbps = Math.max(pair.there?.spec.bandwidthMbps ?? 0, pair.back?.spec.bandwidthMbps ?? 0)
  const isPriced = (pair.there?.spec.egressPerGB ?? 0) > 0 || (pair.back?.spec.egressPerGB ?? 0) > 0
  const y1 = upper.y + cardHeight
  const y2 = isLevel ? lower.y + cardHeight : lower.y
  const bend = isLevel ? 34 : Math.max(30, (y2 - y1) / 2)
  const path = isLevel
    ? `M${x1} ${y1} C${x1} ${y1 + bend} ${x2} ${y2 + bend} ${x2} ${y2}`
    : `M${x1} ${y1} C${x1} ${y1 + bend} ${x2} ${y2 - bend} ${x2} ${y2}`
  return (
    <path class={`link${isPriced ? ' priced' : ''}${isDim ? ' dim' : ''}`} d={path} stroke-width={1 + Math.log10(1 + mbps / 50)}>
      <title>{`${pair.a.site.metadata.name} – ${pair.b.site.metadata.name}: ${describe(pair)}`}</title>
    </path>
  )
}

function describe(pair: Pair): string {
  const links = [pair.there, pair.back].filter((link): link is Link => link !== undefined)
  const mbps = Math.max(...links.map((link) => link.spec.bandwidthMbps))
  const rtt = Math.max(...links.map((link) => link.status?.measuredRttMs || link.spec.rttMs || 0))
  const price = Math.max(...links.map((link) => link.spec.egressPerGB ?? 0))
  const currency = siteFeed.items.value[0]?.spec.currency ?? 'USD'
  const parts = [bandwidth(mbps), `${number(rtt, 1)} ms`]
  if (price > 0) parts.push(`${money(price, currency, true)}/GB`)
  return parts.join(' · ')
}

// At the middle of each line, moved along it while it would lie on another label.
function placeLabels(pairs: Pair[], boxes: Box[], width: number) {
  const placed: { key: string; x: number; y: number; width: number; text: string }[] = []
  for (const pair of pairs) {
    const { upper, lower, x1, x2, isLevel } = ends(pair)
    const text = describe(pair)
    const labelWidth = text.length * 6.3 + 20
    const isFree = (x: number, y: number) =>
      x - labelWidth / 2 >= 0 && x + labelWidth / 2 <= width &&
      placed.every((other) => Math.abs(other.x - x) > (other.width + labelWidth) / 2 + 4 || Math.abs(other.y - y) > 22) &&
      boxes.every((box) => x + labelWidth / 2 < box.x || x - labelWidth / 2 > box.x + box.width || y + 10 < box.y || y - 10 > box.y + cardHeight)
    let best = { x: (x1 + x2) / 2, y: isLevel ? upper.y + cardHeight + 26 : (upper.y + cardHeight + lower.y) / 2 }
    if (!isLevel) {
      const y1 = upper.y + cardHeight
      const y2 = lower.y
      for (const at of [0.5, 0.38, 0.62, 0.28, 0.72, 0.2, 0.8]) {
        const s = 3 * at * at - 2 * at * at * at // the curve's course between its ends
        const spot = { x: x1 + (x2 - x1) * s, y: y1 + (y2 - y1) * at }
        if (isFree(spot.x, spot.y)) {
          best = spot
          break
        }
      }
    }
    best.x = Math.max(labelWidth / 2, Math.min(width - labelWidth / 2, best.x))
    placed.push({ key: pair.key, ...best, width: labelWidth, text })
  }
  return placed
}

function SiteCard(props: { box: Box; isChosen: boolean; onChoose: () => void }) {
  const { site, x, y, width } = props.box
  const name = site.metadata.name
  const sum = siteSums.value.get(name) ?? emptySum()
  const share = shareOf(sum.held.cores, sum.has.cores)
  const nodes = sum.nodes || site.status?.nodes || 0
  const ready = sum.nodes ? sum.ready : (site.status?.nodesReady ?? 0)
  const detail = [site.spec.jurisdiction, site.spec.provider].filter(Boolean).join(' · ')
  const fits = Math.floor((width - 60) / 7.6)
  const onKey = (event: KeyboardEvent) => {
    if (event.key !== 'Enter' && event.key !== ' ') return
    event.preventDefault()
    props.onChoose()
  }
  return (
    <g
      class={`site-card ${site.spec.tier}${props.isChosen ? ' chosen' : ''}`}
      transform={`translate(${x} ${y})`}
      role="button"
      // SVG attributes keep their case: tabIndex would be another one.
      tabindex={0}
      aria-pressed={props.isChosen}
      aria-label={`${name}, ${word('tier', site.spec.tier)}, ${t('overview.ready', { a: ready, b: nodes })}, ${t('overview.cores')} ${percent(share)}`}
      onClick={props.onChoose}
      onKeyDown={onKey}
      data-fact="site"
      data-name={name}
      data-tier={site.spec.tier}
      data-ready={ready}
      data-nodes={nodes}
    >
      <title>{`${name} · ${detail}`}</title>
      <rect class="card" width={width} height={cardHeight} rx={10} />
      <rect class="stripe" width={4} height={cardHeight - 20} x={0} y={10} rx={2} />
      <text class="name" x={16} y={24}>
        {name.length > fits ? `${name.slice(0, fits - 1)}…` : name}
      </text>
      <text class="detail" x={16} y={41}>
        {detail}
      </text>
      <text class={`ready${ready < nodes || nodes === 0 ? ' short' : ''}`} x={width - 12} y={24}>
        {ready}/{nodes}
      </text>
      <rect class="track" x={16} y={50} width={width - 28} height={4} rx={2} />
      <rect class="fill" x={16} y={50} width={Math.max(0, Math.min(1, share)) * (width - 28)} height={4} rx={2} />
    </g>
  )
}
