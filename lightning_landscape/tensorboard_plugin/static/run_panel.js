// Everything about one run: its card, its pictures, and notes.

import { verdictCard } from "./card.js";
import { unreadable } from "./chart.js";
import { endsFigure, spectrumFigure } from "./curvature.js";
import { h } from "./elements.js";
import { heatMap } from "./heat_map.js";
import { lineFigure } from "./lines.js";
import { plural } from "./numbers.js";
import { planeFigure } from "./plane.js";
import { timelineFigure } from "./timeline.js";

export const SCHEMA = 1;  // the newest version of records that can be drawn

export const isUsable = (part) => Boolean(part) && part.schema <= SCHEMA;
export const hasCurve = (course) => isUsable(course) && course.curve?.step.length > 0;

/** Return what `make` returns, or a note if the record is damaged. */
const attempt = (make) => {
  try { return make(); } catch (error) { return unreadable(error); }
};

/**
 * Return the panel of a run. `memory` keeps what the user has chosen in it, `shared` holds the limits of the axes where
 * several runs share them. The panel has a method `renew(news)`.
 */
export function runPanel(name, { parts, skipped }, news, memory, shared) {
  const panel = h("article", { "aria-label": name }, h("p", { class: "run", title: name }, name));
  const course = parts.course, usable = (part) => (isUsable(part) ? part : null);
  const newer = Object.values(parts).filter((part) => !isUsable(part)).length;
  if (newer) {
    panel.append(h("p", { class: "note" }, `A newer version of lightning_landscape has written ${plural(newer, "part")} of this record; `
      + `this version cannot draw ${newer > 1 ? "them" : "it"}.`));
  }
  let card = h("section", { hidden: true }), timeline = null, latest = news;
  const makeCard = () => {
    const chosen = course.verdicts.find(({ step }) => step === memory.verdict) ?? null;
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
  const planes = usable(parts.planes)?.planes, curvature = usable(parts.curvature), gradients = usable(parts.gradients);
  const figures = [
    ["course", hasCurve(course) && (() => { timeline = timelineFigure(course, memory, shared, ({ verdict }) => verdict && choose(verdict)); return timeline; })],
    ["lines", lines && (() => lineFigure(lines, memory, shared))],
    ["plane", planes && (() => planeFigure(planes, memory))],
    ["spectrum", curvature && (() => spectrumFigure(curvature.spectra, planes?.length))],
    ["ends", curvature && (() => endsFigure(curvature.ends, gradients?.groups?.length ?? 0))],
    ["gradients", gradients && (() => heatMap(gradients, planes?.length && !curvature?.spectra?.length))],
  ].map(([slot, make]) => {
    const node = make && attempt(make);
    node?.classList?.add(slot);
    return node;
  }).filter(Boolean);
  panel.append(h("div", { class: "figures" }, figures));
  const notes = [...(course?.notes || []), ...(skipped ? [`${plural(skipped, "record")} could not be read`] : [])];
  if (notes.length) panel.append(h("ul", { class: "notes" }, notes.map((note) => h("li", {}, note))));
  panel.renew = (seen) => { latest = seen; card.renew?.(seen); };
  return panel;
}
