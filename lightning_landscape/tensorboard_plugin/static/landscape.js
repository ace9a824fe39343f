// This module draws runs in three places: TensorBoard's Landscape tab, the report as an HTML file, and notebooks.
// A record may hold any text. Texts become text nodes and attributes, never markup.

const SVG = "http://www.w3.org/2000/svg";
const SCHEMA = 1;  // the newest version of records that can be drawn
const POLL = 30_000;  // milliseconds
const SELECTED_AT_FIRST = 2;  // runs

// ---------------------------------------------------------------- elements

/** Set the attributes and listeners (values that are functions) of an element, append its children, and return it. */
const fill = (node, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, String(value));
  }
  node.append(...children.flat().filter((child) => child != null && child !== false));
  return node;
};
/** Return a new HTML element. */
const h = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
/** Return a new SVG element. */
const s = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

// ---------------------------------------------------------------- numbers

const finite = (values) => values.filter((value) => typeof value === "number" && Number.isFinite(value));
/** Return the lowest and the highest finite value; [0, 1] if there is none. */
const extent = (values) => {
  let low = Infinity, high = -Infinity;
  for (const value of finite(values)) { low = Math.min(low, value); high = Math.max(high, value); }
  return low <= high ? [low, high] : [0, 1];
};
const stepCount = ({ steps }) => `${count(steps ?? 0)} step${steps === 1 ? "" : "s"}`;
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
/** Return a number with about four digits, as text. */
const number = (value) => {
  if (typeof value !== "number" || !Number.isFinite(value)) return "not finite";
  const size = Math.abs(value);
  const plain = size === 0 || (size >= 1e-3 && size < 1e6);
  const [digits, power] = plain ? [String(+value.toPrecision(4)), null] : value.toExponential(2).split("e");
  return `${plain ? digits : +digits}${plain ? "" : `e${+power}`}`.replaceAll("-", "−");
};
/** Return a whole number with commas between thousands, as text. */
const count = (value) => Number(value).toLocaleString("en-US");
const percent = (share) => `${number(+(100 * share).toPrecision(3))}%`;
/** Return the text, or its first 220 characters up to the end of a word. */
const brief = (text) => (text.length > 220 ? `${text.slice(0, text.lastIndexOf(" ", 220))} …` : text);

/** Return the end of the text, at most `length` characters with an ellipsis. */
const ending = (text, length) => (text.length > length ? `…${text.slice(1 - length)}` : text);

/** Return a linear scale from the range [a, b] to the range [c, d], with round numbers as ticks. */
function linear([a, b], [c, d]) {
  const scale = (value) => c + ((value - a) * (d - c)) / (b - a || 1);
  const step = (b - a || 1) / 4, size = 10 ** Math.floor(Math.log10(step));
  const nice = [1, 2, 5, 10].map((one) => one * size).find((one) => one >= step * 0.999) || step;
  scale.ticks = [];
  for (let tick = Math.ceil(a / nice - 1e-9) * nice; tick <= b + 1e-9 * nice; tick += nice) {
    scale.ticks.push(Math.abs(tick) < 1e-9 * nice ? 0 : tick);
  }
  const digits = Math.max(0, -Math.floor(Math.log10(nice) + 1e-9));
  scale.label = (tick) => (digits > 4 || nice >= 1e6 ? number(tick) : tick.toFixed(digits).replace("-", "−"));
  return scale;
}

/** Return a logarithmic scale; its ticks are powers of ten, or 1, 2 and 5 times these if the range is short. */
function logarithmic([a, b], range) {
  const inner = linear([Math.log10(a), Math.log10(b)], range);
  const scale = (value) => inner(Math.log10(value));
  const first = Math.ceil(Math.log10(a) - 1e-9), last = Math.floor(Math.log10(b) + 1e-9);
  const every = Math.max(1, Math.ceil((last - first + 1) / 5));
  scale.ticks = [];
  for (let power = first; power <= last; power += every) scale.ticks.push(10 ** power);
  if (scale.ticks.length < 2) {
    scale.ticks = [1, 2, 5].flatMap((one) => [first - 1, first, last].map((power) => one * 10 ** power))
      .filter((tick, i, all) => tick >= a * 0.999 && tick <= b * 1.001 && all.indexOf(tick) === i);
  }
  scale.label = number;
  return scale;
}

/** Return a scale for losses: logarithmic if all are positive and the highest is over 30 times the lowest. */
function lossScale(values, range) {
  let [low, high] = extent(values);
  if (low > 0 && high > 30 * low) {
    const pad = (high / low) ** 0.05;
    return logarithmic([low / pad, high * pad], range);
  }
  const least = 1e-4 * Math.max(Math.abs(low), Math.abs(high)) || 1;
  const span = Math.max(high - low, least), middle = (low + high) / 2;
  return linear([middle - 0.54 * span, middle + 0.56 * span], range);
}

const VIRIDIS = ["440154", "482878", "3e4a89", "31688e", "26828e", "1f9e89", "35b779", "6ece58", "b5de2b", "fde725"]
  .map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));
/** Return the colour [red, green, blue] of a share in [0, 1]. */
const viridis = (share) => {
  const place = clamp(share, 0, 1) * (VIRIDIS.length - 1), i = Math.min(Math.floor(place), VIRIDIS.length - 2);
  return VIRIDIS[i].map((from, k) => Math.round(from + (VIRIDIS[i + 1][k] - from) * (place - i)));
};

// ---------------------------------------------------------------- states of a run

const MARKS = { good: "●", quiet: "◆", unsure: "◐", alarm: "▲" };
// Each record holds the tone of every state, from the Python package's table of causes.
const TONES = { learning: "good" };
const toneOf = (name) => (Object.hasOwn(TONES, name) && Object.hasOwn(MARKS, TONES[name]) ? TONES[name] : "unsure");
/** Return the tone of a state and its name in words. */
const stateOf = (name) => [toneOf(name), String(name).replaceAll("_", " ")];
const readTones = (course) => {
  // Records of version 0.1 hold no tones.
  const fromVerdicts = Object.fromEntries((course?.verdicts ?? []).map((verdict) => [verdict.cause, verdict.stuck ? "alarm" : "quiet"]));
  Object.assign(TONES, course?.tones ?? fromVerdicts);
};
const capitalised = (text) => text.charAt(0).toUpperCase() + text.slice(1);

// ---------------------------------------------------------------- figures

const HEIGHT = 236, TALLER = 272;

const unreadable = (error) => h("p", { class: "note", title: error.message }, "This part of the record is damaged and cannot be drawn.");

/** Return a figure that calls `draw(width)`, which returns {nodes, numbers}, whenever its width changes. */
function figure(title, draw) {
  const numbers = h("span", { class: "numbers" }), stage = h("div", { class: "stage" });
  const node = h("figure", {}, h("figcaption", {}, h("h3", {}, title), numbers), stage);
  let width = 0;
  node.redraw = () => {
    if (width < 40) return;
    try {
      const drawn = draw(width);
      numbers.textContent = drawn.numbers || "";
      stage.replaceChildren(...drawn.nodes);
    } catch (error) {
      stage.replaceChildren(unreadable(error));
    }
  };
  new ResizeObserver(([entry]) => {
    const newWidth = Math.floor(entry.contentRect.width);
    if (newWidth !== width) { width = newWidth; node.redraw(); }
  }).observe(stage);
  return node;
}

