// Cores in use over the time this page has been open, by tier. Bounded: the oldest sample goes.
import { useEffect, useRef } from 'preact/hooks'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { sites } from '../api/feeds'
import type { Tier } from '../api/types'
import { locale, t, word } from '../i18n'
import { isDark, language } from '../preferences'
import { nodeUses, siteSums } from '../usage'

const samplesMax = 1800
const intervalMilliseconds = 2000
const tiers: Tier[] = ['public', 'private', 'edge']
const samples: { time: number; cores: number[] }[] = []

function sample() {
  if (nodeUses.value.length === 0) return
  const cores = tiers.map(() => 0)
  for (const site of sites.items.value) {
    const at = tiers.indexOf(site.spec.tier)
    if (at >= 0) cores[at]! += siteSums.value.get(site.metadata.name)?.held.cores ?? 0
  }
  samples.push({ time: Date.now() / 1000, cores })
  if (samples.length > samplesMax) samples.shift()
}
setInterval(sample, intervalMilliseconds)

function columns(): uPlot.AlignedData {
  return [samples.map((s) => s.time), ...tiers.map((_, i) => samples.map((s) => s.cores[i]!))] as uPlot.AlignedData
}

export function History() {
  const holder = useRef<HTMLDivElement>(null)
  const dark = isDark()
  const chosenLanguage = language.value
  useEffect(() => {
    const element = holder.current
    if (!element) return
    if (samples.length === 0) sample()
    const style = getComputedStyle(document.documentElement)
    const color = (name: string) => style.getPropertyValue(name).trim()
    const axis = { stroke: color('--muted'), grid: { stroke: color('--line'), width: 1 }, ticks: { show: false }, font: '12px system-ui' }
    const clock = new Intl.DateTimeFormat(locale(), { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false })
    const plot = new uPlot(
      {
        width: element.clientWidth || 300,
        height: 220,
        legend: { show: false },
        cursor: { y: false },
        scales: { y: { range: (_, __, max) => [0, Math.max(1, max * 1.15)] } },
        axes: [
          { ...axis, space: 90, values: (_, ticks) => ticks.map((tick) => clock.format(tick * 1000)) },
          { ...axis, size: 40 },
        ],
        series: [
          {},
          ...tiers.map((tier) => ({
            label: tier, stroke: color(`--${tier}`), width: 2, points: { show: false },
            paths: uPlot.paths.stepped!({ align: 1 }),
          })),
        ],
      },
      columns(),
      element,
    )
    const timer = setInterval(() => plot.setData(columns()), intervalMilliseconds)
    const observer = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: 220 }))
    observer.observe(element)
    return () => {
      clearInterval(timer)
      observer.disconnect()
      plot.destroy()
    }
  }, [dark, chosenLanguage])
  return (
    <>
      <div class="chart" ref={holder} role="img" aria-label={t('overview.history')} />
      <div class="legend small">
        {tiers.map((tier) => (
          <span key={tier}>
            <i class={`swatch ${tier}`} /> {word('tierlong', tier)}
          </span>
        ))}
      </div>
    </>
  )
}
