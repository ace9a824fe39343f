// The curvature: the loss along its smallest direction, its spectrum, and the smallest and the largest by step.

import { axes, captionOf, explore, figure, path, TALLER } from "./chart.js";
import { s } from "./elements.js";
import { count, extent, finite, nearest, number, percent } from "./numbers.js";
import { linear, logarithmic, symmetricLog } from "./scales.js";

/** Return the figure of the latest density of eigenvalues; null if there is none. */
export function spectrumFigure(spectra) {
  if (!Array.isArray(spectra) || !spectra.length) return null;
  const latest = spectra.at(-1), { step, nodes: values, weights } = latest;
  const margin = { left: 52, right: 12, top: 26, bottom: 40 };
  return figure("Spectrum of the Hessian", (width) => {
    const height = TALLER;
    const [low, high] = extent(values), pad = 0.05 * (high - low || 1);
    const x = linear([Math.min(low, 0) - pad, Math.max(high, 0) + pad], [margin.left, width - margin.right]);
    const least = Math.max(1e-12, Math.min(...finite(weights).filter((weight) => weight > 0)));
    const y = logarithmic([least / 2, Math.max(...weights) * 1.6], [height - margin.bottom, margin.top]);
    const { root, inside } = axes(width, height, { x, y }, { x: "curvature", y: "share of the directions" }, margin);
    inside.append(s("line", { class: "chord", x1: x(0), x2: x(0), y1: margin.top, y2: height - margin.bottom }));
    values.forEach((value, i) => {
      if (weights[i] > 0) inside.append(s("line", { class: value < 0 ? "stem down" : "stem", x1: x(value), x2: x(value), y1: height - margin.bottom, y2: y(weights[i]) }), s("circle", { class: value < 0 ? "dot down" : "dot", cx: x(value), cy: y(weights[i]), r: 3 }));
    });
    const xs = values.map(x);
    return { nodes: [explore(root, "Spectrum of the Hessian", {
      columns: values.length, place: (i) => [xs[i], y(Math.max(weights[i], least))], locate: (px) => [nearest(xs, px), 0],
      mark: (i, _, px, py) => [s("circle", { class: "ring", cx: px, cy: py, r: 6 })],
      describe: (i) => [`curvature ${number(values[i])}`, `${percent(weights[i])} of the directions`],
    })], title: captionOf(latest).title, details: [`step ${count(step)}`, ...captionOf(latest).details],
      rows: () => [["curvature", "share of the directions"], ...values.map((value, i) => [value, weights[i]])] };
  });
}

/** Return the figure of the smallest and the largest eigenvalue; null if there are none. */
export function endsFigure(ends) {
  if (!Array.isArray(ends) || !ends.length) return null;
  const margin = { left: 52, right: 8, top: 26, bottom: 40 };
  return figure("Smallest and largest curvature", (width) => {
    const height = TALLER;
    const steps = ends.map((end) => end.step), spread = extent([0, ...ends.flatMap((end) => [end.lambda_min, end.lambda_max])]);
    const x = linear([Math.min(0, steps[0]), steps[steps.length - 1] || 1], [margin.left, width - margin.right]);
    x.label = count;
    const y = linear([spread[0] - 0.06 * (spread[1] - spread[0]), spread[1] + 0.08 * (spread[1] - spread[0])], [height - margin.bottom, margin.top]);
    const { root, inside } = axes(width, height, { x, y }, { x: "optimizer step", y: "eigenvalue λ" }, margin);
    inside.append(s("line", { class: "chord", x1: margin.left, x2: width - margin.right, y1: y(0), y2: y(0) }));
    for (const [name, look] of [["lambda_max", ""], ["lambda_min", " down"]]) {
      inside.append(s("path", { class: `line${look}`, d: path(steps.map(x), ends.map((end) => (end[name] == null ? null : y(end[name])))) }));
      ends.forEach((end) => end[name] != null && inside.append(s("circle", { class: `dot${look}`, cx: x(end.step), cy: y(end[name]), r: 3 })));
    }
    const xs = steps.map(x), last = ends[ends.length - 1];
    return { nodes: [explore(root, "Smallest and largest curvature by step", {
      columns: ends.length, place: (i) => [xs[i], y(ends[i].lambda_max ?? 0)], locate: (px) => [nearest(xs, px), 0],
      mark: (i, _, px) => [s("line", { x1: px, x2: px, y1: margin.top, y2: height - margin.bottom })],
      describe: (i) => [`step ${count(steps[i])}`, `λ max ${number(ends[i].lambda_max)}`, `λ min ${number(ends[i].lambda_min)}`],
    })], details: [`at step ${count(last.step)} from ${number(last.lambda_min)} to ${number(last.lambda_max)}`],
      rows: () => [["step", "smallest eigenvalue", "largest eigenvalue"], ...ends.map((end) => [end.step, end.lambda_min, end.lambda_max])] };
  });
}

