// Validation and the declared metrics of a run, beside or below its training loss.

import { axes, captionOf, clipped, cross, explore, figure, path } from "./chart.js";
import { s } from "./elements.js";
import { clamp, count, ending, extent, finite, nearest, number, plural } from "./numbers.js";
import { spread } from "./overlay.js";
import { linear, logarithmic, lossScale, positionOn, withoutPeaks } from "./scales.js";
import { shownRange, wholeRun, zoomable } from "./zoom.js";

const FIRST_PANEL = 158, OTHER_PANEL = 100, OVER_PANEL = 24, UNDER_PANELS = 40, LABEL_ROOM = 18, LETTER = 6.1;
const LOG_FROM = 30;  // ratio of the highest to the lowest value above which an axis is logarithmic
const DOTTED = 40;  // values up to which each has a dot
const TRAINING = "training loss";

/** Return the values of a curve at the steps of the range; all values if fewer than two are there. */
const valuesWithin = (steps, values, [from, to]) => {
  const inside = values.filter((_, i) => steps[i] >= from && steps[i] <= to);
  return finite(inside).length > 1 ? inside : values;
};

/** Return the scale of a panel, with room for the labels above and below its curves. */
function panelScale(panel, course, memory, range, [bottom, top]) {
  const own = panel.metrics.flatMap(({ steps, values }) => valuesWithin(steps, values, range));
  const stopped = (mode) => panel.metrics.some((metric) => metric.mode === mode && metric.since_words);
  const best = (mode) => panel.metrics.some((metric) => metric.mode === mode && metric.best);
  const ends = [bottom - LABEL_ROOM * (best("min") || stopped("max")), top + LABEL_ROOM * (best("max") || stopped("min")) * !panel.training];
  if (panel.training) return lossScale([...own, ...withoutPeaks(valuesWithin(course.curve.step, course.curve.loss, range))], ends);
  const [low, high] = memory.range || !panel.frame ? extent(own) : panel.frame;
  if (low > 0 && high > LOG_FROM * low) return logarithmic([low, high], ends);
  const pad = 0.04 * (high - low) || 0.05 * Math.abs(high) || 1, scale = linear([low - pad, high + pad], ends), plain = scale.label;
  scale.label = (tick) => (Math.abs(tick) >= 1000 && Math.abs(tick) < 1e6 ? count(tick).replace("-", "−") : plain(tick));
  scale.ticks = scale.ticks.filter((_, i, all) => all.length < 5 || i % 2 === all.length % 2);
  return scale;
}

/** Draw where a metric has not clearly improved, and its best value, with their labels. */
function marksOf(metric, k, x, position, [left, right, top, bottom]) {
  const low = metric.mode === "min", marks = [];
  if (metric.since_words) {
    const at = clamp(x(metric.since), left, right), leftwards = at > (left + right) / 2;
    marks.push(s("rect", { class: "stopped", x: at, y: top, width: right - at, height: bottom - top }),
      s("line", { class: "since", x1: at, x2: at, y1: top, y2: bottom }),
      s("text", { class: "mark", x: at + (leftwards ? -6 : 6), y: low ? top + 11 + 14 * k : bottom - 6 - 14 * k,
        "text-anchor": leftwards ? "end" : "start" }, metric.since_words));
  }
  const at = metric.best && position(metric.best[1]), px = metric.best && x(metric.best[0]);
  if (at != null && px >= left && px <= right + 1) {
    const half = 0.5 * 5.8 * metric.best_words.length;
    marks.push(s("circle", { class: "best", cx: px, cy: at, r: 4 }),
      s("text", { class: "mark", x: clamp(px, left + half, Math.max(left + half, right - half)), y: low ? at + 17 : at - 9, "text-anchor": "middle" },
        metric.best_words));
  }
  return marks;
}

