// The loss on a plane through the weights, with the path of the run.

import { axes, captionOf, explore, figure, path } from "./chart.js";
import { fill, h, s } from "./elements.js";
import { clamp, count, extent, finite, nearest, number, percent, plural } from "./numbers.js";
import { linear, viridis } from "./scales.js";

/** Return both numbers as texts, with as many digits as it takes to tell them apart. */
const distinct = ([low, high]) => {
  if (number(low) !== number(high) || low === high) return [number(low), number(high)];
  const digits = clamp(Math.ceil(Math.log10(Math.abs(high) / (high - low))) + 2, 4, 15);
  return [low, high].map((value) => String(+value.toPrecision(digits)).replace("-", "−"));
};

/** Return the colour scale as a bar, with the values at its ends and its name below. */
export const colourKey = (x, y, width, ends, words) => s("g", { class: "key" },
  Array.from({ length: 40 }, (_, i) => s("rect", { x: x + (i * width) / 40, y, width: width / 40 + 0.5, height: 8, fill: `rgb(${viridis(i / 39)})` })),
  ends && [s("text", { class: "label", x, y: y + 21 }, distinct(ends)[0]), s("text", { class: "label", x: x + width, y: y + 21, "text-anchor": "end" }, distinct(ends)[1])],
  s("text", { class: "label", x: x + width / 2, y: y + 21, "text-anchor": "middle" }, words));


/** Return the value at (i + u, j + v) of a surface through all grid points, interpolated by Catmull-Rom splines. */
function smooth(rows, i, j, u, v) {
  const cubic = (at, t) => {
    const [a, b, c, d] = [at(-1), at(0), at(1), at(2)];
    return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)));
  };
  const along = (row) => cubic((k) => row[clamp(i + k, 0, row.length - 1)], u);
  return cubic((k) => along(rows[clamp(j + k, 0, rows.length - 1)]), v);
}

const KEY = 38;
const planeHeight = (width) => clamp(0.62 * width, 230, 320);

/** Return labels for the points of the run, the latest one first; a label that would overlap another is left out. */
function pointLabels(points, end) {
  const taken = [], labels = [];
  const order = [points.length - 1, ...points.keys()].filter((k, i, all) => k >= 0 && all.indexOf(k) === i);
  for (const k of order) {
    const [name, px, py] = points[k], other = points[k + 1] || points[k - 1], wide = 6.2 * name.length + 12;
    const up = !other || py <= other[2], left = px + wide > end, at = [left ? px - wide : px, py + (up ? -9 : 17)];
    if (taken.some(([a, b, w]) => at[0] < a + w && a < at[0] + wide && Math.abs(b - at[1]) < 13)) continue;
    taken.push([...at, wide]);
    labels.push(s("text", { class: "place", x: left ? px - 7 : px + 7, y: at[1], "text-anchor": left ? "end" : "start" }, name));
  }
  return labels;
}

const LARGEST_STRETCH = 4;

/**
 * Return the ranges of positions [left, right] and [bottom, top] in which a distance is equally long on both axes. A
 * plane that would be a narrow strip is stretched.
 */
function equalAspect(xs, ys, [left, right], [bottom, top]) {
  const [wide, high] = [xs, ys].map((values) => values.at(-1) - values[0] || 1);
  const ratio = clamp(wide / high, 1 / LARGEST_STRETCH, LARGEST_STRETCH);
  const width = Math.min(right - left, (bottom - top) * ratio), height = width / ratio;
  const from = left + (right - left - width) / 2, to = top + (bottom - top - height) / 2;
  return { across: [from, from + width].map(Math.round), up: [to + height, to].map(Math.round), equal: ratio === wide / high };
}

/** Return the name of a point, or of several at the same place, with the step in place of "now". */
const atStep = (name, step) => name.split(", ").map((part) => (part === "now" ? `step ${count(step)}` : part)).join(", ");

/** Return a star around a point. */
const star = (x, y, size) => {
  const corners = Array.from({ length: 10 }, (_, k) => [(k % 2 ? 0.42 : 1) * size, (Math.PI * k) / 5 - Math.PI / 2]);
  return s("path", { class: "star", d: `M${corners.map(([r, angle]) => `${(x + r * Math.cos(angle)).toFixed(1)} ${(y + r * Math.sin(angle)).toFixed(1)}`).join("L")}Z` });
};