/** Return the figure of the loss along the direction of smallest curvature, of the latest step that has it; or null. */
export function descentFigure(ends) {
  const latest = Array.isArray(ends) ? ends.findLast((end) => end.descent) : null;
  if (!latest) return null;
  const { distances, losses, held_out: others } = latest.descent, here = distances.indexOf(0);
  const series = [["batches it was found on", losses, ""], ["other batches", others, " down"]].filter(([, values]) => values)
    .map(([name, values, look]) => ({ name, look, changes: values.map((loss) => (loss == null || values[here] == null ? null : loss - values[here])) }));
  const margin = { left: 60, right: 8, top: 26, bottom: 40 };
  return figure("Loss along the direction of smallest curvature", (width) => {
    const bottom = TALLER - margin.bottom, [low, high] = extent([0, ...series.flatMap(({ changes }) => changes)]), span = high - low || 1;
    const x = symmetricLog([distances[0], distances.at(-1)], [margin.left, width - margin.right], Math.min(...distances.filter(Boolean).map(Math.abs)));
    const y = linear([low - 0.06 * span, high + 0.08 * span], [bottom, margin.top]);
    const { root, inside } = axes(width, TALLER, { x, y }, { x: "distance from the present weights", y: "change of the loss" }, margin);
    inside.append(s("line", { class: "chord", x1: x(0), x2: x(0), y1: margin.top, y2: bottom }), s("line", { class: "chord", x1: margin.left, x2: width - margin.right, y1: y(0), y2: y(0) }));
    for (const { changes, look } of series) {
      const ys = changes.map((change) => (change == null ? null : y(change)));
      inside.append(s("path", { class: `line${look}`, d: path(distances.map(x), ys) }),
        ...distances.map((distance, i) => ys[i] != null && s("circle", { class: `dot${look}`, cx: x(distance), cy: ys[i], r: 3 })).filter(Boolean));
    }
    const xs = distances.map(x);
    const stage = explore(root, "Loss along the direction of smallest curvature", {
      columns: distances.length, start: Math.max(0, here), place: (i) => [xs[i], y(series[0].changes[i] ?? 0)], locate: (px) => [nearest(xs, px), 0],
      mark: (i, _, px) => [s("line", { x1: px, x2: px, y1: margin.top, y2: bottom })],
      describe: (i) => [`distance ${number(distances[i])}`, ...series.map(({ name, changes }) => `${changes[i] == null ? "not finite" : number(changes[i])} on ${name}`)],
    });
    return { title: captionOf(latest).title, details: [`step ${count(latest.step)}`, ...captionOf(latest).details], nodes: [stage],
      notes: ["blue: the batches it was found on", others && "red: other batches"],
      rows: () => [["distance", ...series.map(({ name }) => `change of the loss on ${name}`)], ...distances.map((distance, i) => [distance, ...series.map(({ changes }) => changes[i])])] };
  });
}
