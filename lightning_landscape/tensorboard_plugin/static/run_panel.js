// Everything about one run: its card, its pictures, and notes.

import { verdictCard } from "./card.js";
import { unreadable } from "./chart.js";
import { descentFigure, endsFigure, spectrumFigure } from "./curvature.js";
import { h, prose } from "./elements.js";
import { heatMap } from "./heat_map.js";
import { lineFigure } from "./lines.js";
import { metricFigure } from "./metrics.js";
import { capitalised, plural } from "./numbers.js";
import { planeFigure } from "./plane.js";
import { ofTraining } from "./states.js";
import { timelineFigure } from "./timeline.js";
import { trialFigure } from "./trials.js";

export const SCHEMA = 1;  // the newest version of records that can be drawn

export const isUsable = (part) => Boolean(part) && part.schema <= SCHEMA;
export const hasCurve = (course) => isUsable(course) && course.curve?.step.length > 0;

const USUAL = ["timeline", "metrics", "trials", "line", "grad_norms", "plane", "descent", "spectrum"];
const BEFORE = 2;  // rows of a panel above its pictures: the name and the card

/** Return the kinds of pictures in the order in which they should be seen, which depends on the cause. */
export const orderOf = (course) => [...(Array.isArray(course?.order) ? course.order : USUAL), "ends"];

/** Return what `make` returns, or a note if the record is damaged. */
const attempt = (make) => {
  try { return make(); } catch (error) { return unreadable(error); }
};

/**
 * Return the panel of a run. `memory` keeps what the user has chosen in it, `shared` holds the limits of the axes where
 * several runs share them, and `order` the kinds of pictures in their order. The panel has a method `renew(news)`.
 */
export function runPanel(name, { parts, skipped }, news, memory, { shared, order }) {
  const panel = h("article", { "aria-label": name }, h("p", { class: "run", title: name }, name));
  const course = parts.course, usable = (part) => (isUsable(part) ? part : null);
  const newer = Object.values(parts).filter((part) => !isUsable(part)).length;
  if (newer) {
    panel.append(h("p", { class: "note" }, `A newer version of lightning_landscape has written ${plural(newer, "part")} of this record; `
      + `this version cannot draw ${newer > 1 ? "them" : "it"}.`));
  }
  let card = h("section", { hidden: true }), timeline = null, latest = news;
  const makeCard = () => {
    const chosen = ofTraining(course).find(({ step }) => step === memory.verdict) ?? null;
    const made = attempt(() => verdictCard(course, latest, chosen, () => choose(null)));
    card.replaceWith(made);
    card = made;
  };
  const choose = (verdict) => {
    memory.verdict = verdict?.step ?? null;
    makeCard();
    timeline?.redraw();
  };
  panel.append(card);
  if (isUsable(course)) attempt(makeCard);
  const lines = usable(parts.lines) && Object.fromEntries(Object.entries(parts.lines).filter(([key]) => key !== "schema"));
  const planes = usable(parts.planes)?.planes, curvature = usable(parts.curvature), gradients = usable(parts.gradients), metrics = usable(parts.metrics);
  const made = {
    timeline: ["course", hasCurve(course) && (() => { timeline = timelineFigure(course, memory, shared, ({ verdict }) => verdict && choose(verdict)); return timeline; })],
    metrics: ["metrics", metrics && (() => metricFigure(metrics, usable(course), memory, shared))],
    trials: ["trials", isUsable(course) && (() => trialFigure(course.trials))],
    line: ["lines", lines && (() => lineFigure(lines, memory, shared))],
    grad_norms: ["gradients", gradients && (() => heatMap(gradients))],
    plane: ["plane", planes && (() => planeFigure(planes, memory))],
    descent: ["descent", curvature && (() => descentFigure(curvature.ends))],
    spectrum: ["spectrum", curvature && (() => spectrumFigure(curvature.spectra))],
    ends: ["ends", curvature && (() => endsFigure(curvature.ends))],
  };
  const figures = order.filter((kind) => Object.hasOwn(made, kind)).map((kind, i) => {
    const [slot, make] = made[kind], node = make && attempt(make);
    node?.classList?.add(slot);
    node?.style?.setProperty("--row", BEFORE + 1 + i);
    return node;
  }).filter(Boolean);
  panel.append(h("div", { class: "figures" }, figures));
  const notes = [...(course?.notes || []), ...(skipped ? [`${plural(skipped, "record")} could not be read`] : [])];
  if (notes.length) panel.append(h("ul", { class: "notes" }, notes.map((note) => h("li", {}, prose(capitalised(note))))));
  panel.renew = (seen) => { latest = seen; card.renew?.(seen); };
  return panel;
}