/** Return an SVG element with axes, ticks and their names, and the group `inside` into which the plot is drawn. */
function axes(width, height, scales, names, margin) {
  const { x, y } = scales, { left, right, top, bottom } = margin;
  const inside = s("g");
  const grid = s("g", { class: "grid" }), labels = s("g", { class: "ticks" });
  for (const tick of y.ticks) {
    const at = y(tick);
    grid.append(s("line", { x1: left, x2: width - right, y1: at, y2: at }));
    labels.append(s("text", { x: left - 7, y: at + 3.5, "text-anchor": "end" }, y.label(tick)));
  }
  for (const tick of x.ticks) {
    const at = x(tick), anchor = at > width - right - 14 ? "end" : at < left + 8 ? "start" : "middle";
    grid.append(s("line", { x1: at, x2: at, y1: height - bottom, y2: height - bottom + 4, class: "tick" }));
    labels.append(s("text", { x: at, y: height - bottom + 16, "text-anchor": anchor }, x.label(tick)));
  }
  grid.append(s("line", { class: "axis", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom }));
  if (names.x) {
    labels.append(s("text", { class: "name", x: (left + width - right) / 2, y: height - 3, "text-anchor": "middle" },
      names.x));
  }
  if (names.y) labels.append(s("text", { class: "name", x: 0, y: top - 9 }, names.y));
  return { root: s("svg", { width, height, viewBox: `0 0 ${width} ${height}` }, grid, inside, labels), inside };
}

/**
 * Return an element in which the pointer and the arrow keys move a cursor over a grid of points, with a tooltip that shows
 * the values of the point. `place(column, row)` returns its position, `locate(x, y)` the point at a position or null.
 */
function explore(root, label, { columns, rows = 1, place, locate, describe, start = columns - 1, mark }) {
  const cursor = s("g", { class: "cursor" }), tip = h("div", { class: "tip", "aria-live": "polite", hidden: true });
  const host = h("div", { class: "explore", tabindex: 0, role: "group", "aria-label": `${label}. Use the arrow keys to read values.` },
    root, tip);
  root.append(cursor);
  let column = start, row = 0;
  const showAt = (i, j) => {
    column = clamp(i, 0, columns - 1);
    row = clamp(j, 0, rows - 1);
    const [px, py] = place(column, row), width = root.getAttribute("width");
    cursor.replaceChildren(...mark(column, row, px, py));
    const [head, ...lines] = describe(column, row).filter(Boolean);
    tip.replaceChildren(h("strong", {}, head), ...lines.map((line) => h("span", {}, line)));
    tip.hidden = false;
    tip.style.left = `${clamp(px > width / 2 ? px - 14 - tip.offsetWidth : px + 14, 0,
      Math.max(0, width - tip.offsetWidth))}px`;
    tip.style.top = `${clamp(py - 14, 0, Math.max(0, root.getAttribute("height") - tip.offsetHeight))}px`;
  };
  const hide = () => { tip.hidden = true; cursor.replaceChildren(); };
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  fill(host, {
    pointermove: (event) => {
      const box = root.getBoundingClientRect(), point = locate(event.clientX - box.left, event.clientY - box.top);
      if (point) showAt(...point); else hide();
    },
    pointerleave: () => { if (document.activeElement !== host) hide(); },
    keydown: (event) => {
      const distance = event.shiftKey ? 10 : 1;
      if (moves[event.key]) showAt(column + distance * moves[event.key][0], row + moves[event.key][1]);
      else if (event.key === "Home") showAt(0, row);
      else if (event.key === "End") showAt(columns - 1, row);
      else if (event.key === "Escape") hide();
      else return;
      event.preventDefault();
    },
    focus: () => { if (host.matches(":focus-visible")) showAt(column, row); },
    blur: hide,
  }, []);
  return host;
}

/** Return the index of the nearest position. */
const nearest = (positions, at) => {
  let best = 0;
  positions.forEach((position, i) => { if (Math.abs(position - at) < Math.abs(positions[best] - at)) best = i; });
  return best;
};

/** Return an SVG path through the points, with a gap wherever y is not a finite number. */
const path = (xs, ys) => {
  let text = "", open = false;
  xs.forEach((x, i) => {
    if (ys[i] == null || !Number.isFinite(ys[i])) { open = false; return; }
    text += `${open ? "L" : "M"}${x.toFixed(1)} ${ys[i].toFixed(1)}`;
    open = true;
  });
  return text;
};

// ---------------------------------------------------------------- the loss curve and the verdicts

function timeline(course, shared) {
  const { step: steps, loss, low, high, grad_norm: norms } = course.curve;
  const margin = { left: 52, right: 8, top: 26, bottom: 58 };
  const segments = course.segments.map(([first, state], i, all) => ({
    first, state, end: i + 1 < all.length ? all[i + 1][0] : steps[steps.length - 1],
  }));
  const verdictAt = (segment) => course.verdicts.findLast(
    (verdict) => verdict.cause === segment.state && verdict.step <= Math.max(segment.end, segment.first));
  return (width) => {
    const end = width - margin.right;
    const x = linear(shared ? shared.steps : [Math.min(0, steps[0]), Math.max(1, steps[steps.length - 1])], [margin.left, end]);
    x.label = count;
    const values = shared ? shared.losses : [...low, ...high];
    const y = lossScale(values, [TALLER - margin.bottom, margin.top]);
    const position = (value) => (value == null || (y.ticks[0] > 0 && value <= 0) ? null : y(value));
    const { root, inside } = axes(width, TALLER, { x, y }, { y: "training loss" }, margin);
    const xs = steps.map(x), top = TALLER - margin.bottom + 24;
    const band = steps.map((_, i) => i).filter((i) => position(low[i]) != null && position(high[i]) != null);
    if (band.length > 1) {
      inside.append(s("path", { class: "band", d:
        `${path(band.map((i) => xs[i]), band.map((i) => position(high[i])))}L${band.toReversed()
          .map((i) => `${xs[i].toFixed(1)} ${position(low[i]).toFixed(1)}`).join("L")}Z` }));
    }
    inside.append(s("path", { class: "line", d: path(xs, loss.map(position)) }));
    if (steps.length < 3) loss.forEach((value, i) => position(value) != null && inside.append(s("circle", { class: "dot", cx: xs[i], cy: position(value), r: 3 })));
    steps.forEach((_, i) => {
      if (loss[i] == null) {
        inside.append(s("path", { class: "cross", d: `M${xs[i] - 3} ${TALLER - margin.bottom - 9}l6 6m-6 0l6 -6` }));
      }
    });
    for (const segment of segments) {
      const [tone, words] = stateOf(segment.state), from = x(segment.first);
      const to = Math.max(from + 2, x(segment.end)), wide = to - from;
      const bar = s("g", { class: `segment ${tone}` },
        s("rect", { x: from, y: top, width: Math.max(1, wide - 1), height: 20, rx: 3 }));
      if (wide > 6.4 * words.length + 26) {
        bar.append(s("text", { x: from + 8, y: top + 14 }, `${MARKS[tone]} ${words}`));
      } else if (wide > 16) bar.append(s("text", { x: from + wide / 2, y: top + 14, "text-anchor": "middle" }, MARKS[tone]));
      inside.append(bar);
    }
    for (const verdict of course.verdicts) {
      const at = x(verdict.step);
      inside.append(s("line", { class: `flag ${stateOf(verdict.cause)[0]}`, x1: at, x2: at, y1: margin.top, y2: top + 20 }));
    }
    const segmentAt = (i) => segments.findLast((segment) => segment.first <= steps[i]) || segments[0];
    const stage = explore(root, "Training loss and verdicts by optimizer step", {
      columns: steps.length,
      place: (i) => [xs[i], position(loss[i]) ?? TALLER - margin.bottom],
      locate: (px) => [nearest(xs, px), 0],
      mark: (i, _, px, py) => [
        s("line", { x1: px, x2: px, y1: margin.top, y2: top + 20 }),
        s("circle", { cx: px, cy: py, r: 3.5 }),
      ],
      describe: (i) => {
        const segment = segmentAt(i), verdict = segment && verdictAt(segment);
        const spread = low[i] != null && low[i] !== high[i] ? ` (${number(low[i])} to ${number(high[i])})` : "";
        return [
          `step ${count(steps[i])}`,
          loss[i] == null ? "the loss is not finite" : `loss ${number(loss[i])}${spread}`,
          norms[i] != null && `gradient norm ${number(norms[i])}`,
          segment && `${MARKS[stateOf(segment.state)[0]]} ${stateOf(segment.state)[1]} since step ${count(segment.first)}`,
          verdict && brief(verdict.reason),
        ];
      },
    });
    return { nodes: [stage], numbers: stepCount(course) };
  };
}

