// The card that says what a run is doing, and why it is stuck.

import { h } from "./elements.js";
import { capitalised, count, number } from "./numbers.js";
import { MARKS, present, progressOf, stateOf, statusOf, TONE_WORDS } from "./states.js";

/** Return the lines of a text as paragraphs. */
const paragraphs = (text) => text.split("\n").map((line) => h("p", {}, line));

const reported = (verdict) => `since step ${count(verdict.since)}, reported at step ${count(verdict.step)} [${verdict.code}]`;

/** Return the reasons of a verdict and what to try. */
const explanation = (verdict) => [
  h("div", { class: "why" }, h("div", {}, paragraphs(verdict.reason)),
    verdict.advice && h("div", { class: "try" }, paragraphs(verdict.stuck ? verdict.advice : capitalised(verdict.advice))
      .map((line, i) => { if (i === 0 && verdict.stuck) line.prepend(h("strong", {}, "Try"), " "); return line; }))),
  verdict.readings.length > 0 && h("details", {}, h("summary", {}, "Measurements behind this verdict"),
    h("div", { class: "scroll" }, h("table", {}, h("tbody", {},
      verdict.readings.map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, value))))))),
];

/**
 * Return the card of a run. `chosen` is the verdict that the user has clicked on, or null for the present state;
 * `onBack` shows the present state again. The card has a method `renew(news)` for the time of the last record.
 */
export function verdictCard(course, news, chosen, onBack) {
  const now = present(course), verdicts = course.verdicts;
  const earlier = now.verdict ? null : verdicts.findLast(({ stuck }) => stuck);
  const shown = chosen ?? now.verdict ?? earlier;
  const tone = chosen ? stateOf(chosen.cause)[0] : now.tone, main = chosen ?? now.verdict;
  const level = course.loss ?? {}, progress = h("span", { class: "progress" });
  const loss = level.start != null && `training loss from ${number(level.start)} to ${number(level.now)}`;
  const card = h("section", { class: `verdict ${tone}` },
    h("p", { class: "mark" }, h("span", { "aria-hidden": "true" }, MARKS[tone]), ` ${TONE_WORDS[tone]}`),
    chosen && chosen !== now.verdict && h("button", { type: "button", class: "back", click: onBack }, "Show the present state"),
    h("h2", {}, chosen ? capitalised(chosen.title) : now.title),
    h("p", { class: "facts" }, [main && reported(main), loss].filter(Boolean).map((fact) => `${fact} · `), progress),
    shown === earlier && earlier && h("p", { class: "facts" },
      `Earlier: ${earlier.title}, steps ${count(earlier.since)} to ${count(now.since)}.`),
    shown && explanation(shown),
    verdicts.length > 1 && h("details", {}, h("summary", {}, `All ${verdicts.length + (course.earlier_verdicts || 0)} verdicts of this run`),
      h("ol", {}, verdicts.map((verdict) => h("li", {}, h("strong", {}, `step ${count(verdict.step)}: ${verdict.title}. `), verdict.reason)))));
  card.renew = (latest) => { progress.textContent = `${progressOf(course, latest)} · ${statusOf(course, latest)}`; };
  card.renew(news);
  return card;
}
