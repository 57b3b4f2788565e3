// Lists of any length: only the rows in view exist.
import { elementScroll, observeElementOffset, observeElementRect, Virtualizer } from '@tanstack/virtual-core'
import type { ComponentChildren } from 'preact'
import { useLayoutEffect, useReducer, useRef } from 'preact/hooks'

export function VirtualTable<T>(props: {
  label: string
  heads: ComponentChildren[]
  // CSS grid tracks, shared by head and rows.
  tracks: string
  rows: readonly T[]
  rowHeight: number
  heightMax: number
  keyOf: (row: T) => string
  cells: (row: T) => ComponentChildren[]
  facts?: (row: T) => { [key: `data-${string}`]: string | undefined }
}) {
  const scroller = useRef<HTMLDivElement>(null)
  const [, redraw] = useReducer((n: number) => n + 1, 0)
  const held = useRef<Virtualizer<HTMLDivElement, Element> | null>(null)
  const options = {
    count: props.rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => props.rowHeight,
    overscan: 8,
    scrollToFn: elementScroll,
    observeElementRect,
    observeElementOffset,
    onChange: () => redraw(0),
  }
  held.current ??= new Virtualizer<HTMLDivElement, Element>(options)
  const virtual = held.current
  virtual.setOptions(options)
  useLayoutEffect(() => virtual._didMount(), [])
  useLayoutEffect(() => virtual._willUpdate())

  const height = Math.min(props.heightMax, props.rows.length * props.rowHeight)
  return (
    <div class="virtual" role="table" aria-label={props.label} aria-rowcount={props.rows.length + 1}>
      <div class="virtual-scroll" ref={scroller} tabIndex={0} style={{ maxHeight: `${height + 40}px` }}>
        <div class="virtual-row virtual-head" role="row" aria-rowindex={1} style={{ gridTemplateColumns: props.tracks }}>
          {props.heads.map((head, i) => (
            <div key={i} role="columnheader">
              {head}
            </div>
          ))}
        </div>
        <div class="virtual-body" role="rowgroup" style={{ height: `${virtual.getTotalSize()}px` }}>
          {virtual.getVirtualItems().map((item) => {
            const row = props.rows[item.index]
            if (row === undefined) return null
            return (
              <div
                key={props.keyOf(row)}
                class="virtual-row"
                role="row"
                aria-rowindex={item.index + 2}
                style={{
                  gridTemplateColumns: props.tracks,
                  height: `${props.rowHeight}px`,
                  transform: `translateY(${item.start}px)`,
                }}
                {...props.facts?.(row)}
              >
                {props.cells(row).map((cell, i) => (
                  <div key={i} role="cell">
                    {cell}
                  </div>
                ))}
              </div>
            )
          })}
        </div>
      </div>
    </div>
  )
}