// ---------------------------------------------------------------- lines

function lineFigure(lines, memory, shared) {
  const anchors = Object.keys(lines).filter((anchor) => Array.isArray(lines[anchor]) && lines[anchor].length);
  if (!anchors.length) return null;
  memory.anchor = anchors.includes(memory.anchor) ? memory.anchor : anchors[0];
  const curves = () => lines[memory.anchor];
  const chosen = () => (memory.follow === false ? clamp(memory.curve ?? 0, 0, curves().length - 1) : curves().length - 1);
  const output = h("output", {});
  const slider = h("input", { type: "range", min: 0, step: 1, "aria-label": "Optimizer step of the line", input: () => {
    memory.curve = +slider.value;
    memory.follow = memory.curve === curves().length - 1;
    node.redraw();
  } });
  const buttons = anchors.map((anchor) => h("button", { type: "button", click: () => {
    memory.anchor = anchor;
    memory.follow = true;
    node.redraw();
  } }, ending(anchor, 28)));
  const margin = { left: 52, right: 8, top: 26, bottom: 40 };
  const draw = (width) => {
    const all = curves(), i = chosen(), now = all[i];
    fill(slider, { max: all.length - 1, disabled: all.length < 2 }, []);
    if (all.length >= 2) slider.removeAttribute("disabled");
    slider.value = i;
    slider.setAttribute("aria-valuetext", `step ${now.step}`);
    output.textContent = `step ${count(now.step)} · ${i + 1} of ${all.length}`;
    buttons.forEach((button, k) => button.setAttribute("aria-pressed", anchors[k] === memory.anchor));
    const alphas = now.alphas, furthest = Math.max(1, ...all.flatMap((curve) => curve.alphas));
    const x = linear([-0.02, furthest + 0.02], [margin.left, width - margin.right]);
    const y = lossScale(shared ? shared.lines : all.flatMap((curve) => curve.losses), [HEIGHT - margin.bottom, margin.top]);
    const position = (value) => (value == null || (y.ticks[0] > 0 && value <= 0) ? null : y(value));
    const { root, inside } = axes(width, HEIGHT, { x, y }, { x: `α (0: ${ending(memory.anchor, 32)}, 1: weights of step ${count(now.step)})`, y: "training loss on fixed batches" }, margin);
    if (furthest > 1) {
      inside.append(s("rect", { class: "beyond", x: x(1), y: margin.top, width: x(furthest + 0.02) - x(1), height: HEIGHT - margin.top - margin.bottom }));
    }
    all.forEach((curve, k) => {
      if (k !== i) inside.append(s("path", { class: "ghost", d: path(curve.alphas.map(x), curve.losses.map(position)) }));
    });
    const start = now.losses[alphas.indexOf(0)], finish = now.losses[alphas.indexOf(1)];
    if (start != null && finish != null) {
      const chord = Array.from({ length: 41 }, (_, k) => k / 40);  // on a logarithmic scale, a straight chord is curved
      inside.append(s("path", { class: "chord", d: path(chord.map(x), chord.map((alpha) => position((1 - alpha) * start + alpha * finish))) }));
    }
    inside.append(s("path", { class: "line", d: path(alphas.map(x), now.losses.map(position)) }));
    alphas.forEach((alpha, k) => {
      if (position(now.losses[k]) != null) inside.append(s("circle", { class: "dot", cx: x(alpha), cy: position(now.losses[k]), r: 2.6 }));
      else inside.append(s("path", { class: "cross", d: `M${x(alpha) - 3} ${HEIGHT - margin.bottom - 9}l6 6m-6 0l6 -6` }));
    });
    const xs = alphas.map(x);
    const stage = explore(root, `Loss on the line from ${memory.anchor}`, {
      columns: alphas.length,
      place: (k) => [xs[k], position(now.losses[k]) ?? HEIGHT - margin.bottom],
      locate: (px) => [nearest(xs, px), 0],
      mark: (k, _, px, py) => [s("line", { x1: px, x2: px, y1: margin.top, y2: HEIGHT - margin.bottom }), s("circle", { cx: px, cy: py, r: 4 })],
      describe: (k) => [`α = ${number(alphas[k])}`, now.losses[k] == null ? "the loss is not finite" : `loss ${number(now.losses[k])}`,
        alphas[k] === 0 && memory.anchor, alphas[k] === 1 && `the weights of step ${count(now.step)}`, alphas[k] > 1 && "beyond the current weights"],
    });
    const share = start != null && finish != null ? now.barrier / Math.max(start, finish) : NaN;
    const barrier = now.barrier == null ? "the barrier cannot be measured" : now.monotone ? "the loss never rises"
      : now.barrier > 0 ? `barrier ${number(now.barrier)}${share > 0 && share < 10 ? ` (${percent(share)})` : ""}` : "no barrier";
    return { nodes: [stage, h("div", { class: "controls" }, h("div", { class: "choice", role: "group", "aria-label": "Starting point of the line" }, buttons), h("label", {}, slider, output))], numbers: barrier };
  };
  const node = figure("Loss on straight lines to the current weights", (width) => {
    const focused = document.activeElement === slider || buttons.includes(document.activeElement) ? document.activeElement : null;
    const drawn = draw(width);
    if (focused) queueMicrotask(() => focused.focus({ preventScroll: true }));
    return drawn;
  });
  return node;
}

// ---------------------------------------------------------------- gradient norms

/** Return the colour scale as a bar, with the values at its ends and its name below. */
const colourKey = (x, y, width, ends, words) => s("g", { class: "key" },
  Array.from({ length: 40 }, (_, i) => s("rect", { x: x + (i * width) / 40, y, width: width / 40 + 0.5, height: 8, fill: `rgb(${viridis(i / 39)})` })),
  ends && [s("text", { class: "label", x, y: y + 21 }, number(ends[0])), s("text", { class: "label", x: x + width, y: y + 21, "text-anchor": "end" }, number(ends[1]))],
  s("text", { class: "label", x: x + width / 2, y: y + 21, "text-anchor": "middle" }, words));

const rowHeight = (rows) => (rows > 20 ? 13 : rows > 10 ? 16 : 20);

