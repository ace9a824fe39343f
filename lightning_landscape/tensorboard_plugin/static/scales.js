// Scales from values to positions and to colours.

import { clamp, extent, finite, number } from "./numbers.js";

/** Return a linear scale from the range [a, b] to the range [c, d], with round numbers as ticks. */
export function linear([a, b], [c, d]) {
  const scale = (value) => c + ((value - a) * (d - c)) / (b - a || 1);
  scale.invert = (position) => a + ((position - c) * (b - a)) / (d - c || 1);
  const step = (b - a || 1) / 5, size = 10 ** Math.floor(Math.log10(step));
  const nice = [1, 2, 5, 10].map((one) => one * size).find((one) => one >= step * 0.999) || step;
  scale.ticks = [];
  for (let tick = Math.ceil(a / nice - 1e-9) * nice; tick <= b + 1e-9 * nice; tick += nice) {
    scale.ticks.push(Math.abs(tick) < 1e-9 * nice ? 0 : tick);
  }
  const digits = Math.max(0, -Math.floor(Math.log10(nice) + 1e-9));
  scale.label = (tick) => (digits > 4 || nice >= 1e6 ? number(tick) : tick.toFixed(digits).replace("-", "−"));
  return scale;
}

/** Return a logarithmic scale; its ticks are powers of ten, or 1, 2 and 5 times these if the range is short. */
export function logarithmic([a, b], range) {
  const inner = linear([Math.log10(a), Math.log10(b)], range);
  const scale = (value) => inner(Math.log10(value));
  const first = Math.ceil(Math.log10(a) - 1e-9), last = Math.floor(Math.log10(b) + 1e-9);
  const every = Math.max(1, Math.ceil((last - first + 1) / 5));
  scale.ticks = [];
  for (let power = first; power <= last; power += every) scale.ticks.push(10 ** power);
  if (scale.ticks.length < 2) {
    scale.ticks = [1, 2, 5].flatMap((one) => [first - 1, first, last].map((power) => one * 10 ** power))
      .filter((tick, i, all) => tick >= a * 0.999 && tick <= b * 1.001 && all.indexOf(tick) === i);
  }
  scale.label = number;
  scale.logarithmic = true;
  return scale;
}

/** Return a scale for losses: logarithmic if all are positive and the highest is over 30 times the lowest. */
export function lossScale(values, range) {
  const [low, high] = extent(values);
  if (low > 0 && high > 30 * low) {
    const pad = (high / low) ** 0.05;
    return logarithmic([low / pad, high * pad], range);
  }
  const least = 1e-4 * Math.max(Math.abs(low), Math.abs(high)) || 1;
  const span = Math.max(high - low, least), middle = (low + high) / 2;
  return linear([middle - 0.54 * span, middle + 0.56 * span], range);
}

/**
 * Return the lowest of these losses, and the highest one that a few peaks do not decide: at most twice as far above
 * the lowest as 98% of them.
 */
export function withoutPeaks(losses) {
  const sorted = finite(losses).sort((a, b) => a - b);
  if (!sorted.length) return [];
  const low = sorted[0], usual = sorted[Math.floor(0.98 * (sorted.length - 1))];
  return [low, Math.min(sorted[sorted.length - 1], low + 2 * Math.max(usual - low, 1e-12 * Math.abs(usual)))];
}

/**
 * Return the values without single peaks: those that are further from all medians of three neighbours than these are
 * from each other, if the range of all is `most` times as large as that of the medians.
 */
export function calm(values, most) {
  const known = finite(values), [low, high] = extent(known);
  const medians = known.map((_, i) => {
    const first = clamp(i - 1, 0, Math.max(0, known.length - 3));
    return known.slice(first, first + 3).sort((a, b) => a - b)[Math.min(1, known.length - 1)];
  });
  const [bottom, top] = extent(medians), reach = top - bottom;
  if (!(reach > 0 && high - low > most * reach)) return known;
  return known.filter((value) => value >= bottom - reach && value <= top + reach);
}

/**
 * Return a scale that is logarithmic in both directions from 0, and linear up to `threshold`; its ticks are 0 and
 * powers of ten.
 */
export function symmetricLog([a, b], range, threshold) {
  const bent = (value) => Math.sign(value) * Math.log10(1 + Math.abs(value) / threshold);
  const inner = linear([bent(a), bent(b)], range), scale = (value) => inner(bent(value));
  const powers = [];
  for (let power = Math.ceil(Math.log10(threshold) - 1e-9); 10 ** power <= Math.max(-a, b) * 1.001; power++) powers.push(10 ** power);
  const kept = powers.filter((_, i) => (powers.length - 1 - i) % Math.max(1, Math.ceil(powers.length / 3)) === 0);
  scale.ticks = [...kept.map((size) => -size).reverse(), 0, ...kept].filter((tick) => tick >= a * 1.001 && tick <= b * 1.001);
  scale.label = number;
  return scale;
}

/** Return a function from a loss to its position; null where there is none, as for 0 on a logarithmic scale. */
export const positionOn = (scale) => (value) => (
  value == null || !Number.isFinite(value) || (scale.logarithmic && value <= 0) ? null : scale(value));

const VIRIDIS = ["440154", "482878", "3e4a89", "31688e", "26828e", "1f9e89", "35b779", "6ece58", "b5de2b", "fde725"]
  .map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));

/** Return the colour [red, green, blue] of a share in [0, 1]. */
export const viridis = (share) => {
  const place = clamp(share, 0, 1) * (VIRIDIS.length - 1), i = Math.min(Math.floor(place), VIRIDIS.length - 2);
  return VIRIDIS[i].map((from, k) => Math.round(from + (VIRIDIS[i + 1][k] - from) * (place - i)));
};