/** Return the figure of the planes, of which a slider chooses one; null if there are none. */
export function planeFigure(planes, memory) {
  if (!Array.isArray(planes) || !planes.length) return null;
  const chosen = () => clamp(memory.plane ?? planes.length - 1, 0, planes.length - 1);
  const output = h("output", {});
  const slider = h("input", { type: "range", min: 0, max: planes.length - 1, step: 1, "aria-label": "Optimizer step of the plane", input: () => { memory.plane = +slider.value; node.redraw(); } });
  const margin = { left: 52, right: 8, top: 22, bottom: 40 + KEY };
  const node = figure("Loss on a plane through the weights", (width) => {
    const plane = planes[chosen()], { xs, ys, losses } = plane, height = planeHeight(width) + KEY;
    slider.value = chosen();
    output.textContent = `step ${count(plane.step)}`;
    const flat = finite(losses.flat()), [low, high] = extent(flat), log = low > 0 && high > 30 * low;
    // Low losses get more colours than high ones. Otherwise one steep corner would leave a whole valley in one colour.
    const share = (loss) => (high > low ? (log ? Math.log(loss / low) / Math.log(high / low) : Math.sqrt((loss - low) / (high - low))) : 0.5);
    const { across: [left, right], up: [bottom, top], equal } = equalAspect(xs, ys, [margin.left, width - margin.right], [height - margin.bottom, margin.top]);
    const x = linear([xs[0], xs[xs.length - 1]], [left, right]);
    const y = linear([ys[0], ys[ys.length - 1]], [bottom, top]);
    const canvas = h("canvas", { width: Math.max(1, right - left), height: Math.max(1, bottom - top), "aria-hidden": "true", class: "under" });
    canvas.style.left = `${left}px`;
    canvas.style.top = `${top}px`;
    const paint = canvas.getContext("2d"), image = paint.createImageData(canvas.width, canvas.height);
    const cells = (values, n, flip) => Array.from({ length: n }, (_, k) => {
      const at = values[0] + ((flip ? n - 1 - k : k) / Math.max(1, n - 1)) * (values[values.length - 1] - values[0]);
      let i = 0;
      while (i < values.length - 2 && values[i + 1] < at) i++;
      return [i, clamp((at - values[i]) / (values[i + 1] - values[i] || 1), 0, 1)];
    });
    const columns = cells(xs, canvas.width, false), down = cells(ys, canvas.height, true);
    const all = flat.length === xs.length * ys.length;
    down.forEach(([j, v], row) => columns.forEach(([i, u], column) => {
      const corners = [losses[j][i], losses[j][i + 1], losses[j + 1]?.[i], losses[j + 1]?.[i + 1]];
      if (corners.some((corner) => typeof corner !== "number")) return;
      const loss = all ? clamp(smooth(losses, i, j, u, v), low, high)
        : (1 - v) * ((1 - u) * corners[0] + u * corners[1]) + v * ((1 - u) * corners[2] + u * corners[3]);
      image.data.set([...viridis(Math.round(share(loss) * 14) / 14), 255], 4 * (row * canvas.width + column));
    }));
    paint.putImageData(image, 0, 0);
    const { root, inside } = axes(width, height, { x, y }, { y: `${plane.y_name} (distance)` },
      { left, right: width - right, top, bottom: height - bottom });
    const below = bottom;
    inside.append(s("text", { class: "name", x: (left + right) / 2, y: below + 32, "text-anchor": "middle" }, `${plane.x_name} (distance)`),
      colourKey(margin.left, height - 30, Math.min(220, (width - margin.left - margin.right) * 0.6), flat.length ? [low, high] : null, log ? "loss, logarithmic scale" : "loss, square-root scale"));

    fill(root, { class: "over plain" }, []);
    const points = Object.entries(plane.points || {}).map(([name, p]) => [atStep(name, plane.step), p]);
    inside.append(s("path", { class: "track under", d: path(points.map(([, p]) => x(p[0])), points.map(([, p]) => y(p[1]))) }),
      s("path", { class: "track", d: path(points.map(([, p]) => x(p[0])), points.map(([, p]) => y(p[1]))) }));
    points.forEach(([name, p], k) => inside.append(s("circle", { class: k === points.length - 1 ? "spot now" : "spot", cx: x(p[0]), cy: y(p[1]), r: k === points.length - 1 ? 5 : 3.2 }, s("title", {}, name))));
    if (plane.lowest) inside.append(star(x(plane.lowest[0]), y(plane.lowest[1]), 8));
    inside.append(...pointLabels(points.map(([name, p]) => [name, x(p[0]), y(p[1])]), right));
    const px = xs.map(x), py = ys.map(y);
    const stage = explore(root, "Loss on a plane", {
      columns: xs.length, rows: ys.length, start: Math.floor(xs.length / 2),
      place: (i, j) => [px[i], py[ys.length - 1 - j]],
      locate: (a, b) => a < left || a > right || b > bottom ? null : [nearest(px, a), ys.length - 1 - nearest(py, b)],
      mark: (i, j, a, b) => [s("circle", { class: "ring", cx: a, cy: b, r: 5 })],
      describe: (i, j) => {
        const loss = losses[ys.length - 1 - j][i];
        const near = points.find(([, p]) => Math.hypot(x(p[0]) - px[i], y(p[1]) - py[ys.length - 1 - j]) < 12);
        return [loss == null ? "the loss is not finite" : `loss ${number(loss)}`, `${plane.x_name} ${number(xs[i])}`, `${plane.y_name} ${number(ys[ys.length - 1 - j])}`, near && near[0]];
      },
    });
    stage.prepend(canvas);
    const controls = planes.length > 1 ? [h("div", { class: "controls" }, h("label", {}, slider, output))] : [];
    const { title, details } = captionOf(plane);
    return { nodes: [stage, ...controls], title, details: [`step ${count(plane.step)}`, ...details],
      notes: [`${xs.length} × ${ys.length} points`, plane.lowest && "star: the best point", !equal && "axes with different scales",
        flat.length < xs.length * ys.length && `not finite at ${plural(xs.length * ys.length - flat.length, "point")}`,
        plane.off_plane > 0.01 && `${percent(Math.round(100 * plane.off_plane) / 100)} of the distance to the path’s points lies off the plane`],
      rows: () => [[plane.x_name, plane.y_name, "loss"], ...ys.flatMap((b, j) => xs.map((a, i) => [a, b, losses[j][i]]))] };
  });
  return node;
}
