// The loss of one run with a band that shows its states.

import { axes, captionOf, clipped, cross, explore, figure, path, TALLER } from "./chart.js";
import { s } from "./elements.js";
import { brief, count, nearest, number, plural } from "./numbers.js";
import { linear, lossScale, positionOn, withoutPeaks } from "./scales.js";
import { MARKS, ofTraining, stateOf, toneOfVerdict } from "./states.js";
import { shownRange, wholeRun, zoomable } from "./zoom.js";

const BAND = 20;

/** Return the states of a run with their first and last steps, and the verdict of each, if there is one. */
export function segmentsOf(course) {
  const last = course.curve.step.at(-1);
  return course.segments.map(([first, state], i, all) => {
    const end = i + 1 < all.length ? all[i + 1][0] : last;
    const verdict = ofTraining(course).findLast(({ cause, step }) => cause === state && step <= Math.max(end, first));
    return { first, end, state, verdict: verdict ?? null };
  });
}

/** Return the limits of the losses at these steps, without single peaks, and how many points lie above them. */
export function lossLimits({ step, low, high }, [from, to]) {
  const inside = step.map((_, i) => i).filter((i) => step[i] >= from && step[i] <= to);
  const shown = inside.length > 1 ? inside : step.map((_, i) => i);
  const limits = withoutPeaks(shown.flatMap((i) => [low[i], high[i]]));
  return { limits, above: shown.filter((i) => high[i] > limits[1]).length };
}

/** Draw the mean loss, the area from the lowest to the highest loss, and crosses where the loss is not finite. */
function lossLine({ step, loss, low, high }, xs, position, bottom) {
  const band = step.map((_, i) => i).filter((i) => position(low[i]) != null && position(high[i]) != null);
  const back = band.toReversed().map((i) => `${xs[i].toFixed(1)} ${position(low[i]).toFixed(1)}`).join("L");
  const few = step.length < 3 ? loss.map((value, i) => position(value) != null
    && s("circle", { class: "dot", cx: xs[i], cy: position(value), r: 3 })) : [];
  return [
    band.length > 1 && s("path", { class: "band", d: `${path(band.map((i) => xs[i]), band.map((i) => position(high[i])))}L${back}Z` }),
    s("path", { class: "line", d: path(xs, loss.map(position)) }),
    ...few,
    ...loss.map((value, i) => value == null && cross(xs[i], bottom)),
  ].filter(Boolean);
}

/** Draw one state in the band below the loss. */
function stateBar({ first, end, state }, x, [left, right], top, chosen) {
  const [tone, words] = stateOf(state), from = Math.max(left, x(first)), to = Math.min(right, Math.max(from + 2, x(end)));
  const wide = to - from;
  if (wide <= 0) return null;
  return s("g", { class: `segment ${tone}${chosen ? " chosen" : ""}` },
    s("rect", { x: from, y: top, width: Math.max(1, wide - 1), height: BAND, rx: 3 }),
    wide > 6.4 * words.length + 26 ? s("text", { x: from + 8, y: top + 14 }, `${MARKS[tone]} ${words}`)
      : wide > 16 && s("text", { x: from + wide / 2, y: top + 14, "text-anchor": "middle" }, MARKS[tone]));
}

/**
 * Return the figure of the loss and the states. A click on a state calls `onState(segment)`; `memory` keeps the range
 * of steps; `shared` holds the limits of the axes where several runs share them.
 */
export function timelineFigure(course, memory, shared, onState) {
  const { step: steps, loss, low, high, grad_norm: norms } = course.curve;
  const margin = { left: 52, right: 8, top: 26, bottom: 66 }, segments = segmentsOf(course);
  const node = figure("Training loss and verdicts", (width) => {
    const right = width - margin.right, bottom = TALLER - margin.bottom, top = bottom + 24;
    const whole = shared?.steps ?? [Math.min(0, steps[0]), Math.max(1, steps.at(-1))], range = shownRange(memory, whole);
    const x = linear(range, [margin.left, right]);
    x.label = count;
    const own = lossLimits(course.curve, range);
    const y = lossScale(shared && !memory.range ? shared.losses : own.limits, [bottom, margin.top]), position = positionOn(y);
    const { root, inside } = axes(width, TALLER, { x, y }, { x: "optimizer step", y: "training loss" }, margin);
    const xs = steps.map(x);
    inside.append(
      clipped(margin.left, margin.top, right + 4, bottom, ...lossLine(course.curve, xs, position, bottom)),
      ...segments.map((segment) => stateBar(segment, x, [margin.left, right], top, segment.verdict && memory.verdict === segment.verdict.step)).filter(Boolean),
      ...course.verdicts.map((verdict) => ({ at: x(verdict.step), tone: toneOfVerdict(verdict) }))
        .filter(({ at }) => at >= margin.left && at <= right)
        .map(({ at, tone }) => s("line", { class: `flag ${tone}`, x1: at, x2: at, y1: margin.top, y2: top + BAND })));
    const segmentAt = (i) => segments.findLast((segment) => segment.first <= steps[i]) ?? segments[0];
    const within = steps.map((_, i) => i).filter((i) => steps[i] >= range[0] && steps[i] <= range[1]);
    const shown = within.length ? within : steps.map((_, i) => i);
    const stage = explore(root, "Training loss and verdicts by optimizer step. Enter shows the verdict at the cursor", {
      columns: shown.length,
      place: (k) => [xs[shown[k]], Math.max(margin.top, position(loss[shown[k]]) ?? bottom)],
      locate: (px) => [nearest(shown.map((i) => xs[i]), px), 0],
      mark: (_, __, px, py) => [
        s("line", { x1: px, x2: px, y1: margin.top, y2: top + BAND }),
        s("circle", { cx: px, cy: py, r: 3.5 }),
      ],
      describe: (k) => {
        const i = shown[k], segment = segmentAt(i);
        const spread = low[i] != null && low[i] !== high[i] ? ` (${number(low[i])} to ${number(high[i])})` : "";
        return [
          `step ${count(steps[i])}`,
          loss[i] == null ? "the loss is not finite" : `loss ${number(loss[i])}${spread}`,
          norms[i] != null && `gradient norm ${number(norms[i])}`,
          segment && `${MARKS[stateOf(segment.state)[0]]} ${stateOf(segment.state)[1]} since step ${count(segment.first)}`,
          segment?.verdict && brief(segment.verdict.reason),
        ];
      },
      pick: (k, py) => { if (py == null || py >= top) onState?.(segmentAt(shown[k])); },
    });
    zoomable(stage, root, {
      at: (px) => range[0] + ((px - margin.left) / (right - margin.left)) * (range[1] - range[0]),
      area: [margin.left, margin.top, right, bottom], whole, memory, redraw: node.redraw,
    });
    const cut = !shared && own.above > 0 && `${plural(own.above, "peak")} above ${number(own.limits[1])} cut off`;
    return {
      nodes: [stage, wholeRun(memory, node.redraw)].filter(Boolean),
      ...captionOf(course),
      notes: [memory.range && `steps ${count(Math.round(range[0]))} to ${count(Math.round(range[1]))}`, cut,
        low.some((loss, i) => loss !== high[i]) && "light area: lowest to highest loss", course.verdicts.length > 0 && "dotted line: a verdict"],
      rows: () => [["step", "mean loss", "lowest loss", "highest loss", "gradient norm", "state"],
        ...steps.map((step, i) => [step, loss[i], low[i], high[i], norms[i], segmentAt(i)?.state])],
    };
  });
  return node;
}
