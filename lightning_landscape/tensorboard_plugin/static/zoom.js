// Zoom into a range of steps: drag in a picture, or press + and −.

import { fill, h, s } from "./elements.js";
import { clamp } from "./numbers.js";

const LEAST = 8;  // pixels of a drag; a shorter one is a click

/** Return the range of steps that is shown: the one that was chosen, within the whole range. */
export const shownRange = (memory, whole) => memory.range ?? whole;

/** Return a button that shows all steps again; null while all are shown. */
export const wholeRun = (memory, redraw) => memory.range && h("button", { type: "button", class: "whole", click: () => {
  memory.range = null;
  redraw();
} }, "Show all steps");

/**
 * Let the user choose a range of steps in a picture. `at(pixel)` returns the step there, `area` is its rectangle as
 * [left, top, right, bottom], and the choice is kept as `memory.range`.
 */
export function zoomable(host, root, { at, area, whole, memory, redraw }) {
  const [left, top, right, bottom] = area;
  const frame = s("rect", { class: "selection", y: top, height: bottom - top });
  const within = (event) => clamp(event.clientX - root.getBoundingClientRect().left, left, right);
  let from = null;
  const choose = (a, b) => {
    const [low, high] = [clamp(Math.min(a, b), ...whole), clamp(Math.max(a, b), ...whole)];
    if (high - low < 2) return;
    memory.range = low <= whole[0] && high >= whole[1] ? null : [low, high];
    redraw();
  };
  const by = (factor) => {
    const [a, b] = shownRange(memory, whole), middle = (a + b) / 2, half = (factor * (b - a)) / 2;
    choose(middle - half, middle + half);
  };
  return fill(host, {
    pointerdown: (event) => { if (event.button === 0) from = within(event); },
    pointermove: (event) => {
      if (from == null || !(event.buttons & 1)) { from = null; frame.remove(); return; }
      const to = within(event);
      if (Math.abs(to - from) < LEAST) return;
      fill(frame, { x: Math.min(from, to), width: Math.abs(to - from) });
      root.append(frame);
    },
    pointerup: (event) => {
      const to = within(event), start = from;
      from = null;
      frame.remove();
      if (start != null && Math.abs(to - start) >= LEAST) choose(at(start), at(to));
    },
    dblclick: () => { if (memory.range) { memory.range = null; redraw(); } },
    keydown: (event) => {
      if (event.key === "+" || event.key === "=") by(0.5);
      else if (event.key === "-" || event.key === "_") by(2);
    },
  });
}
