// Many runs as small pictures with common axes; a click opens one of them.

import { clipped, path } from "./chart.js";
import { h, s } from "./elements.js";
import { count, number } from "./numbers.js";
import { linear, lossScale, positionOn } from "./scales.js";
import { findingOf, MARKS, present, progressOf, stateOf } from "./states.js";
import { segmentsOf } from "./timeline.js";

const SMALL = { width: 260, height: 96, left: 34, right: 4, top: 6, bottom: 22 };

/** Return the loss of a run and the band of its states as a small picture. */
function picture(course, shared) {
  const { width, height, left, right, top, bottom } = SMALL, { step: steps, loss } = course.curve;
  const x = linear(shared.steps, [left, width - right]), y = lossScale(shared.losses, [height - bottom, top]), position = positionOn(y);
  const bars = segmentsOf(course).map(({ first, end, state }) => s("rect", { class: `state ${stateOf(state)[0]}`,
    x: x(first), y: height - 14, width: Math.max(1.5, x(end) - x(first) - 0.5), height: 7, rx: 2 }));
  const ticks = y.ticks.filter((_, i, all) => i === 0 || i === all.length - 1);
  return s("svg", { viewBox: `0 0 ${width} ${height}`, class: "small", "aria-hidden": "true" },
    s("line", { class: "axis", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom }),
    ticks.map((tick) => s("text", { x: left - 4, y: y(tick) + 3.5, "text-anchor": "end" }, y.label(tick))),
    clipped(left, top, width - right, height - bottom, s("path", { class: "line", d: path(steps.map(x), loss.map(position)) })), bars);
}

/** Return a grid of runs, given as [name, course], with these common axes. A click calls `onRun(name)`. */
export const multiples = (runs, shared, news, onRun) => h("div", { class: "multiples" }, runs.map(([name, course]) => {
  const { tone, title, verdict, since } = present(course), finding = findingOf(verdict);
  const now = course.loss?.now;
  return h("button", { type: "button", class: `multiple ${tone}`, title: `Show ${name} alone`, click: () => onRun(name) },
    h("span", { class: "short" }, name),
    h("strong", {}, h("span", { class: "mark", "aria-hidden": "true" }, `${MARKS[tone]} `), title),
    h("span", { class: "facts" }, [finding, verdict && `since step ${count(since)}`, now != null && `loss ${number(now)}`].filter(Boolean).join(" · ") || progressOf(course, news.get(name))),
    picture(course, shared));
}));
