// What all pictures share: a frame that follows the width of the page, axes, a cursor with a tooltip, and zoom.

import { fill, h, s } from "./elements.js";
import { saveCsv, savePng } from "./export.js";
import { clamp } from "./numbers.js";

export const HEIGHT = 236, TALLER = 272;

export const unreadable = (error) => (
  h("p", { class: "note", title: error.message }, "This part of the record is damaged and cannot be drawn."));

/** Return the title and the numbers of a picture from its record, which has them from the Python package. */
export const captionOf = (record) => ({ title: record?.title ?? null, details: Array.isArray(record?.details) ? record.details : [] });

/**
 * Return a figure that calls `draw(width)` whenever its width changes. `draw` returns {nodes, title, details, notes,
 * rows}: what is shown, what it says (else its name is the title), numbers below the title, remarks below the picture,
 * and a function that returns all numbers as rows of a table, for a CSV file.
 */
export function figure(name, draw) {
  const title = h("h3", {}, name), numbers = h("p", { class: "numbers" }), remarks = h("p", { class: "remarks" });
  const stage = h("div", { class: "stage" });
  let width = 0, rows = null;
  const png = h("button", { type: "button", title: "Save this picture as a PNG file", click: () => savePng(stage, name) }, "PNG");
  const csv = h("button", { type: "button", title: "Save these numbers as a CSV file", click: () => saveCsv(rows(), name) }, "CSV");
  const node = h("figure", { "aria-label": name },
    h("figcaption", {}, title, h("span", { class: "save" }, png, csv), numbers), stage, remarks);
  node.redraw = () => {
    if (width < 40) return;
    try {
      const drawn = draw(width);
      title.textContent = drawn.title || name;
      numbers.textContent = (drawn.details ?? []).join(" · ");
      remarks.textContent = (drawn.notes ?? []).filter(Boolean).join(" · ");
      rows = drawn.rows;
      csv.hidden = !rows;
      stage.replaceChildren(...drawn.nodes);
    } catch (error) {
      stage.replaceChildren(unreadable(error));
    }
  };
  new ResizeObserver(([entry]) => {
    const newWidth = Math.floor(entry.contentRect.width);
    if (newWidth !== width) { width = newWidth; node.redraw(); }
  }).observe(stage);
  return node;
}

/** Return an SVG element with axes, ticks and their names, and the group `inside` into which the plot is drawn. */
export function axes(width, height, scales, names, margin) {
  const { x, y } = scales, { left, right, top, bottom } = margin;
  const inside = s("g");
  const grid = s("g", { class: "grid" }), labels = s("g", { class: "ticks" });
  for (const tick of y.ticks) {
    const at = y(tick);
    grid.append(s("line", { x1: left, x2: width - right, y1: at, y2: at }));
    labels.append(s("text", { x: left - 7, y: at + 3.5, "text-anchor": "end" }, y.label(tick)));
  }
  for (const tick of x.ticks) {
    const at = x(tick), anchor = at > width - right - 14 ? "end" : at < left + 8 ? "start" : "middle";
    grid.append(s("line", { x1: at, x2: at, y1: height - bottom, y2: height - bottom + 4, class: "tick" }));
    labels.append(s("text", { x: at, y: height - bottom + 16, "text-anchor": anchor }, x.label(tick)));
  }
  grid.append(s("line", { class: "axis", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom }));
  if (names.x) {
    labels.append(s("text", { class: "name", x: (left + width - right) / 2, y: height - 3, "text-anchor": "middle" },
      names.x));
  }
  if (names.y) labels.append(s("text", { class: "name", x: 0, y: top - 9 }, names.y));
  return { root: s("svg", { width, height, viewBox: `0 0 ${width} ${height}` }, grid, inside, labels), inside };
}

let clips = 0;

/** Return a group whose children are drawn only inside this rectangle. */
export function clipped(left, top, right, bottom, ...children) {
  const id = `clip${clips++}`;
  const area = s("rect", { x: left, y: top, width: Math.max(0, right - left), height: Math.max(0, bottom - top) });
  return s("g", { "clip-path": `url(#${id})` }, s("clipPath", { id }, area), ...children);
}

/** Return an SVG path through the points, with a gap wherever y is not a finite number. */
export const path = (xs, ys) => {
  let text = "", open = false;
  xs.forEach((x, i) => {
    if (ys[i] == null || !Number.isFinite(ys[i])) { open = false; return; }
    text += `${open ? "L" : "M"}${x.toFixed(1)} ${ys[i].toFixed(1)}`;
    open = true;
  });
  return text;
};

/** Return the path of a small cross at the bottom of a plot, for a value that is not finite. */
export const cross = (x, bottom) => s("path", { class: "cross", d: `M${x - 3} ${bottom - 9}l6 6m-6 0l6 -6` });

/**
 * Return an element in which the pointer and the arrow keys move a cursor over a grid of points, with a tooltip that
 * shows the values of the point. `place(column, row)` returns its position, `locate(x, y)` the point at a position or
 * null. A click or Enter calls `pick(column, row)`.
 */
export function explore(root, label, { columns, rows = 1, place, locate, describe, start = columns - 1, mark, pick }) {
  const cursor = s("g", { class: "cursor" }), tip = h("div", { class: "tip", "aria-live": "polite", hidden: true });
  const host = h("div", { class: "explore", tabindex: 0, role: "group", "aria-label": `${label}. Use the arrow keys to read values.` },
    root, tip);
  root.append(cursor);
  let column = start, row = 0;
  const showAt = (i, j) => {
    column = clamp(i, 0, columns - 1);
    row = clamp(j, 0, rows - 1);
    const [px, py] = place(column, row), width = root.getAttribute("width");
    cursor.replaceChildren(...mark(column, row, px, py));
    const [head, ...lines] = describe(column, row).filter(Boolean);
    tip.replaceChildren(h("strong", {}, head), ...lines.map((line) => h("span", {}, line)));
    tip.hidden = false;
    tip.style.left = `${clamp(px > width / 2 ? px - 14 - tip.offsetWidth : px + 14, 0,
      Math.max(0, width - tip.offsetWidth))}px`;
    tip.style.top = `${clamp(py - 14, 0, Math.max(0, root.getAttribute("height") - tip.offsetHeight))}px`;
  };
  const hide = () => { tip.hidden = true; cursor.replaceChildren(); };
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const under = (event) => {
    const box = root.getBoundingClientRect();
    return locate(event.clientX - box.left, event.clientY - box.top);
  };
  return fill(host, {
    pointermove: (event) => {
      const point = under(event);
      if (point) showAt(...point); else hide();
    },
    pointerleave: () => { if (document.activeElement !== host) hide(); },
    click: (event) => {
      const point = pick && under(event);
      if (point) pick(point[0], event.clientY - root.getBoundingClientRect().top);
    },
    keydown: (event) => {
      const distance = event.shiftKey ? 10 : 1;
      if (moves[event.key]) showAt(column + distance * moves[event.key][0], row + moves[event.key][1]);
      else if (event.key === "Home") showAt(0, row);
      else if (event.key === "End") showAt(columns - 1, row);
      else if (event.key === "Escape") hide();
      else if (event.key === "Enter" && pick) pick(column, null);
      else return;
      event.preventDefault();
    },
    focus: () => { if (host.matches(":focus-visible")) showAt(column, row); },
    blur: hide,
  });
}
