import { effect } from '@preact/signals'
import { language } from '../preferences'
import { en } from './en'
import { zh } from './zh'

export type Key = keyof typeof en
const dictionaries: Record<'en' | 'zh', Record<Key, string>> = { en, zh }

// The text of a key, with {name} replaced.
export function t(key: Key, values: Record<string, string | number> = {}): string {
  return dictionaries[language.value][key].replace(/\{(\w+)\}/g, (whole, name: string) =>
    name in values ? String(values[name]) : whole,
  )
}
// Words of the API (phases, codes, kinds): translated where known, as they are otherwise.
export function word(group: string, value: string | undefined): string {
  if (!value) return '–'
  const key = `${group}.${value}` as Key
  return dictionaries[language.value][key] ?? value
}
export function locale(): string {
  return language.value === 'zh' ? 'zh-CN' : 'en-GB'
}
effect(() => {
  document.documentElement.lang = language.value === 'zh' ? 'zh-CN' : 'en'
})