function heatMap(part, beside) {
  const { steps, groups, norms } = part;
  if (!steps.length || !groups.length) return null;
  const positive = finite(norms.flat()).filter((norm) => norm > 0), [low, high] = extent(positive);
  const longest = Math.min(24, Math.max(...groups.map((group) => group.length)));
  const margin = { left: 14 + 6.2 * longest, right: 8, top: 8, bottom: 66 };
  const share = (norm) => (high > low ? Math.log(norm / low) / Math.log(high / low) : 0.5);
  return figure("Gradient norm by part of the model", (width) => {
    const available = beside ? planeHeight(width) + KEY - margin.top - margin.bottom : 0;
    const row = clamp(Math.floor(available / groups.length), rowHeight(groups.length), 40);
    const height = margin.top + row * groups.length + margin.bottom;
    const inner = width - margin.left - margin.right, cell = inner / steps.length;
    const ratio = window.devicePixelRatio || 1;
    const canvas = h("canvas", { width: Math.round(width * ratio), height: Math.round(height * ratio), "aria-hidden": "true" });
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    const paint = canvas.getContext("2d");
    paint.scale(ratio, ratio);
    const look = getComputedStyle(document.documentElement);
    const style = (name) => look.getPropertyValue(name).trim();
    norms.forEach((column, i) => column.forEach((norm, j) => {
      if (norm == null) return;
      paint.fillStyle = norm === 0 ? style("--zero") : typeof norm !== "number" ? style("--alarm") : `rgb(${viridis(share(norm))})`;
      paint.fillRect(margin.left + i * cell, margin.top + j * row, Math.ceil(cell * ratio) / ratio, row - 1);
    }));
    const root = s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, class: "over" });
    const every = Math.max(1, Math.ceil(groups.length / 32));
    groups.forEach((group, j) => {
      if (j % every) return;
      const short = ending(group, longest);
      root.append(s("text", { class: "label", x: margin.left - 7, y: margin.top + j * row + row / 2 + 3, "text-anchor": "end" }, short));
    });
    const bottom = margin.top + row * groups.length;
    for (const i of new Set([0, Math.floor((steps.length - 1) / 2), steps.length - 1])) {
      root.append(s("text", { class: "label", x: margin.left + (i + 0.5) * cell, y: bottom + 14, "text-anchor": i === 0 ? "start" : i === steps.length - 1 ? "end" : "middle" }, count(steps[i])));
    }
    root.append(s("text", { class: "label", x: margin.left + inner / 2, y: bottom + 28, "text-anchor": "middle" }, "optimizer step"));
    const bar = Math.min(220, inner * 0.6), from = margin.left;
    root.append(colourKey(from, bottom + 38, bar, positive.length ? [low, high] : null, "gradient norm"));
    const marks = [[norms.flat().includes(0), "--zero", "exactly zero"], [norms.flat().some((norm) => typeof norm === "string"), "--alarm", "not finite"]];
    marks.filter(([present]) => present).forEach(([, color, words], k) => root.append(
      s("rect", { x: from + bar + 24, y: bottom + 38 + 16 * k, width: 10, height: 8, fill: `var(${color})` }),
      s("text", { class: "label", x: from + bar + 40, y: bottom + 46 + 16 * k }, words)));
    const stage = explore(root, "Gradient norm by step and part of the model", {
      columns: steps.length, rows: groups.length,
      place: (i, j) => [margin.left + (i + 0.5) * cell, margin.top + (j + 0.5) * row],
      locate: (px, py) => px >= margin.left && px <= width - margin.right && py >= margin.top && py <= bottom
        ? [Math.floor((px - margin.left) / cell), Math.floor((py - margin.top) / row)] : null,
      mark: (i, j) => [s("rect", { class: "frame", x: margin.left + i * cell - 1, y: margin.top + j * row - 1, width: Math.max(3, cell) + 2, height: row + 1 })],
      describe: (i, j) => [groups[j], `step ${count(steps[i])}`, norms[i][j] == null ? "no gradient" : norms[i][j] === 0 ? "exactly zero" : typeof norms[i][j] === "number" ? `gradient norm ${number(norms[i][j])}` : "not finite"],
    });
    stage.prepend(canvas);
    const latest = norms[norms.length - 1].filter((norm) => typeof norm === "number");
    const facts = [latest.length > 1 && latest[latest.length - 1] > 0 && `the first part has ${number(latest[0] / latest[latest.length - 1])} times the norm of the last`,
      typeof part.noise_scale === "number" && `noise scale ${number(part.noise_scale)} samples`];
    return { nodes: [stage], numbers: facts.filter(Boolean).join(" · ") };
  });
}

// ---------------------------------------------------------------- planes

/** Return the value at (i + u, j + v) of a surface through all grid points, interpolated by Catmull-Rom splines. */
function smooth(rows, i, j, u, v) {
  const cubic = (at, t) => {
    const [a, b, c, d] = [at(-1), at(0), at(1), at(2)];
    return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)));
  };
  const along = (row) => cubic((k) => row[clamp(i + k, 0, row.length - 1)], u);
  return cubic((k) => along(rows[clamp(j + k, 0, rows.length - 1)]), v);
}

const KEY = 38;
const planeHeight = (width) => Math.min(360, Math.max(240, width * 0.72));

/** Return labels for the points of the run, the latest one first; a label that would overlap another is left out. */
function pointLabels(points, end) {
  const taken = [], labels = [];
  const order = [points.length - 1, ...points.keys()].filter((k, i, all) => k >= 0 && all.indexOf(k) === i);
  for (const k of order) {
    const [name, px, py] = points[k], other = points[k + 1] || points[k - 1], wide = 6.2 * name.length + 12;
    const up = !other || py <= other[2], left = px + wide > end, at = [left ? px - wide : px, py + (up ? -9 : 17)];
    if (taken.some(([a, b, w]) => at[0] < a + w && a < at[0] + wide && Math.abs(b - at[1]) < 13)) continue;
    taken.push([...at, wide]);
    labels.push(s("text", { class: "place", x: left ? px - 7 : px + 7, y: at[1], "text-anchor": left ? "end" : "start" }, name));
  }
  return labels;
}

