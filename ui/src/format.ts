// Quantities of the API to numbers, and numbers to what people read in their language.
import { locale, t } from './i18n'

const suffixes: Record<string, number> = {
  m: 1e-3, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15,
  Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, Pi: 2 ** 50,
}
// The Kubernetes grammar; 0 for what is absent or not a quantity.
export function quantity(text: string | number | undefined): number {
  if (typeof text === 'number') return text
  const match = /^([0-9.]+(?:[eE][+-]?[0-9]+)?)([a-zA-Z]*)$/.exec(text ?? '')
  if (!match) return 0
  const scale = match[2] ? suffixes[match[2]] : 1
  return scale === undefined ? 0 : Number(match[1]) * scale
}

export function bytes(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
  let i = 0
  while (value >= 1024 && i < units.length - 1) {
    value /= 1024
    i++
  }
  return `${number(value, i === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2)} ${units[i]}`
}
export function number(value: number, digitsMax = 0): string {
  return new Intl.NumberFormat(locale(), { maximumFractionDigits: digitsMax }).format(value)
}
export function percent(share: number, digits = 0): string {
  return new Intl.NumberFormat(locale(), { style: 'percent', maximumFractionDigits: digits }).format(share)
}
export function bandwidth(mbps: number): string {
  return mbps >= 1000 ? `${number(mbps / 1000, 1)} Gbit/s` : `${number(mbps)} Mbit/s`
}

// All six decimals of an amount in millionths, or as few as say the same when `isShort`.
export function money(micros: bigint | number, currency: string, isShort = false): string {
  const exact = BigInt(micros)
  const sign = exact < 0n ? '-' : ''
  const whole = exact < 0n ? -exact : exact
  const decimal = `${sign}${whole / 1_000_000n}.${String(whole % 1_000_000n).padStart(6, '0')}`
  const format = (code: string) =>
    new Intl.NumberFormat(locale(), {
      style: 'currency',
      currency: code,
      currencyDisplay: 'narrowSymbol',
      minimumFractionDigits: isShort ? 2 : 6,
      maximumFractionDigits: 6,
    }).format(decimal as unknown as number)
  try {
    return format(currency)
  } catch {
    return `${decimal} ${currency}`
  }
}
// "0.021000" of an explanation.
export function decimalMoney(text: string, currency: string): string {
  const match = /^(-?)(\d+)(?:\.(\d{1,6}))?$/.exec(text)
  if (!match) return `${text} ${currency}`
  const micros = BigInt(match[2]!) * 1_000_000n + BigInt((match[3] ?? '').padEnd(6, '0'))
  return money(match[1] ? -micros : micros, currency, true)
}

export function seconds(value: number): string {
  if (value < 1) return `${number(value * 1000)} ms`
  if (value < 10) return t('time.s', { s: number(value, 1) })
  const s = Math.round(value)
  if (s < 60) return t('time.s', { s })
  if (s < 3600) return t('time.m', { m: Math.floor(s / 60), s: s % 60 })
  if (s < 172800) return t('time.h', { h: Math.floor(s / 3600), m: Math.floor((s % 3600) / 60) })
  return t('time.d', { d: number(s / 86400, 1) })
}
export function between(from: string | undefined, to: string | undefined): string {
  if (!from) return ''
  return seconds((instant(to) - instant(from)) / 1000)
}
// Milliseconds since the epoch; now when absent.
export function instant(time: string | undefined): number {
  const parsed = time ? Date.parse(time) : NaN
  return Number.isNaN(parsed) ? Date.now() : parsed
}
export function clock(time: string | number | undefined): string {
  if (time === undefined || time === '') return '–'
  const date = new Date(time)
  if (Number.isNaN(date.getTime())) return String(time)
  const isToday = date.toDateString() === new Date().toDateString()
  return new Intl.DateTimeFormat(locale(), {
    ...(isToday ? {} : { month: 'short', day: 'numeric' }),
    hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false,
  }).format(date)
}
export function shortDigest(digest: string | undefined): string {
  if (!digest) return '–'
  const hex = digest.replace(/^sha256:/, '')
  return hex.length > 14 ? `${hex.slice(0, 12)}…` : hex
}
export function metric(value: unknown): string {
  if (typeof value === 'number') return Number.isInteger(value) ? number(value) : number(value, 4)
  if (value === null || value === undefined) return '–'
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}
