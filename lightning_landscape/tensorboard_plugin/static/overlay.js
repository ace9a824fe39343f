// The losses of several runs in one chart, each line with the name of its run.

import { axes, clipped, explore, figure, path } from "./chart.js";
import { s } from "./elements.js";
import { clamp, count, ending, extent, nearest, number } from "./numbers.js";
import { linear, lossScale, positionOn, withoutPeaks } from "./scales.js";
import { MARKS, present } from "./states.js";
import { shownRange, wholeRun, zoomable } from "./zoom.js";

const TALL = 340, COLOURS = 8, GAP = 14, IN_TOOLTIP = 9;

/** Return the ranges of the axes that show all of these runs, without single peaks. */
export function commonAxes(courses) {
  const limits = courses.flatMap(({ curve }) => withoutPeaks(curve.loss));
  return { steps: extent([0, 1, ...courses.flatMap(({ curve }) => [curve.step[0], curve.step.at(-1)])]), losses: limits };
}

/** Return the class of a line; each group of eight runs has another pattern. */
const look = (k) => `series colour${k % COLOURS} pattern${Math.floor(k / COLOURS) % 3}`;

/** Return the positions of labels that do not overlap, in the order of `wanted`; null for those that have no room. */
export function spread(wanted, top, bottom) {
  const room = Math.floor((bottom - top) / GAP) + 1;
  const placed = wanted.map((at, k) => ({ at, k })).slice(0, room).sort((a, b) => a.at - b.at);
  placed.forEach((label, i) => { label.at = Math.max(label.at, i ? placed[i - 1].at + GAP : top); });
  placed.toReversed().forEach((label, i, all) => { label.at = Math.min(label.at, i ? all[i - 1].at - GAP : bottom); });
  const positions = wanted.map(() => null);
  for (const { at, k } of placed) positions[k] = at;
  return positions;
}

/** Return the loss of a run at a step, from the nearest recorded point; null outside the run. */
function lossAt({ curve }, step) {
  if (step < curve.step[0] && step < 0) return null;
  if (step > curve.step.at(-1)) return null;
  return curve.loss[nearest(curve.step, step)];
}

/** Return the figure of several runs, given as [name, course], the most urgent first. A click calls `onRun(name)`. */
export function overlayFigure(runs, memory, onRun) {
  const courses = runs.map(([, course]) => course), whole = commonAxes(courses).steps;
  const node = figure(`Training loss of ${runs.length} runs`, (width) => {
    const longest = Math.max(...runs.map(([name]) => name.length)), wide = clamp(6.4 * longest + 30, 60, Math.min(260, 0.34 * width));
    const margin = { left: 52, right: wide + 14, top: 26, bottom: 40 };
    const right = width - margin.right, bottom = TALL - margin.bottom, range = shownRange(memory, whole);
    const x = linear(range, [margin.left, right]);
    x.label = count;
    const losses = courses.map(({ curve }) => curve.loss.filter((_, i) => curve.step[i] >= range[0] && curve.step[i] <= range[1]));
    const y = lossScale(losses.flatMap(withoutPeaks), [bottom, margin.top]), position = positionOn(y);
    const { root, inside } = axes(width, TALL, { x, y }, { x: "optimizer step", y: "training loss" }, margin);
    const lines = courses.map(({ curve }, k) => s("path", { class: look(k), d: path(curve.step.map(x), curve.loss.map(position)) }));
    inside.append(clipped(margin.left, margin.top, right + 4, bottom, ...lines.toReversed()));
    const ends = courses.map(({ curve }) => {
      const last = curve.loss.findLastIndex((loss, i) => position(loss) != null && curve.step[i] <= range[1]);
      return last < 0 ? [margin.left, bottom] : [clamp(x(curve.step[last]), margin.left, right), clamp(position(curve.loss[last]), margin.top, bottom)];
    });
    const labels = spread(ends.map(([, at]) => at), margin.top, bottom);
    const emphasise = (chosen) => root.querySelectorAll(".series, .tag").forEach((part) => {
      part.classList.toggle("faded", chosen != null && !part.classList.contains(`of${chosen}`));
    });
    runs.forEach(([name, course], k) => {
      lines[k].classList.add(`of${k}`);
      if (labels[k] == null) return;
      const { tone } = present(course), [ex, ey] = ends[k];
      inside.append(s("g", { class: `tag ${tone} of${k}`, click: (event) => { event.stopPropagation(); onRun(name); },
        pointerenter: () => emphasise(k), pointerleave: () => emphasise(null) },
      s("path", { class: `lead ${look(k)}`, d: `M${ex.toFixed(1)} ${ey.toFixed(1)}L${right + 6} ${labels[k].toFixed(1)}h5` }),
      s("circle", { class: `end ${look(k)}`, cx: ex, cy: ey, r: 2.4 }),
      s("text", { x: right + 15, y: labels[k] + 3.5 }, s("tspan", { class: "mark" }, `${MARKS[tone]} `), ending(name, Math.max(6, Math.floor((wide - 18) / 6.2)))),
      s("title", {}, name)));
    });
    const unnamed = labels.filter((at) => at == null).length;
    const places = Array.from({ length: 121 }, (_, i) => range[0] + (i / 120) * (range[1] - range[0]));
    const values = (step) => courses.map((course, k) => [lossAt(course, step), k]).filter(([loss]) => loss != null).sort(([a], [b]) => b - a);
    const stage = explore(root, "Training loss of several runs by optimizer step", {
      columns: places.length,
      place: (i) => [x(places[i]), margin.top],
      locate: (px) => (px > right + 4 ? null : [nearest(places.map(x), px), 0]),
      mark: (i, _, px) => [s("line", { x1: px, x2: px, y1: margin.top, y2: bottom }),
        ...values(places[i]).filter(([loss]) => position(loss) >= margin.top).map(([loss, k]) => s("circle", { class: look(k), cx: px, cy: position(loss), r: 3 }))],
      describe: (i) => {
        const all = values(places[i]), more = all.length - IN_TOOLTIP;
        return [`step ${count(Math.round(places[i]))}`, ...all.slice(0, IN_TOOLTIP).map(([loss, k]) => `${number(loss)} ${ending(runs[k][0], 30)}`),
          more > 0 && `and ${count(more)} lower`];
      },
    });
    zoomable(stage, root, {
      at: (px) => range[0] + ((px - margin.left) / (right - margin.left)) * (range[1] - range[0]),
      area: [margin.left, margin.top, right, bottom], whole, memory, redraw: node.redraw,
    });
    return {
      nodes: [stage, wholeRun(memory, node.redraw)].filter(Boolean),
      details: [memory.range && `steps ${count(Math.round(range[0]))} to ${count(Math.round(range[1]))}`,
        unnamed > 0 && `${count(unnamed)} lines without a name: point at them`].filter(Boolean),
      rows: () => [["run", "step", "mean loss"], ...runs.flatMap(([name, { curve }]) => curve.step.map((step, i) => [name, step, curve.loss[i]]))],
    };
  });
  node.classList.add("overlay");
  return node;
}