function planeFigure(planes, memory) {
  if (!Array.isArray(planes) || !planes.length) return null;
  const chosen = () => clamp(memory.plane ?? planes.length - 1, 0, planes.length - 1);
  const output = h("output", {});
  const slider = h("input", { type: "range", min: 0, max: planes.length - 1, step: 1, "aria-label": "Optimizer step of the plane", input: () => { memory.plane = +slider.value; node.redraw(); } });
  const margin = { left: 52, right: 8, top: 22, bottom: 40 + KEY };
  const node = figure("Loss on a plane through the weights", (width) => {
    const plane = planes[chosen()], { xs, ys, losses } = plane, height = planeHeight(width) + KEY;
    slider.value = chosen();
    output.textContent = `step ${count(plane.step)}`;
    const flat = finite(losses.flat()), [low, high] = extent(flat), log = low > 0 && high > 30 * low;
    // Low losses get more colours than high ones. Otherwise one steep corner would leave a whole valley in one colour.
    const share = (loss) => (high > low ? (log ? Math.log(loss / low) / Math.log(high / low) : Math.sqrt((loss - low) / (high - low))) : 0.5);
    const x = linear([xs[0], xs[xs.length - 1]], [margin.left, width - margin.right]);
    const y = linear([ys[0], ys[ys.length - 1]], [height - margin.bottom, margin.top]);
    const canvas = h("canvas", { width: Math.round(width - margin.left - margin.right), height: Math.round(height - margin.top - margin.bottom), "aria-hidden": "true", class: "under" });
    fill(canvas, { style: `left:${margin.left}px;top:${margin.top}px` }, []);
    const paint = canvas.getContext("2d"), image = paint.createImageData(canvas.width, canvas.height);
    const cells = (values, n, flip) => Array.from({ length: n }, (_, k) => {
      const at = values[0] + ((flip ? n - 1 - k : k) / Math.max(1, n - 1)) * (values[values.length - 1] - values[0]);
      let i = 0;
      while (i < values.length - 2 && values[i + 1] < at) i++;
      return [i, clamp((at - values[i]) / (values[i + 1] - values[i] || 1), 0, 1)];
    });
    const across = cells(xs, canvas.width, false), down = cells(ys, canvas.height, true);
    const all = flat.length === xs.length * ys.length;
    down.forEach(([j, v], row) => across.forEach(([i, u], column) => {
      const corners = [losses[j][i], losses[j][i + 1], losses[j + 1]?.[i], losses[j + 1]?.[i + 1]];
      if (corners.some((corner) => typeof corner !== "number")) return;
      const loss = all ? clamp(smooth(losses, i, j, u, v), low, high)
        : (1 - v) * ((1 - u) * corners[0] + u * corners[1]) + v * ((1 - u) * corners[2] + u * corners[3]);
      image.data.set([...viridis(Math.round(share(loss) * 14) / 14), 255], 4 * (row * canvas.width + column));
    }));
    paint.putImageData(image, 0, 0);
    const { root, inside } = axes(width, height, { x, y }, { y: `${plane.y_name} (distance)` }, margin);
    const below = height - margin.bottom;
    inside.append(s("text", { class: "name", x: (margin.left + width - margin.right) / 2, y: below + 32, "text-anchor": "middle" }, `${plane.x_name} (distance)`),
      colourKey(margin.left, height - 30, Math.min(220, (width - margin.left - margin.right) * 0.6), flat.length ? [low, high] : null, log ? "loss, logarithmic scale" : "loss, square-root scale"));

    fill(root, { class: "over plain" }, []);
    const points = Object.entries(plane.points || {});
    inside.append(s("path", { class: "track under", d: path(points.map(([, p]) => x(p[0])), points.map(([, p]) => y(p[1]))) }),
      s("path", { class: "track", d: path(points.map(([, p]) => x(p[0])), points.map(([, p]) => y(p[1]))) }));
    points.forEach(([name, p], k) => inside.append(s("circle", { class: k === points.length - 1 ? "spot now" : "spot", cx: x(p[0]), cy: y(p[1]), r: k === points.length - 1 ? 5 : 3.2 }, s("title", {}, name))));
    inside.append(...pointLabels(points.map(([name, p]) => [name, x(p[0]), y(p[1])]), width - margin.right));
    const px = xs.map(x), py = ys.map(y);
    const stage = explore(root, "Loss on a plane", {
      columns: xs.length, rows: ys.length, start: Math.floor(xs.length / 2),
      place: (i, j) => [px[i], py[ys.length - 1 - j]],
      locate: (a, b) => a < margin.left || b > height - margin.bottom ? null : [nearest(px, a), ys.length - 1 - nearest(py, b)],
      mark: (i, j, a, b) => [s("circle", { class: "ring", cx: a, cy: b, r: 5 })],
      describe: (i, j) => {
        const loss = losses[ys.length - 1 - j][i];
        const near = points.find(([, p]) => Math.hypot(x(p[0]) - px[i], y(p[1]) - py[ys.length - 1 - j]) < 12);
        return [loss == null ? "the loss is not finite" : `loss ${number(loss)}`, `${plane.x_name} ${number(xs[i])}`, `${plane.y_name} ${number(ys[ys.length - 1 - j])}`, near && near[0]];
      },
    });
    stage.prepend(canvas);
    const controls = planes.length > 1 ? [h("div", { class: "controls" }, h("label", {}, slider, output))] : [];
    const off = plane.off_plane > 0.01 && `${percent(plane.off_plane)} of the path lies off the plane`;
    return { nodes: [stage, ...controls], numbers: [`step ${count(plane.step)}`, plane.samples > 0 && `${count(plane.samples)} samples`, off].filter(Boolean).join(" · ") };
  });
  return node;
}

// ---------------------------------------------------------------- curvature

function spectrumFigure(spectra, tall) {
  if (!Array.isArray(spectra) || !spectra.length) return null;
  const { step, nodes: values, weights, share_negative: negative } = spectra[spectra.length - 1];
  const margin = { left: 52, right: 12, top: 26, bottom: 40 };
  return figure("Spectrum of the Hessian", (width) => {
    const HEIGHT = tall ? planeHeight(width) + 20 : TALLER;
    const [low, high] = extent(values), pad = 0.05 * (high - low || 1);
    const x = linear([Math.min(low, 0) - pad, Math.max(high, 0) + pad], [margin.left, width - margin.right]);
    const least = Math.max(1e-12, Math.min(...finite(weights).filter((weight) => weight > 0)));
    const y = logarithmic([least / 2, Math.max(...weights) * 1.6], [HEIGHT - margin.bottom, margin.top]);
    const { root, inside } = axes(width, HEIGHT, { x, y }, { x: "curvature", y: "share of the directions" }, margin);
    inside.append(s("line", { class: "chord", x1: x(0), x2: x(0), y1: margin.top, y2: HEIGHT - margin.bottom }));
    values.forEach((value, i) => {
      if (weights[i] > 0) inside.append(s("line", { class: value < 0 ? "stem down" : "stem", x1: x(value), x2: x(value), y1: HEIGHT - margin.bottom, y2: y(weights[i]) }), s("circle", { class: value < 0 ? "dot down" : "dot", cx: x(value), cy: y(weights[i]), r: 3 }));
    });
    const xs = values.map(x);
    return { nodes: [explore(root, "Spectrum of the Hessian", {
      columns: values.length, place: (i) => [xs[i], y(Math.max(weights[i], least))], locate: (px) => [nearest(xs, px), 0],
      mark: (i, _, px, py) => [s("circle", { class: "ring", cx: px, cy: py, r: 6 })],
      describe: (i) => [`curvature ${number(values[i])}`, `${percent(weights[i])} of the directions`],
    })], numbers: `step ${count(step)} · negative curvature in ${percent(negative)} of the directions` };
  });
}

function endsFigure(ends, rows) {
  if (!Array.isArray(ends) || !ends.length) return null;
  const margin = { left: 52, right: 8, top: 26, bottom: 40 };
  return figure("Smallest and largest curvature", (width) => {
    const HEIGHT = clamp(rowHeight(rows) * rows + 74, 236, 420);
    const steps = ends.map((end) => end.step), spread = extent([0, ...ends.flatMap((end) => [end.lambda_min, end.lambda_max])]);
    const x = linear([Math.min(0, steps[0]), steps[steps.length - 1] || 1], [margin.left, width - margin.right]);
    x.label = count;
    const y = linear([spread[0] - 0.06 * (spread[1] - spread[0]), spread[1] + 0.08 * (spread[1] - spread[0])], [HEIGHT - margin.bottom, margin.top]);
    const { root, inside } = axes(width, HEIGHT, { x, y }, { x: "optimizer step", y: "eigenvalue λ" }, margin);
    inside.append(s("line", { class: "chord", x1: margin.left, x2: width - margin.right, y1: y(0), y2: y(0) }));
    for (const [name, look] of [["lambda_max", ""], ["lambda_min", " down"]]) {
      inside.append(s("path", { class: `line${look}`, d: path(steps.map(x), ends.map((end) => (end[name] == null ? null : y(end[name])))) }));
      ends.forEach((end) => end[name] != null && inside.append(s("circle", { class: `dot${look}`, cx: x(end.step), cy: y(end[name]), r: 3 })));
    }
    const xs = steps.map(x), last = ends[ends.length - 1];
    return { nodes: [explore(root, "Smallest and largest curvature by step", {
      columns: ends.length, place: (i) => [xs[i], y(ends[i].lambda_max ?? 0)], locate: (px) => [nearest(xs, px), 0],
      mark: (i, _, px) => [s("line", { x1: px, x2: px, y1: margin.top, y2: HEIGHT - margin.bottom })],
      describe: (i) => [`step ${count(steps[i])}`, `λ max ${number(ends[i].lambda_max)}`, `λ min ${number(ends[i].lambda_min)}`],
    })], numbers: `eigenvalues from ${number(last.lambda_min)} to ${number(last.lambda_max)}` };
  });
}

