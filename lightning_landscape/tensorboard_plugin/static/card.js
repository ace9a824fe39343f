// The card that says what a run is doing, why it is stuck, and what to try.

import { h, prose } from "./elements.js";
import { capitalised, count, number } from "./numbers.js";
import { MARKS, metricAlarm, ofMetrics, ofTraining, presentLoss, progressOf, statusOf, titleOf, TONE_WORDS, toneOfVerdict } from "./states.js";

/** Return the lines of a text as paragraphs, the first one behind a word that says what follows. */
const paragraphs = (word, text) => (text ? text.split("\n").map((line, i) => (
  h("p", {}, i === 0 && h("strong", {}, `${word} `), prose(line)))) : []);

/** Return the code of a verdict, as a link to the page that explains it. */
const code = ({ code: name, link }) => (
  /^https?:/.test(link ?? "") ? h("a", { href: link, target: "_blank", rel: "noopener" }, name) : name);

const reported = (verdict) => [`${verdict.since > 0 ? `Since step ${count(verdict.since)}` : "From the start"}, reported at step ${count(verdict.step)} [`, code(verdict), "]"];

/** Return what to try; a record of version 0.1 has it as a single text. */
function advice({ tries, advice: whole, stuck }) {
  const lines = tries ?? (whole ? [capitalised(whole)] : []);
  if (!lines.length) return null;
  const word = h("strong", {}, stuck ? "Try" : "What to do");
  return h("div", { class: "try" }, lines.length === 1 ? h("p", {}, word, " ", prose(lines[0]))
    : [h("p", {}, word), h("ol", {}, lines.map((line) => h("li", {}, prose(line))))]);
}

/** Return names and values as a table, with one row for the name of each group: "group: name". */
function grouped(readings) {
  let group = "";
  return readings.flatMap(([name, value]) => {
    const [, of, rest] = /^([^:]+): (.+)$/s.exec(name) ?? [null, "", name], isNew = of && of !== group;
    group = of;
    return [isNew && h("tr", { class: "group" }, h("th", { colspan: 2, scope: "rowgroup" }, capitalised(of))),
      h("tr", {}, h("th", { scope: "row" }, rest), h("td", {}, value))].filter(Boolean);
  });
}

/** Return what to try, the reasons of a verdict, and what was tried. */
const explanation = (verdict) => [
  h("div", { class: "why" }, advice(verdict), h("div", {}, paragraphs("Why", verdict.reason), paragraphs("Tried", verdict.tried))),
  verdict.readings.length > 0 && h("details", {}, h("summary", {}, "The numbers behind it"),
    h("div", { class: "scroll" }, h("table", {}, h("tbody", {}, grouped(verdict.readings))))),
];

/** Return what is known of the run besides its verdict; it is open where there is no alarm. */
const about = (facts, open) => Array.isArray(facts) && facts.length > 0 && h("details", { open, class: "about" },
  h("summary", {}, "About this run"), h("dl", {}, facts.flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, capitalised(text))])));

/** Return the mark of a tone with its words. */
const marked = (tone) => h("p", { class: "mark" }, h("span", { "aria-hidden": "true" }, MARKS[tone]), ` ${TONE_WORDS[tone]}`);

/** Return a verdict on a metric below the one that leads the card. */
const further = (verdict) => h("div", { class: `also ${toneOfVerdict(verdict)}` }, marked(toneOfVerdict(verdict)),
  h("h2", {}, titleOf(verdict)), h("p", { class: "facts" }, reported(verdict)), explanation(verdict));

/**
 * Return the card of a run. A verdict on a metric leads it if there is none on the training loss, or if only that on the
 * metric is an alarm. `chosen` is the verdict that the user has clicked on, or null for the present state; `onBack`
 * shows the present state again. The card has a method `renew(news)` for the time of the last record.
 */
export function verdictCard(course, news, chosen, onBack) {
  const now = presentLoss(course), verdicts = course.verdicts, metrics = ofMetrics(course);
  const leading = metricAlarm(course) ?? now.verdict ?? metrics[0] ?? null, main = chosen ?? leading;
  const earlier = now.verdict ? null : ofTraining(course).findLast(({ stuck }) => stuck);
  const shown = main ?? earlier, tone = main ? toneOfVerdict(main) : now.tone;
  const others = main === leading ? [now.verdict, ...metrics].filter((verdict) => verdict && verdict !== leading) : [];
  const level = course.loss ?? {}, progress = h("p", { class: "facts progress" });
  const loss = level.start != null && `Training loss from ${number(level.start)} to ${number(level.now)}`;
  const card = h("section", { class: `verdict ${tone}` },
    marked(tone),
    chosen && chosen !== leading && h("button", { type: "button", class: "back", click: onBack }, "Show the present state"),
    h("h2", {}, main ? titleOf(main) : now.title),
    main && h("p", { class: "facts" }, reported(main)),
    progress,
    earlier && !chosen && h("p", { class: "facts" },
      `Earlier: ${earlier.title}, steps ${count(earlier.since)} to ${count(now.since)}.`),
    shown && explanation(shown),
    others.map(further),
    about(course.facts, !shown?.stuck),
    verdicts.length > 1 && h("details", {}, h("summary", {}, `All ${verdicts.length + (course.earlier_verdicts || 0)} verdicts of this run`),
      h("ol", {}, verdicts.map((verdict) => h("li", {}, h("strong", {}, `step ${count(verdict.step)}: ${verdict.title}. `), prose(verdict.reason))))));
  card.renew = (latest) => { progress.textContent = [loss, progressOf(course, latest), statusOf(course, latest)].filter(Boolean).join(" · "); };
  card.renew(news);
  return card;
}
