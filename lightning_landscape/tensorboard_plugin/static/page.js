// The page: the table of all runs, and below it one run, a few side by side, or many as small pictures.

import { runsInAddress, writeAddress } from "./address.js";
import { h } from "./elements.js";
import { changesOf } from "./lines.js";
import { multiples } from "./multiples.js";
import { extent } from "./numbers.js";
import { commonAxes, overlayFigure } from "./overlay.js";
import { hasCurve, orderOf, runPanel } from "./run_panel.js";
import { calm } from "./scales.js";
import { progressOf, readTones } from "./states.js";
import { STYLE } from "./style.js";
import { runTable, searchText, sorted } from "./table.js";
import { themeButton } from "./theme.js";

const POLL = 30_000, POLL_AT_FIRST = 5_000;  // milliseconds
const SETTLED = 60_000;  // milliseconds after which the page no longer chooses runs by itself
const SIDE_BY_SIDE = 3;  // runs that are shown whole; more are shown as small pictures
const SNIPPET = `from lightning_landscape import LandscapeMonitor

trainer = Trainer(callbacks=[LandscapeMonitor()])  # and a TensorBoardLogger`;

/** Return what is shown while no run has been watched. */
const emptyState = (folder) => [
  h("h2", {}, "No run has been watched yet"),
  h("p", {}, "Add the monitor to the callbacks of the Trainer, and train:"),
  h("pre", {}, SNIPPET),
  folder && h("p", {}, "Records are read from ", h("code", {}, folder), ". They appear here within half a minute."),
].filter(Boolean);

/** Return a run of the overview, without its record if that is damaged. */
function checked(run) {
  try {
    readTones(run.course);
    searchText(run);
    progressOf(run.course, run);
    return run;
  } catch {
    return { ...run, course: null };
  }
}

/** Return the ranges of the axes that these runs share; null for fewer than two runs with a loss. */
function sharedAxes(answers) {
  const courses = answers.map(({ parts }) => parts.course).filter(hasCurve);
  if (courses.length < 2) return null;
  const newest = answers.flatMap(({ parts }) => Object.values(parts.lines || {}).filter(Array.isArray).map((lines) => lines.at(-1)).filter(Boolean));
  const [low, high] = extent(newest.flatMap((line) => calm(changesOf(line), 20))), span = high - low || 1;
  return { ...commonAxes(courses), changes: [low - 0.06 * span, high + 0.1 * span] };
}

/**
 * Draw runs into the element `root`. `source.overview()` resolves to {now, folder, runs: [{run, course, seen, step}]}
 * with the latest run first and short curves, `source.read(name)` to {parts, skipped}, and `source.courses(names)` to
 * the whole curves. If `source.live`, they are called again every 30 seconds while the page is visible.
 */