// ---------------------------------------------------------------- one run

function verdictCard(course) {
  const last = course.segments[course.segments.length - 1], verdicts = course.verdicts;
  const current = last && verdicts.findLast((verdict) => verdict.cause === last[1]);
  const shown = current || verdicts.findLast((verdict) => verdict.stuck);
  const [tone, words] = stateOf(last ? last[1] : "learning");
  const status = course.status && course.status !== "running" ? course.status : "running";
  const noPlateau = status === "running" ? "No plateau so far" : "No plateau was found";
  const title = current ? capitalised(current.title) : tone === "good" ? noPlateau : capitalised(words);
  const level = course.loss || {};
  const facts = [level.start != null && `training loss from ${number(level.start)} to ${number(level.now)}`, stepCount(course), status];
  return h("section", { class: `verdict ${tone}` },
    h("p", { class: "mark" }, h("span", { "aria-hidden": "true" }, MARKS[tone]), { good: " no alarm", quiet: " for information", unsure: " uncertain", alarm: " alarm" }[tone]),
    h("h2", {}, title),
    h("p", { class: "facts" }, [current && `since step ${count(current.since)}, reported at step ${count(current.step)} [${current.code}]`, ...facts].filter(Boolean).join(" · ")),
    shown && shown !== current && h("p", { class: "facts" }, `Earlier: ${shown.title}, steps ${count(shown.since)} to ${count(last[0])}.`),
    shown && h("div", { class: "why" }, h("div", {}, shown.reason.split("\n").map((line) => h("p", {}, line))),
      shown.advice && h("p", { class: "try" }, shown.stuck && h("strong", {}, "Try "), shown.stuck ? shown.advice : capitalised(shown.advice))),
    shown && shown.readings.length > 0 && h("details", {}, h("summary", {}, "Measurements behind this verdict"),
      h("div", { class: "scroll" }, h("table", {}, h("tbody", {}, shown.readings.map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, value))))))),
    verdicts.length > 1 && h("details", {}, h("summary", {}, `All ${verdicts.length + (course.earlier_verdicts || 0)} verdicts of this run`),
      h("ol", {}, verdicts.map((verdict) => h("li", {}, h("strong", {}, `step ${count(verdict.step)}: ${verdict.title}. `), verdict.reason)))));
}

function runPanel(name, { parts, skipped }, memory, shared) {
  const panel = h("article", { "aria-label": name }, h("p", { class: "run", title: name }, name));
  const course = parts.course;
  const newer = Object.values(parts).filter((part) => !(part.schema <= SCHEMA)).length;
  const attempt = (make) => {
    try { return make(); } catch (error) { return unreadable(error); }
  };
  if (newer) panel.append(h("p", { class: "note" }, `A newer version of lightning_landscape has written ${newer} part${newer > 1 ? "s" : ""} of this record; this version cannot draw ${newer > 1 ? "them" : "it"}.`));
  const usable = (part) => part && part.schema <= SCHEMA;
  if (usable(course)) panel.append(attempt(() => verdictCard(course)));
  const lines = usable(parts.lines) && Object.fromEntries(Object.entries(parts.lines).filter(([key]) => key !== "schema"));
  const figures = [
    ["course", usable(course) && course.curve?.step.length && (() => figure("Training loss and verdicts", timeline(course, shared)))],
    ["lines", lines && (() => lineFigure(lines, memory, shared))],
    ["plane", usable(parts.planes) && (() => planeFigure(parts.planes.planes, memory))],
    ["spectrum", usable(parts.curvature) && (() => spectrumFigure(parts.curvature.spectra, parts.planes?.planes?.length))],
    ["ends", usable(parts.curvature) && (() => endsFigure(parts.curvature.ends, parts.gradients?.groups?.length ?? 0))],
    ["gradients", usable(parts.gradients) && (() => heatMap(parts.gradients, parts.planes?.planes?.length && !parts.curvature?.spectra?.length))],
  ].map(([slot, make]) => {
    const node = make && attempt(make);
    node?.classList?.add(slot);
    return node;
  }).filter(Boolean);
  panel.append(h("div", { class: "figures" }, figures));
  const notes = [...(course?.notes || []), ...(skipped ? [`${skipped} record${skipped > 1 ? "s" : ""} could not be read`] : [])];
  if (notes.length) panel.append(h("ul", { class: "notes" }, notes.map((note) => h("li", {}, note))));
  return panel;
}

/** Return the ranges of the axes that show all of these runs; null for fewer than two runs. */
function commonAxes(loaded) {
  const courses = loaded.map(({ parts }) => parts.course).filter((course) => course?.schema <= SCHEMA && course.curve?.step.length);
  if (courses.length < 2) return null;
  return {
    steps: extent([0, ...courses.flatMap((course) => course.curve.step)]),
    losses: courses.flatMap((course) => [...course.curve.low, ...course.curve.high]),
    lines: loaded.flatMap(({ parts }) => Object.values(parts.lines || {}).filter(Array.isArray).flat().flatMap((curve) => curve.losses)),
  };
}

// ---------------------------------------------------------------- the page

/**
 * Draw runs into the element `root`. `source.list()` resolves to the names of all runs, the latest one first, and
 * `source.read(name)` to `{parts, skipped}`. If `source.live`, both are called again every 30 seconds while the page is
 * visible.
 */
