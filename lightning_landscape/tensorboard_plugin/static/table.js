// The table of all runs, those with an alarm first.

import { path } from "./chart.js";
import { h, s } from "./elements.js";
import { capitalised, count, extent, number, plural } from "./numbers.js";
import { linear, lossScale, positionOn, withoutPeaks } from "./scales.js";
import { findingOf, MARKS, present, progressInNumbers, shareDone, statusOf, TONE_WORDS, urgency } from "./states.js";

const FILTERED = 6;  // runs from which on there is a filter
const LINE = { width: 110, height: 26 };

/** Return the runs of an overview, alarms first, then the one with the latest record. */
export const sorted = (runs) => runs.map((run, i) => ({ run, i, order: run.course ? urgency(run.course) : 9 }))
  .sort((a, b) => a.order - b.order || a.i - b.i).map(({ run }) => run);

/** Return the limits of a small line: at least a fifth of the level, so that the noise of a flat loss looks flat. */
function limitsOf(losses) {
  const [low, high] = extent(withoutPeaks(losses)), least = 0.2 * Math.max(Math.abs(low), Math.abs(high));
  return high - low >= least ? [low, high] : [(low + high - least) / 2, (low + high + least) / 2];
}

/** Return the loss of a run as a small line without axes. */
function sparkline({ curve }) {
  const { width, height } = LINE, steps = curve.step;
  const x = linear([steps[0], Math.max(steps[0] + 1, steps.at(-1))], [1, width - 1]);
  const y = lossScale(limitsOf(curve.loss), [height - 2, 2]), position = positionOn(y);
  const inside = (value) => (position(value) == null ? null : Math.max(0, position(value)));
  return s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, class: "spark", "aria-hidden": "true" },
    s("path", { class: "line", d: path(steps.map(x), curve.loss.map(inside)) }));
}

/** Return a bar that shows how much of a run is done. */
const doneBar = (share) => share != null && h("span", { class: "done", "aria-hidden": "true" },
  Object.assign(h("span"), { style: `width:${(100 * share).toFixed(1)}%` }));

/** Return all that the filter looks at in a run, in lower case. */
export function searchText({ run, course }) {
  if (!course) return run.toLowerCase();
  const { tone, title, verdict } = present(course);
  return [run, title, TONE_WORDS[tone], findingOf(verdict), verdict?.code, statusOf(course)].filter(Boolean).join(" ").toLowerCase();
}

/** Return in words how many runs there are of each tone. */
function summary(runs) {
  const tones = runs.filter(({ course }) => course).map(({ course }) => present(course).tone);
  const counts = [["alarm", (n) => plural(n, "alarm")], ["unsure", (n) => `${count(n)} uncertain`], ["good", (n) => `${count(n)} without an alarm`],
    ["quiet", (n) => `${count(n)} for information`]].map(([tone, words]) => [tones.filter((one) => one === tone).length, words]);
  return `${plural(runs.length, "run")}: ${counts.filter(([n]) => n).map(([n, words]) => words(n)).join(", ")}`;
}

/** Return the cells of a row besides the name. */
function cells(course, news) {
  const { tone, title, verdict, since } = present(course), finding = findingOf(verdict), now = course.loss?.now;
  return [
    h("td", { class: `state ${tone}` }, h("span", { class: "mark", "aria-hidden": "true" }, `${MARKS[tone]} `), title,
      finding && h("span", { class: "finding" }, capitalised(finding))),
    h("td", { class: "since" }, verdict ? (since > 0 ? `step ${count(since)}` : "start") : "–"),
    h("td", { class: "steps" }, progressInNumbers(course, news), doneBar(shareDone(course, news))),
    h("td", { class: "loss" }, course.curve?.step?.length > 0 && sparkline(course), h("span", {}, now == null ? "" : number(now))),
    h("td", { class: "news" }, capitalised(statusOf(course, news))),
  ];
}

/**
 * Return the table of runs with a filter. `selected` is the set of names that are shown; a click on a name calls
 * `onOnly(name)`, a checkbox `onToggle(name)`. The node has a method `renew(runs, newsOf)`.
 */
export function runTable(selected, { onOnly, onToggle }) {
  const rows = new Map();
  let runs = [];
  const words = h("p", { class: "summary" }), body = h("tbody");
  const filter = h("input", { type: "search", placeholder: "Filter, for example: alarm", "aria-label": "Filter runs", input: () => show() });
  const head = h("tr", {}, ["Run", "State", "Since", "Steps", "Loss", "Last record"].map((name) => h("th", { scope: "col" }, name)));
  const node = h("section", { class: "picker", "aria-label": "All runs" }, h("div", { class: "bar" }, words, filter),
    h("div", { class: "scroll" }, h("table", { class: "table" }, h("thead", {}, head), body)));
  const rowOf = (name) => {
    if (!rows.has(name)) {
      const box = h("input", { type: "checkbox", value: name, "aria-label": `Show ${name}`, change: () => onToggle(name) });
      const link = h("button", { type: "button", class: "short", title: `Show only ${name}`, click: () => onOnly(name) }, name);
      rows.set(name, { box, text: "", row: h("tr", {}, h("th", { scope: "row" }, h("span", { class: "name" }, box, link))) });
    }
    return rows.get(name);
  };
  const show = () => {
    const pattern = filter.value.trim().toLowerCase();
    for (const run of runs) {
      const { box, row } = rowOf(run.run);
      box.checked = selected().has(run.run);
      row.classList.toggle("chosen", box.checked);
      row.hidden = !searchText(run).includes(pattern);
    }
    const ordered = runs.map(({ run }) => rowOf(run).row);
    if (ordered.length !== body.children.length || ordered.some((row, k) => body.children[k] !== row)) body.replaceChildren(...ordered);
  };
  node.renew = (all, newsOf) => {
    runs = all;
    node.hidden = runs.length < 2;
    filter.hidden = runs.length < FILTERED;
    words.textContent = summary(runs);
    for (const { run, course } of runs) {
      const entry = rowOf(run), made = course ? cells(course, newsOf(run)) : [h("td", { colspan: 5 }, "no readable record")];
      const text = made.map((cell) => new XMLSerializer().serializeToString(cell)).join("");
      if (text !== entry.text) {
        entry.text = text;
        entry.row.replaceChildren(entry.row.firstElementChild, ...made);
      }
    }
    show();
  };
  node.show = show;
  return node;
}
