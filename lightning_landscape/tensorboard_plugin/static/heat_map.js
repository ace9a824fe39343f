// The gradient norm of each part of the model at each step, as a heat map.

import { captionOf, explore, figure } from "./chart.js";
import { h, s } from "./elements.js";
import { clamp, count, ending, extent, finite, number, plural } from "./numbers.js";
import { colourKey } from "./plane.js";
import { viridis } from "./scales.js";

const LEAST_ROWS = 200;  // pixels of all rows together, at least

const rowHeight = (rows) => (rows > 20 ? 13 : rows > 10 ? 16 : 20);

/** Return the figure of the gradient norms; null if there are none. */
export function heatMap(part) {
  const { steps, groups, norms } = part;
  if (!steps.length || !groups.length) return null;
  const positive = finite(norms.flat()).filter((norm) => norm > 0), [low, high] = extent(positive);
  const longest = Math.min(24, Math.max(...groups.map((group) => group.length)));
  const margin = { left: 14 + 6.2 * longest, right: 8, top: 8, bottom: 66 };
  const share = (norm) => (high > low ? Math.log(norm / low) / Math.log(high / low) : 0.5);
  return figure("Gradient norm by part of the model", (width) => {
    const row = clamp(Math.floor(LEAST_ROWS / groups.length), rowHeight(groups.length), 40);
    const height = margin.top + row * groups.length + margin.bottom;
    const inner = width - margin.left - margin.right, cell = inner / steps.length;
    const ratio = window.devicePixelRatio || 1;
    const canvas = h("canvas", { width: Math.round(width * ratio), height: Math.round(height * ratio), "aria-hidden": "true" });
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    const paint = canvas.getContext("2d");
    paint.scale(ratio, ratio);
    const look = getComputedStyle(document.documentElement);
    const style = (name) => look.getPropertyValue(name).trim();
    norms.forEach((column, i) => column.forEach((norm, j) => {
      if (norm == null) return;
      paint.fillStyle = norm === 0 ? style("--zero") : typeof norm !== "number" ? style("--alarm") : `rgb(${viridis(share(norm))})`;
      paint.fillRect(margin.left + i * cell, margin.top + j * row, Math.ceil(cell * ratio) / ratio, row - 1);
    }));
    const root = s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, class: "over" });
    const every = Math.max(1, Math.ceil(groups.length / 32));
    groups.forEach((group, j) => {
      if (j % every) return;
      const short = ending(group, longest);
      root.append(s("text", { class: "label", x: margin.left - 7, y: margin.top + j * row + row / 2 + 3, "text-anchor": "end" }, short));
    });
    const bottom = margin.top + row * groups.length;
    for (const i of new Set([0, Math.floor((steps.length - 1) / 2), steps.length - 1])) {
      root.append(s("text", { class: "label", x: margin.left + (i + 0.5) * cell, y: bottom + 14, "text-anchor": i === 0 ? "start" : i === steps.length - 1 ? "end" : "middle" }, count(steps[i])));
    }
    root.append(s("text", { class: "label", x: margin.left + inner / 2, y: bottom + 28, "text-anchor": "middle" }, "optimizer step"));
    const bar = Math.min(220, inner * 0.6), from = margin.left;
    root.append(colourKey(from, bottom + 38, bar, positive.length ? [low, high] : null, "gradient norm"));
    const marks = [[norms.flat().includes(0), "--zero", "exactly zero"], [norms.flat().some((norm) => typeof norm === "string"), "--alarm", "not finite"]];
    marks.filter(([present]) => present).forEach(([, color, words], k) => root.append(
      s("rect", { x: from + bar + 24, y: bottom + 38 + 16 * k, width: 10, height: 8, fill: `var(${color})` }),
      s("text", { class: "label", x: from + bar + 40, y: bottom + 46 + 16 * k }, words)));
    const stage = explore(root, "Gradient norm by step and part of the model", {
      columns: steps.length, rows: groups.length,
      place: (i, j) => [margin.left + (i + 0.5) * cell, margin.top + (j + 0.5) * row],
      locate: (px, py) => px >= margin.left && px <= width - margin.right && py >= margin.top && py <= bottom
        ? [Math.floor((px - margin.left) / cell), Math.floor((py - margin.top) / row)] : null,
      mark: (i, j) => [s("rect", { class: "frame", x: margin.left + i * cell - 1, y: margin.top + j * row - 1, width: Math.max(3, cell) + 2, height: row + 1 })],
      describe: (i, j) => [groups[j], `step ${count(steps[i])}`, norms[i][j] == null ? "no gradient" : norms[i][j] === 0 ? "exactly zero" : typeof norms[i][j] === "number" ? `gradient norm ${number(norms[i][j])}` : "not finite"],
    });
    stage.prepend(canvas);
    return { ...captionOf(part), nodes: [stage], notes: [part.omitted > 0 && `the first ${count(groups.length)} of ${plural(groups.length + part.omitted, "part")}`],
      rows: () => [["step", ...groups], ...steps.map((step, i) => [step, ...norms[i]])] };
  });
}
