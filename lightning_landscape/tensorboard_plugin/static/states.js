// What a run is doing: its state, its status, and how far it has come.

import { capitalised, count, percent, plural } from "./numbers.js";

export const MARKS = { good: "●", quiet: "◆", unsure: "◐", alarm: "▲" };
export const TONE_WORDS = { good: "no alarm", quiet: "for information", unsure: "uncertain", alarm: "alarm" };
const URGENCY = ["alarm", "unsure", "quiet", "good"];
const SILENCE = 300;  // seconds without a record after which a run is not called running

// Each record holds the tone of every state and its name in words, from the Python package's tables.
const TONES = { learning: "good" }, STATE_WORDS = {};

/** Learn the tones and the names of the states from a record. */
export const readTones = (course) => {
  // Records of version 0.1 hold no tones.
  const fromVerdicts = Object.fromEntries(
    (course?.verdicts ?? []).map((verdict) => [verdict.cause, verdict.stuck ? "alarm" : "quiet"]));
  Object.assign(TONES, course?.tones ?? fromVerdicts);
  Object.assign(STATE_WORDS, course?.words);
};

const toneOf = (name) => (Object.hasOwn(TONES, name) && Object.hasOwn(MARKS, TONES[name]) ? TONES[name] : "unsure");

/** Return the tone of a state and its name in words. */
export const stateOf = (name) => [toneOf(name), Object.hasOwn(STATE_WORDS, name) ? String(STATE_WORDS[name]) : String(name).replaceAll("_", " ")];

/** Return the verdicts on the training loss. */
export const ofTraining = (course) => (course?.verdicts ?? []).filter(({ metric }) => metric == null);

/** Return the latest verdict on each metric, the one that was reached last first. */
export const ofMetrics = (course) => [...new Map((course?.verdicts ?? []).filter(({ metric }) => metric != null)
  .map((verdict) => [verdict.metric, verdict])).values()].sort((a, b) => b.step - a.step);

/** Return the tone of a verdict: that of its cause, or whether it is an alarm if it is on a metric. */
export const toneOfVerdict = ({ cause, metric, stuck }) => (metric == null ? stateOf(cause)[0] : stuck ? "alarm" : "quiet");

/** Return the present state of the training loss: its tone, a title, the verdict behind it if there is one, and since when. */
export function presentLoss(course) {
  const [since, state] = course?.segments?.at(-1) ?? [0, "learning"];
  const verdict = ofTraining(course).findLast(({ cause }) => cause === state) ?? null;
  const [tone, words] = stateOf(state);
  if (verdict) return { tone, title: capitalised(withoutFinding(verdict)), verdict, since: verdict.since };
  if (tone !== "good") return { tone, title: capitalised(words), verdict, since };
  const over = ofTraining(course).findLast(({ stuck }) => stuck);
  if (over) return { tone: "quiet", title: `No plateau any more; alarm at step ${count(over.step)}`, verdict, since };
  return { tone, title: hasEnded(course) ? "No plateau was found" : "No plateau so far", verdict, since };
}

/** Return the verdict that is an alarm on a metric while the training loss gives none; null if there is none. */
export const metricAlarm = (course) => (presentLoss(course).verdict?.stuck ? null : ofMetrics(course).find(({ stuck }) => stuck) ?? null);

/** Return the title of a verdict with a capital letter, unless it begins with the name of a metric. */
export const titleOf = ({ title, metric }) => (metric && title.startsWith(metric) ? title : capitalised(title));

/** Return the present state of a run: that of the training loss, or an alarm on a metric. */
export function present(course) {
  const verdict = metricAlarm(course);
  return verdict ? { tone: "alarm", title: titleOf(verdict), verdict, since: verdict.since } : presentLoss(course);
}

/** Return a number by which runs are sorted so that alarms come first. */
export const urgency = (course) => URGENCY.indexOf(present(course).tone);

/** Return the name of what was found in the code, the data or the settings, in words; empty where nothing was. */
export const findingOf = (verdict) => {
  const name = verdict?.finding?.name ?? verdict?.code?.split(" ")[1] ?? "";
  return name.replaceAll("-", " ");
};

/** Return the title of a verdict without what was found, which is shown beside it. */
const withoutFinding = (verdict) => {
  const end = `: ${findingOf(verdict)}`;
  return verdict.title.endsWith(end) ? verdict.title.slice(0, -end.length) : verdict.title;
};

const hasEnded = (course) => Boolean(course?.status) && course.status !== "running";

const UNITS = [["day", 86_400], ["h", 3600], ["min", 60], ["s", 1]];

/** Return a duration as text, in its largest unit: "8 min". */
export const duration = (seconds) => {
  const [unit, size] = UNITS.find(([, size]) => seconds >= 1.5 * size) ?? ["s", 1];
  const amount = Math.max(0, Math.round(seconds / size));
  return unit === "day" ? plural(amount, "day") : `${amount} ${unit}`;
};

const when = (seconds) => new Date(1000 * seconds).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });

/** Return how long the run still takes, as ", about 12 min left"; empty where that is unknown. */
function timeLeft(course, step) {
  const left = (course?.horizon ?? 0) - stepsOf(course, { step }), seconds = left * (course?.seconds_per_step ?? 0);
  return seconds > 0 ? `, about ${duration(seconds)} left` : "";
}

/**
 * Return whether a run has ended or is running, in words. `news` holds `seen`, when the run last wrote a record, and
 * `now`, both in seconds, and `live`, whether the page is renewed.
 */
export function statusOf(course, { seen, now, live, step } = {}) {
  if (hasEnded(course)) return course.status;
  if (seen == null || now == null) return "running";
  const age = now - seen;
  if (live && age < SILENCE) return `running, last record ${duration(age)} ago${timeLeft(course, step)}`;
  if (live) return `no news for ${duration(age)}`;
  return age < SILENCE ? `running when this page was made, ${when(now)}` : `no news since ${when(seen)}`;
}

/** Return the number of steps that a run has made, as far as its records show. */
export const stepsOf = (course, { step } = {}) => {
  const recorded = course?.curve?.step?.at(-1);
  return (course?.steps ?? 0) + (step != null && recorded != null ? Math.max(0, step - recorded) : 0);
};

/** Return how many steps the run has made, of how many, and the share: ["31,300", "50,000", " (63%)"]. */
const partsOfProgress = (course, news) => {
  const steps = stepsOf(course, news), horizon = course?.horizon;
  if (!(horizon > 0)) return [count(steps), "", ""];
  return [count(steps), count(horizon), steps < horizon ? ` (${percent(Math.floor((100 * steps) / horizon) / 100)})` : ""];
};

/** Return how many steps the run has made, and of how many: "31,300 of 50,000 steps (63%)". */
export function progressOf(course, news) {
  const [steps, horizon, share] = partsOfProgress(course, news);
  return `${horizon ? `${steps} of ${horizon}` : steps} step${(horizon || steps) === "1" ? "" : "s"}${share}`;
}

/** Return the same without the word "steps", for a column of that name. */
export function progressInNumbers(course, news) {
  const [steps, horizon, share] = partsOfProgress(course, news);
  return horizon ? `${steps} of ${horizon}${share}` : steps;
}

/** Return the share of the run that is done; null if its length is unknown. */
export const shareDone = (course, news) => (course?.horizon > 0 ? Math.min(1, stepsOf(course, news) / course.horizon) : null);