export async function mount(root, source) {
  const memory = new Map(), latestTexts = new Map(), loaded = new Map();
  let runs = [], selected = null, sameAxes = false;
  const style = h("style");
  style.textContent = STYLE;
  document.head.append(style);
  const message = h("p", { class: "message", role: "status" }), grid = h("div", { class: "runs" });
  const filter = h("input", { type: "search", placeholder: "Filter runs", "aria-label": "Filter runs", input: () => showPicker() });
  const list = h("div", { class: "chips" }), picker = h("fieldset", {}, h("legend", {}, "Runs"), filter, list);
  const compare = h("button", { type: "button", "aria-pressed": "false", click: () => { sameAxes = !sameAxes; show(); } }, "Same axes");
  const theme = h("button", { type: "button", click: () => { paint(({ auto: "light", light: "dark", dark: "auto" })[root.dataset.choice]); } });
  const reload = h("button", { type: "button", click: () => refresh() }, "Reload");
  root.classList.add("landscape");
  root.replaceChildren(h("header", {}, h("h1", {}, "Landscape"), h("p", {}, "why is this run stuck?"), h("nav", {}, compare, theme, source.live && reload)), picker, message, grid);

  const tensorboardBody = () => { try { return window.parent !== window ? window.parent.document.body : null; } catch { return null; } };
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const paint = (choice) => {
    root.dataset.choice = choice;
    const isDark = choice === "auto" ? tensorboardBody()?.classList.contains("dark-mode") || dark.matches : choice === "dark";
    document.documentElement.dataset.theme = isDark ? "dark" : "light";
    theme.textContent = { auto: "Colours: auto", light: "Colours: light", dark: "Colours: dark" }[choice];
    for (const node of grid.querySelectorAll("figure")) node.redraw?.();
  };
  const repaint = () => paint(root.dataset.choice);
  dark.addEventListener("change", repaint);
  if (tensorboardBody()) new MutationObserver(repaint).observe(tensorboardBody(), { attributes: true, attributeFilter: ["class"] });
  paint("auto");

  const labels = new Map();
  const labelOf = (run) => {
    if (!labels.has(run)) {
      const box = h("input", { type: "checkbox", value: run, change: () => { box.checked ? selected.add(run) : selected.delete(run); refresh(); } });
      const mark = h("span", { "aria-hidden": "true", class: "mark" });
      labels.set(run, { box, mark, node: h("label", { title: run }, box, mark, h("span", { class: "short" }, run)) });
    }
    return labels.get(run);
  };
  const showPicker = () => {
    const pattern = filter.value.toLowerCase();
    filter.hidden = runs.length < 9;
    picker.hidden = runs.length < 2;
    for (const run of runs) {
      const { box, mark, node } = labelOf(run), last = loaded.get(run)?.parts.course?.segments?.at(-1);
      box.checked = selected.has(run);
      node.className = last ? stateOf(last[1])[0] : "";
      mark.textContent = last ? MARKS[node.className] : "";
      node.hidden = !run.toLowerCase().includes(pattern);
    }
    const nodes = runs.map((run) => labelOf(run).node);
    if (nodes.length !== list.children.length || nodes.some((node, k) => list.children[k] !== node)) list.replaceChildren(...nodes);
  };

  const show = () => {
    const names = runs.filter((run) => selected.has(run) && loaded.has(run));
    const shared = sameAxes ? commonAxes(names.map((name) => loaded.get(name))) : null;
    compare.hidden = names.length < 2;
    compare.setAttribute("aria-pressed", String(sameAxes));
    root.classList.toggle("single", names.length === 1);
    grid.replaceChildren(...names.map((name) => {
      if (!memory.has(name)) memory.set(name, {});
      return runPanel(name, loaded.get(name), memory.get(name), shared);
    }));
    showPicker();
  };

  const refresh = async () => {
    let changed = false;
    try {
      runs = await source.list();
      selected ??= new Set(runs.slice(0, SELECTED_AT_FIRST));
      for (const run of runs.filter((name) => selected.has(name))) {
        const answer = await source.read(run), text = JSON.stringify(answer);
        if (latestTexts.get(run) !== text) {
          latestTexts.set(run, text);
          readTones(answer.parts.course);
          loaded.set(run, answer);
          changed = true;
        }
      }
      message.textContent = runs.length ? "" : "No run has been watched yet. Add LandscapeMonitor() to the callbacks of the Trainer.";
    } catch (error) {
      message.textContent = `The records could not be read: ${error.message}`;
      return;
    }
    const drawn = [...grid.children].map((panel) => panel.getAttribute("aria-label"));
    const expected = runs.filter((run) => selected.has(run) && loaded.has(run));
    if (changed || drawn.join("\n") !== expected.join("\n")) show();
  };

  await refresh();
  if (source.live) setInterval(() => { if (document.visibilityState === "visible") refresh(); }, POLL);
}

/** Draw the runs of the log directory; TensorBoard calls this function in the tab's iframe. */
export async function render() {
  const ask = async (path, parameters = {}) => {
    const answer = await fetch(`./${path}?${new URLSearchParams(parameters)}`);
    if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
    return answer.json();
  };
  await mount(document.body, { live: true, list: () => ask("runs"), read: (run) => ask("run", { run }) });
}

/** Draw these runs; the HTML report and notebooks call this function with the data that the page contains. */
export async function report(runs) {
  await mount(document.body, { live: false, list: async () => Object.keys(runs), read: async (run) => ({ parts: runs[run], skipped: 0 }) });
}

