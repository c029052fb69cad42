/** Where values lie along an axis, and at which round values it is marked. */

export interface Scale {
  /** @returns the coordinate of a value; values outside are put at the edge */
  readonly place: (value: number) => number
  readonly ticks: readonly number[]
  readonly min: number
  readonly max: number
}

/** @param wanted about so many ticks */
export function linearScale(min: number, max: number, from: number, to: number, wanted = 6): Scale {
  const end = max > min ? max : min + 1
  const place = (value: number): number =>
    from + ((Math.min(end, Math.max(min, value)) - min) / (end - min)) * (to - from)
  return { place, ticks: ticksBetween(min, end, wanted), min, max: end }
}

/** For values over decades; what is not positive goes to the lower edge. */
export function logScale(min: number, max: number, from: number, to: number): Scale {
  const low = min > 0 ? min : 1e-3
  const high = max > low ? max : low * 10
  const [a, b] = [Math.log10(low), Math.log10(high)]
  const place = (value: number): number =>
    from + ((Math.log10(Math.min(high, Math.max(low, value))) - a) / (b - a)) * (to - from)
  return { place, ticks: logTicks(low, high), min: low, max: high }
}

function logTicks(low: number, high: number): number[] {
  const decades = Math.log10(high / low)
  // Room for a mark at every 1, 2 and 5 up to three decades; beyond eight, not even at each decade.
  const factors = decades <= 3 ? [1, 2, 5] : [1]
  const every = Math.max(1, Math.ceil(decades / 8))
  const ticks: number[] = []
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += every) {
    for (const factor of factors) {
      const value = Number((factor * 10 ** power).toPrecision(3))
      if (value >= low * 0.999 && value <= high * 1.001) ticks.push(value)
    }
  }
  return ticks
}

/** The power of ten at or below, and at or above: where a logarithmic axis best begins and ends. */
export function decadesAround(min: number, max: number): [number, number] {
  const low = 10 ** Math.floor(Math.log10(min) + 1e-9)
  const high = 10 ** Math.ceil(Math.log10(max) - 1e-9)
  return [low, Math.max(high, low * 10)]
}

/** 1, 2 or 5 times a power of ten, so that about `wanted` steps cover the span. */
export function roundStep(span: number, wanted: number): number {
  const rough = span / Math.max(1, wanted)
  const power = 10 ** Math.floor(Math.log10(rough))
  return ([1, 2, 5].find((factor) => factor * power >= rough * (1 - 1e-9)) ?? 10) * power
}

/** Round values within the span. */
export function ticksBetween(min: number, max: number, wanted = 6): number[] {
  const step = roundStep(max - min, wanted)
  const ticks: number[] = []
  for (let n = Math.ceil(min / step - 1e-9); n * step <= max + step * 1e-9; n++) {
    ticks.push(Number((n * step).toPrecision(12)))
  }
  return ticks
}

/** The end of an axis that begins at 0 and is to hold `max`, and ends at a tick. */
export function roundEnd(max: number, wanted = 6): number {
  if (!(max > 0)) return 1
  const step = roundStep(max, wanted)
  return Number((Math.ceil(max / step - 1e-9) * step).toPrecision(12))
}

/** A number as short as a tick or a tip wants it. */
export function short(value: number): string {
  const size = Math.abs(value)
  if (size >= 1e9) return `${significant(value / 1e9)} G`
  if (size >= 1e6) return `${significant(value / 1e6)} M`
  if (size >= 1e4) return `${significant(value / 1e3)} k`
  if (size >= 1000) return value.toLocaleString('en-US', { maximumFractionDigits: 0 })
  return significant(value)
}

function significant(value: number): string {
  return value.toLocaleString('en-US', { maximumSignificantDigits: 3 })
}

/** The unit in which a person would count so long a time. */
export interface TimeUnit {
  readonly unit: 'ms' | 's' | 'min' | 'h'
  readonly ms: number
}

export function timeUnitFor(ms: number): TimeUnit {
  if (ms >= 5 * 3_600_000) return { unit: 'h', ms: 3_600_000 }
  if (ms > 300_000) return { unit: 'min', ms: 60_000 }
  if (ms >= 2000) return { unit: 's', ms: 1000 }
  return { unit: 'ms', ms: 1 }
}

/** A time with its unit. */
export function shortTime(ms: number): string {
  const { unit, ms: one } = timeUnitFor(ms)
  return `${short(ms / one)} ${unit}`
}