/** Return the figure of the metrics; null if the record holds none. */
export function metricFigure(record, course, memory, shared) {
  if (!record.panels?.length) return null;
  const metrics = record.panels.flatMap((panel) => panel.metrics), chosen = memory.metrics ??= {};
  const look = new Map(metrics.map((metric, k) => [metric, `metric of${k % 4}`]));
  const places = [...new Set(metrics.flatMap(({ steps }) => steps))].sort((a, b) => a - b);
  const { step: steps, loss } = course?.curve ?? { step: [], loss: [] };
  const node = figure("Validation and metrics", (width) => {
    const named = record.panels.filter(({ training, metrics: beside }) => training && beside.length).flatMap((panel) => panel.metrics.map(({ name }) => name));
    const widest = LETTER * Math.max(...[TRAINING, ...named].map((name) => name.length)) + 12;
    const left = 52, right = width - (named.length ? clamp(widest, 60, Math.min(200, 0.3 * width)) : 8);
    const whole = shared?.steps ?? extent([0, 1, ...steps, ...places]), range = shownRange(chosen, whole), x = linear(range, [left, right]);
    x.label = count;
    const bare = Object.assign((step) => x(step), { ticks: [] }), heights = record.panels.map((_, i) => (i ? OTHER_PANEL : FIRST_PANEL));
    const height = heights.reduce((sum, panel) => sum + panel + OVER_PANEL, UNDER_PANELS);
    const root = s("svg", { width, height, viewBox: `0 0 ${width} ${height}` }), spots = new Map();
    let start = 0;
    record.panels.forEach((panel, i) => {
      const isLast = i === record.panels.length - 1, top = OVER_PANEL, bottom = OVER_PANEL + heights[i];
      const y = panelScale(panel, course, chosen, range, [bottom, top]), position = positionOn(y);
      const drawn = axes(width, bottom + (isLast ? UNDER_PANELS : 0), { x: isLast ? x : bare, y }, { x: isLast && "optimizer step" },
        { left, right: width - right, top, bottom: isLast ? UNDER_PANELS : 0 });
      drawn.root.setAttribute("y", start);
      const inside = [], tags = [];
      const add = (name, xs, ys, group) => {
        group.append(s("path", { class: "curve", d: path(xs, ys) }));
        const end = ys.findLastIndex((at, k) => at != null && xs[k] <= right + 1);
        if (end >= 0) tags.push([name, clamp(ys[end], top, bottom), group.getAttribute("class")]);
        inside.push(group);
      };
      if (panel.training) {
        const [xs, ys] = [steps.map(x), loss.map(position)], group = s("g", { class: "metric training" });
        if (steps.length < 3) group.append(...ys.map((at, k) => at != null && s("circle", { class: "value", cx: xs[k], cy: at, r: 3 })).filter(Boolean));
        add(TRAINING, xs, ys, group);
      }
      panel.metrics.forEach((metric, k) => {
        const [xs, ys] = [metric.steps.map(x), metric.values.map(position)], group = s("g", { class: look.get(metric) });
        if (xs.length <= DOTTED) group.append(...ys.map((at, j) => at != null && s("circle", { class: "value", cx: xs[j], cy: at, r: 2.4 })).filter(Boolean));
        group.append(...metric.values.map((value, j) => value == null && cross(xs[j], bottom)).filter(Boolean));
        add(metric.name, xs, ys, group);
        group.append(...marksOf(metric, k, x, position, [left, right, top, bottom]));
        spots.set(metric, (value) => start0 + clamp(position(value) ?? bottom, top, bottom));
      });
      const start0 = start;
      drawn.inside.append(clipped(left, top, right + 4, bottom + 1, ...inside));
      drawn.root.append(s("text", { class: `axis-name ${panel.training ? (panel.metrics.length ? "" : "metric training") : look.get(panel.metrics[0])}`, x: 0, y: top - 8 },
        ending(panel.axis, Math.max(8, Math.floor((panel.beyond ? 0.6 : 1) * (width / 6.4))))));
      if (panel.beyond && !chosen.range) drawn.root.append(s("text", { x: right, y: top - 8, "text-anchor": "end" }, panel.beyond));
      if (panel.training && panel.metrics.length) {
        const at = spread(tags.map(([, end]) => end), top, bottom);
        tags.forEach(([name, , group], k) => at[k] != null && drawn.root.append(
          s("text", { class: `tag-name ${group}`, x: right + 8, y: at[k] + 3.5 }, ending(name, Math.floor((width - right - 8) / LETTER)))));
      }
      root.append(drawn.root);
      start += bottom;
    });
    const valueAt = (metric, step) => { const k = metric.steps.indexOf(step); return k < 0 ? undefined : metric.values[k]; };
    const shown = places.filter((step) => step >= range[0] && step <= range[1]), stops = shown.length ? shown : places;
    const stage = explore(root, "Validation and metrics by optimizer step", {
      columns: stops.length,
      place: (i) => {
        const metric = metrics.find((one) => valueAt(one, stops[i]) != null);
        return [x(stops[i]), metric ? spots.get(metric)(valueAt(metric, stops[i])) : OVER_PANEL];
      },
      locate: (px) => (px > right + 4 ? null : [nearest(stops.map(x), px), 0]),
      mark: (i, _, px) => [s("line", { x1: px, x2: px, y1: OVER_PANEL, y2: start }),
        ...metrics.filter((metric) => valueAt(metric, stops[i]) != null)
          .map((metric) => s("circle", { cx: px, cy: spots.get(metric)(valueAt(metric, stops[i])), r: 3.5 }))],
      describe: (i) => [`step ${count(stops[i])}`,
        ...metrics.filter((metric) => valueAt(metric, stops[i]) !== undefined).map((metric) => {
          const value = valueAt(metric, stops[i]);
          return `${ending(metric.name, 30)}: ${number(value)}${metric.best?.[0] === stops[i] ? ", the best" : ""}`;
        }),
        steps.length > 0 && `${TRAINING}: ${number(loss[nearest(steps, stops[i])])}`],
    });
    zoomable(stage, root, { at: (px) => x.invert(px), area: [left, OVER_PANEL, right, start], whole, memory: chosen, redraw: node.redraw });
    return { ...captionOf(record), nodes: [stage, wholeRun(chosen, node.redraw)].filter(Boolean),
      notes: [chosen.range && `steps ${count(Math.round(range[0]))} to ${count(Math.round(range[1]))}`,
        metrics.some((metric) => metric.since_words) && "shaded: not clearly better", record.omitted > 0 && `${plural(record.omitted, "more metric")} not drawn`],
      rows: () => [["metric", "step", "value"], ...metrics.flatMap((metric) => metric.steps.map((step, i) => [metric.name, step, metric.values[i]])),
        ...steps.map((step, i) => [TRAINING, step, loss[i]])] };
  });
  return node;
}