const STYLE = `
:root { color-scheme: light; --ground: #f6f7f8; --card: #fff; --ink: #22282d; --soft: #5d6870; --faint: #e7eaec; --edge: #dde1e4;
  --blue: #0072b2; --ghost: #5b7c99; --good: #00795a; --quiet: #33658a; --unsure: #9a6700; --alarm: #c2410c; --zero: #c9ced3;
  --good-wash: #e2f3ed; --quiet-wash: #e5eef5; --unsure-wash: #fbf0d9; --alarm-wash: #fdebe2; }
:root[data-theme=dark] { color-scheme: dark; --ground: #16191c; --card: #1f2327; --ink: #e6e9eb; --soft: #a2adb5; --faint: #2c3237; --edge: #343b41;
  --blue: #58b4ea; --ghost: #86a5bd; --good: #4cc9a0; --quiet: #8bbce0; --unsure: #e8b64c; --alarm: #ff9466; --zero: #4a5259;
  --good-wash: #17332b; --quiet-wash: #1c2f3d; --unsure-wash: #382c12; --alarm-wash: #41231480; }
body { margin: 0; background: var(--ground); }
.landscape { font: 14px/1.5 Roboto, "Segoe UI", system-ui, -apple-system, sans-serif; color: var(--ink); background: var(--ground); padding: 20px 24px 40px; min-height: 100vh; box-sizing: border-box; }
.landscape *, .landscape *::before { box-sizing: border-box; }
.landscape [hidden] { display: none !important; }
.landscape header { display: flex; align-items: baseline; gap: 10px; margin-bottom: 16px; }
.landscape h1 { font-size: 20px; font-weight: 600; margin: 0; letter-spacing: -.01em; }
.landscape header p { margin: 0; color: var(--soft); }
.landscape nav { margin-left: auto; display: flex; gap: 8px; }
.landscape button { font: inherit; font-size: 13px; color: var(--ink); background: var(--card); border: 1px solid var(--edge); border-radius: 6px; padding: 3px 11px; cursor: pointer; }
.landscape button:hover { border-color: var(--soft); }
.landscape button[aria-pressed=true] { background: var(--quiet-wash); border-color: var(--quiet); }
.landscape :focus-visible { outline: 2px solid var(--blue); outline-offset: 2px; }
.landscape fieldset { border: 0; padding: 0; margin: 0 0 16px; min-width: 0; }
.landscape legend { padding: 0; float: left; color: var(--soft); margin-right: 10px; line-height: 28px; }
.landscape input[type=search] { font: inherit; font-size: 13px; color: var(--ink); background: var(--card); border: 1px solid var(--edge); border-radius: 6px; padding: 3px 9px; margin: 0 0 8px; }
.landscape .chips { display: flex; flex-wrap: wrap; gap: 6px; max-height: 104px; overflow: auto; padding: 2px; }
.landscape .chips label { display: flex; align-items: center; gap: 6px; background: var(--card); border: 1px solid var(--edge); border-radius: 14px; padding: 2px 12px 2px 8px; font-size: 13px; cursor: pointer; max-width: 340px; white-space: nowrap; overflow: hidden; }
.landscape .chips label:has(:checked) { border-color: var(--soft); }
.landscape .short { overflow: hidden; text-overflow: ellipsis; }
.landscape .chips input { accent-color: var(--blue); margin: 0; }
.landscape .message { color: var(--soft); margin: 24px 0; }
.landscape .message:empty { display: none; }
.landscape .runs { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 430px), 1fr)); gap: 0 20px; }
.landscape.single > * { max-width: 1240px; margin-left: auto; margin-right: auto; }
.landscape .why { display: grid; gap: 4px 28px; } .landscape.single .why { grid-template-columns: repeat(auto-fit, minmax(min(100%, 430px), 1fr)); align-items: start; }
.landscape article { min-width: 0; }
.landscape:not(.single) article { display: grid; grid-row: span 9; grid-template-rows: subgrid; grid-template-columns: minmax(0, 1fr); }
.landscape:not(.single) .figures { display: contents; }
.landscape:not(.single) article > .run { grid-row: 1; } .landscape:not(.single) .verdict { grid-row: 2; } .landscape:not(.single) .course { grid-row: 3; } .landscape:not(.single) .lines { grid-row: 4; }
.landscape:not(.single) .plane { grid-row: 5; } .landscape:not(.single) .spectrum { grid-row: 6; } .landscape:not(.single) .ends { grid-row: 7; } .landscape:not(.single) .gradients { grid-row: 8; } .landscape:not(.single) .notes { grid-row: 9; }
.landscape .run { margin: 0 0 6px; font: 12.5px ui-monospace, "Roboto Mono", Menlo, Consolas, monospace; color: var(--soft); white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.landscape .verdict, .landscape figure { background: var(--card); border: 1px solid var(--edge); border-radius: 10px; padding: 14px 16px; margin: 0 0 16px; }
.landscape .verdict { border-left-width: 5px; }
.landscape .verdict.good { border-left-color: var(--good); } .landscape .verdict.quiet { border-left-color: var(--quiet); }
.landscape .verdict.unsure { border-left-color: var(--unsure); } .landscape .verdict.alarm { border-left-color: var(--alarm); }
.landscape .verdict .mark { display: inline-block; margin: 0 0 6px; padding: 1px 10px 1px 8px; border-radius: 10px; font-size: 12px; font-weight: 600; }
.landscape .good .mark { color: var(--good); } .landscape .quiet .mark { color: var(--quiet); } .landscape .unsure .mark { color: var(--unsure); } .landscape .alarm .mark { color: var(--alarm); }
.landscape .verdict.good .mark { background: var(--good-wash); } .landscape .verdict.quiet .mark { background: var(--quiet-wash); }
.landscape .verdict.unsure .mark { background: var(--unsure-wash); } .landscape .verdict.alarm .mark { background: var(--alarm-wash); }
.landscape .chips .mark { font-size: 10px; }
.landscape h2 { font-size: 18px; font-weight: 600; margin: 0 0 2px; letter-spacing: -.01em; overflow-wrap: anywhere; }
.landscape .verdict p { margin: 6px 0; max-width: 76ch; overflow-wrap: anywhere; }
.landscape .verdict .facts { color: var(--soft); font-size: 13px; margin: 0 0 8px; font-variant-numeric: tabular-nums; }
.landscape .try { padding: 8px 12px; background: var(--ground); border-radius: 6px; }
.landscape details { margin-top: 8px; font-size: 13px; }
.landscape summary { cursor: pointer; color: var(--soft); }
.landscape table { border-collapse: collapse; margin-top: 6px; font-variant-numeric: tabular-nums; }
.landscape th { text-align: left; font-weight: 400; color: var(--soft); padding: 2px 18px 2px 0; overflow-wrap: anywhere; }
.landscape td { padding: 2px 0; overflow-wrap: anywhere; }
.landscape .scroll { max-height: 300px; overflow: auto; }
.landscape ol { margin: 6px 0 0; padding-left: 22px; }
.landscape .figures { display: grid; grid-template-columns: minmax(0, 1fr); gap: 0 20px; }
.landscape.single .figures { grid-template-columns: repeat(auto-fit, minmax(min(100%, 430px), 1fr)); } .landscape.single figure:last-child:nth-child(odd) { grid-column: 1 / -1; }
.landscape figcaption { display: flex; flex-wrap: wrap; align-items: baseline; justify-content: space-between; gap: 0 12px; margin-bottom: 4px; }
.landscape h3 { font-size: 14px; font-weight: 600; margin: 0; }
.landscape .numbers { color: var(--soft); font-size: 12.5px; font-variant-numeric: tabular-nums; }
.landscape .stage { min-height: 60px; }
.landscape .explore { position: relative; border-radius: 4px; touch-action: pan-y; }
.landscape svg { display: block; overflow: visible; } .landscape canvas { position: absolute; left: 0; top: 0; } .landscape svg.over { position: relative; }
.landscape canvas.under { border-radius: 2px; }
.landscape text { font-size: 11px; fill: var(--soft); font-variant-numeric: tabular-nums; }
.landscape text.label { font-size: 10.5px; }
.landscape text.place { font-size: 11.5px; fill: #fff; paint-order: stroke; stroke: #000a; stroke-width: 3px; stroke-linejoin: round; }
.landscape text.name { fill: var(--soft); }
.landscape .plain .grid line:not(.axis):not(.tick) { display: none; }
.landscape .grid line { stroke: var(--faint); } .landscape .grid .axis, .landscape .grid .tick { stroke: var(--edge); }
.landscape .line { fill: none; stroke: var(--blue); stroke-width: 2; stroke-linejoin: round; } .landscape .line.down { stroke: var(--alarm); }
.landscape .ghost { fill: none; stroke: var(--ghost); stroke-width: 1; opacity: .38; }
.landscape .chord { fill: none; stroke: var(--soft); stroke-width: 1; stroke-dasharray: 4 4; opacity: .8; }
.landscape .band { fill: var(--blue); opacity: .16; }
.landscape .beyond { fill: var(--faint); opacity: .7; }
.landscape .dot { fill: var(--blue); } .landscape .dot.down { fill: var(--alarm); }
.landscape .stem { stroke: var(--blue); stroke-width: 1.5; } .landscape .stem.down { stroke: var(--alarm); }
.landscape .cross { stroke: var(--alarm); stroke-width: 1.6; }
.landscape .segment.good { fill: var(--good); } .landscape .segment.quiet { fill: var(--quiet); } .landscape .segment.unsure { fill: var(--unsure); } .landscape .segment.alarm { fill: var(--alarm); }
.landscape .segment rect { opacity: .24; } .landscape .segment text { fill: var(--ink); }
.landscape .flag { stroke-width: 1.2; stroke-dasharray: 2 3; } .landscape .flag.alarm { stroke: var(--alarm); } .landscape .flag.quiet { stroke: var(--quiet); } .landscape .flag.unsure { stroke: var(--unsure); } .landscape .flag.good { stroke: var(--good); }
.landscape .cursor line { stroke: var(--soft); stroke-width: 1; } .landscape .cursor circle { fill: var(--card); stroke: var(--ink); stroke-width: 1.6; }
.landscape .cursor .frame { fill: none; stroke: var(--ink); stroke-width: 1.6; } .landscape .cursor .ring { fill: none; stroke: var(--ink); stroke-width: 1.6; }
.landscape .track { fill: none; stroke: #fff; stroke-width: 1.8; } .landscape .track.under { stroke: #0007; stroke-width: 3.6; }
.landscape .spot { fill: #fff; stroke: #0008; } .landscape .spot.now { fill: var(--alarm); stroke: #fff; stroke-width: 1.6; }
.landscape .tip { position: absolute; z-index: 2; pointer-events: none; display: grid; width: max-content; max-width: min(300px, 90%); background: var(--card); color: var(--ink); border: 1px solid var(--edge); border-radius: 6px; box-shadow: 0 4px 16px #0002; padding: 6px 10px; font-size: 12.5px; line-height: 1.4; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.landscape .controls { display: flex; flex-wrap: wrap; align-items: center; gap: 8px 16px; margin-top: 8px; }
.landscape .controls label { display: flex; align-items: center; gap: 10px; flex: 1 1 220px; font-size: 12.5px; color: var(--soft); font-variant-numeric: tabular-nums; }
.landscape input[type=range] { flex: 1; min-width: 90px; accent-color: var(--blue); }
.landscape .choice { display: flex; flex-wrap: wrap; gap: 4px; } .landscape .choice button { font-size: 12.5px; padding: 1px 9px; max-width: 240px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.landscape .notes { color: var(--soft); font-size: 13px; margin: 0 0 16px; padding-left: 18px; overflow-wrap: anywhere; } .landscape .note { color: var(--soft); font-size: 13px; }
@media (prefers-reduced-motion: no-preference) { .landscape button { transition: border-color .12s; } }
@media print { .landscape nav, .landscape fieldset, .landscape .controls { display: none; } .landscape { padding: 0; } }
`;
