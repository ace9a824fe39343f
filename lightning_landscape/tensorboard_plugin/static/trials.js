// What was tried on a copy of the weights, as bars beside going on as it is.

import { captionOf, explore, figure } from "./chart.js";
import { s } from "./elements.js";
import { clamp, ending, nearest } from "./numbers.js";
import { linear } from "./scales.js";

const ROW = 22, WORST = -0.5, TEXT = 6.1;
const TICKS = [[-0.5, "50% higher"], [0, "unchanged"], [0.5, "50% lower"], [1, "100% lower"]];

/** Return the length of the bar of a gain, which is never longer than the axis; a loss that is not finite has none. */
const lengthOf = (gain) => (gain == null ? WORST : clamp(gain, WORST, 1));

/** Return the figure of the trials; null if there were none. */
export function trialFigure(trials) {
  if (!trials?.groups?.length) return null;
  const lines = [];
  for (const group of trials.groups) {
    lines.push({ group });
    for (const bar of group.bars) lines.push({ group, bar });
  }
  const bars = lines.filter(({ bar }) => bar);
  const raised = bars.some(({ bar }) => lengthOf(bar.gain) < -0.1);
  return figure("Trials on a copy of the weights", (width) => {
    const longest = TEXT * Math.max(...bars.map(({ bar }) => bar.name.length)), after = TEXT * Math.max(...bars.map(({ bar }) => bar.result.length)) + 14;
    const left = clamp(longest + 14, 80, 0.45 * width), right = width - Math.min(after, 0.25 * width);
    const bottom = ROW * lines.length + 8, height = bottom + 40;
    const x = linear([raised ? WORST : -0.02, 1], [left, right]);
    const at = (i) => 4 + ROW * (i + 0.5);
    const root = s("svg", { width, height, viewBox: `0 0 ${width} ${height}` }), drawn = s("g");
    const ticks = TICKS.filter(([gain], i) => gain >= (raised ? WORST : 0) && (right - left > 300 || i !== 2));
    root.append(
      s("g", { class: "grid" }, ticks.map(([gain]) => s("line", { x1: x(gain), x2: x(gain), y1: 4, y2: bottom, class: gain === 0 ? "zero" : null }))),
      drawn,
      s("g", { class: "ticks" }, ticks.map(([gain, words]) => s("text", { x: x(gain), y: bottom + 14, "text-anchor": "middle" }, words))),
      s("text", { class: "name", x: (left + right) / 2, y: height - 5, "text-anchor": "middle" }, "loss after the trial, compared with the present one"));
    lines.forEach(({ group, bar }, i) => {
      if (!bar) {
        root.append(s("text", { class: "heading", x: left - 8, y: at(i) + 5, "text-anchor": "end" }, group.heading));
        if (group.going_on != null) {
          root.append(s("line", { class: "baseline", x1: x(lengthOf(group.going_on)), x2: x(lengthOf(group.going_on)), y1: at(i + 1) - ROW / 2, y2: at(i + group.bars.length) + ROW / 2 }));
        }
        return;
      }
      const end = x(lengthOf(bar.gain)), dashed = group.going_on == null ? end : x(lengthOf(Math.max(0, group.going_on)));
      const kind = bar.name === trials.baseline ? "going-on" : bar.gain > 0 ? "lower" : "higher";
      drawn.append(s("rect", { class: `bar ${kind}`, x: Math.min(x(0), end), y: at(i) - 7.5, width: Math.max(1, Math.abs(end - x(0))), height: 15, rx: 2 }));
      root.append(
        s("text", { class: "trial", x: left - 8, y: at(i) + 4, "text-anchor": "end" }, ending(bar.name, Math.floor((left - 10) / TEXT))),
        s("text", { class: "result", x: Math.max(x(0), end, dashed) + 6, y: at(i) + 4 }, bar.result));
    });
    const places = bars.map((line) => at(lines.indexOf(line)));
    const stage = explore(root, "Trials on a copy of the weights", {
      columns: 1, rows: bars.length, start: 0,
      place: (_, j) => [x(lengthOf(bars[j].bar.gain)), places[j]],
      locate: (_, py) => (py > bottom ? null : [0, nearest(places, py)]),
      mark: (_, j) => [s("rect", { class: "frame", x: 1, y: places[j] - ROW / 2, width: width - 2, height: ROW, rx: 3 })],
      describe: (_, j) => [bars[j].bar.name, `loss ${bars[j].bar.result}`, bars[j].group.heading],
    });
    return { ...captionOf(trials), nodes: [stage], notes: [trials.groups.some((group) => group.going_on != null) && `dashed line: ${trials.baseline}`],
      rows: () => [["steps", "trial", "relative fall of the loss", "in words"], ...bars.map(({ group, bar }) => [group.heading, bar.name, bar.gain, bar.result])] };
  });
}