export async function mount(root, source) {
  const memory = new Map(), answers = new Map(), texts = new Map(), together = {};
  const opened = performance.now(), isNew = () => performance.now() - opened < SETTLED;
  let runs = [], news = new Map(), courses = {}, selected = new Set(), isChosen = false, sameAxes = false;
  let drawn = [];  // the names of the runs that have been read and are shown
  const style = h("style");
  style.textContent = STYLE;
  document.head.append(style);
  const message = h("div", { class: "message", role: "status" }), above = h("div"), grid = h("div", { class: "runs" });
  const table = runTable(() => selected, {
    onOnly: (name) => choose([name]),
    onToggle: (name) => choose(selected.has(name) ? [...selected].filter((one) => one !== name) : [...selected, name]),
  });
  const compare = h("button", { type: "button", hidden: true, "aria-pressed": "false", click: () => { sameAxes = !sameAxes; show(); } }, "Same axes");
  const theme = themeButton(root, () => root.querySelectorAll("figure").forEach((node) => node.redraw?.()));
  const reload = h("button", { type: "button", click: () => refresh() }, "Reload");
  root.classList.add("landscape");
  root.replaceChildren(h("header", {}, h("h1", {}, "Landscape"), h("p", {}, "why is this run stuck?"), h("nav", {}, compare, theme, source.live && reload)),
    table, message, above, grid);

  const choose = (names) => {
    selected = new Set(names);
    isChosen = true;
    writeAddress(selected);
    table.show();
    return refresh();
  };
  const isMany = (names) => names.length > SIDE_BY_SIDE;

  const show = () => {
    const names = drawn, many = isMany(names);
    const withCurve = names.filter((name) => hasCurve(courses[name])).map((name) => [name, courses[name]]);
    const side = many ? [] : names.filter((name) => answers.has(name));
    const shared = sameAxes ? sharedAxes(side.map((name) => answers.get(name))) : null;
    compare.hidden = side.length < 2;
    compare.setAttribute("aria-pressed", String(sameAxes));
    root.classList.toggle("single", names.length === 1);
    above.replaceChildren(...(withCurve.length > 1 ? [overlayFigure(withCurve, together, (name) => choose([name]))] : []));
    if (many) {
      above.append(multiples(withCurve, commonAxes(withCurve.map(([, course]) => course)), news, (name) => choose([name])));
    }
    const order = orderOf(answers.get(side[0])?.parts.course);
    grid.replaceChildren(...side.map((name) => {
      if (!memory.has(name)) memory.set(name, {});
      return runPanel(name, answers.get(name), news.get(name), memory.get(name), { shared, order });
    }));
  };

  /** Read these runs, and return whether one of them has changed. */
  const readRuns = async (names) => {
    const before = new Map(texts);
    courses = names.length > 1 ? await source.courses(names) : {};
    for (const [name, course] of Object.entries(courses)) texts.set(`course ${name}`, JSON.stringify(course));
    if (!isMany(names)) {
      for (const name of names) {
        const answer = await source.read(name);
        readTones(answer.parts.course);
        answers.set(name, answer);
        texts.set(`run ${name}`, JSON.stringify(answer));
      }
    }
    return [...texts].some(([key, text]) => before.get(key) !== text);
  };

  const readAndShow = async () => {
    try {
      const { now, folder, runs: found } = await source.overview();
      runs = sorted(found.map(checked));
      news = new Map(runs.map(({ run, seen, step }) => [run, { seen, step, now, live: source.live }]));
      // While TensorBoard reads the files, runs appear one after the other.
      if (!isChosen && (isNew() || !selected.size)) selected = new Set(firstChoice());
      table.renew(runs, (name) => news.get(name));
      message.replaceChildren(...(runs.length ? [] : emptyState(folder)));
      const names = runs.map(({ run }) => run).filter((run) => selected.has(run)), changed = await readRuns(names);
      if (changed || names.join("\n") !== drawn.join("\n")) {
        drawn = names;
        show();
      } else {
        for (const panel of grid.children) panel.renew?.(news.get(panel.getAttribute("aria-label")));
      }
    } catch (error) {
      message.textContent = `The records could not be read: ${error.message}`;
    }
  };
  let reading = Promise.resolve(), next = null;
  /** Read and show everything, after what is being read: an answer that comes late never replaces a newer one. */
  const refresh = () => next ??= reading.then(() => {
    next = null;
    reading = readAndShow();
    return reading;
  });

  /** Return the runs in the address that exist; else both of two runs, or the most urgent one. */
  const firstChoice = () => {
    const names = runs.map(({ run }) => run), wanted = (runsInAddress() ?? []).filter((name) => names.includes(name));
    return wanted.length ? wanted : names.slice(0, names.length === 2 ? 2 : 1);
  };

  const poll = async () => {
    if (document.visibilityState === "visible") await refresh();
    setTimeout(poll, isNew() ? POLL_AT_FIRST : POLL);
  };
  if (source.live) await poll(); else await refresh();
}
