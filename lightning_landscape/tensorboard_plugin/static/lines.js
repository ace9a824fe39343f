// The loss along straight lines from earlier weights to those of a step.

import { axes, cross, explore, figure, HEIGHT, path } from "./chart.js";
import { fill, h, s } from "./elements.js";
import { clamp, count, ending, finite, nearest, number, percent } from "./numbers.js";
import { linear, lossScale, positionOn } from "./scales.js";

/** Return the largest rise of the loss above its lowest value before, on the way from α = 0 to α = 1. */
export function rise({ alphas, losses }) {
  let lowest = Infinity, highest = 0;
  alphas.forEach((alpha, k) => {
    if (alpha < 0 || alpha > 1 || losses[k] == null) return;
    lowest = Math.min(lowest, losses[k]);
    highest = Math.max(highest, losses[k] - lowest);
  });
  return highest;
}

/** Return in words by how much the loss rises on the way. */
function riseInWords(line) {
  if (line.losses.some((loss, k) => loss == null && line.alphas[k] >= 0 && line.alphas[k] <= 1)) return "the loss is not finite on the way";
  const height = rise(line), scale = Math.max(...finite(line.losses).map(Math.abs));
  if (height <= 1e-6 * scale) return "the loss never rises on the way";
  const whole = Math.abs(Math.max(...finite(line.losses)) - Math.min(...finite(line.losses)));
  return `the loss rises by ${number(height)} on the way${whole > 0 ? `, ${percent(height / whole)} of its range` : ""}`;
}


/** Return the figure of the lines from one anchor at a time; null if there are none. */
export function lineFigure(lines, memory, shared) {
  const anchors = Object.keys(lines).filter((anchor) => Array.isArray(lines[anchor]) && lines[anchor].length);
  if (!anchors.length) return null;
  memory.anchor = anchors.includes(memory.anchor) ? memory.anchor : anchors[0];
  const curves = () => lines[memory.anchor];
  const chosen = () => (memory.follow === false ? clamp(memory.curve ?? 0, 0, curves().length - 1) : curves().length - 1);
  const output = h("output", {});
  const slider = h("input", { type: "range", min: 0, step: 1, "aria-label": "Optimizer step of the line", input: () => {
    memory.curve = +slider.value;
    memory.follow = memory.curve === curves().length - 1;
    node.redraw();
  } });
  const buttons = anchors.map((anchor) => h("button", { type: "button", click: () => {
    memory.anchor = anchor;
    memory.follow = true;
    node.redraw();
  } }, ending(anchor, 28)));
  const margin = { left: 52, right: 8, top: 26, bottom: 40 };
  const draw = (width) => {
    const all = curves(), i = chosen(), now = all[i];
    fill(slider, { max: all.length - 1, disabled: all.length < 2 }, []);
    if (all.length >= 2) slider.removeAttribute("disabled");
    slider.value = i;
    slider.setAttribute("aria-valuetext", `step ${now.step}`);
    output.textContent = `step ${count(now.step)} · ${i + 1} of ${all.length}`;
    buttons.forEach((button, k) => button.setAttribute("aria-pressed", anchors[k] === memory.anchor));
    const alphas = now.alphas, furthest = Math.max(1, ...all.flatMap((curve) => curve.alphas));
    const x = linear([-0.02, furthest + 0.02], [margin.left, width - margin.right]);
    const y = lossScale(shared ? shared.lines : all.flatMap((curve) => curve.losses), [HEIGHT - margin.bottom, margin.top]);
    const position = positionOn(y);
    const { root, inside } = axes(width, HEIGHT, { x, y }, { x: `α (0: ${ending(memory.anchor, 32)}, 1: weights of step ${count(now.step)})`, y: "training loss on fixed batches" }, margin);
    if (furthest > 1) {
      inside.append(s("rect", { class: "beyond", x: x(1), y: margin.top, width: x(furthest + 0.02) - x(1), height: HEIGHT - margin.top - margin.bottom }));
    }
    all.forEach((curve, k) => {
      if (k !== i) inside.append(s("path", { class: "ghost", d: path(curve.alphas.map(x), curve.losses.map(position)) }));
    });
    const start = now.losses[alphas.indexOf(0)], finish = now.losses[alphas.indexOf(1)];
    if (start != null && finish != null) {
      const chord = Array.from({ length: 41 }, (_, k) => k / 40);  // on a logarithmic scale, a straight chord is curved
      inside.append(s("path", { class: "chord", d: path(chord.map(x), chord.map((alpha) => position((1 - alpha) * start + alpha * finish))) }));
    }
    inside.append(s("path", { class: "line", d: path(alphas.map(x), now.losses.map(position)) }));
    alphas.forEach((alpha, k) => {
      if (position(now.losses[k]) != null) inside.append(s("circle", { class: "dot", cx: x(alpha), cy: position(now.losses[k]), r: 2.6 }));
      else inside.append(cross(x(alpha), HEIGHT - margin.bottom));
    });
    const xs = alphas.map(x);
    const stage = explore(root, `Loss on the line from ${memory.anchor}`, {
      columns: alphas.length,
      place: (k) => [xs[k], position(now.losses[k]) ?? HEIGHT - margin.bottom],
      locate: (px) => [nearest(xs, px), 0],
      mark: (k, _, px, py) => [s("line", { x1: px, x2: px, y1: margin.top, y2: HEIGHT - margin.bottom }), s("circle", { cx: px, cy: py, r: 4 })],
      describe: (k) => [`α = ${number(alphas[k])}`, now.losses[k] == null ? "the loss is not finite" : `loss ${number(now.losses[k])}`,
        alphas[k] === 0 && memory.anchor, alphas[k] === 1 && `the weights of step ${count(now.step)}`, alphas[k] > 1 && "beyond the current weights"],
    });
    return { nodes: [stage, h("div", { class: "controls" }, h("div", { class: "choice", role: "group", "aria-label": "Starting point of the line" }, buttons), h("label", {}, slider, output))],
      numbers: riseInWords(now),
      rows: () => [["from", "step", "alpha", "loss"], ...all.flatMap((curve) => curve.alphas.map((alpha, k) => [memory.anchor, curve.step, alpha, curve.losses[k]]))] };
  };
  const node = figure("Loss on straight lines from earlier weights", (width) => {
    const focused = document.activeElement === slider || buttons.includes(document.activeElement) ? document.activeElement : null;
    const drawn = draw(width);
    if (focused) queueMicrotask(() => focused.focus({ preventScroll: true }));
    return drawn;
  });
  return node;
}
