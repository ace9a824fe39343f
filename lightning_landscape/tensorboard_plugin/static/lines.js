// How the loss changes along straight lines from earlier weights to those of a step.

import { axes, captionOf, clipped, cross, explore, figure, HEIGHT, path } from "./chart.js";
import { fill, h, s } from "./elements.js";
import { clamp, count, ending, extent, finite, nearest, number, plural } from "./numbers.js";
import { calm, linear, positionOn } from "./scales.js";

const ANCHORS = { initial: "initial weights", previous: "previous weights", best: "best weights" };
const FAR = 20;  // range of an older line, over that of the newest, from which on it leaves the frame
const LEAST_RANGE = 1e-4;  // smallest range of the axis, over the loss, so that rounding errors are not magnified

const startOf = ({ alphas, losses }) => losses[alphas.indexOf(0)] ?? null;

/**
 * Return the changes of the loss from α = 0, since each line is measured on the batches of its own step; the losses
 * where that at α = 0 is not finite.
 */
export const changesOf = (line) => {
  const start = startOf(line) ?? 0;
  return line.losses.map((loss) => (loss == null ? null : loss - start));
};

/** Return the scale of the changes on which the newest line is well seen, without single peaks. */
function changeScale(now, others, range) {
  const own = finite(calm(changesOf(now), FAR)), [low, high] = extent(own), least = LEAST_RANGE * Math.abs(startOf(now) ?? 0);
  const reach = FAR * Math.max(high - low, least);
  const near = others.filter((line) => finite(changesOf(line)).every((change) => Math.abs(change) <= reach));
  const [bottom, top] = extent([...own, ...near.flatMap(changesOf)]), span = Math.max(top - bottom, least) || 1, middle = (bottom + top) / 2;
  return linear([middle - 0.56 * span, middle + 0.6 * span], range);
}

/** Draw the largest rise of the loss: a dashed line at the lowest loss before it, and a bar up to its top. */
function riseMark({ rise }, start, x, position, right) {
  if (!rise || start == null) return [];
  const low = position(rise.low - start), top = position(rise.top - start), at = x(rise.alpha), left = at > right - 90;
  return [
    s("line", { class: "chord", x1: x(rise.low_alpha), x2: at, y1: low, y2: low }),
    s("path", { class: "rise", d: `M${at - 4} ${low}h8m-4 0V${top}m-4 0h8` }),
    s("text", { class: "rise", x: left ? at - 8 : at + 8, y: (low + top) / 2 + 4, "text-anchor": left ? "end" : "start" },
      rise.words),
  ];
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
  const buttons = anchors.map((anchor) => h("button", { type: "button", title: anchor, click: () => {
    memory.anchor = anchor;
    memory.follow = true;
    node.redraw();
  } }, ANCHORS[anchor] ?? ending(anchor, 28)));
  const margin = { left: 60, right: 8, top: 26, bottom: 40 };
  const draw = (width) => {
    const all = curves(), i = chosen(), now = all[i], { alphas } = now, start = startOf(now);
    fill(slider, { max: all.length - 1, disabled: all.length < 2 }, []);
    if (all.length >= 2) slider.removeAttribute("disabled");
    slider.value = i;
    slider.setAttribute("aria-valuetext", `step ${now.step}`);
    output.textContent = `step ${count(now.step)} · ${i + 1} of ${all.length}`;
    buttons.forEach((button, k) => button.setAttribute("aria-pressed", anchors[k] === memory.anchor));
    const [from, to] = [now.start ?? ending(memory.anchor, 32), now.end ?? `step ${count(now.step)}`];
    const bottom = HEIGHT - margin.bottom, right = width - margin.right;
    const furthest = Math.max(1, ...all.flatMap((curve) => curve.alphas));
    const x = linear([-0.02, furthest + 0.02], [margin.left, right]);
    const others = all.filter((curve, k) => k !== i && start != null && startOf(curve) != null);
    const y = shared ? linear(shared.changes, [bottom, margin.top]) : changeScale(now, others, [bottom, margin.top]);
    const position = positionOn(y), changes = changesOf(now), [lowest, highest] = [y.invert(bottom), y.invert(margin.top)];
    const { root, inside } = axes(width, HEIGHT, { x, y }, { x: width > 420 ? `α, the position on the line (0: ${from}, 1: ${to})` : `α (0: ${from}, 1: ${to})`,
      y: start != null ? "change of the loss from α = 0" : "loss" }, margin);
    if (furthest > 1) {
      inside.append(s("rect", { class: "beyond", x: x(1), y: margin.top, width: x(furthest + 0.02) - x(1), height: bottom - margin.top }));
    }
    const dots = alphas.map((alpha, k) => position(changes[k]) != null && s("circle", { class: "dot", cx: x(alpha), cy: position(changes[k]), r: 2.6 }));
    inside.append(
      clipped(margin.left, margin.top - 4, right, bottom + 4,
        ...others.map((curve) => s("path", { class: "ghost", d: path(curve.alphas.map(x), changesOf(curve).map(position)) })),
        s("path", { class: "line", d: path(alphas.map(x), changes.map(position)) }), ...dots.filter(Boolean), ...riseMark(now, start, x, position, right)),
      ...alphas.map((alpha, k) => position(changes[k]) == null && cross(x(alpha), bottom)).filter(Boolean));
    const beyond = [["above", (change) => change > highest, Math.max], ["below", (change) => change < lowest, Math.min]].map(([side, isOut, furthestOf]) => {
      const out = finite(changes).filter(isOut);
      return out.length > 0 && `${plural(out.length, "value")} ${side} the frame, up to ${number(furthestOf(...out))}`;
    });
    const xs = alphas.map(x), within = (change) => clamp(position(change) ?? bottom, margin.top, bottom);
    const stage = explore(root, `Loss on the line from ${from}`, {
      columns: alphas.length,
      place: (k) => [xs[k], within(changes[k])],
      locate: (px) => [nearest(xs, px), 0],
      mark: (k, _, px, py) => [s("line", { x1: px, x2: px, y1: margin.top, y2: bottom }), s("circle", { cx: px, cy: py, r: 4 })],
      describe: (k) => [`α = ${number(alphas[k])}`, now.losses[k] == null ? "the loss is not finite" : `loss ${number(now.losses[k])}`,
        alphas[k] === 0 && from, alphas[k] === 1 && `the weights of ${to}`, alphas[k] > 1 && `straight on beyond ${to}`],
    });
    return { ...captionOf(now),
      nodes: [stage, h("div", { class: "controls" }, h("div", { class: "choice", role: "group", "aria-label": "Starting point of the line" }, buttons), h("label", {}, slider, output))],
      notes: [others.length > 0 && "thin: lines at other steps", furthest > 1 && `grey: straight on beyond ${to}`, ...beyond],
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
